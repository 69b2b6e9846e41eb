"""The rigid fit of named landmarks: which count, how well they agree, and what to be careful about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.points import DETECTED, LANDMARK_NAMES, FloatArray, Landmark, by_name
from LandmarkFusionLogic.rigid.bayesian import (
    Model,
    Posterior,
    Term,
    least_squares_posterior,
    most_probable,
    starting_motions,
)
from LandmarkFusionLogic.rigid.fit import apply, extents, fit_rigid

COLLINEAR_RATIO = 0.2
"""Warn when the second extent of the points (root-mean-square distance from their best line) is under this fraction of
the first. The usual prostate gives about 0.5: a posterior median some 20 mm from a 40 mm line apex-bladder neck."""
COLLINEAR_MM = 3.0
"""Warn, too, when the second extent is under this distance: a landmark's own error then turns the gland freely."""
LARGE_FRE_MM = 8.0
"""Warn above this root-mean-square fiducial registration error: the two triangles are not the same one."""

BEST, WEIGHTED, SVD = "best", "weighted", "svd"
METHODS = (BEST, WEIGHTED, SVD)
OBSERVER_MM = 2.0
"""How well a person places a landmark, standard deviation along each axis."""
GLAND_CENTRE = "Gland centre"
CENTRE_MM = 1.0
"""What the covariance of a predicted gland's centroid misses, standard deviation along each axis of each image."""
MINIMUM_MM = 0.5
"""No detector knows a landmark better than this, along each axis: covariances stay invertible."""
MODEL = Model()
"""Chosen on validation seeds of the simulator and on the development cases of mrus-27."""


@dataclass(frozen=True)
class Pair:
    """A pair of places that is no landmark: ``mr`` and ``us`` (3,) RAS mm, each in the frame of its own image.

    ``covariance`` (3, 3) mm² is that of the place in the US and of all that is known in the frame of the US;
    ``mr_covariance`` that of the place in the MR, in the frame of the MR: it turns with the motion.
    """

    name: str
    mr: FloatArray = field(compare=False)
    us: FloatArray = field(compare=False)
    covariance: FloatArray = field(compare=False)
    mr_covariance: FloatArray = field(default_factory=lambda: np.zeros((3, 3)), compare=False)


@dataclass(frozen=True)
class LandmarkFit:
    """A rigid fit MR to US of landmarks matched by name.

    ``mr_to_us`` (4, 4) maps RAS mm points of the MR to points of the US. ``errors`` holds for each name the fiducial
    registration error (FRE) in mm, the distance left between the mapped MR landmark and the US landmark; ``rms`` is
    the root of their mean square. FRE says how well the points agree, not how accurate the alignment is.
    ``method`` is one of `METHODS`. ``covariance`` (6, 6) is of the small motion that is missing to the truth:
    rotation vector (rad), then translation (mm), in the US's frame, about ``pivot`` (3,) RAS mm of the MR.
    ``deformation_mm`` is what a target deviates in addition, standard deviation along each axis.
    """

    mr_to_us: FloatArray = field(compare=False)
    errors: dict[str, float]
    rms: float
    unmatched: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    method: str = BEST
    covariance: FloatArray = field(default_factory=lambda: np.zeros((6, 6)), compare=False)
    pivot: FloatArray = field(default_factory=lambda: np.zeros(3), compare=False)
    deformation_mm: float = 0.0

    def expected_error(self, points: npt.ArrayLike) -> FloatArray:
        """(N,) mm: root-mean-square target registration error (TRE) to expect at ``points`` (N, 3), RAS mm of the MR.

        From the landmarks' covariances and the prior; as good as these are.
        """
        return Posterior(self.mr_to_us, self.covariance, self.pivot, self.deformation_mm).expected_error(points)


def gland_pair(mr: Gland, us: Gland) -> Pair | None:
    """The centroids of both glands as a pair, or None where one of them is empty."""
    if mr.empty or us.empty:
        return None
    # What the centroids of a same gland differ by in addition is as large in either image.
    more = CENTRE_MM**2 * np.eye(3)
    return Pair(GLAND_CENTRE, mr.centroid, us.centroid, us.centroid_covariance + more, mr.centroid_covariance + more)


def fit_landmarks(
    mr: Iterable[Landmark],
    us: Iterable[Landmark],
    method: str = BEST,
    extra: Sequence[Pair] = (),
    weights: Mapping[str, float] | None = None,
    term: Term | None = None,
    model: Model = MODEL,
) -> LandmarkFit:
    """Fit the landmarks of the MR to those of the US, matched by name, extra pairs of the user included.

    ``method`` "best": the most probable motion, given each landmark's covariance (of its detector, or `OBSERVER_MM`
    for one that a person placed), the ``extra`` pairs, a prior on the motion between the scans (``model``) and, where
    given, a further ``term`` such as that of the masks. "svd": plain least squares (Fang 2023, Arun 1987); "weighted":
    the same, each pair weighing the inverse of its variance. The latter two leave ``extra`` out.

    Landmarks with no finite position count as not placed and are left out. ``weights`` maps names to weights ≥ 0 by
    which a pair's own is multiplied; names not in it weigh 1. Raises InputError when fewer than three pairs are left
    (naming what is missing) or when they lie on one line, and for an unknown method.
    """
    if method not in METHODS:
        raise InputError(f"The fit “{method}” is not known; choose one of: {', '.join(METHODS)}.")
    mr_points, us_points = _placed(mr), _placed(us)
    names = [name for name in mr_points if name in us_points and (weights or {}).get(name, 1.0) > 0]
    if len(names) < 3:
        raise InputError(_too_few(mr_points, us_points, len(names)))
    moving = np.array([mr_points[name].position for name in names])
    fixed = np.array([us_points[name].position for name in names])
    w = np.array([(weights or {}).get(name, 1.0) for name in names])
    moving_covariances = np.array([covariance_of(mr_points[name]) for name in names])
    fixed_covariances = np.array([covariance_of(us_points[name]) for name in names])
    if method == BEST:
        svd = fit_rigid(moving, fixed, w)
        found = most_probable(
            np.array([*moving, *(pair.mr for pair in extra)]),
            np.array([*fixed, *(pair.us for pair in extra)]),
            np.array([*(moving_covariances / w[:, None, None]), *(pair.mr_covariance for pair in extra)]),
            np.array([*(fixed_covariances / w[:, None, None]), *(pair.covariance for pair in extra)]),
            model,
            starting_motions(moving, fixed, svd),
            term,
        )
    else:
        if method == WEIGHTED:
            variances = np.trace(moving_covariances + fixed_covariances, axis1=1, axis2=2) / 3
            w = w / (variances + model.deformation_mm**2)
        matrix = fit_rigid(moving, fixed, w)
        found = least_squares_posterior(matrix, moving, moving_covariances, fixed_covariances, w, model)
    errors = np.linalg.norm(apply(found.matrix, moving) - fixed, axis=1)
    rms = float(np.sqrt(np.mean(errors**2)))
    return LandmarkFit(
        mr_to_us=found.matrix,
        errors={name: float(error) for name, error in zip(names, errors, strict=True)},
        rms=rms,
        unmatched=tuple(sorted(set(mr_points) ^ set(us_points))),
        warnings=tuple(_warnings(moving, fixed, w, rms)),
        method=method,
        covariance=found.covariance,
        pivot=found.pivot,
        deformation_mm=found.deformation_mm,
    )


def covariance_of(landmark: Landmark) -> FloatArray:
    """(3, 3) mm² of where the landmark truly is. One that a person has moved keeps nothing of its detector's."""
    if landmark.state == DETECTED and landmark.covariance is not None:
        return np.asarray(landmark.covariance, dtype=np.float64) + MINIMUM_MM**2 * np.eye(3)
    return OBSERVER_MM**2 * np.eye(3)


def _placed(landmarks: Iterable[Landmark]) -> dict[str, Landmark]:
    return by_name(landmark for landmark in landmarks if np.all(np.isfinite(landmark.position)))


def _too_few(mr: Mapping[str, Landmark], us: Mapping[str, Landmark], pairs: int) -> str:
    wanted = list(dict.fromkeys([*LANDMARK_NAMES, *mr, *us]))
    missing = [
        f"{name} in the {' and the '.join(side for side, points in (('MR', mr), ('US', us)) if name not in points)}"
        for name in wanted
        if name not in mr or name not in us
    ]
    needed = f"The rigid fit needs at least three landmarks placed in both images and has {pairs}"
    if not missing:
        return f"{needed}; give more of them a weight above zero."
    return f"{needed}; missing: {', '.join(missing)}."


def _warnings(moving: FloatArray, fixed: FloatArray, weights: FloatArray, rms: float) -> list[str]:
    warnings = []
    for points, image in ((moving, "MR"), (fixed, "US")):
        first, second, _ = extents(points, weights)
        if second < COLLINEAR_RATIO * first or second < COLLINEAR_MM:
            warnings.append(
                f"The {image} landmarks lie nearly on one line ({second:.1f} mm from it, {first:.1f} mm along it): "
                "the rotation about this line is uncertain; check the landmarks or add another pair."
            )
    if rms > LARGE_FRE_MM:
        warnings.append(
            f"The landmarks of the two images disagree by {rms:.1f} mm after the fit: at least one of them is "
            "probably misplaced."
        )
    if _looks_mirrored(moving, fixed, weights, rms):
        warnings.append(
            "The landmarks of the two images fit far better when one image is mirrored: check left and right."
        )
    return warnings


def _looks_mirrored(moving: FloatArray, fixed: FloatArray, weights: FloatArray, rms: float) -> bool:
    # Only four or more points off one plane can tell; three landmarks fit their mirror image perfectly.
    if len(moving) < 4 or min(extents(moving, weights)[2], extents(fixed, weights)[2]) < COLLINEAR_MM:
        return False
    mirrored = moving * [-1.0, 1.0, 1.0]
    left = np.linalg.norm(apply(fit_rigid(mirrored, fixed, weights), mirrored) - fixed, axis=1)
    return bool(np.sqrt(np.mean(left**2)) < 0.5 * rms)
