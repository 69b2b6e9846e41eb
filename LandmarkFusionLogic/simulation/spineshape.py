"""Vertebrae with random shape along a random curve: where they lie, and how far a point is from their bone.

The frame of the trunk is RAS mm (x right, y anterior, z superior) with a lumbar vertebra near the origin. A vertebra
has a frame of its own about the center of its body, its axes as those of the trunk when it stands upright.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.shapes import Points, cone

LEVELS = (*(f"T{n}" for n in range(6, 13)), *(f"L{n}" for n in range(1, 6)))
"""Names of the vertebrae, from above."""


@dataclass(frozen=True, eq=False)
class Vertebra:
    """``center`` (3,) mm of the body, ``axes`` (3, 3) rotation from the vertebra's frame to the trunk's.

    ``half`` (right, anterior, superior) mm are the half sizes of the body, ``gap`` mm the height of the disc above it,
    ``parts`` the arch: start, end (mm, own frame), the radii there, and how much wider than high each part is.
    """

    name: str
    center: Tensor
    axes: Tensor
    half: tuple[float, float, float]
    gap: float
    waist: float
    canal: tuple[float, float]
    parts: tuple[tuple[list[float], list[float], float, float, float], ...]

    @property
    def has_rib(self) -> bool:
        """Whether it is thoracic."""
        return self.name.startswith("T")

    def to_trunk(self, point: list[float]) -> Tensor:
        """(3,) mm in the trunk of a ``point`` of the vertebra's frame."""
        return self.axes @ torch.tensor(point, dtype=torch.float32) + self.center

    def local(self, points: Points) -> Points:
        """``points`` of the trunk in the vertebra's frame."""
        offset = points.xyz - self.center[:, None, None, None]
        return Points(torch.einsum("ab,akji->bkji", self.axes, offset), points.softness)

    def bone(self, points: Points) -> Tensor:
        """Distance in mm to its bone, negative inside; ``points`` in the trunk."""
        own = self.local(points)
        found = self._body(own)
        for start, end, first, last, flat in self.parts:
            stretched = own
            if flat != 1.0:
                scale = torch.tensor([flat, 1.0, 1.0])[:, None, None, None]
                stretched = Points(own.xyz * scale, own.softness)
                start, end = [flat * start[0], *start[1:]], [flat * end[0], *end[1:]]
            found = torch.minimum(found, cone(stretched, start, end, first, last))
        radius, back = self.canal
        tunnel = (own.x.square() + (1.15 * (own.y - back)).square()).sqrt() - radius
        return torch.maximum(found, -tunnel)

    def disc(self, points: Points) -> Tensor:
        """Distance in mm to the disc above it."""
        own = self.local(points)
        level = (own.z - self.half[2] - 0.5 * self.gap).abs() - 0.5 * self.gap - 1.0
        return torch.maximum(self._column(own, 0.95), level)

    def _column(self, own: Points, share: float | Tensor) -> Tensor:
        a, b, _ = self.half
        # The back of the body is nearly flat.
        y = torch.where(own.y < 0, own.y * 1.12, own.y)
        radius = ((own.x / a).abs() ** 2.3 + (y / b).abs() ** 2.3) ** (1 / 2.3)
        return (radius - share) * min(a, b)

    def _body(self, own: Points) -> Tensor:
        h = self.half[2]
        middle = (1 - (own.z / h).square()).clamp_min(0)
        side = self._column(own, 1 - self.waist * middle)
        # End plates are hollow by a millimeter or two.
        hollow = 1.6 * (1 - (own.x / self.half[0]).square() - (own.y / self.half[1]).square()).clamp_min(0)
        return torch.maximum(side, own.z.abs() - h + hollow)


@dataclass(frozen=True, eq=False)
class Spine:
    """``vertebrae`` from above; ``sacrum``: the frame below the last one, (3,) center mm and (3, 3) axes."""

    vertebrae: tuple[Vertebra, ...]
    sacrum: tuple[Tensor, Tensor]
    size: float


def draw_spine(draw: Draw) -> Spine:
    """A spine from T6 to L5 and the place of the sacrum; a lumbar vertebra, L1 to L4, is next to the origin."""
    size = draw.uniform(0.82, 1.18)
    heights = [size * (21 + 0.75 * n) * draw.uniform(0.95, 1.05) for n in range(len(LEVELS))]
    gaps = [size * (3.5 + 0.5 * n) * draw.uniform(0.6, 1.25) for n in range(len(LEVELS))]
    anchor = LEVELS.index("L1") + draw.count(0, 3)
    tops = [0.0]
    for height, gap in zip(heights, gaps, strict=True):
        tops.append(tops[-1] - height - gap)
    shift = draw.uniform(-0.5, 0.5) * heights[anchor] - (tops[anchor] - gaps[anchor] - 0.5 * heights[anchor])
    line = _Curve(draw)
    twist, wander = draw.normal(0, 4), draw.uniform(0, 3)
    vertebrae = []
    for number, name in enumerate(LEVELS):
        z = tops[number] + shift - gaps[number] - 0.5 * heights[number]
        axes = line.axes(z, twist + wander * draw.normal(0, 1))
        vertebrae.append(_vertebra(draw, name, line.at(z), axes, size, heights[number], gaps[number]))
    end = tops[-1] + shift - gaps[-1]
    tilt = _turn(0, math.radians(draw.uniform(20, 45)))
    return Spine(tuple(vertebrae), (line.at(end), line.axes(end, twist) @ tilt), size)


class _Curve:
    """The line of the bodies' centers: lordosis in the sagittal plane, some with a scoliosis."""

    def __init__(self, draw: Draw) -> None:
        self._start = (draw.uniform(-8, 8), draw.uniform(-8, 8))
        self._lean = (draw.normal(0, 0.04), draw.normal(0, 0.08))
        self._lordosis = draw.uniform(2, 18)
        self._length = draw.uniform(180, 300)
        self._phase = draw.uniform(-0.6, 0.6)
        self._scoliosis = draw.normal(0, 6) if draw.chance(0.5) else 0.0
        self._side = draw.uniform(-1.0, 1.0)

    def at(self, z: float) -> Tensor:
        phase = 2 * math.pi * z / self._length
        x = self._start[0] + self._lean[0] * z + self._scoliosis * math.cos(phase + self._side)
        y = self._start[1] + self._lean[1] * z + self._lordosis * math.cos(phase + self._phase + 0.5)
        return torch.tensor([x, y, z])

    def axes(self, z: float, twist_degrees: float) -> Tensor:
        along = self.at(z + 1) - self.at(z - 1)
        about_x = math.atan2(-float(along[1]), float(along[2]))
        about_y = math.atan2(float(along[0]), float(along[2]))
        return _turn(0, about_x) @ _turn(1, about_y) @ _turn(2, math.radians(twist_degrees))


def _turn(axis: int, angle: float) -> Tensor:
    """(3, 3) rotation by ``angle`` radians about an axis of the trunk."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = torch.eye(3)
    turn[first, first] = turn[second, second] = math.cos(angle)
    turn[second, first] = math.sin(angle)
    turn[first, second] = -math.sin(angle)
    return turn


def _vertebra(draw: Draw, name: str, center: Tensor, axes: Tensor, size: float, height: float, gap: float) -> Vertebra:
    number = LEVELS.index(name) / (len(LEVELS) - 1)
    a = size * (15.5 + 8.5 * number) * draw.uniform(0.94, 1.06)
    b = size * (13.5 + 3.5 * number) * draw.uniform(0.94, 1.06)
    canal = size * (7.5 + 2.0 * number)
    back = -b / 1.12
    lumbar = name.startswith("L")
    parts = list[tuple[list[float], list[float], float, float, float]]()
    side_x, arch = 0.9 * canal + 5 * size, back - 1.7 * canal
    reach = size * (draw.uniform(33, 42) if lumbar else draw.uniform(24, 30))
    lift = size * (draw.uniform(-2, 3) if lumbar else draw.uniform(3, 8))
    thick = size * draw.uniform(3.4, 4.8)
    up, down = 0.5 * height + 0.35 * gap, -0.5 * height - 0.45 * gap
    for side in (-1.0, 1.0):
        wobble = draw.uniform(0.92, 1.08)
        root, pillar = [side * side_x, 0.7 * back, 3 * size], [side * side_x, arch + 3, 0.0]
        parts.append((root, pillar, 4.6 * size, 4.6 * size, 1.0))
        tip = [side * reach * wobble, arch - (0 if lumbar else 8) * size, lift]
        parts.append((pillar, tip, thick, 0.75 * thick, 1.0))
        parts.append((pillar, [side * (side_x + 1), arch - 1, up], 4.4 * size, 4.0 * size, 1.0))
        low = [side * (side_x - 1.5), arch - 5 * size, down]
        parts.append(([side * 0.8 * side_x, arch - 3, -3 * size], low, 4.6 * size, 4.2 * size, 1.0))
        parts.append(([side * 0.9 * side_x, arch - 1, 0.0], [0.0, arch - 8 * size, -5.0 * size], 4.2, 4.2, 1.0))
    length = size * (draw.uniform(20, 30) if lumbar else draw.uniform(22, 32))
    drop = size * (draw.uniform(4, 10) if lumbar else draw.uniform(16, 28))
    spine_tip = [draw.normal(0, 1.0), arch - 8 * size - length, -5 * size - drop]
    parts.append(([0.0, arch - 7 * size, -5 * size], spine_tip, 6.5 * size, 7.0 * size, 2.0))
    half = (a, b, 0.5 * height)
    return Vertebra(
        name, center, axes, half, gap, draw.uniform(0.06, 0.16), (canal, back - 0.85 * canal), tuple(parts)
    )
