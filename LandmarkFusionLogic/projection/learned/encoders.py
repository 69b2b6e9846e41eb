"""The encoders of the fine registration: composite (section 2.3 of the paper) and, for comparison, plain.

What the paper leaves open is chosen so that an encoder of the "paper" preset has about the 5.35 million parameters of
the authors' code, and its features of a 256² image are 64×32×32 twice and 128×16×16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 2
"""Of an image as the networks see it, see `inputs.prepare`."""


def block(
    into: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1, smooth: bool = True
) -> nn.Sequential:
    """Convolution, activation, normalization, in the paper's order.

    The activation of the composite encoder is ``smooth``: eq. 7 is a function of the network's first derivative, and
    a kink's own share of the second one is lost on a double backward.
    """
    convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.SiLU() if smooth else nn.ReLU(), nn.BatchNorm2d(out))


class SplitAttention(nn.Module):
    """A 3×3 convolution in two splits, weighted by channel by what both see of the whole image (ResNeSt)."""

    RADIX = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.splits = block(width, self.RADIX * width, groups=self.RADIX)
        inner = max(self.RADIX * width // 4, 8)
        self.squeeze = nn.Sequential(nn.Linear(width, inner), nn.SiLU(), nn.Linear(inner, self.RADIX * width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        splits = self.splits(x).unflatten(1, (self.RADIX, -1))
        weights = self.squeeze(splits.sum(1).mean((2, 3))).unflatten(1, (self.RADIX, -1)).softmax(1)
        found: Tensor = (splits * weights[..., None, None]).sum(1)
        return found


class Bottleneck(nn.Module):
    """1×1, split attention, 1×1, around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        middle = width // 2
        self.narrow = block(width, middle, 1)
        self.attention = SplitAttention(middle)
        self.widen = nn.Sequential(nn.Conv2d(middle, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return functional.silu(x + self.widen(self.attention(self.narrow(x))))


class CascadeFusion(nn.Module):
    """A small backbone of three scales whose coarser features are fused into the finer ones (CFNet)."""

    def __init__(self, into: int, widths: tuple[int, int, int], blocks: int) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.enter = block(into, fine, 1) if into != fine else nn.Identity()
        self.fine = nn.Sequential(*(Bottleneck(fine) for _ in range(blocks)))
        self.middle = nn.Sequential(block(fine, middle, 3, 2), *(Bottleneck(middle) for _ in range(blocks)))
        self.coarse = nn.Sequential(block(middle, coarse, 3, 2), *(Bottleneck(coarse) for _ in range(blocks)))
        self.to_middle = block(coarse, middle, 1)
        self.to_fine = block(middle, fine, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, into, H, W) to (B, fine, H, W) and (B, middle, H/2, W/2)."""
        fine = self.fine(self.enter(x))
        middle = self.middle(fine)
        middle = middle + _up(self.to_middle(self.coarse(middle)))
        return fine + _up(self.to_fine(middle)), middle


class Connection(nn.Module):
    """A composite connection unit: 1×1 convolution, batch normalization, upsampling."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.unit = nn.Sequential(nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) to (B, out, 2H, 2W)."""
        return _up(self.unit(x))


def _up(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class _Stem(nn.Sequential):
    """Three shallow layers, then two that halve the image."""

    def __init__(self, stem: int, stride: int, out: int, smooth: bool) -> None:
        super().__init__(
            block(CHANNELS, stem, 3, stride, smooth=smooth),
            block(stem, stem, smooth=smooth),
            block(stem, stem, smooth=smooth),
            block(stem, out, 3, 2, smooth=smooth),
            block(out, out, 3, 2, smooth=smooth),
        )


class CompositeEncoder(nn.Module):
    """Stem and one cascade-fusion block, then an assistant and a lead branch of two such blocks each.

    What a block of the assistant finds at its coarser scale reaches the lead branch's block of the same number through
    a composite connection and a concatenation.
    """

    def __init__(self, stem: int, stride: int, widths: tuple[int, int, int], blocks: int) -> None:
        super().__init__()
        fine, middle, _ = widths
        self.stem = _Stem(stem, stride, fine, smooth=True)
        self.shared = CascadeFusion(fine, widths, blocks)
        self.assistant = nn.ModuleList(CascadeFusion(fine, widths, blocks) for _ in range(2))
        self.connections = nn.ModuleList(Connection(middle, fine) for _ in range(2))
        self.lead = nn.ModuleList(CascadeFusion(2 * fine, widths, blocks) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 2, pixels, pixels) to the embedded features: (B, C, H, W) twice and (B, 2C, H/2, W/2)."""
        helper, _ = self.shared(self.stem(x))
        leading, features = helper, list[Tensor]()
        for assistant, connection, lead in zip(self.assistant, self.connections, self.lead, strict=True):
            helper, coarse = assistant(helper)
            leading, last = lead(torch.cat([leading, connection(coarse)], 1))
            features.append(leading)
        return *features, last


class PlainEncoder(nn.Module):
    """One branch of residual layers at one scale: the encoder of ProST (Deep-reg) and of the ablation without CE."""

    def __init__(self, stem: int, stride: int, widths: tuple[int, int, int], blocks: int) -> None:
        super().__init__()
        fine = widths[0]
        self.stem = _Stem(stem, stride, fine, smooth=False)
        self.layers = nn.ModuleList(Residual(fine, fine, 1) for _ in range(2 + 2 * blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 2, pixels, pixels) to one embedded feature (B, C, H, W)."""
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return (x,)


class Residual(nn.Module):
    """Two 3×3 convolutions around a shortcut (ResNet)."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        same = into == out and stride == 1
        self.shortcut: nn.Module = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) to (B, out, H / stride, W / stride)."""
        return functional.relu(self.shortcut(x) + self.second(self.first(x)))


def quieten(encoder: CompositeEncoder) -> None:
    """Let bottlenecks, fusions and connections add nothing at first: what they add is learned.

    An untrained deep encoder scatters what neighboring poses look like; a shallow one keeps it.
    """
    for module in encoder.modules():
        last = list[nn.Module]()
        if isinstance(module, Bottleneck):
            last = [module.widen[-1]]
        elif isinstance(module, CascadeFusion):
            last = [module.to_middle[-1], module.to_fine[-1]]
        elif isinstance(module, Connection):
            last = [module.unit[-1]]
        for layer in last:
            assert isinstance(layer, nn.BatchNorm2d)
            nn.init.zeros_(layer.weight)


class FineNetwork(nn.Module):
    """Two encoders of one structure that share no weights: of the moving image (DRR) and of the fixed one (X-ray).

    Both begin with the same weights: so the distance of their features is a similarity of the images from the first
    step on, which training then bends towards the geodesic.
    """

    def __init__(
        self, stem: int, stem_stride: int, widths: tuple[int, int, int], blocks: int, composite: bool
    ) -> None:
        super().__init__()
        kind = CompositeEncoder if composite else PlainEncoder
        self.moving = kind(stem, stem_stride, widths, blocks)
        self.fixed = kind(stem, stem_stride, widths, blocks)
        if isinstance(self.moving, CompositeEncoder):
            quieten(self.moving)
        self.fixed.load_state_dict(self.moving.state_dict())
