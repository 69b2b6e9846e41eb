"""The sampling layer: where the landmarks are, and the descriptors there. It has no parameters.

Positions are (N, 3) voxels k, j, i of the patch, real numbers, 0 at the center of the first voxel. Voxels of coarser
levels cover 2^n voxels each, so that only ``align_corners=False`` puts both on the same place: it is used throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses


def interior(size: Sequence[int], border: int, device: torch.device | str = "cpu") -> Tensor:
    """(D, H, W) bool: True where a voxel is at least ``border`` voxels from the patch's faces."""
    mask = torch.zeros(tuple(size), dtype=torch.bool, device=device)
    mask[tuple(slice(border, n - border) for n in size)] = True
    return mask


def cell_maxima(
    probability: Tensor, allowed: Tensor, cell: int, count: int | None = None, threshold: float = 0.0
) -> Tensor:
    """(N, 3) positions, float32, of the largest ``probability`` (D, H, W) of each cell of ``cell`` voxels a side.

    Only ``allowed`` (D, H, W) voxels above ``threshold`` count; of all cells the ``count`` highest are given, highest
    first. The positions carry no gradient: probabilities are sampled there again (`values_at`).
    """
    masked = torch.where(allowed, probability.detach(), -1.0)
    if cell > 1:
        highest, index = F.max_pool3d(masked[None], cell, stride=cell, ceil_mode=True, return_indices=True)
        highest, index = highest.flatten(), index.flatten()
    else:
        highest, index = masked.flatten(), torch.arange(masked.numel(), device=masked.device)
    there = highest > threshold
    highest, index = highest[there], index[there]
    order = highest.argsort(descending=True, stable=True)[:count]
    index = index[order]
    _, height, width = probability.shape
    plane = height * width
    return torch.stack((index // plane, index % plane // width, index % width), dim=1).float()


def values_at(volume: Tensor, points: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C) values of ``volume`` (C, d, h, w), which covers a patch of ``size`` (D, H, W), at ``points``, trilinear.

    Beyond the centers of the outermost voxels the outermost values go on.
    """
    extent = torch.tensor(tuple(size), dtype=points.dtype, device=points.device)
    grid = ((2 * points + 1) / extent - 1).flip(1)
    sampled = F.grid_sample(
        volume[None], grid[None, None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0, 0].T


def descriptors(levels: Sequence[Tensor], points: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C) feature vectors of the ``levels`` (each (C, d, h, w)) at ``points``, concatenated."""
    return torch.cat([values_at(level, points, size) for level in levels], dim=1)
