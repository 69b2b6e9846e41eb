"""MIND-SSC: what a place looks like, told by how its neighbors resemble each other (Heinrich 2013).

Twelve values a voxel, one for each pair of the six neighbors that lie √2 apart. They do not depend on which gray level
shows which tissue, so that CT with and without contrast, MR and ultrasound can be compared.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float32]

_NEIGHBORS = tuple(sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (-1, 1))
PAIRS = tuple(
    (a, b) for a, b in itertools.combinations(range(6), 2) if int(((_NEIGHBORS[a] - _NEIGHBORS[b]) ** 2).sum()) == 2
)
"""Indices of the twelve pairs of neighbors."""
CHANNELS = len(PAIRS)
FLOOR = 1e-3
"""The local variance is taken to be at least this share of its mean: even air and padding have finite descriptors."""


def mind_ssc(image: npt.NDArray[np.floating], dilation: int = 1, patch: int = 3) -> Array:
    """The descriptors (12, K, J, I), 0..1, of ``image`` (K, J, I) with voxels of equal sides.

    ``dilation``: distance of the neighbors in voxels. ``patch``: side in voxels of the box over which squared
    differences are averaged. In every voxel the largest channel is 1.
    """
    margin = dilation
    padded = np.pad(np.asarray(image, dtype=np.float32), margin, mode="edge")
    shape = image.shape

    def moved(neighbor: npt.NDArray[np.int_]) -> Array:
        start = margin + dilation * neighbor
        return padded[tuple(slice(int(s), int(s) + n) for s, n in zip(start, shape, strict=True))]

    seen = [moved(neighbor) for neighbor in _NEIGHBORS]
    result = np.empty((CHANNELS, *shape), dtype=np.float32)
    for channel, (a, b) in enumerate(PAIRS):
        difference = seen[a] - seen[b]
        ndimage.uniform_filter(difference * difference, patch, output=result[channel], mode="nearest")
    result -= result.min(axis=0)
    variance = result.mean(axis=0)
    average = float(variance.mean())
    np.clip(variance, max(average * FLOOR, 1e-12), max(average, 1e-12) / FLOOR, out=variance)
    result /= -variance
    np.exp(result, out=result)
    return result
