"""X-ray and DRR in one picture: a checkerboard of both, or the edges of the DRR to lay over the X-ray."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Image = npt.NDArray[np.float32]

TILES = 8
"""Fields of the checkerboard along the longer side."""
EDGE_WIDTH = 1.2
"""Of the smoothing before edges are looked for, in pixels of the DRR."""
NEIGHBORHOOD = 10.0
"""Edges are steeper than what lies around them at this distance, in pixels of the DRR."""
LEAST_STEP = 0.004
"""Edges are steeper than this share of the DRR's whole range, a pixel."""


def resized(image: npt.NDArray[Any], shape: tuple[int, int]) -> Image:
    """``image`` (rows, columns) with the pixels of ``shape``, smoothed first where they become larger."""
    source = np.asarray(image, dtype=np.float32)
    if source.shape == shape:
        return source
    steps = np.array(source.shape) / shape
    smooth = ndimage.gaussian_filter(source, np.maximum(steps - 1.0, 0.0) / 2)
    rows, columns = ((np.arange(count) + 0.5) * step - 0.5 for count, step in zip(shape, steps, strict=True))
    places = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(ndimage.map_coordinates(smooth, places, order=1, mode="nearest"), dtype=np.float32)


def stretched(image: npt.NDArray[Any], inverted: bool = False) -> Image:
    """``image`` as 0..1 from its 1st to its 99th percentile; ``inverted``: dark becomes bright."""
    values = np.asarray(image, dtype=np.float32)
    low, high = np.percentile(values, (1.0, 99.0))
    found = np.clip((values - low) / max(float(high - low), 1e-9), 0.0, 1.0)
    return np.asarray(1.0 - found if inverted else found, dtype=np.float32)


def checkerboard(xray: Image, drr: Image) -> Image:
    """Fields of ``xray`` and ``drr`` in turn, both (rows, columns) and 0..1 already."""
    edge = max(drr.shape) / TILES
    rows, columns = (np.floor(np.arange(count) / edge).astype(int) for count in drr.shape)
    return np.where((rows[:, None] + columns[None, :]) % 2 == 1, drr, xray).astype(np.float32)


def edges(drr: Image) -> Image:
    """1 on the edges of ``drr`` (rows, columns), 0 elsewhere: where its curvature changes sign and it is steep."""
    curvature = ndimage.gaussian_laplace(drr, EDGE_WIDTH)
    steep = ndimage.gaussian_gradient_magnitude(drr, EDGE_WIDTH)
    above = curvature > 0
    turns = ndimage.maximum_filter(above, size=(2, 2)) != ndimage.minimum_filter(above, size=(2, 2))
    around = ndimage.gaussian_filter(steep, NEIGHBORHOOD)
    return (turns & (steep > 1.3 * around) & (steep > LEAST_STEP * float(np.ptp(drr)))).astype(np.float32)
