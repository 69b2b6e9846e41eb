"""X-rays and CT at a coarser resolution: pixels and voxels averaged, never picked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from LandmarkFusionLogic.projection.alignment import Array, Mask, View, trusted
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.volume import Volume

COARSEST_VOXEL = 1.45
"""A CT is halved as long as its voxels stay below so many pixels, seen at the isocenter."""


def halved(mu: Volume) -> Volume:
    """``mu`` with the mean of 2³ voxels in each; a last odd slice is left out."""
    k, j, i = (side // 2 for side in mu.array.shape)
    values = np.asarray(mu.array[: 2 * k, : 2 * j, : 2 * i], dtype=np.float32)
    mean = values.reshape(k, 2, j, 2, i, 2).mean(axis=(1, 3, 5))
    affine = mu.ijk_to_ras.copy()
    affine[:3, 3] += affine[:3, :3] @ [0.5, 0.5, 0.5]
    affine[:3, :3] *= 2
    return Volume(mean, affine)


def volume_for(mu: Volume, geometry: Geometry) -> Volume:
    """``mu`` as coarse as the pixels of ``geometry`` allow."""
    pixel = max(geometry.spacing) * geometry.isocenter_distance / geometry.sdd
    while 2 * mu.spacing.max() <= COARSEST_VOXEL * pixel and min(mu.array.shape) >= 16:
        mu = halved(mu)
    return mu


def geometry_for(geometry: Geometry, side: int) -> Geometry:
    """The same detector with ``side`` pixels along its longer side, or as it is where it has no more."""
    longest = max(geometry.rows, geometry.columns)
    if longest <= side:
        return geometry
    rows, columns = (max(2, round(count * side / longest)) for count in (geometry.rows, geometry.columns))
    return geometry.resized(rows, columns)


def image_for(view: View, geometry: Geometry) -> tuple[Array, Mask]:
    """The image of ``view`` and where it can be trusted, both averaged to the pixels of ``geometry``."""
    seen = trusted(view)
    down, across = _overlap(view.image.shape[0], geometry.rows), _overlap(view.image.shape[1], geometry.columns)
    share = down @ seen @ across.T
    outside = float(np.median(view.image[seen]))
    sums = down @ np.where(seen, view.image - outside, 0) @ across.T
    image = sums / np.maximum(share, 1e-6) + outside
    return image.astype(np.float32), np.asarray(share > 0.99)


def _overlap(size: int, wanted: int) -> npt.NDArray[np.float64]:
    """(wanted, size): the share of each new pixel that each old one covers."""
    edges = np.arange(wanted + 1) * size / wanted
    low, high = edges[:-1, None], edges[1:, None]
    old = np.arange(size)
    covered = np.clip(np.minimum(high, old + 1) - np.maximum(low, old), 0, None)
    return np.asarray(covered * wanted / size)


def inner(mask: Mask, margin: int) -> Mask:
    """``mask`` less ``margin`` pixels along its border with what cannot be trusted; the image's own border stays."""
    if mask.all():
        return mask
    return np.asarray(ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=margin, border_value=1))
