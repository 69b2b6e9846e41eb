"""How good a rigid alignment of two gland masks is: the measures of Fang 2023, section 3, and the surface distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.rigid.fit import FloatArray, apply, invert
from LandmarkFusionLogic.rigid.surfaces import Surface, closest_points
from LandmarkFusionLogic.volume import Volume


def surface_registration_error(points: npt.ArrayLike, truth: npt.ArrayLike, found: npt.ArrayLike) -> float:
    """SRE, mm, Fang eq. 6: the mean of ‖T_gt(S) − T_pred(S)‖ over the surface points S of the MR.

    ``points`` (N, 3) RAS mm; ``truth`` and ``found`` (4, 4), MR to US.
    """
    return float(np.linalg.norm(apply(truth, points) - apply(found, points), axis=-1).mean())


def residual_rotation(truth: npt.ArrayLike, found: npt.ArrayLike) -> float:
    """Angle of R_gt R_pred⁻¹ in degrees, 0 to 180: the rotation that is left for whatever registers next.

    ``truth`` and ``found`` are (4, 4), MR to US.
    """
    first, second = np.asarray(truth, dtype=np.float64), np.asarray(found, dtype=np.float64)
    left = first[:3, :3] @ second[:3, :3].T
    # Sine and cosine together are exact for small and for large angles.
    twist = np.array([left[2, 1] - left[1, 2], left[0, 2] - left[2, 0], left[1, 0] - left[0, 1]])
    return float(np.degrees(np.arctan2(np.linalg.norm(twist) / 2, (np.trace(left) - 1) / 2)))


def dice(mr_mask: Volume, us_mask: Volume, mr_to_us: npt.ArrayLike) -> float:
    """Dice of the US mask with the MR mask that ``mr_to_us`` (4, 4) has moved onto it; masks are 0 outside.

    The overlap is counted on the voxels of the US, the moved MR mask interpolated linearly; the volume of each mask is
    that of its own voxels, so that an MR gland that reaches out of the US volume counts in full. Raises InputError
    where a mask is empty.
    """
    inside = np.argwhere(np.asarray(us_mask.array) > 0)[:, ::-1]
    count = int(np.count_nonzero(np.asarray(mr_mask.array) > 0))
    if len(inside) == 0 or count == 0:
        raise InputError("The gland mask is empty; choose another mask.")
    to_mr = np.linalg.inv(mr_mask.ijk_to_ras) @ invert(mr_to_us) @ us_mask.ijk_to_ras
    index = apply(to_mr, inside)[:, ::-1].T
    values = (np.asarray(mr_mask.array) > 0).astype(np.float32)
    overlap = np.count_nonzero(map_coordinates(values, index, order=1, mode="constant") >= 0.5)
    us_voxel = float(np.prod(us_mask.spacing))
    total = len(inside) * us_voxel + count * float(np.prod(mr_mask.spacing))
    return float(2 * overlap * us_voxel / total)


def centroid(mask: Volume) -> FloatArray:
    """(3,) RAS mm: the centre of gravity of what is above 0 in ``mask``. Raises InputError where it is empty."""
    inside = np.argwhere(np.asarray(mask.array) > 0)[:, ::-1]
    if len(inside) == 0:
        raise InputError("The gland mask is empty; choose another mask.")
    return apply(mask.ijk_to_ras, inside.mean(axis=0))


def shift(moving: npt.ArrayLike, fixed: npt.ArrayLike) -> FloatArray:
    """(4, 4): the translation that takes the point ``moving`` (3,) to ``fixed`` (3,), RAS mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = np.asarray(fixed, dtype=np.float64) - np.asarray(moving, dtype=np.float64)
    return matrix


def true_motion(mr: Surface, us: Surface, start: npt.ArrayLike) -> FloatArray:
    """T_gt (4, 4), MR to US: iterative closest points between the prostate surfaces (Fang 2023), from ``start``."""
    return closest_points(mr, us, start)
