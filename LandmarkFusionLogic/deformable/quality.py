"""How good a registration is: similarity before and after, folding, errors of target points."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.preparation import body
from LandmarkFusionLogic.deformable.transforms import Deformation, linear_deformation
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume

_BINS = 48
_NOTICEABLE_MM = 0.1


@dataclass(frozen=True)
class Assessment:
    """What a registration did: volumes on the fixed grid, and figures before it and after it.

    ``before_mm`` and ``after_mm`` (N,) are the distances of target points, those of the pairs that guided it are
    ``guiding_before_mm`` and ``guiding_after_mm``. ``folded`` is a share of the voxels of the fixed body. ``warnings``
    say in plain words what it made worse.
    """

    warped: Volume
    jacobian: Volume
    jacobian_min: float
    jacobian_max: float
    folded: float
    similarity_before: float
    similarity_after: float
    before_mm: FloatArray = field(compare=False)
    after_mm: FloatArray = field(compare=False)
    guiding_before_mm: FloatArray = field(compare=False)
    guiding_after_mm: FloatArray = field(compare=False)
    warnings: tuple[str, ...] = ()


def assess(
    fixed: Volume,
    moving: Volume,
    deformation: Deformation,
    initial: FloatArray | None = None,
    targets: Correspondences | None = None,
    guiding: Correspondences | None = None,
    inside: npt.NDArray[np.bool_] | None = None,
) -> Assessment:
    """Compare ``deformation`` with the start, which is ``initial`` (4, 4; moving to fixed, RAS mm) or nothing.

    ``fixed`` is the part of the fixed volume that was registered; figures are taken in its body, or ``inside`` (K, J,
    I). ``targets`` did not guide the registration, ``guiding`` did.
    """
    start = linear_deformation(np.eye(4) if initial is None else initial)
    within = body(fixed) if inside is None else inside
    warped, jacobian = deformation.warp(moving, fixed), deformation.jacobian(fixed)
    least, greatest, folded = folding(jacobian, within)
    before, after = similarity(fixed, start.warp(moving, fixed), within), similarity(fixed, warped, within)
    target_mm, guiding_mm = (
        [_errors(transform, pairs) for transform in (start, deformation)] for pairs in (targets, guiding)
    )
    warnings = []
    if folded > 0:
        warnings.append(
            f"The transform folds in {folded:.2%} of the body (Jacobian down to {least:.2f}): do not trust it there; "
            "remove doubtful landmarks or choose the preset “fast”."
        )
    if after < before:
        warnings.append(
            f"The volumes are less alike after the registration than before (similarity {before:.3f} → {after:.3f}): "
            "look before you use it; start from an initial transform, or mask what both volumes show."
        )
    for name, (was, now) in (("target points", target_mm), ("landmarks that guided it", guiding_mm)):
        if len(was) and now.mean() > was.mean() + _NOTICEABLE_MM:
            warnings.append(
                f"The registration made the {name} worse, from {was.mean():.1f} to {now.mean():.1f} mm on average: "
                "do not use it without a look at both volumes."
            )
    return Assessment(
        warped=warped,
        jacobian=jacobian,
        jacobian_min=least,
        jacobian_max=greatest,
        folded=folded,
        similarity_before=before,
        similarity_after=after,
        before_mm=target_mm[0],
        after_mm=target_mm[1],
        guiding_before_mm=guiding_mm[0],
        guiding_after_mm=guiding_mm[1],
        warnings=tuple(warnings),
    )


def similarity(fixed: Volume, warped: Volume, inside: npt.NDArray[np.bool_]) -> float:
    """Normalized mutual information of two volumes on one grid in the voxels ``inside`` (K, J, I): 1 none, 2 the same.

    (H(a) + H(b)) / H(a, b), by histogram; blind to what the gray values of either modality are.
    """
    counts, _, _ = np.histogram2d(_ranked(fixed.array[inside]), _ranked(warped.array[inside]), bins=_BINS)
    joint = counts / counts.sum()
    together = _entropy(joint)
    return float((_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / together) if together > 0 else 1.0


def folding(jacobian: Volume, inside: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Least and greatest determinant, and the share of the voxels ``inside`` (K, J, I) where it is not positive."""
    values = jacobian.array[inside]
    return float(values.min()), float(values.max()), float(np.mean(np.asarray(values, dtype=np.float64) <= 0))


def target_errors(deformation: Deformation, fixed: FloatArray, moving: FloatArray) -> FloatArray:
    """(N,) distance in mm between where ``fixed`` points are led in the moving volume and their ``moving`` points."""
    return np.asarray(np.linalg.norm(deformation.to_moving(fixed) - moving, axis=1), dtype=np.float64)


def _errors(deformation: Deformation, pairs: Correspondences | None) -> FloatArray:
    return np.zeros(0) if pairs is None else target_errors(deformation, pairs.fixed, pairs.moving)


def _ranked(values: npt.NDArray[np.generic]) -> FloatArray:
    """The values, with the outermost percent at either end brought in, so that few bright voxels fill no bins."""
    numbers = values.astype(np.float64)
    low, high = np.percentile(numbers, (1, 99))
    return np.asarray(np.clip(numbers, low, high), dtype=np.float64)


def _entropy(shares: FloatArray) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
