"""What the networks see: X-rays with their contrast evened out, and a CT sampled along the rays of the detector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor
from torch.nn import functional

from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.learned.config import EXTENT_MM
from LandmarkFusionLogic.volume import Volume

Image = npt.NDArray[np.float32]
MU_SCALE = 0.02
"""Attenuation of water: makes the volume's values about one."""
WINDOW = 8
"""The local mean is taken over an eighth of the image."""


def prepare(images: Tensor) -> Tensor:
    """(B, 2, H, W) from line integrals (B, H, W): standardized, and what stands out from its surroundings.

    The second channel hardly knows the soft tissue. Differentiable twice.
    """
    centered = images - images.mean((1, 2), keepdim=True)
    whole = centered / (centered.square().mean((1, 2), keepdim=True) + 1e-6).sqrt()
    size = images.shape[-1] // WINDOW // 2 * 2 + 1
    mean = functional.avg_pool2d(whole[:, None], size, 1, size // 2, count_include_pad=False)[:, 0]
    local = whole - mean
    local = local / (local.square().mean((1, 2), keepdim=True) + 1e-4).sqrt()
    return torch.stack([whole, local], 1)


def frustum(mu: Volume, ct_to_camera: npt.NDArray[np.float64], geometry: Geometry, side: int) -> Image:
    """(side, side, side) samples of ``mu`` along the detector's rays at a nominal pose; depth, rows, columns.

    The first axis runs over `EXTENT_MM` about the isocenter, away from the source, in planes parallel to the
    detector; the others are those of the image, so that a pixel of the X-ray and the samples that its ray passes at
    the nominal pose have the same place. Scaled to about one for water, nothing outside of the volume.
    """
    center = ct_to_camera[:3, :3] @ mu.centre + ct_to_camera[:3, 3]
    depth = center[2] + ((np.arange(side) + 0.5) / side - 0.5) * EXTENT_MM
    view = geometry.resized(side, side)
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    rays = view.on_detector(pixels) / view.sdd
    places = (depth[:, None, None] * rays).reshape(-1, 3)
    to_index = np.linalg.inv(ct_to_camera @ mu.ijk_to_ras)
    index = places @ to_index[:3, :3].T + to_index[:3, 3]
    # Samples farther apart than voxels would miss what lies between them.
    step = EXTENT_MM / side
    sigma = [0.4 * max(step / s - 1.0, 0.0) for s in mu.spacing[::-1]]
    values = gaussian_filter(np.asarray(mu.array, dtype=np.float32), sigma) if max(sigma) > 0.2 else mu.array
    found = map_coordinates(values, index[:, ::-1].T, order=1, mode="constant", output=np.float32)
    return np.asarray(found.reshape(side, side, side) / np.float32(MU_SCALE), dtype=np.float32)


def to_view(image: Image, geometry: Geometry, view: Geometry) -> Image:
    """``image`` of ``geometry`` as the detector ``view`` would have taken it, float32: the rays stay the same.

    Both have the source at the origin and look the same way, so that this is a change of pixels only. Where the
    image does not reach, its nearest pixel is repeated.
    """
    pixels = np.stack(np.meshgrid(np.arange(view.rows), np.arange(view.columns), indexing="ij"), -1)
    places = geometry.to_pixels(view.on_detector(pixels.reshape(-1, 2)))
    scale = [v / view.sdd * geometry.sdd / g for v, g in zip(view.spacing, geometry.spacing, strict=True)]
    sigma = [0.4 * max(s - 1.0, 0.0) for s in scale]
    values = np.asarray(image, dtype=np.float32)
    if max(sigma) > 0.05:
        values = gaussian_filter(values, sigma, mode="nearest")
    found = map_coordinates(values, places.T, order=1, mode="nearest", output=np.float32)
    return np.asarray(found.reshape(view.rows, view.columns), dtype=np.float32)
