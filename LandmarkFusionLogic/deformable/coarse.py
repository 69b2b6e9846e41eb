"""The large displacements: blocks of one image looked for in the other, neighbors agreeing with each other.

A coarse grid of blocks, every displacement of a window tried for each, and the cheapest one chosen while it is drawn
towards its neighbors' mean more and more (coupled convex optimization, after Heinrich 2014).
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float32]

COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""How much a squared voxel of disagreement with the neighbors costs, round by round, in units of the mean cost."""


def displacements(reach: int) -> npt.NDArray[np.int_]:
    """(D, 3) all steps k, j, i of at most ``reach`` voxels along each axis."""
    return np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))


def block_costs(fixed: Array, moving: Array, steps: npt.NDArray[np.int_], stride: int = 2) -> Array:
    """Costs (D, k, j, i) of each of the ``steps`` (D, 3) for every ``stride``-th voxel of ``fixed`` (C, K, J, I).

    ``moving`` (C, K+2r, J+2r, I+2r) is padded by the reach r of the steps. The mean squared difference of the
    descriptors is averaged over 3³ voxels.
    """
    reach = int(np.abs(steps).max())
    shape = fixed.shape[1:]
    first = stride // 2
    pick = tuple(slice(first, None, stride) for _ in range(3))
    costs = np.empty((len(steps), *np.empty(shape, dtype=bool)[pick].shape), dtype=np.float32)
    for number, step in enumerate(steps):
        window = tuple(slice(int(s) + reach, int(s) + reach + n) for s, n in zip(step, shape, strict=True))
        difference = fixed - moving[(slice(None), *window)]
        squared = np.einsum("ckji,ckji->kji", difference, difference)
        costs[number] = ndimage.uniform_filter(squared, 3, mode="nearest")[pick]
    costs /= len(fixed)
    return costs


def choose(costs: Array, steps: npt.NDArray[np.int_]) -> Array:
    """Displacements (3, k, j, i) in voxels, smooth, from ``costs`` (D, k, j, i) of ``steps`` (D, 3)."""
    shape = costs.shape[1:]
    flat = costs.reshape(len(steps), -1)
    offsets = steps.astype(np.float32)
    lengths = (offsets**2).sum(axis=1)
    scale = float(flat.mean())
    chosen = offsets[np.argmin(flat, axis=0)]
    smooth = _smooth(chosen.T.reshape(3, *shape))
    for coupling in COUPLING:
        mean = smooth.reshape(3, -1)
        # |d - mean|² without the part that is the same for every d.
        drawn = flat + coupling * scale * (lengths[:, None] - 2 * offsets @ mean)
        chosen = offsets[np.argmin(drawn, axis=0)]
        smooth = _smooth(chosen.T.reshape(3, *shape))
    return smooth


def spread(field: Array, shape: tuple[int, ...], stride: int, factor: int) -> Array:
    """A field of `choose` (3, k, j, i), voxels of its level, as voxels of a grid ``factor`` times finer, (3, *shape).

    Its values stand at every ``stride``-th voxel of the level, beginning with ``stride`` // 2.
    """
    axes = []
    for size in shape:
        level = (np.arange(size) + 0.5) / factor - 0.5
        axes.append((level - stride // 2) / stride)
    result = np.empty((3, *shape), dtype=np.float32)
    for axis, part in enumerate(field):
        values = part * np.float32(factor)
        for direction, places in enumerate(axes):
            values = _interpolated(values, places, direction)
        result[axis] = values
    return result


def _interpolated(values: Array, places: npt.NDArray[np.float64], axis: int) -> Array:
    """Linear interpolation along one axis; the nearest value beyond the ends."""
    clipped = np.clip(places, 0, values.shape[axis] - 1)
    low = np.minimum(clipped.astype(int), max(values.shape[axis] - 2, 0))
    shape = [1, 1, 1]
    shape[axis] = -1
    weight = (clipped - low).astype(np.float32).reshape(shape)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    lower, upper = values.take(low, axis), values.take(high, axis)
    return np.asarray(lower + (upper - lower) * weight, dtype=np.float32)


def _smooth(field: Array) -> Array:
    # Twice a box is nearly a Gaussian; beyond the border the nearest value stands.
    for _ in range(2):
        field = np.stack([ndimage.uniform_filter(part, 3, mode="nearest") for part in field])
    return field
