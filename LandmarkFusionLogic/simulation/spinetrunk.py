"""What surrounds the spine in a simulated CT: body wall, muscles, organs, lungs, gas, vessels, ribs and pelvis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.ctpainting import Painter, rotation, wander
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.shapes import Points
from LandmarkFusionLogic.simulation.spineshape import Spine

HU = {
    "fat": (-115.0, -80.0),
    "skin": (-30.0, 50.0),
    "muscle": (35.0, 75.0),
    "organ": (30.0, 140.0),
    "bowel": (10.0, 70.0),
    "content": (-30.0, 150.0),
    "vessel": (40.0, 330.0),
    "marrow": (90.0, 280.0),
    "cortex": (450.0, 1000.0),
    "disc": (50.0, 115.0),
    "gas": (-980.0, -800.0),
    "lung": (-880.0, -700.0),
    "dense": (400.0, 2500.0),
}
"""Tissues and the range of their values."""


class Tissues:
    """One value in HU for each tissue of a case, and its grain."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._base = {name: draw.uniform(*limits) for name, limits in HU.items()}
        self._grain = draw.uniform(3, 14)
        # Osteoporosis takes from cortex and marrow alike.
        density = draw.uniform(0.65, 1.15)
        for name in ("marrow", "cortex"):
            self._base[name] *= density
        self.cortex_mm = draw.uniform(1.3, 2.6)

    def layer(self, name: str, inset: float = 0.0, vary: bool = False) -> tuple[float, float, float]:
        """The layer of a tissue for `Painter`; ``vary``: with a value of its own."""
        value = self._draw.uniform(*HU[name]) if vary else self._base[name]
        return value, self._grain * (4.0 if name in {"marrow", "content"} else 1.0), inset


@dataclass(frozen=True)
class Trunk:
    """The body's outline: ``half`` (right, anterior) mm about ``middle`` (right, anterior) mm; ``front``: the cavity.

    ``back`` is the anterior coordinate of the spine's front and ``lungs`` the height above which there is lung.
    """

    half: tuple[float, float]
    middle: tuple[float, float]
    cavity: tuple[float, float]
    back: float
    lungs: float


def paint_trunk(painter: Painter, draw: Draw, tissues: Tissues, spine: Spine) -> Trunk:
    """Skin, fat, muscle wall, the fat of the cavity, and the muscles along the spine."""
    points = painter.whole
    size = spine.size
    half = (size * draw.uniform(125, 175), size * draw.uniform(85, 120))
    middle = (draw.uniform(-6, 6), half[1] - size * draw.uniform(58, 80))
    power = draw.uniform(2.0, 2.8)

    def outline(inset: float) -> Tensor:
        a, b = half[0] - inset, half[1] - inset
        radius = ((points.x - middle[0]) / a).abs() ** power + ((points.y - middle[1]) / b).abs() ** power
        return (radius ** (1 / power) - 1) * b

    painter.cover(points.inside(outline(0)), *tissues.layer("skin")[:2])
    painter.cover(points.inside(outline(0) + draw.uniform(1.5, 3)), *tissues.layer("fat")[:2])
    fat, muscle = draw.uniform(4, 22), draw.uniform(8, 18)
    painter.cover(points.inside(outline(fat)), *tissues.layer("muscle")[:2])
    painter.cover(points.inside(outline(fat + muscle)), *tissues.layer("fat")[:2])
    top = 0.5 * painter.shape[0] * painter.spacing
    sheath, belly = tissues.layer("fat", -2.0), tissues.layer("muscle")
    for x, y, radius in ((26.0, -42.0, 21.0), (48.0, -38.0, 15.0), (38.0, -2.0, 17.0)):
        for side in (-1, 1):
            r = radius * size * draw.uniform(0.75, 1.15)
            # Psoas leaves the upper spine.
            low = [side * size * (x + (8 if y > -10 else 0)), size * y + draw.uniform(-4, 4), -top]
            high = [side * size * (x - (14 if y > -10 else 4)), size * y + draw.uniform(-4, 4), top]
            painter.tube([low, high], r, [sheath, belly])
    cavity = (half[0] - fat - muscle - 5, half[1] - fat - muscle - 5)
    return Trunk(half, middle, cavity, 20.0 * size, draw.uniform(20, 140))


def paint_in_front(painter: Painter, draw: Draw, tissues: Tissues, trunk: Trunk) -> None:
    """Organs, bowel with gas, vessels, lungs above the diaphragm, and a few dense spots."""
    top = 0.5 * painter.shape[0] * painter.spacing
    for side in (-1, 1):
        place = [side * draw.uniform(50, 68), draw.uniform(-18, 8), draw.uniform(-45, 45)]
        size = [draw.uniform(22, 30), draw.uniform(20, 27), draw.uniform(45, 60)]
        fat, rind, core = tissues.layer("fat", -4.0), tissues.layer("organ", 0, True), tissues.layer("organ", 9, True)
        painter.blob(place, size, None, [fat, rind, core])
    for _ in range(draw.count(2, 6)):
        place = _somewhere(draw, trunk, top)
        size = [draw.uniform(20, 60), draw.uniform(15, 45), draw.uniform(20, 60)]
        painter.blob(place, size, rotation(draw), [tissues.layer("fat", -2.0), tissues.layer("organ", 0, True)])
    for _ in range(draw.count(3, 8)):
        _bowel(painter, draw, tissues, trunk, top)
    y = trunk.back + draw.uniform(2, 8)
    for x in (-10.0, 13.0):
        layers = [tissues.layer("fat", -1.5), tissues.layer("vessel", 0, True)]
        ends = [[x + draw.uniform(-4, 4), y, -top], [x + draw.uniform(-4, 4), y + draw.uniform(-5, 10), top]]
        painter.tube(ends, draw.uniform(7, 13), layers)
    _lungs(painter, draw, tissues, trunk)
    for _ in range(draw.count(0, 8)):
        painter.blob(_somewhere(draw, trunk, top), [draw.uniform(1, 4) for _ in range(3)], None, [_dense(tissues)])


def _dense(tissues: Tissues) -> tuple[float, float, float]:
    return tissues.layer("dense", 0, True)


def _somewhere(draw: Draw, trunk: Trunk, top: float) -> list[float]:
    depth = draw.uniform(trunk.back + 15, trunk.middle[1] + 0.9 * trunk.cavity[1])
    return [trunk.middle[0] + draw.uniform(-0.8, 0.8) * trunk.cavity[0], depth, draw.uniform(-1, 1) * top]


def _bowel(painter: Painter, draw: Draw, tissues: Tissues, trunk: Trunk, top: float) -> None:
    start = _somewhere(draw, trunk, top)
    radius, wall = draw.uniform(8, 20), draw.uniform(1.5, 3.0)
    offset = torch.tensor([trunk.middle[0], 0.5 * (trunk.back + trunk.middle[1] + trunk.cavity[1]), 0.0])
    extent = [0.85 * trunk.cavity[0], 0.4 * trunk.cavity[1], 1.1 * top]
    inner = [s - float(o) for s, o in zip(start, offset, strict=True)]
    path = wander(draw, inner, draw.uniform(14, 28), draw.count(3, 8), 0.6, extent)
    path = [[p + float(o) for p, o in zip(point, offset, strict=True)] for point in path]
    content = tissues.layer("gas", wall) if draw.chance(0.3) else tissues.layer("content", wall, True)
    painter.tube(path, radius, [tissues.layer("fat", -1.5), tissues.layer("bowel"), content])
    for point in path:
        if draw.chance(0.3):
            size = (radius - wall) * draw.uniform(0.4, 0.95)
            painter.blob([point[0], point[1] + 0.3 * size, point[2]], [size] * 3, None, [tissues.layer("gas")])


def _lungs(painter: Painter, draw: Draw, tissues: Tissues, trunk: Trunk) -> None:
    points = painter.whole
    for side in (-1, 1):
        middle = [trunk.middle[0] + side * 0.5 * trunk.cavity[0], 0.35 * trunk.middle[1]]
        rx, ry = 0.42 * trunk.cavity[0], 0.85 * trunk.cavity[1]
        radius = (((points.x - middle[0]) / rx).square() + ((points.y - middle[1]) / ry).square()).sqrt()
        # The dome of the diaphragm, its sinus deepest at the wall.
        dome = trunk.lungs + draw.uniform(-8, 8) - 45 * radius.square() - points.z
        painter.cover(points.inside(torch.maximum((radius - 1) * rx, dome)), *tissues.layer("lung")[:2])


def paint_ribs(painter: Painter, draw: Draw, tissues: Tissues, spine: Spine, trunk: Trunk) -> None:
    """A pair of ribs from each thoracic vertebra; the last is short."""
    a, b = trunk.cavity[0] + 4, trunk.cavity[1] + 4
    slope = draw.uniform(25, 60)
    for vertebra in spine.vertebrae:
        if not vertebra.has_rib:
            continue
        end = draw.uniform(0.25, 0.7) if vertebra.name == "T12" else draw.uniform(1.0, 1.6)
        radius = draw.uniform(3.6, 5.2)
        for side in (-1, 1):
            head = vertebra.to_trunk([side * vertebra.half[0], -0.8 * vertebra.half[1], 0.3 * vertebra.half[2]])
            neck = vertebra.to_trunk([side * 34.0 * spine.size, -34.0 * spine.size, 2.0])
            path = [head.tolist(), neck.tolist()]
            start = math.atan2((float(neck[1]) - trunk.middle[1]) / b, abs(float(neck[0])) / a)
            for number in range(1, 8):
                angle = start + (end + 0.2) * number / 7
                x, y = side * a * math.cos(angle), trunk.middle[1] + b * math.sin(angle)
                path.append([trunk.middle[0] + x, y, float(neck[2]) - slope * (angle - start)])
            painter.tube(path, radius, [tissues.layer("cortex"), tissues.layer("marrow", tissues.cortex_mm)])


def paint_pelvis(painter: Painter, draw: Draw, tissues: Tissues, spine: Spine) -> None:
    """The sacrum below L5 and both iliac wings, which reach up to about L4."""
    center, axes = spine.sacrum
    size = spine.size
    layers = [tissues.layer("cortex"), tissues.layer("marrow", tissues.cortex_mm)]
    length, width = 95 * size, size * draw.uniform(48, 56)
    holes = [18.0, 42.0, 64.0]

    def sacrum(points: Points) -> Tensor:
        offset = points.xyz - center[:, None, None, None]
        x, y, z = torch.einsum("ab,akji->bkji", axes, offset)
        down = (-z / length).clamp(0, 1)
        wide = width * (1 - 0.75 * down)
        bow = y - 14 * size * torch.sin(math.pi * down) + 6
        plate = ((x / wide).square() + (bow / (17 * size * (1 - 0.6 * down))).square()).sqrt()
        found = torch.maximum((plate - 1) * 12, torch.maximum(z + 0.12 * x.abs(), -z - length))
        for hole in holes:
            gap = ((x.abs() - 20 * size).square() + (z + hole * size).square()).sqrt()
            found = torch.maximum(found, 4.5 * size - gap)
        return found

    low = [float(c) - 70 for c in center]
    painter.shape_in([low[0], low[1], low[2] - 45], [float(c) + 70 for c in center], sacrum, layers)
    rise, lean, thick = draw.uniform(5, 35) * size, draw.uniform(0.35, 0.6), draw.uniform(3.5, 7.0)
    for side in (-1, 1):

        def wing(points: Points, side: int = side) -> Tensor:
            height = points.z - float(center[2])
            x = side * (points.x - float(center[0])) - width - lean * (height + 45).clamp_min(-40)
            y = points.y - float(center[1])
            bowl = (x - 0.004 * (y - 5).square() + 8).abs() - thick
            oval = (((y - 15) / (75 * size)).square() + ((height + 45) / (45 + rise)).square()).sqrt()
            return torch.maximum(bowl, (oval - 1) * 60)

        middle = [float(center[0]) + side * (width + 35), float(center[1]) + 15, float(center[2]) - 30]
        low, high = [m - r for m, r in zip(middle, (65, 85, 80), strict=True)], [m + 85 for m in middle]
        painter.shape_in(low, high, wing, layers)
