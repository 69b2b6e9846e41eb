"""The pose of a CT from points named in CT and X-ray: perspective-n-point.

A linear solution first where six points or more are not coplanar (direct linear transform), else several turns about
the front view; then Levenberg-Marquardt on the distances on the detector, and the best that lies before the source.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import REFERENCE, Pose, pose_from_matrix

FloatArray = npt.NDArray[np.float64]

FEWEST = 4
SMALLEST_EXTENT_MM = 10.0
"""Points that lie within less of a line say nothing about the turn around it."""
UNEXPLAINED_MM = 25.0
"""Points that are this far off on the detector, on average, have been mixed up."""
_TURNS = [(x, y, z) for x in (-40, 0, 40) for y in (-90, -40, 0, 40, 90, 180) for z in (-40, 0, 40)]
"""Degrees about the front view from which coplanar or few points are tried."""


def solve(ct_points: npt.ArrayLike, pixels: npt.ArrayLike, geometry: Geometry, isocenter: npt.ArrayLike) -> Pose:
    """The pose at which ``ct_points`` (N, 3), RAS mm, are seen at ``pixels`` (N, 2), row and column.

    ``isocenter`` (3,): the CT's center, RAS mm. Equal places in both lists belong together.
    Raises InputError for fewer than four pairs, values that are not finite, points that lie on a line, and pairs that
    no pose explains.
    """
    points, places = _checked(ct_points, pixels)
    middle = points.mean(axis=0)
    detector = geometry.on_detector(places)
    best: tuple[float, FloatArray] | None = None
    for start in _starts(points - middle, detector, geometry):
        found = least_squares(_residuals, start, args=(points - middle, detector, geometry.sdd), x_scale=_SCALE)
        if best is None or found.cost < best[0]:
            best = float(found.cost), found.x
    assert best is not None
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(best[1][:3]).as_matrix()
    matrix[:3, 3] = best[1][3:] - matrix[:3, :3] @ middle
    behind = np.any(points @ matrix[2, :3] + matrix[2, 3] <= 0)
    if behind or distances(points, places, geometry, matrix).mean() > UNEXPLAINED_MM:
        raise InputError("No pose explains the points; check that each is marked at the same place in CT and X-ray.")
    return pose_from_matrix(matrix, isocenter, geometry)


def distances(
    ct_points: npt.ArrayLike, pixels: npt.ArrayLike, geometry: Geometry, ct_to_camera: FloatArray
) -> FloatArray:
    """(N,) mm on the detector between ``pixels`` (N, 2) and where ``ct_points`` (N, 3) are seen."""
    points = np.asarray(ct_points, dtype=np.float64).reshape(-1, 3)
    shown = geometry.on_detector(geometry.to_pixels(points @ ct_to_camera[:3, :3].T + ct_to_camera[:3, 3]))
    return np.asarray(np.linalg.norm(shown - geometry.on_detector(pixels), axis=1))


_SCALE = np.array([0.1, 0.1, 0.1, 10.0, 10.0, 50.0])


def _checked(ct_points: npt.ArrayLike, pixels: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    points, places = (np.asarray(values, dtype=np.float64) for values in (ct_points, pixels))
    if len(points) != len(places):
        raise InputError("CT and X-ray need the same number of points.")
    if len(points) < FEWEST:
        raise InputError(f"At least {FEWEST} points must be marked in CT and X-ray; there are {len(points)}.")
    if points.shape != (len(points), 3) or places.shape != (len(places), 2):
        raise InputError("A point needs three coordinates in the CT and two, row and column, in the X-ray.")
    if not (np.all(np.isfinite(points)) and np.all(np.isfinite(places))):
        raise InputError("The coordinates of the points must be finite numbers.")
    extents = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) / np.sqrt(len(points))
    if extents[1] < SMALLEST_EXTENT_MM / 2:
        raise InputError("The points lie on a line; mark points that spread over the image in two directions.")
    spread = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)
    if spread[1] < 1e-3 * max(float(spread[0]), 1.0):
        raise InputError("The points lie on a line in the X-ray; mark points that spread in two directions.")
    return points, places


def _residuals(pose: FloatArray, points: FloatArray, detector: FloatArray, sdd: float) -> FloatArray:
    """Distances on the detector in mm. ``pose``: rotation vector, and where the points' center is, camera mm."""
    seen = Rotation.from_rotvec(pose[:3]).apply(points) + pose[3:]
    depth = np.maximum(seen[:, 2], 1.0)
    # A point behind the source would be seen upside down: it costs what it lies behind.
    behind = np.minimum(seen[:, 2] - 1.0, 0.0)
    return np.asarray(np.concatenate([((seen[:, :2] / depth[:, None]) * sdd - detector[:, :2]).ravel(), 100 * behind]))


def _starts(points: FloatArray, detector: FloatArray, geometry: Geometry) -> Sequence[FloatArray]:
    linear = _linear(points, detector, geometry.sdd)
    if linear is not None:
        return [linear]
    middle = detector.mean(axis=0) * (geometry.isocenter_distance / geometry.sdd)
    ranked = []
    for turn in _TURNS:
        rotation = Rotation.from_euler("XYZ", turn, degrees=True) * Rotation.from_matrix(REFERENCE)
        start = np.concatenate([rotation.as_rotvec(), middle])
        ranked.append((float((_residuals(start, points, detector, geometry.sdd) ** 2).sum()), start))
    ranked.sort(key=lambda pair: pair[0])
    return [start for _, start in ranked[:12]]


def _linear(points: FloatArray, detector: FloatArray, sdd: float) -> FloatArray | None:
    """The pose by direct linear transform, or None where points are too few or coplanar."""
    extents = np.linalg.svd(points, compute_uv=False) / np.sqrt(len(points))
    if len(points) < 6 or extents[2] < SMALLEST_EXTENT_MM / 2:
        return None
    size = float(np.sqrt((points**2).sum(axis=1).mean()))
    known, rays = np.c_[points / size, np.ones(len(points))], detector / sdd
    zeros = np.zeros_like(known)
    equations = np.concatenate(
        [
            np.hstack([known, zeros, -rays[:, :1] * known]),
            np.hstack([zeros, known, -rays[:, 1:2] * known]),
        ]
    )
    solution = np.linalg.svd(equations)[2][-1].reshape(3, 4)
    if np.linalg.det(solution[:, :3]) < 0:
        solution = -solution
    left, values, right = np.linalg.svd(solution[:, :3])
    rotation = left @ right
    shift = solution[:, 3] / values.mean() * size
    if shift[2] <= 0:
        return None
    return np.concatenate([Rotation.from_matrix(rotation).as_rotvec(), shift])
