"""Soft shapes painted into a volume, each only where it lies, in coordinates that a smooth random warp has bent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.fields import texture
from LandmarkFusionLogic.simulation.shapes import Points, cone

Vector = Sequence[float]
Distance = Callable[[Points], Tensor]

WARP_MM = 9.0
"""The warp moves nothing by more than this: what is added to the box around a shape."""


class Painter:
    """A volume ``image`` (K, J, I) in the making; RAS mm with the volume's centre as origin.

    Tissues are painted one over the other, each with a value and a share of the texture that all have in common.
    """

    def __init__(self, draw: Draw, shape: tuple[int, int, int], spacing_mm: float) -> None:
        self.shape = shape
        self.spacing = spacing_mm
        axes = [(torch.arange(n) - (n - 1) / 2) * spacing_mm for n in shape]
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        self._axes = axes
        self._xyz = torch.stack((x, y, z))
        fine = draw.uniform(35, 70)
        for scale, size in ((fine, draw.uniform(1.0, 2.5)), (2.5 * fine, draw.uniform(2.0, 6.0))):
            for axis in range(3):
                bend = texture(draw, shape, (spacing_mm,) * 3, scale, "cpu")
                self._xyz[axis] += (size * bend / 2.5).clamp(-WARP_MM / 2, WARP_MM / 2)
        self.image = torch.zeros(shape)
        coarse = texture(draw, shape, (spacing_mm,) * 3, draw.uniform(8, 18), "cpu")
        self._texture = 0.7 * coarse + 0.5 * texture(draw, shape, (spacing_mm,) * 3, draw.uniform(3, 6), "cpu")
        self.whole = Points(self._xyz, 0.35 * spacing_mm)

    def cover(self, coverage: Tensor, value: float, grain: float, box: tuple[slice, ...] = (slice(None),) * 3) -> None:
        """Paint ``value`` with ``grain`` times the texture where ``coverage`` (0..1, of the size of ``box``) says."""
        self.image[box] = torch.lerp(self.image[box], value + grain * self._texture[box], coverage)

    def box(self, low: Vector, high: Vector) -> tuple[slice, ...]:
        """The voxels between two corners (x, y, z), mm, and those that the warp may bring there."""
        found = []
        for axis, start, end in zip(self._axes, reversed(low), reversed(high), strict=True):
            inside = torch.nonzero((axis > start - WARP_MM - 3) & (axis < end + WARP_MM + 3))
            found.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0))
        return tuple(found)

    def within(self, box: tuple[slice, ...]) -> Points:
        """The points of the voxels of ``box``."""
        return Points(self._xyz[(slice(None), *box)], self.whole.softness)

    def shape_in(
        self, low: Vector, high: Vector, distance: Distance, layers: Sequence[tuple[float, float, float]]
    ) -> None:
        """Paint ``layers`` (value, grain, mm inside of the surface) of a shape that lies between two corners."""
        box = self.box(low, high)
        points = self.within(box)
        if points.xyz.numel() == 0:
            return
        far = distance(points)
        for value, grain, inset in layers:
            self.cover(points.inside(far + inset), value, grain, box)

    def blob(
        self, centre: Vector, radii: Vector, turn: Tensor | None, layers: Sequence[tuple[float, float, float]]
    ) -> None:
        """An ellipsoid about ``centre``, its axes turned by the rotation ``turn`` (3, 3)."""
        reach = max(radii) if turn is not None else 0.0
        size = [max(reach, r) for r in radii]

        def distance(points: Points) -> Tensor:
            offset = points.xyz - torch.tensor(centre, dtype=torch.float32)[:, None, None, None]
            if turn is not None:
                offset = torch.einsum("ab,bkji->akji", turn, offset)
            scaled = offset / torch.tensor(radii, dtype=torch.float32)[:, None, None, None]
            return (scaled.square().sum(0).sqrt() - 1) * min(radii)

        low = [c - s for c, s in zip(centre, size, strict=True)]
        high = [c + s for c, s in zip(centre, size, strict=True)]
        self.shape_in(low, high, distance, layers)

    def tube(self, path: Sequence[Vector], radius: float, layers: Sequence[tuple[float, float, float]]) -> None:
        """A tube along ``path``; each layer is painted along the whole tube before the next."""
        for layer in layers:
            for start, end in pairwise(path):
                low = [min(a, b) - radius for a, b in zip(start, end, strict=True)]
                high = [max(a, b) + radius for a, b in zip(start, end, strict=True)]
                self.shape_in(low, high, lambda p, s=start, e=end: cone(p, s, e, radius, radius), [layer])  # type: ignore[misc]


def rotation(draw: Draw) -> Tensor:
    """(3, 3) a rotation by up to 60° about a random axis."""
    x, y, z = draw.direction()
    angle = draw.uniform(-math.pi / 3, math.pi / 3)
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float32)
    return torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)


def wander(draw: Draw, start: Vector, step_mm: float, steps: int, bend: float, extent: Vector) -> list[list[float]]:
    """A random path of ``steps`` pieces of ``step_mm``, turning by ``bend`` (0..1), kept within ± ``extent`` mm."""
    path = [list(start)]
    heading = draw.direction()
    for _ in range(steps):
        heading = (1 - bend) * heading + bend * draw.direction()
        heading = heading / max(float((heading**2).sum()) ** 0.5, 1e-6)
        path.append(
            [min(max(p + step_mm * float(h), -e), e) for p, h, e in zip(path[-1], heading, extent, strict=True)]
        )
    return path
