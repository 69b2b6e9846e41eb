"""The landmark network: a small 3D U-Net, a softmax per landmark, and the differentiable coordinate layer DSNT.

Fang 2023: strided 3x3x3 convolutions, each followed by a LeakyReLU of slope 0.2, one heatmap per landmark, and the
coordinate as the heatmap's expectation (eq. 1). Ours adds instance normalization, so that the network trains in an
hour on one core, and a head for the gland's mask, which teaches it the organ and serves as a check.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses


class LandmarkOutput(NamedTuple):
    """``heatmaps`` (B, L, D, H, W), each summing to one; ``gland_logits`` (B, 1, D, H, W)."""

    heatmaps: Tensor
    gland_logits: Tensor


class LandmarkNetwork(nn.Module):
    """U-Net from one grey channel to ``landmarks`` heatmaps and a gland mask, all on the input's grid.

    ``widths`` are the channels per level, finest first; each further level halves the grid, so its sides must be
    divisible by 2 ** (len(widths) - 1). The decoder ends one level above the input's, and its result is interpolated:
    heatmaps are smooth, their expectation is not bound to voxels, and the finest level would cost half of the time.
    """

    def __init__(self, landmarks: int = 3, widths: Sequence[int] = (8, 32, 64, 96)) -> None:
        super().__init__()
        self.landmarks = landmarks
        self.stem = _convolution(1, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(fine, coarse, stride=2), _convolution(coarse, coarse))
            for fine, coarse in pairwise(widths)
        )
        decoded = widths[1:]
        # Channels are reduced before they are upsampled.
        self.reduce = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for fine, coarse in pairwise(decoded))
        self.up = nn.ModuleList(_convolution(2 * width, width) for width in decoded[:-1])
        self.head = nn.Conv3d(decoded[0], landmarks + 1, 1)

    def forward(self, x: Tensor) -> LandmarkOutput:
        """``x`` (B, 1, D, H, W) as `preprocessing.network_input` gives it."""
        features = self.stem(x)
        levels = []
        for down in self.down:
            features = down(features)
            levels.append(features)
        for level in reversed(range(len(self.up))):
            features = self.up[level](torch.cat([_enlarge(self.reduce[level](features)), levels[level]], dim=1))
        logits = _enlarge(self.head(features).float())
        raw = logits[:, : self.landmarks]
        heatmaps = raw.flatten(2).softmax(dim=-1).view_as(raw)
        return LandmarkOutput(heatmaps, logits[:, self.landmarks :])


def _enlarge(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="trilinear")


def dsnt(heatmaps: Tensor) -> Tensor:
    """Expected voxel position of each heatmap (B, L, D, H, W), sum 1: (B, L, 3) in index order k, j, i. Fang eq. 1."""
    return heatmaps.flatten(2) @ voxel_positions(heatmaps)


def heatmap_covariance(heatmaps: Tensor) -> Tensor:
    """Second central moment of each heatmap (B, L, D, H, W): (B, L, 3, 3) in voxels², index order k, j, i.

    Its trace is the variance of Fang eq. 4.
    """
    positions = voxel_positions(heatmaps)
    weights = heatmaps.flatten(2)
    centred = positions - (weights @ positions)[:, :, None, :]
    return torch.einsum("bln,blna,blnc->blac", weights, centred, centred)


def voxel_positions(heatmaps: Tensor) -> Tensor:
    """(D*H*W, 3) index positions k, j, i of the voxels of (B, L, D, H, W) heatmaps."""
    axes = [torch.arange(n, dtype=heatmaps.dtype, device=heatmaps.device) for n in heatmaps.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1),
        nn.InstanceNorm3d(channels_out, affine=True),
        nn.LeakyReLU(0.2, inplace=True),
    )
