"""Two images of one place in one: a checkerboard, and a difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.imageio import resample
from LandmarkFusionLogic.volume import Volume

TILES = 8
"""Fields of the checkerboard along the longest side."""
SCALE = 1000.0
"""What the brightest part of an image becomes."""


def checkerboard(fixed: Volume, warped: Volume, tiles: int = TILES) -> Volume:
    """Fields of ``fixed`` and ``warped`` in turn, each image stretched to 0..1000; int16 on the grid of ``fixed``."""
    edge = max(np.array(fixed.shape_ijk) * fixed.spacing) / tiles
    fields = [
        np.floor(np.arange(count) * step / edge).astype(int)
        for count, step in zip(fixed.shape_ijk, fixed.spacing, strict=True)
    ]
    odd = (fields[2][:, None, None] + fields[1][None, :, None] + fields[0][None, None, :]) % 2 == 1
    first, second = _stretched(fixed), _stretched(_on(warped, fixed))
    return Volume(np.where(odd, second, first).astype(np.int16), fixed.ijk_to_ras)


def difference(fixed: Volume, warped: Volume) -> Volume:
    """``fixed`` less ``warped``, each stretched to 0..1000; int16 on the grid of ``fixed``."""
    found = _stretched(fixed) - _stretched(_on(warped, fixed))
    return Volume(found.astype(np.int16), fixed.ijk_to_ras)


def _on(volume: Volume, grid: Volume) -> Volume:
    same = volume.array.shape == grid.array.shape and np.allclose(volume.ijk_to_ras, grid.ijk_to_ras, atol=1e-4)
    return volume if same else resample(volume, grid, np.eye(4))


def _stretched(volume: Volume) -> npt.NDArray[np.float32]:
    """(K, J, I) float32: the 1st to the 99th percentile of the values as 0..1000."""
    values = np.asarray(volume.array, dtype=np.float32)
    low, high = np.percentile(values, (1.0, 99.0))
    return np.asarray(np.clip((values - low) / max(float(high - low), 1e-6), 0.0, 1.0) * SCALE, dtype=np.float32)
