"""RTPI: the network that finds a first pose from one X-ray and the CT (section 2.2 of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from LandmarkFusionLogic.projection.learned.encoders import CHANNELS, Residual

PARAMETERS = 6
DEPTH_STEP = 4
"""The volume's branch halves the depth twice, the other axes once."""
SLICE_FEATURES = 4
GRID = 4
"""The localization net ends on a grid of so many cells a side."""


class RtpiNetwork(nn.Module):
    """Asymmetric dual branch, localization net of four residual blocks, a regression for each parameter.

    ``volume``: side of the cube of samples; its features are flattened along the depth to as many channels as the
    image's branch has, so that neither outweighs the other. ``stem``: first channels of the image's branch.
    """

    def __init__(self, pixels: int, volume: int, stem: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        flat = SLICE_FEATURES * (volume // DEPTH_STEP)
        self.volume = nn.Sequential(
            nn.Conv3d(1, SLICE_FEATURES, 3, 2, 1, bias=False),
            nn.BatchNorm3d(SLICE_FEATURES),
            nn.ReLU(),
            nn.Conv3d(SLICE_FEATURES, SLICE_FEATURES, 3, (2, 1, 1), 1, bias=False),
            nn.BatchNorm3d(SLICE_FEATURES),
            nn.ReLU(),
        )
        self.image = nn.Sequential(
            nn.Conv2d(CHANNELS, stem, 3, 2, 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            nn.Conv2d(stem, flat, 3, pixels // volume, 1, bias=False),
            nn.BatchNorm2d(flat),
            nn.ReLU(),
        )
        layers, into, side = list[nn.Module](), 2 * flat, volume // 2
        for width in widths:
            stride = 2 if side > GRID else 1
            layers.append(Residual(into, width, stride))
            into, side = width, side // stride
        self.localization = nn.Sequential(*layers)
        inner = widths[-1] // 4
        self.regression = nn.ModuleList(
            nn.Sequential(nn.Linear(into * side * side, inner), nn.SiLU(), nn.Linear(inner, 1))
            for _ in range(PARAMETERS)
        )
        for head in self.regression:
            # The first answer is the reference pose: far outside of its box, a bounded answer has no slope.
            nn.init.zeros_(head[-1].weight)  # type: ignore[index]
            nn.init.zeros_(head[-1].bias)  # type: ignore[index]

    def regressed(self, volume: Tensor, image: Tensor) -> Tensor:
        """(B, 6) as `forward`, not yet bounded: what is compared with the truth in training."""
        flat = self.volume(volume).flatten(1, 2)
        found = self.localization(torch.cat([flat, self.image(image)], 1)).flatten(1)
        return torch.cat([head(found) for head in self.regression], 1)

    def forward(self, volume: Tensor, image: Tensor) -> Tensor:
        """(B, 6), each -1 to 1 of its box, from ``volume`` (B, 1, D, H, W) and ``image`` (B, 2, pixels, pixels)."""
        return bounded(self.regressed(volume, image))


def bounded(values: Tensor) -> Tensor:
    """``values`` kept within -1 and 1 by relu6: no answer lies outside of the imaging geometry."""
    return functional.relu6(3.0 * values + 3.0) / 3.0 - 1.0
