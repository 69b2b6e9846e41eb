"""A scalar volume with its place in the patient: array, affine, and what is derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """A scalar image in the patient's world.

    ``array`` is (K, J, I) as numpy and SimpleITK give it; ``ijk_to_ras`` is the (4, 4) float64 affine from voxel indices
    (i, j, k) to world RAS mm. Any orientation is allowed, oblique and left-handed ones too.
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
