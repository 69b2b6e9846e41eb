"""Wrong matches removed: a pair must agree with what its neighbors say, since tissue moves smoothly.

RANSAC asks which pairs agree with one model of a few parameters; no one model describes a body that deforms. Here each
pair is foretold by an affine map fitted to its nearest neighbors, itself left out, in which those count less that were
foretold badly themselves. The first guess, before anything is known of the neighbors, is the median of their
displacements, which stands up to nearly a half of wrong ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.points import FloatArray

NEIGHBORS = 20
ROUNDS = 6
FLOOR_MM = 1.0
"""Pairs are never told apart more finely than by this: matches are about so exact."""
LIMIT = 3.0
"""A pair that misses what is foretold by more than this many standard deviations is removed."""
FEWEST = 8
"""With fewer pairs nothing can be said about any of them."""


def foretell(correspondences: Correspondences, rounds: int = ROUNDS) -> tuple[FloatArray, FloatArray]:
    """By how many mm each pair misses what its neighbors foretell, and the usual such miss round it; both (N,)."""
    count = len(correspondences)
    if count < FEWEST:
        return np.zeros(count), np.full(count, FLOOR_MM)
    fixed = correspondences.fixed
    shift = correspondences.moving - fixed
    near = _neighbors(fixed)
    offset = fixed[near] - fixed[:, None]
    width = np.linalg.norm(offset, axis=2).mean(axis=1).clip(1e-6)
    # In units of the neighborhood's width, so that one strength of the ridge suits every density.
    terms = np.concatenate([np.ones((*near.shape, 1)), offset / width[:, None, None]], axis=2)
    ridge = np.diag([1e-6, 0.3, 0.3, 0.3])
    miss = np.linalg.norm(shift - np.median(shift[near], axis=1), axis=1)
    scale = _scale(miss, near)
    for _ in range(rounds):
        trust = 1 / (1 + (miss / (2 * scale)) ** 2) ** 2
        weights = trust[near]
        weights = weights / weights.sum(axis=1, keepdims=True).clip(1e-12) * near.shape[1]
        weighted = terms * weights[:, :, None]
        left = np.einsum("nka,nkb->nab", weighted, terms) + ridge
        right = np.einsum("nka,nkb->nab", weighted, shift[near])
        foretold = np.linalg.solve(left, right)[:, 0]
        miss = np.linalg.norm(shift - foretold, axis=1)
        scale = _scale(miss, near)
    return miss, scale


def consistent(correspondences: Correspondences, limit: float = LIMIT) -> npt.NDArray[np.bool_]:
    """(N,) which pairs agree with their neighbors; all of them where there are fewer than `FEWEST`."""
    miss, scale = foretell(correspondences)
    return np.asarray(miss <= limit * scale)


def remove_wrong(correspondences: Correspondences, limit: float = LIMIT) -> Correspondences:
    """Those pairs that agree with their neighbors; their confidence falls with what they miss them by."""
    miss, scale = foretell(correspondences)
    kept = miss <= limit * scale
    agreement = np.exp(-0.5 * (miss / (limit * scale)) ** 2)
    return Correspondences(
        correspondences.fixed[kept],
        correspondences.moving[kept],
        (correspondences.confidence * agreement)[kept],
    )


def _neighbors(points: FloatArray) -> npt.NDArray[np.int_]:
    """(N, n) the nearest other points of each."""
    wanted = min(NEIGHBORS, len(points) - 1)
    _, near = cKDTree(points).query(points, k=wanted + 1)
    # A point is its own nearest neighbor, except where another lies in the same place.
    itself = near == np.arange(len(points))[:, None]
    itself[~itself.any(axis=1), -1] = True
    return np.asarray(near[~itself].reshape(len(points), wanted))


def _scale(miss: FloatArray, near: npt.NDArray[np.int_]) -> FloatArray:
    # The median of a length with three normal components is 1.54 standard deviations of one of them.
    return np.maximum(np.median(miss[near], axis=1) / 1.54, FLOOR_MM)
