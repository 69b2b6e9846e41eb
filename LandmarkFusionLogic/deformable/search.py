"""Each interest point looked for in a window of the other image, to a fraction of a voxel."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

CHUNK = 128
"""Points at a time: what they need fits into the processor's cache."""


@dataclass(frozen=True)
class Found:
    """Displacements (N, 3) in voxels k, j, i; the cost there and the mean cost of the window, both (N,).

    ``inner`` (N,) is false where the best place lies on the window's border: the true one may lie beyond.
    """

    shift: npt.NDArray[np.float64]
    cost: Array
    mean: Array
    inner: npt.NDArray[np.bool_]


def search(fixed: Array, moving: Array, places: npt.NDArray[np.int_], reach: int, patch: int) -> Found:
    """Where the patches of ``fixed`` (C, K, J, I) round ``places`` (N, 3) are found in ``moving``, of the same shape.

    Every displacement of at most ``reach`` voxels is tried; the cost is the mean squared difference of the descriptors
    over (2 ``patch`` + 1)³ voxels. Beyond the border the nearest descriptor stands.
    """
    side = 2 * reach + 1
    costs = np.empty((len(places), side**3), dtype=np.float32)
    for start in range(0, len(places), CHUNK):
        part = places[start : start + CHUNK]
        near = _cut(fixed, part, patch)
        wide = _cut(moving, part, patch + reach)
        width = 2 * patch + 1
        size = near[0].size
        for number, (a, b, c) in enumerate(itertools.product(range(side), repeat=3)):
            difference = wide[..., a : a + width, b : b + width, c : c + width] - near
            rows = difference.reshape(len(part), -1)
            costs[start : start + CHUNK, number] = np.einsum("nx,nx->n", rows, rows) / size
    return _evaluate(costs, reach)


def _cut(array: Array, places: npt.NDArray[np.int_], radius: int) -> Array:
    """(N, C, w, w, w): the surroundings of each place."""
    steps = np.arange(-radius, radius + 1)
    k, j, i = (np.clip(places[:, axis, None] + steps, 0, array.shape[axis + 1] - 1) for axis in range(3))
    taken = array[:, k[:, :, None, None], j[:, None, :, None], i[:, None, None, :]]
    return np.ascontiguousarray(np.moveaxis(taken, 0, 1))


def _evaluate(costs: Array, reach: int) -> Found:
    side = 2 * reach + 1
    count = len(costs)
    best = np.argmin(costs, axis=1)
    index = np.stack(np.unravel_index(best, (side, side, side)), axis=1)
    inner = np.all((index > 0) & (index < side - 1), axis=1)
    cube = costs.reshape(count, side, side, side)
    near = np.clip(index, 1, side - 2)[:, :, None] + np.arange(-1, 2)
    rows = np.arange(count)[:, None, None, None]
    around = cube[rows, near[:, 0, :, None, None], near[:, 1, None, :, None], near[:, 2, None, None, :]]
    shift = index - float(reach) + np.where(inner[:, None], _minimum(around.astype(np.float64)), 0.0)
    return Found(shift, costs[np.arange(count), best], costs.mean(axis=1), inner)


def _minimum(around: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, 3) offset of the minimum of the quadric through costs (N, 3, 3, 3), at most 1 along each axis."""
    z, y, x = (part.ravel().astype(np.float64) for part in np.meshgrid(*([-1, 0, 1],) * 3, indexing="ij"))
    design = np.stack([np.ones(27), z, y, x, z * z, y * y, x * x, z * y, z * x, y * x], axis=1)
    found = around.reshape(len(around), 27) @ np.linalg.pinv(design).T
    hessian = np.empty((len(found), 3, 3))
    for (a, b), column in zip(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)), range(4, 10), strict=True):
        hessian[:, a, b] = hessian[:, b, a] = found[:, column] * (2 if a == b else 1)
    # A little of the identity keeps flat directions at home.
    ridge = 1e-3 * np.trace(hessian, axis1=1, axis2=2).clip(1e-9)
    hessian += ridge[:, None, None] * np.eye(3)
    usable = np.linalg.eigvalsh(hessian)[:, 0] > 0 if len(found) else np.zeros(0, dtype=bool)
    offset = np.zeros((len(found), 3))
    offset[usable] = -np.linalg.solve(hessian[usable], found[usable, 1:4, None])[:, :, 0]
    return np.clip(offset, -1, 1)
