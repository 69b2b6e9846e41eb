"""What the network sees: gray levels from 0 to 1 on a grid of 2 mm, and where the body is. Any modality."""

from __future__ import annotations

import torch
from torch import Tensor

BODY_FRACTION = 0.1
"""The body is what lies this far above the darkest values, as a share of the range of gray levels."""
PERCENTILES = (4.0, 97.0)
"""Of the body's gray levels: what becomes 0 and 1. Bone and gas may be cut; soft tissue is what must differ."""


def body_of(image: Tensor) -> Tensor:
    """(K, J, I) bool: where ``image`` shows more than air; holes of a voxel or two are closed."""
    low, high = _percentiles(image, (0.5, 99.0))
    mask = image > low + BODY_FRACTION * (high - low)
    padded = mask[None, None].float()
    grown = torch.nn.functional.max_pool3d(padded, 5, stride=1, padding=2)
    return (-torch.nn.functional.max_pool3d(-grown, 5, stride=1, padding=2))[0, 0] > 0.5


def gray_levels(image: Tensor, body: Tensor) -> Tensor:
    """``image`` (K, J, I) with the `PERCENTILES` of its ``body`` at 0 and 1, cut there, float32."""
    inside = image[body]
    low, high = _percentiles(inside if inside.numel() else image, PERCENTILES)
    return ((image - low) / max(high - low, 1e-6)).clamp(0, 1).float()


def _percentiles(values: Tensor, wanted: tuple[float, float]) -> tuple[float, float]:
    flat = values.flatten()
    # A few hundred thousand values tell the same as millions, and torch takes no more than 2^24.
    flat = flat[:: max(1, flat.numel() // 200_000)].double()
    low, high = torch.quantile(flat, torch.tensor([w / 100 for w in wanted], dtype=torch.float64)).tolist()
    return low, high
