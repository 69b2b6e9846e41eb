"""A scalar volume with its place in the patient: array, affine, and what is derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError

FloatArray = npt.NDArray[np.float64]

SPACING_RANGE_MM = (0.02, 15.0)
"""Voxel sizes outside this range are taken for a wrong unit or a broken header."""
EXTENT_RANGE_MM = (15.0, 1500.0)
"""A side of the volume outside this range cannot hold a prostate, or no scanner made it."""


class ConstantError(InputError):
    """Every voxel of a volume has the same ``value``, which tells an empty mask from a full one."""

    value: float = 0.0


@dataclass(frozen=True)
class Volume:
    """A scalar image in the patient's world.

    ``array`` is (K, J, I) as numpy and SimpleITK give it; ``ijk_to_ras`` is the (4, 4) float64 affine from voxel
    indices (i, j, k) to world RAS mm. Any orientation is allowed, oblique and left-handed ones too.
    """

    array: npt.NDArray[np.generic]
    ijk_to_ras: FloatArray

    @cached_property
    def spacing(self) -> FloatArray:
        """(3,) voxel size along i, j, k in mm."""
        return np.asarray(np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0), dtype=np.float64)

    @cached_property
    def shape_ijk(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        k, j, i = self.array.shape
        return i, j, k

    @cached_property
    def centre(self) -> FloatArray:
        """(3,) RAS mm of the volume's centre."""
        index = (np.array(self.shape_ijk, dtype=np.float64) - 1) / 2
        return np.asarray(self.ijk_to_ras[:3, :3] @ index + self.ijk_to_ras[:3, 3], dtype=np.float64)


def check_volume(array: npt.NDArray[np.generic], ijk_to_ras: FloatArray, what: str = "volume") -> Volume:
    """The volume that ``array`` (K, J, I) and ``ijk_to_ras`` (4, 4) make, once both have been found usable.

    ``what`` names the volume in messages, for instance "MR volume". Nothing is changed or copied.
    Raises InputError, one sentence, for anything no prostate can be found in: empty, not three-dimensional, a single
    slice, colour, constant, NaN or infinite values, absurd voxel sizes or extents, axes that are not at right angles.
    """
    _check_shape(array, what)
    affine = np.asarray(ijk_to_ras, dtype=np.float64)
    _check_geometry(affine, array.shape, what)
    _check_values(array, what)
    return Volume(array, affine)


def _check_shape(array: npt.NDArray[np.generic], what: str) -> None:
    if array.size == 0:
        raise InputError(f"The {what} holds no voxels; choose another volume.")
    if array.ndim == 4 and array.shape[-1] in (3, 4) and array.dtype == np.uint8:
        raise InputError(f"The {what} is a color image; choose a scalar (gray-level) volume.")
    if array.ndim > 3:
        raise InputError(
            f"The {what} has {array.ndim} dimensions (a time series or several values per voxel); "
            "choose a single 3D scalar volume."
        )
    if array.ndim < 3:
        raise InputError(f"The {what} is a {array.ndim}D image; choose a 3D volume.")
    if min(array.shape) == 1:
        raise InputError(
            f"The {what} has only one slice; choose the whole 3D volume (for DICOM, the folder of the series)."
        )
    if array.dtype.kind not in "buif":
        raise InputError(f"The {what} holds values that are not real numbers; choose a scalar (gray-level) volume.")


def _check_geometry(affine: FloatArray, shape: tuple[int, ...], what: str) -> None:
    if affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
        raise InputError(f"The {what} has no usable position in space; export it again with its geometry.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    text = " × ".join(f"{size:.4g}" for size in spacing)
    low, high = SPACING_RANGE_MM
    if np.any(spacing < low) or np.any(spacing > high):
        raise InputError(
            f"The {what} has an impossible voxel size of {text} mm (expected {low:g} to {high:g} mm); "
            "correct its spacing."
        )
    extent = spacing * np.array(shape[::-1])
    low, high = EXTENT_RANGE_MM
    if np.any(extent < low) or np.any(extent > high):
        text = " × ".join(f"{size:.4g}" for size in extent)
        raise InputError(
            f"The {what} measures {text} mm, which cannot show a prostate (expected {low:g} to {high:g} mm a side); "
            "choose another volume or correct its spacing."
        )
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > 1e-3:
        raise InputError(f"The axes of the {what} are not at right angles (it is sheared); resample it first.")


def _check_values(array: npt.NDArray[np.generic], what: str) -> None:
    # min and max carry NaN and infinity along, so that one pass over the voxels is enough and nothing is copied.
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"The {what} contains NaN or infinite values; replace them by numbers first.")
    if low == high:
        error = ConstantError(f"Every voxel of the {what} has the same value; choose a volume that shows something.")
        error.value = low
        raise error
