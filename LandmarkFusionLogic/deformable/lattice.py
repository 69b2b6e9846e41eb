"""The grid on which two volumes are compared: cubic voxels along the fixed volume's axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume

Array = npt.NDArray[np.float32]

SPACING_MM = (1.0, 2.0)
"""Voxels as small as the fixed volume's, between these limits; the paper works at 2 mm."""
LARGEST = 4_000_000
"""Voxels of a grid at most; a larger one gets larger voxels."""
MULTIPLE = 4
"""Sides are multiples of this, so that a grid can be halved twice."""


@dataclass(frozen=True)
class Lattice:
    """A grid of ``shape`` (K, J, I) with cubic voxels of ``spacing`` mm; ``ijk_to_ras`` (4, 4) as a volume's."""

    shape: tuple[int, int, int]
    spacing: float
    ijk_to_ras: FloatArray

    def to_ras(self, places: npt.NDArray[np.floating]) -> FloatArray:
        """RAS mm (N, 3) of ``places`` (N, 3), indices k, j, i, fractions allowed."""
        index = np.asarray(places, dtype=np.float64)[:, ::-1]
        return index @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]


def make_lattice(fixed: Volume, region: Sequence[float] | None = None) -> Lattice:
    """The grid over ``fixed``, or over the part of it in ``region``: [R0, R1, A0, A1, S0, S1], RAS mm.

    Raises InputError for a region that is none, or that holds nothing of the volume.
    """
    low, high = np.zeros(3), np.array(fixed.shape_ijk, dtype=np.float64) - 1
    if region is not None:
        low, high = _cut(fixed, region, low, high)
    spacing = float(np.clip(np.prod(fixed.spacing) ** (1 / 3), *SPACING_MM))
    extent = (high - low + 1) * fixed.spacing
    spacing = max(spacing, float((np.prod(extent) / LARGEST) ** (1 / 3)))
    counts = np.maximum(np.ceil(extent / spacing / MULTIPLE).astype(int), 2) * MULTIPLE
    affine = np.eye(4)
    affine[:3, :3] = fixed.ijk_to_ras[:3, :3] / fixed.spacing * spacing
    # The first voxels share a corner: where the sides agree too, nothing is interpolated.
    first = np.round(low) - 0.5 + 0.5 * spacing / fixed.spacing
    affine[:3, 3] = fixed.ijk_to_ras[:3, :3] @ first + fixed.ijk_to_ras[:3, 3]
    i, j, k = (int(n) for n in counts)
    return Lattice((k, j, i), spacing, affine)


def _cut(fixed: Volume, region: Sequence[float], low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    bounds = np.asarray(region, dtype=np.float64)
    if bounds.shape != (6,) or not np.isfinite(bounds).all() or np.any(bounds[1::2] <= bounds[::2]):
        raise InputError("The region needs six finite numbers, each axis' lower bound before its upper one.")
    corners = np.array(np.meshgrid(*bounds.reshape(3, 2))).reshape(3, -1).T
    back = np.linalg.inv(fixed.ijk_to_ras)
    index = corners @ back[:3, :3].T + back[:3, 3]
    low, high = np.maximum(index.min(axis=0), low), np.minimum(index.max(axis=0), high)
    if np.any(high - low < 1):
        raise InputError("The region lies outside the fixed volume; place it over the anatomy.")
    return low, high


def smoothed(volume: Volume, spacing: float) -> Array:
    """The array of ``volume``, smoothed so far that sampling it every ``spacing`` mm misses nothing between."""
    ratio = spacing / volume.spacing[::-1]
    sigma = 0.5 * np.sqrt(np.maximum(ratio**2 - 1, 0))
    values = np.asarray(volume.array, dtype=np.float32)
    return np.asarray(ndimage.gaussian_filter(values, sigma, truncate=3.0, mode="nearest"), dtype=np.float32)


def sample(
    array: npt.NDArray[np.floating],
    lattice_to_array: FloatArray,
    shape: tuple[int, ...],
    shift: Array | None = None,
    origin: float = 0.0,
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Values of ``array`` on a lattice of ``shape`` (K, J, I), linear, and where the lattice lies inside of it.

    ``lattice_to_array`` (4, 4) maps lattice indices (i, j, k) to array indices; ``shift`` (3, K, J, I), lattice voxels
    along k, j, i, is added to the lattice index first, as is ``origin``. Outside, the nearest value stands.
    """
    result = np.empty(shape, dtype=np.float32)
    inside = np.empty(shape, dtype=bool)
    turned = lattice_to_array[:3, :3][::-1, ::-1]
    offset = lattice_to_array[:3, 3][::-1]
    j, i = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    limits = np.array(array.shape)[:, None] - 0.5
    for k in range(shape[0]):
        index = np.stack([np.full(j.shape, k), j, i]).astype(np.float64) + origin
        if shift is not None:
            index += shift[:, k]
        places = turned @ index.reshape(3, -1) + offset[:, None]
        ndimage.map_coordinates(array, places, order=1, mode="nearest", output=result[k].reshape(-1))
        inside[k] = np.all((places > -0.5) & (places < limits), axis=0).reshape(inside[k].shape)
    return result, inside


def halved(array: Array) -> Array:
    """Means over blocks of 2³ of the last three axes; an odd rest is left out."""
    *front, k, j, i = array.shape
    cut = array[..., : k // 2 * 2, : j // 2 * 2, : i // 2 * 2]
    return np.asarray(cut.reshape(*front, k // 2, 2, j // 2, 2, i // 2, 2).mean(axis=(-5, -3, -1)), dtype=np.float32)
