"""How alike the two images look in and around the gland, by MIND: what judges a refinement, and what matches guide it.

Both are computed on a grid of cubic voxels round the gland, aligned with RAS, in the frame of the fixed volume.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from LandmarkFusionLogic.deformable.lattice import Array, smoothed
from LandmarkFusionLogic.deformable.mind import mind_ssc
from LandmarkFusionLogic.deformable.refinement.borders import brought_by
from LandmarkFusionLogic.deformable.refinement.motion import Motion
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

GRID_MM = 2.0
DILATIONS = (1, 2)
"""Distances of the neighbors that are compared, in voxels: fine structure and coarser."""
FEWEST = 500
"""Voxels that both images must show for them to be compared."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Surroundings:
    """Both images near the gland: the grid ``places`` (K·J·I, 3) RAS mm, its ``shape``; ``near`` (K, J, I) counts.

    ``fixed`` is the fixed image on the grid, ``fixed_shown`` where it is; ``moving`` the brought volume, smoothed.
    """

    places: FloatArray = field(compare=False)
    shape: tuple[int, int, int]
    near: Mask = field(compare=False)
    fixed: Array = field(compare=False)
    fixed_shown: Mask = field(compare=False)
    moving: Volume = field(compare=False)

    def warped(self, motion: Motion) -> tuple[Array, Mask]:
        """The moving image on the grid, seen through ``motion``, and where there is any."""
        return _read(self.moving, motion.forward(self.places), self.shape)

    def difference(self, motion: Motion, also: Motion | None = None) -> float:
        """Mean squared difference of the descriptors, 0 alike; NaN where the images have too little in common.

        Only voxels are counted that both images show under ``motion``, and under ``also``: so two can be compared.
        """
        image, seen = self.warped(motion)
        counted = self.near & self.fixed_shown & seen
        if also is not None:
            counted &= self.warped(also)[1]
        if int(counted.sum()) < FEWEST:
            return float("nan")
        parts = []
        for dilation in DILATIONS:
            apart = mind_ssc(self.fixed, dilation) - mind_ssc(image, dilation)
            parts.append(float(np.square(apart).mean(axis=0)[counted].mean()))
        return float(np.mean(parts))


def surroundings(
    fixed: Volume,
    moving: Volume,
    initial: FloatArray,
    middle: FloatArray,
    radius_mm: FloatArray | float,
    near: Volume | None,
) -> Surroundings:
    """Both images in the box ``middle`` (3,) ± ``radius_mm``, of which ``near`` counts (0 outside, any grid)."""
    half = np.broadcast_to(np.asarray(radius_mm, dtype=np.float64), (3,))
    count = 2 * np.ceil(half / GRID_MM).astype(int) + 1
    affine = np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])
    affine[:3, 3] = middle - GRID_MM * (count - 1) / 2
    i, j, k = (int(n) for n in count)
    shape = (k, j, i)
    places = apply(affine, np.argwhere(np.ones(shape, dtype=bool))[:, ::-1])
    image, fixed_shown = _read(Volume(smoothed(fixed, GRID_MM), fixed.ijk_to_ras), places, shape)
    if near is None:
        counts = np.ones(shape, dtype=bool)
    else:
        values = Volume(np.asarray(np.asarray(near.array) > 0, dtype=np.float32), near.ijk_to_ras)
        read, inside = _read(values, places, shape)
        counts = inside & (read >= 0.5)
    brought = brought_by(Volume(smoothed(moving, GRID_MM), moving.ijk_to_ras), initial)
    return Surroundings(places, shape, counts, image, fixed_shown, brought)


def _read(volume: Volume, places: FloatArray, shape: tuple[int, int, int]) -> tuple[Array, Mask]:
    index = apply(np.linalg.inv(volume.ijk_to_ras), places)[:, ::-1].T
    limits = np.array(volume.array.shape)[:, None] - 0.5
    inside = np.all((index > -0.5) & (index < limits), axis=0)
    values = ndimage.map_coordinates(np.asarray(volume.array, dtype=np.float32), index, order=1, mode="nearest")
    return np.asarray(values, dtype=np.float32).reshape(shape), inside.reshape(shape)
