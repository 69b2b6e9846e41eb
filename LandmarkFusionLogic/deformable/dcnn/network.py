"""The Siamese network of DCNN-Match: a 3D U-Net that both images pass through, and the heads that match descriptors.

Grewal 2023, section 2.1; what the paper omits is as in the authors' 2D code: two (3x3x3 convolution + batch
normalization + ReLU) a level, max-pooling, transposed convolutions, skip connections by concatenation, He's
initialization. A descriptor is made of the last two levels on the way down (1/8 and 1/16 of the grid).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

LEVELS = 5
SIDES = 2 ** (LEVELS - 1)
"""Every side of an input must be a multiple of this."""


class Features(NamedTuple):
    """``logits`` (B, 1, D, H, W) of the landmark probability; ``levels``: (B, C, D/8, ...) and (B, 2C, D/16, ...)."""

    logits: Tensor
    levels: tuple[Tensor, Tensor]


class MatchNetwork(nn.Module):
    """U-Net of ``width`` channels at the finest level, doubled at each of the four coarser ones, and a matching head.

    ``cross_entropy`` gives it the fully connected layer that judges pairs of descriptors.
    """

    def __init__(self, width: int = 8, cross_entropy: bool = True) -> None:
        super().__init__()
        self.width = width
        widths = [width * 2**level for level in range(LEVELS)]
        self.stem = _double(1, widths[0])
        self.down = nn.ModuleList(_double(fine, coarse) for fine, coarse in pairwise(widths))
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose3d(coarse, fine, 2, stride=2) for fine, coarse in pairwise(widths)
        )
        self.up = nn.ModuleList(_double(2 * fine, fine) for fine in widths[:-1])
        self.landmarks = nn.Conv3d(width, 1, 1)
        self.channels = widths[-2] + widths[-1]
        self.matching = nn.Linear(self.channels, 2) if cross_entropy else None
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Features:
        """``images`` (B, 1, D, H, W), 0..1, sides divisible by 16. Fixed and moving pass through the same weights."""
        features = self.stem(images)
        skipped = [features]
        for down in self.down:
            features = down(F.max_pool3d(features, 2))
            skipped.append(features)
        for level in reversed(range(LEVELS - 1)):
            features = self.up[level](torch.cat([skipped[level], self.enlarge[level](features)], dim=1))
        return Features(self.landmarks(features).float(), (skipped[-2].float(), skipped[-1].float()))


def _double(channels_in: int, channels_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (channels_in, channels_out):
        # The normalization has an offset of its own.
        layers += [
            nn.Conv3d(before, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
