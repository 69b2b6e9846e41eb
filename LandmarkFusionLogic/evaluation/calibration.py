"""The fit of a network's confidence: from what detection knew and how far it was off, to a calibrated covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import chi2

from LandmarkFusionLogic.evaluation.statistics import auroc
from LandmarkFusionLogic.landmarks.confidence import CHECKS, Calibration, Evidence, covariances
from LandmarkFusionLogic.points import FloatArray

LEVEL = 0.95
INSIDE_95 = float(chi2.ppf(LEVEL, 3))
"""Squared Mahalanobis distance up to which 95 % of the points of a three-dimensional Gaussian lie."""
AIM = 0.96
"""The share of the points that the fit takes into the 95 % ellipsoids: real images are harder than simulated ones."""
RIGHT_MM = 10.0
"""A landmark farther off than this is wrong."""
FREEDOM = 4.0
"""Degrees of freedom of the Student's t distribution that is fitted: its tails are those of a few wild errors."""
FALSE_ALARMS = 0.05
"""Share of the right landmarks for which the two networks may be said to disagree."""


@dataclass(frozen=True)
class Sample:
    """One image: what detection knew of its landmarks (``evidence``) and how far off they were (``errors``).

    ``errors`` (L, 3) mm, RAS, NaN where the truth is unknown; ``gland_error`` (3,) mm of the gland's centroid;
    ``plain`` tells the cases as they come from those made hard; ``flagged`` whether a warning came with the result.
    """

    case: str
    modality: str
    title: str
    plain: bool
    evidence: Evidence = field(compare=False)
    errors: FloatArray = field(compare=False)
    gland_error: FloatArray = field(compare=False)
    flagged: bool = False


def radial(samples: Sequence[Sample]) -> FloatArray:
    """(N, L) errors, mm."""
    return np.asarray(np.linalg.norm(np.stack([sample.errors for sample in samples]), axis=-1))


def expected(samples: Sequence[Sample], calibration: Calibration) -> FloatArray:
    """(N, L) the expected (root mean square) errors, mm."""
    traces = [np.trace(covariances(s.evidence, calibration), axis1=1, axis2=2) for s in samples]
    return np.asarray(np.sqrt(np.stack(traces)))


def distances(samples: Sequence[Sample], calibration: Calibration) -> FloatArray:
    """(N, L) squared Mahalanobis distance of the truth from what was found; NaN where it is unknown."""
    return np.stack([_mahalanobis(s.errors, covariances(s.evidence, calibration)) for s in samples])


def inside(samples: Sequence[Sample], calibration: Calibration) -> npt.NDArray[np.bool_]:
    """(N, L) whether the true point lies inside the 95 % ellipsoid."""
    return np.asarray(distances(samples, calibration) <= INSIDE_95)


def fit_calibration(samples: Sequence[Sample], shared: bool = False) -> Calibration:
    """The calibration under which the errors of ``samples``, all of one network, are most probable.

    Scale, floor and the weight of each check are fitted for all landmarks together by maximum likelihood of a
    Student's t distribution, since few errors are very large. Without ``shared``, which is for few cases, each
    landmark is then widened or narrowed by a factor of its own, if errors above `RIGHT_MM` are ranked better by that.
    In the end all are widened by one factor, so that `AIM` of the plain samples' points lie inside of their 95 %
    ellipsoids.
    """
    checks = [name for name in CHECKS if any(name in sample.evidence.checks for sample in samples)]
    plain = [sample for sample in samples if sample.plain] or list(samples)
    middles = np.stack([sample.gland_error for sample in plain])
    # The root mean square would be that of the few cases without any gland found.
    gland_mm = float(1.4826 * np.nanmedian(np.abs(middles)))
    row = np.exp(_fit_logarithms(samples, checks))
    first = _calibration(np.tile(row, (len(samples[0].errors), 1)), checks, gland_mm)
    candidates = [first] if shared else [first, _widened(first, _own_factors(samples, first))]
    best = max(candidates, key=lambda candidate: _ranking(samples, candidate))
    factor = np.sqrt(np.nanquantile(distances(plain, best), AIM) / INSIDE_95)
    return _widened(best, np.full(len(best.scale), factor))


def _own_factors(samples: Sequence[Sample], calibration: Calibration) -> FloatArray:
    """(L,) by how much each landmark's errors are larger than ``calibration`` says, against all landmarks' errors."""
    found = distances(samples, calibration)
    # The largest tenth is left to the checks: one landmark's few outliers are not to widen all of its ellipsoids.
    own = np.array([np.nanquantile(column, 0.9) if np.isfinite(column).any() else np.nan for column in found.T])
    return np.nan_to_num(np.sqrt(own / np.nanquantile(found, 0.9)), nan=1.0)


def _widened(calibration: Calibration, factors: FloatArray) -> Calibration:
    doubt = {name: factors * weights for name, weights in calibration.doubt.items()}
    return Calibration(factors * calibration.scale, factors * calibration.floor_mm, doubt, calibration.gland_mm)


def _ranking(samples: Sequence[Sample], calibration: Calibration) -> float:
    errors = radial(samples).ravel()
    known = np.isfinite(errors)
    wrong = errors[known] > RIGHT_MM
    if wrong.all() or not wrong.any():
        return 0.0
    return auroc(expected(samples, calibration).ravel()[known], wrong)


def fit_discrepancy(samples: Sequence[Sample]) -> float | None:
    """The distance between two networks, mm, that few landmarks exceed which are right; None without a second one."""
    right = []
    for sample in samples:
        between = sample.evidence.checks.get("networks")
        if between is not None:
            error = np.linalg.norm(sample.errors, axis=-1)
            right += list(between[error <= RIGHT_MM])
    return float(np.quantile(right, 1 - FALSE_ALARMS)) if right else None


def _fit_logarithms(samples: Sequence[Sample], checks: Sequence[str]) -> FloatArray:
    """Logarithms of scale, floor and the checks' weights, of all landmarks together."""
    known = [
        (sample, one) for sample in samples for one, error in enumerate(sample.errors) if np.isfinite(error).all()
    ]
    within = np.stack([s.evidence.heat[one] + s.evidence.poses[one] for s, one in known])
    errors = np.stack([s.errors[one] for s, one in known])
    # A check that could not be made adds no doubt, as in detection.
    squares = np.array([[_check(s, name, one) ** 2 for name in checks] for s, one in known])
    squares = squares.reshape(len(known), len(checks))

    # In the axes of each covariance the likelihood needs no matrix any more.
    values, vectors = np.linalg.eigh(within)
    turned = np.einsum("nij,ni->nj", vectors, errors)

    def cost(logs: FloatArray) -> float:
        scale, floor, weights = np.exp(2 * logs[0]), np.exp(2 * logs[1]), np.exp(2 * logs[2:])
        variances = scale * np.maximum(values, 0) + (floor + squares @ weights)[:, None]
        squared = np.sum(turned**2 / variances, axis=1)
        likelihood = np.log(variances).sum(axis=1) + (FREEDOM + 3) * np.log1p(squared / FREEDOM)
        # A weak pull to where nothing is known keeps weights that do not matter small.
        return float(likelihood.mean() + 1e-3 * np.sum((logs - start) ** 2))

    start = np.array([0.0, 0.0, *(-2.0 for _ in checks)])
    best = minimize(cost, start, method="L-BFGS-B", bounds=[(-4.0, 3.0), (-2.0, 3.0), *((-6.0, 1.0) for _ in checks)])
    return np.asarray(best.x, dtype=np.float64)


def _check(sample: Sample, name: str, landmark: int) -> float:
    values = sample.evidence.checks.get(name)
    return 0.0 if values is None else float(values[landmark])


def _calibration(table: FloatArray, checks: Sequence[str], gland_mm: float) -> Calibration:
    doubt = {name: table[:, 2 + column] for column, name in enumerate(checks)}
    return Calibration(table[:, 0], table[:, 1], doubt, gland_mm)


def _mahalanobis(errors: FloatArray, spreads: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("la,la->l", errors, np.linalg.solve(spreads, errors[..., None])[..., 0]))
