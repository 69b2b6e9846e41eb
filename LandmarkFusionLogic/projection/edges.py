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
    first, rest = slopes[0], slopes[1:]
    energy = _smooth((first**2).sum(axis=0), scale.window)
    around = np.sqrt(energy + scale.floor * energy.mean() + np.float32(1e-20))
    result = np.empty_like(slopes)
    result[0] = first / around
    if len(rest):
        change = _smooth((first * rest).sum(axis=1), scale.window)
        result[1:] = rest / around - first * (change / around**3)[:, None]
    return result


def _slopes(images: Array) -> Array:
    """(N, 2, rows - 2, columns - 2) central differences along columns and rows."""
    along = images[:, 1:-1, 2:] - images[:, 1:-1, :-2]
    down = images[:, 2:, 1:-1] - images[:, :-2, 1:-1]
    return np.stack([along, down], axis=1)


def _smooth(images: Array, sigma: float) -> Array:
    if sigma <= 0:
        return images
    sigmas = (0.0,) * (images.ndim - 2) + (sigma, sigma)
    return np.asarray(ndimage.gaussian_filter(images, sigmas, mode="nearest", truncate=3.0))
