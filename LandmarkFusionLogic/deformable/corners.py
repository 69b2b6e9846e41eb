"""Interest points: places that differ from their surroundings in every direction (Förstner), spread over the image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float32]


def corner_strength(image: npt.NDArray[np.floating], sigma: float = 1.0, window: float = 1.5) -> Array:
    """Förstner's measure 1 / trace(T⁻¹) of ``image`` (K, J, I), same shape: large where no direction is flat.

    T is the structure tensor: products of Gaussian derivatives (``sigma`` voxels), averaged by a Gaussian of
    ``window`` voxels.
    """
    values = np.asarray(image, dtype=np.float32)
    slopes = []
    for axis in range(3):
        order = [0, 0, 0]
        order[axis] = 1
        slopes.append(ndimage.gaussian_filter(values, sigma, order=order, mode="nearest", truncate=3.0))

    def tensor(a: int, b: int) -> Array:
        return np.asarray(ndimage.gaussian_filter(slopes[a] * slopes[b], window, truncate=3.0), dtype=np.float32)

    xx, yy, zz, xy, xz, yz = (tensor(*pair) for pair in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
    minors = (yy * zz - yz * yz) + (xx * zz - xz * xz) + (xx * yy - xy * xy)
    determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    floor = max(float(minors.mean()) * 1e-6, 1e-20)
    return np.asarray(np.maximum(determinant, 0) / np.maximum(minors, floor), dtype=np.float32)


def find_corners(
    image: npt.NDArray[np.floating],
    inside: npt.NDArray[np.bool_],
    count: int,
    cell: int = 4,
    strength: Array | None = None,
) -> npt.NDArray[np.int_]:
    """(N, 3) voxel indices k, j, i of at most ``count`` corners of ``image`` (K, J, I) where ``inside`` is true.

    At most one in each cell of ``cell``³ voxels, a maximum among its neighbors. Neighborhoods of 3³ cells take turns,
    each giving its strongest corner that is left, so that strong edges (bone) do not take all places. In that order.
    """
    if strength is None:
        strength = corner_strength(image)
    shown = np.where(inside, strength, 0)
    peaks = (ndimage.maximum_filter(shown, 3) == shown) & (shown > 0)
    places = np.argwhere(peaks)
    if len(places) == 0:
        return places
    values = shown[tuple(places.T)]
    order = np.argsort(-values, kind="stable")
    places, values = places[order], values[order]
    for size in (cell, 3 * cell):
        places, values = _ranked(places, values, size, first_only=size == cell)
    return places[:count]


def _ranked(
    places: npt.NDArray[np.int_], values: Array, size: int, first_only: bool
) -> tuple[npt.NDArray[np.int_], Array]:
    """Places (strongest first) sorted by their rank within their cell of ``size`` voxels, then by strength."""
    cells = places // size
    keys = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))
    # A stable sort by cell keeps the strongest of each cell in front.
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(keys[order]) > 0])
    rank = np.empty(len(keys), dtype=int)
    rank[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(np.r_[starts, len(keys)]))
    if first_only:
        kept = rank == 0
        return places[kept], values[kept]
    again = np.lexsort((-values, rank))
    return places[again], values[again]
