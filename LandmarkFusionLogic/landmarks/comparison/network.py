"""The networks of Fang 2023, Table 1: one 3D U-Net for four methods, its encoder with a dense head for the fifth.

As the paper describes it, after VoxelMorph (Balakrishnan 2019): 3x3x3 convolutions, each halving of the grid by a
stride of 2, a LeakyReLU of slope 0.2 after each convolution, skip connections to the decoder and, at full
resolution, to the image itself. No mask head. Instance normalization is an option that the paper does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

LANDMARKS = 3


class _Encoder(nn.Module):
    """Levels of a grey image (B, 1, D, H, W): halved once per entry of ``widths``, the last convolved once more."""

    def __init__(self, widths: Sequence[int], normalize: bool) -> None:
        super().__init__()
        channels = [1, *widths]
        self.down = nn.ModuleList(
            _convolution(fine, coarse, 2, normalize) for fine, coarse in zip(channels, widths, strict=False)
        )
        self.bottom = _convolution(widths[-1], widths[-1], 1, normalize)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The image and its levels, finest first."""
        levels = [x]
        for down in self.down:
            levels.append(down(levels[-1]))
        levels[-1] = self.bottom(levels[-1])
        return levels


class HeatmapNetwork(nn.Module):
    """U-Net from (B, 1, D, H, W) to raw heatmaps (B, L, D, H, W), before any softmax.

    The sides D, H, W must be divisible by 2 ** len(widths).
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64), normalize: bool = False) -> None:
        super().__init__()
        self.encoder = _Encoder(widths, normalize)
        skips = [1, *widths[:-1]]
        # At half and full resolution the fewest channels: there lies most of the work.
        decoded = [widths[0], *widths[:-1]]
        coarser = [*decoded[1:], widths[-1]]
        self.up = nn.ModuleList(
            _convolution(below + skip, width, 1, normalize)
            for below, skip, width in zip(coarser, skips, decoded, strict=True)
        )
        self.head = nn.Conv3d(decoded[0], LANDMARKS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Raw heatmaps of the images ``x`` as `preprocessing.network_input` gives them."""
        levels = self.encoder(x)
        features: Tensor = levels[-1]
        for level in reversed(range(len(self.up))):
            larger = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = self.up[level](torch.cat([larger, levels[level]], dim=1))
        raw: Tensor = self.head(features)
        return raw


class CoordinateNetwork(nn.Module):
    """The same encoder with a fully connected head: (B, 1, D, H, W) to (B, L, 3) voxel positions k, j, i.

    The head speaks in halves of the grid's side, from its middle, so that its outputs are of order one.
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = (16, 32, 64),
        hidden: int = 128,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = _Encoder(widths, normalize)
        inputs = widths[-1]
        for side in shape:
            inputs *= side // 2 ** len(widths)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 3 * LANDMARKS)
        )
        self.half_sides = [side / 2 for side in shape]

    def forward(self, x: Tensor) -> Tensor:
        """Voxel positions in the images ``x`` as `preprocessing.network_input` gives them."""
        half = x.new_tensor(self.half_sides)
        outputs = self.head(self.encoder(x)[-1]).view(-1, LANDMARKS, 3)
        positions: Tensor = half - 0.5 + outputs * half
        return positions


def _convolution(channels_in: int, channels_out: int, stride: int, normalize: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1)]
    if normalize:
        layers.append(nn.InstanceNorm3d(channels_out, affine=True))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True))
