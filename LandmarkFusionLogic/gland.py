"""The gland in one image: a probability for each voxel, and the mask, centroid and volume that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.volume import FloatArray, Volume

MIN_GLAND_ML = 5.0
"""A recognised gland smaller than this is none."""
OBSERVER_MM = 1.0
"""How well the centroid of a mask is known at best, standard deviation along each axis: two observers differ by it."""
SURROUNDINGS_MM = 15.0
"""How much of a mask is kept around the gland: whoever asks what surrounds it looks no farther."""
LUMP_MM3 = 1000.0
"""Errors at the border of a mask come in lumps of about this volume, which are independent of each other."""


@dataclass(frozen=True)
class Gland:
    """``probability`` is a volume of 0..1; what is at least ``threshold``, in one piece, is the gland.

    ``spread`` (3, 3) mm² is the covariance of the centroid where whoever made the mask knows it.
    """

    probability: Volume
    threshold: float = 0.5
    spread: FloatArray | None = field(default=None, compare=False)

    @cached_property
    def _inside(self) -> npt.NDArray[np.bool_]:
        """(K, J, I): the largest connected piece above the threshold."""
        above = np.asarray(self.probability.array, dtype=np.float32) >= self.threshold
        pieces, count = label(above)
        if count < 2:
            return np.asarray(above, dtype=bool)
        return np.asarray(pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])), dtype=bool)

    def mask(self) -> Volume:
        """1 inside of the gland, 0 outside, uint8, on the grid of ``probability``."""
        return Volume(self._inside.astype(np.uint8), self.probability.ijk_to_ras)

    @property
    def empty(self) -> bool:
        """Whether no voxel belongs to the gland."""
        return not bool(self._inside.any())

    @cached_property
    def millilitres(self) -> float:
        """Volume of the mask."""
        return float(self._inside.sum() * abs(np.linalg.det(self.probability.ijk_to_ras[:3, :3])) / 1000)

    @cached_property
    def _places(self) -> FloatArray:
        """(N, 3) RAS mm of the mask's voxels."""
        index = np.argwhere(self._inside)[:, ::-1].astype(np.float64)
        affine = self.probability.ijk_to_ras
        return np.asarray(index @ affine[:3, :3].T + affine[:3, 3])

    @cached_property
    def centroid(self) -> FloatArray:
        """(3,) RAS mm, middle of the mask; NaN where it is empty."""
        return np.full(3, np.nan) if self.empty else np.asarray(self._places.mean(axis=0))

    @cached_property
    def centroid_covariance(self) -> FloatArray:
        """(3, 3) mm²: ``spread`` where it is known, else from how sure the voxels are; never below an observer's."""
        floor = OBSERVER_MM**2 * np.eye(3)
        if self.spread is not None:
            return np.asarray(self.spread + floor)
        if self.empty:
            return np.asarray(1e4 * np.eye(3))
        affine = self.probability.ijk_to_ras
        p = np.clip(np.asarray(self.probability.array, dtype=np.float64), 0, 1)
        doubt = p * (1 - p)
        index = np.argwhere(doubt > 1e-3)[:, ::-1].astype(np.float64)
        away = index @ affine[:3, :3].T + affine[:3, 3] - self.centroid
        weight = doubt[doubt > 1e-3]
        voxel = abs(np.linalg.det(affine[:3, :3]))
        scatter = (away * weight[:, None]).T @ away * voxel * LUMP_MM3 / (1000 * self.millilitres) ** 2
        return np.asarray(scatter + floor)


def gland_of_mask(mask: Volume, what: str = "gland mask") -> Gland:
    """The gland that a mask (0 outside, anything else inside) shows; ``what`` names it in messages.

    Only its surroundings are kept: label maps can be many times larger than the gland.
    Raises InputError for an empty mask.
    """
    inside = np.asarray(mask.array) > 0
    places = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not len(places[0]):
        raise InputError(f"The {what} is empty; choose another one.")
    margin = np.ceil(SURROUNDINGS_MM / mask.spacing).astype(int)[::-1]
    low = [max(0, int(place[0] - more)) for place, more in zip(places, margin, strict=True)]
    high = [int(place[-1] + more + 1) for place, more in zip(places, margin, strict=True)]
    near = inside[low[0] : high[0], low[1] : high[1], low[2] : high[2]].astype(np.float32)
    affine = mask.ijk_to_ras.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(low[::-1], dtype=np.float64)
    return Gland(Volume(near, affine))
