"""What is compared: the edges of an image, each weighed against the edges around it.

A soft shadow of fat or gas has gradients that are small but lie everywhere, and a fluoroscope bends gray levels. A
gradient divided by the root mean square of those in its neighborhood says how an edge stands out there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from LandmarkFusionLogic.projection.alignment import Array, Mask


@dataclass(frozen=True)
class EdgeScale:
    """``blur``: the image is smoothed by a Gaussian of so many pixels first. ``window``: pixels, sigma of the
    neighborhood, 0 for gradients as they are. ``floor``: share of the image's mean square gradient that is added, so
    that noise where nothing is does not become an edge."""

    blur: float
    window: float
    floor: float = 0.1


def edges(images: Array, mask: Mask, scale: EdgeScale) -> Array:
    """(N, 2, rows - 2, columns - 2) edges of the first image and, for those after it, their derivatives.

    ``images`` (N, rows, columns): an image and its derivatives by some parameters. ``mask`` (rows - 2, columns - 2).
    """
    slopes = _slopes(_smooth(images, scale.blur)) * mask
    if scale.window <= 0:
        return slopes
    first = slopes[0]
    energy = _mean((first**2).sum(axis=0), scale.window)
    around = np.sqrt(energy + scale.floor * energy.mean() + np.float32(1e-20))
    # Of the derivatives only the edge's own part is kept: what is around it changes far less, and that is cheaper.
    return np.asarray(slopes / around)


def _slopes(images: Array) -> Array:
    """(N, 2, rows - 2, columns - 2) central differences along columns and rows."""
    along = images[:, 1:-1, 2:] - images[:, 1:-1, :-2]
    down = images[:, 2:, 1:-1] - images[:, :-2, 1:-1]
    return np.stack([along, down], axis=1)


def _mean(image: Array, sigma: float) -> Array:
    """Nearly a Gaussian: a box, twice, of the same variance."""
    size = max(3, 2 * round((np.sqrt(6 * sigma**2 + 1) - 1) / 2) + 1)
    for _ in range(2):
        image = ndimage.uniform_filter(image, size, mode="nearest")
    return image


def _smooth(images: Array, sigma: float) -> Array:
    if sigma <= 0:
        return images
    sigmas = (0.0,) * (images.ndim - 2) + (sigma, sigma)
    return np.asarray(ndimage.gaussian_filter(images, sigmas, mode="nearest", truncate=3.0))
