"""Smooth random fields: deformations, textures and the Gaussian blur, all on torch tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

from LandmarkFusionLogic.simulation.draw import Draw


@dataclass(frozen=True)
class SmoothField:
    """A smooth displacement field in mm: a sum of plane waves.

    ``waves`` (M, 3) rad/mm, ``phases`` (M,), ``amplitudes`` (M, 3) mm.
    """

    waves: Tensor
    phases: Tensor
    amplitudes: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Displacement (3, ...) in mm at ``points`` (3, ...) in mm."""
        flat = points.reshape(3, -1)
        waves, phases, amplitudes = (part.to(points) for part in (self.waves, self.phases, self.amplitudes))
        values = torch.sin(torch.addmm(phases[:, None], waves, flat))
        return (amplitudes.T @ values).view_as(points)


def undo(shift: Callable[[Tensor], Tensor], target: Tensor) -> Tensor:
    """The points (3, ...) whose sum with their ``shift`` is ``target``, mm, by fixed-point iteration to 1e-6 mm.

    ``shift`` must be a contraction: no two points may come closer than they were shifted apart.
    """
    found = target.clone()
    for _ in range(100):
        nearer = target - shift(found)
        if float((nearer - found).abs().max()) < 1e-6:
            return nearer
        found = nearer
    return found


def smooth_field(draw: Draw, amplitude_mm: float, wavelengths_mm: tuple[float, float], waves: int = 5) -> SmoothField:
    """A field whose typical displacement is ``amplitude_mm`` (root mean square of its length)."""
    vectors, phases, amplitudes = [], [], []
    for _ in range(waves):
        number = 2 * math.pi / draw.uniform(*wavelengths_mm)
        vectors.append([number * c for c in draw.direction()])
        phases.append(draw.uniform(0, 2 * math.pi))
        size = amplitude_mm * math.sqrt(2 / waves)
        amplitudes.append([size * c for c in draw.direction()])
    return SmoothField(torch.tensor(vectors), torch.tensor(phases), torch.tensor(amplitudes))


def texture(
    draw: Draw, shape: Sequence[int], spacing_mm: Sequence[float], scale_mm: float, device: torch.device | str
) -> Tensor:
    """Noise with lumps of about ``scale_mm``, mean 0, standard deviation about 1, of ``shape`` (K, J, I).

    Where the voxels are larger than the lumps, what is left is their average over a voxel.
    """
    lattice = [max(2, math.ceil(n * s / max(scale_mm, s)) + 1) for n, s in zip(shape, spacing_mm, strict=True)]
    values = draw.noise((1, 1, *lattice), device)
    values = F.interpolate(values, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0]
    averaged = math.prod(min(1.0, math.sqrt(scale_mm / s)) for s in spacing_mm)
    return (values - values.mean()) / values.std().clamp_min(1e-3) * averaged


def curve(draw: Draw, at: Tensor, low: float, high: float, knots: int) -> Tensor:
    """A random function read at ``at``: ``knots`` normal values between ``low`` and ``high``, linear between them."""
    values = draw.noise((knots,), at.device)
    position = ((at - low) / (high - low) * (knots - 1)).clamp(0, knots - 1.001)
    left = position.floor()
    index = left.long()
    return torch.lerp(values[index], values[index + 1], position - left)


def blur(image: Tensor, sigma_voxels: Sequence[float], outside: str = "replicate") -> Tensor:
    """Gaussian blur of (K, J, I) by ``sigma_voxels`` per axis; ``outside`` is "replicate" or "constant" (zero)."""
    result = image[None, None]
    for axis, sigma in enumerate(sigma_voxels):
        if sigma < 0.15:
            continue
        radius = min(math.ceil(3 * sigma), 64)
        offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        kernel = kernel / kernel.sum()
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 2 * radius + 1
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
        result = F.conv3d(F.pad(result, padding, mode=outside), kernel.view(shape))
    return result[0, 0]
