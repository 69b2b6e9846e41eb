"""The rigid fit of named landmarks: which count, how well they agree, and what to be careful about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import LANDMARK_NAMES, FloatArray, Landmark, by_name
from LandmarkFusionLogic.rigid.fit import apply, extents, fit_rigid

COLLINEAR_RATIO = 0.2
"""Warn when the second extent of the points (root-mean-square distance from their best line) is under this fraction of
the first. The usual prostate gives about 0.5: a posterior median some 20 mm from a 40 mm line apex-bladder neck."""
COLLINEAR_MM = 3.0
"""Warn, too, when the second extent is under this distance: a landmark's own error then turns the gland freely."""
LARGE_FRE_MM = 8.0
"""Warn above this root-mean-square fiducial registration error: the two triangles are not the same one."""


@dataclass(frozen=True)
class LandmarkFit:
    """A rigid fit MR to US of landmarks matched by name.

    ``mr_to_us`` (4, 4) maps RAS mm points of the MR to points of the US. ``errors`` holds for each name the fiducial
    registration error (FRE) in mm, the distance left between the mapped MR landmark and the US landmark; ``rms`` is
    the root of their mean square. FRE says how well the points agree, not how accurate the alignment is.
    """

    mr_to_us: FloatArray = field(compare=False)
    errors: dict[str, float]
    rms: float
    unmatched: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def fit_landmarks(
    mr: Iterable[Landmark], us: Iterable[Landmark], weights: Mapping[str, float] | None = None
) -> LandmarkFit:
    """Fit the landmarks of the MR to those of the US, matched by name, extra pairs included.

    Landmarks with no finite position count as not placed and are left out. ``weights`` maps names to weights ≥ 0;
    names not in it weigh 1. Raises InputError when fewer than three pairs are left (naming what is missing) or when
    they lie on one line.
    """
    mr_points, us_points = _placed(mr), _placed(us)
    names = [name for name in mr_points if name in us_points and (weights or {}).get(name, 1.0) > 0]
    if len(names) < 3:
        raise InputError(_too_few(mr_points, us_points, len(names)))
    moving = np.array([mr_points[name].position for name in names])
    fixed = np.array([us_points[name].position for name in names])
    w = np.array([(weights or {}).get(name, 1.0) for name in names])
    matrix = fit_rigid(moving, fixed, w)
    errors = np.linalg.norm(apply(matrix, moving) - fixed, axis=1)
    rms = float(np.sqrt(np.mean(errors**2)))
    return LandmarkFit(
        mr_to_us=matrix,
        errors={name: float(error) for name, error in zip(names, errors, strict=True)},
        rms=rms,
        unmatched=tuple(sorted(set(mr_points) ^ set(us_points))),
        warnings=tuple(_warnings(moving, fixed, w, rms)),
    )


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
