"""CT-like abdomens and pelves with random anatomy and strongly randomized intensities, for networks that match.

Not meant to deceive a radiologist: body outline, fat, muscles, spine, pelvic bones, organs, bowel with gas, vessels
and nodes stand where such things may stand, so that a network meets edges, tubes, blobs and textures as CT and MR show
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.ctpainting import Painter, rotation, wander
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.fields import blur
from LandmarkFusionLogic.simulation.shapes import Points
from LandmarkFusionLogic.volume import Volume

SHAPE = (96, 112, 160)
SPACING_MM = 2.0
AIR_HU = -1000.0
HU = {
    "fat": (-115.0, -70.0),
    "skin": (-30.0, 60.0),
    "muscle": (30.0, 80.0),
    "organ": (20.0, 130.0),
    "fluid": (-5.0, 25.0),
    "bowel": (10.0, 70.0),
    "content": (-40.0, 180.0),
    "vessel": (30.0, 260.0),
    "marrow": (60.0, 300.0),
    "cortex": (350.0, 900.0),
    "disc": (50.0, 120.0),
    "node": (20.0, 110.0),
    "gas": (-950.0, -600.0),
    "dense": (300.0, 1500.0),
}
"""Tissues and the range of their values in CT."""
TOP_HU = 450.0
"""Random values of other contrasts lie between -200 and this."""


@dataclass(frozen=True)
class CtAnatomy:
    """``image`` (K, J, I), values as in CT (HU) or of a random contrast; ``body`` (K, J, I) bool; spacing in mm."""

    image: Tensor
    body: Tensor
    spacing_mm: float


class _Tissues:
    """A value for each tissue and variations of it: HU, or, for half of the cases, anything, as in MR."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._random = draw.chance(0.5)
        self._base = {name: self._value(name) for name in HU}
        self._grain = draw.uniform(3, 22)

    def _value(self, name: str) -> float:
        if self._random and name != "gas":
            return self._draw.uniform(-200, TOP_HU)
        return self._draw.uniform(*HU[name])

    def layer(self, name: str, inset: float = 0.0, vary: float = 0.0) -> tuple[float, float, float]:
        """The layer of a tissue for `Painter`; ``vary``: the chance of a value of its own."""
        value = self._value(name) if self._draw.chance(vary) else self._base[name]
        coarse = name in {"content", "marrow"}
        return value, self._grain * self._draw.uniform(0.5, 1.5) * (2.5 if coarse else 1.0), inset


def make_ct(seed: int, shape: tuple[int, int, int] = SHAPE, spacing_mm: float = SPACING_MM) -> CtAnatomy:
    """The anatomy of ``seed`` on a grid of ``shape`` (K, J, I), axes to right, anterior, superior (x, y, z)."""
    draw = Draw(seed, "ct anatomy")
    painter = Painter(Draw(seed, "ct texture"), shape, spacing_mm)
    tissues = _Tissues(Draw(seed, "ct contrast"))
    painter.image.fill_(AIR_HU)
    half = (draw.uniform(125, 185), draw.uniform(85, 120))
    body = _wall(painter, draw, tissues, half)
    cavity = (0.62 * half[0], 0.62 * half[1], 0.5 * shape[0] * spacing_mm)
    _muscles(painter, draw, tissues, half)
    for _ in range(draw.count(3, 7)):
        _organ(painter, draw, tissues, cavity)
    for _ in range(draw.count(3, 8)):
        _bowel(painter, draw, tissues, cavity)
    _vessels(painter, draw, tissues, half, cavity)
    _spine(painter, draw, tissues, half)
    if draw.chance(0.7):
        _pelvis(painter, draw, tissues, half)
    else:
        _ribs(painter, draw, tissues, half)
    _small(painter, draw, tissues, half)
    sigma = draw.uniform(0.2, 0.6)
    image = blur(painter.image, (sigma * draw.uniform(0.8, 1.8), sigma, sigma))
    return CtAnatomy(image, body, spacing_mm)


def _wall(painter: Painter, draw: Draw, tissues: _Tissues, half: tuple[float, float]) -> Tensor:
    """Skin, fat, muscle wall and the cavity's fat; returns the body's mask."""
    points = painter.whole
    power = draw.uniform(2.0, 3.0)

    def outline(inset_x: float, inset_y: float, shift: float = 0.0) -> Tensor:
        a, b = half[0] - inset_x, half[1] - inset_y
        radius = ((points.x / a).abs() ** power + ((points.y - shift) / b).abs() ** power) ** (1 / power)
        return (radius - 1) * b

    skin = outline(0, 0)
    painter.cover(points.inside(skin), *tissues.layer("skin")[:2])
    painter.cover(points.inside(skin + draw.uniform(1.5, 3.5)), *tissues.layer("fat")[:2])
    fat = draw.uniform(6, 32)
    shift = draw.uniform(-6, 6)
    muscle = draw.uniform(7, 18)
    wall = outline(fat * draw.uniform(0.8, 1.3), fat, shift)
    painter.cover(points.inside(wall), *tissues.layer("muscle")[:2])
    sheet = draw.uniform(0.3, 0.7) * muscle
    painter.cover(points.inside((wall + sheet).abs() - 0.8), *tissues.layer("fat")[:2])
    painter.cover(points.inside(wall + muscle), *tissues.layer("fat")[:2])
    return skin < 0


def _muscles(painter: Painter, draw: Draw, tissues: _Tissues, half: tuple[float, float]) -> None:
    """Muscles along the spine, and paired bellies, each in a sheath of fat."""
    sheath = tissues.layer("fat", -2.5)
    top = painter.shape[0] * painter.spacing
    for x, y, radius in ((38.0, -0.62 * half[1], 27.0), (42.0, -0.28 * half[1], 19.0), (62.0, -0.55 * half[1], 18.0)):
        x, y, radius = x + draw.uniform(-6, 6), y + draw.uniform(-6, 6), radius * draw.uniform(0.7, 1.1)
        for side in (-1, 1):
            path = [[side * (x + draw.uniform(-6, 6)), y + draw.uniform(-5, 5), z] for z in (-top, 0.0, top)]
            painter.tube(path, radius, [sheath, tissues.layer("muscle", 0.0, 0.2)])
    for _ in range(draw.count(3, 9)):
        centre = [draw.uniform(45, 0.8 * half[0]), draw.uniform(-0.8, 0.8) * half[1], draw.uniform(-0.5, 0.5) * top]
        radii = [draw.uniform(8, 26), draw.uniform(8, 26), draw.uniform(15, 55)]
        turn = rotation(draw)
        mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
        layers = [sheath, tissues.layer("muscle", 0.0, 0.2)]
        painter.blob(centre, radii, turn, layers)
        painter.blob([-centre[0], *centre[1:]], radii, turn @ mirror, layers)


def _organ(painter: Painter, draw: Draw, tissues: _Tissues, cavity: tuple[float, float, float]) -> None:
    """A blob anywhere in the cavity: solid, with a rind, or a bag of fluid; often with vessels or lesions inside."""
    centre = [
        draw.uniform(-0.8, 0.8) * cavity[0],
        draw.uniform(-0.4, 0.8) * cavity[1],
        draw.uniform(-1, 1) * cavity[2],
    ]
    radii = [draw.uniform(14, 60), draw.uniform(14, 45), draw.uniform(14, 60)]
    layers = [tissues.layer("fat", -draw.uniform(1.0, 4.0)), tissues.layer("organ", 0.0, 0.7)]
    inside = draw.uniform(0, 1)
    if inside < 0.3:
        layers.append(tissues.layer("fluid", draw.uniform(2, 6), 0.3))
    elif inside < 0.6:
        layers.append(tissues.layer("organ", draw.uniform(3, 10), 1.0))
    painter.blob(centre, radii, rotation(draw), layers)
    for _ in range(draw.count(0, 5)):
        at = [c + draw.uniform(-0.7, 0.7) * r for c, r in zip(centre, radii, strict=True)]
        small = [draw.uniform(3, 9) for _ in range(3)]
        painter.blob(at, small, None, [tissues.layer("organ", 0.0, 1.0)])


def _bowel(painter: Painter, draw: Draw, tissues: _Tissues, cavity: tuple[float, float, float]) -> None:
    """A bent tube with wall and content, and gas in some of it."""
    start = [draw.uniform(-0.9, 0.9) * cavity[0], draw.uniform(-0.4, 1.0) * cavity[1], draw.uniform(-1, 1) * cavity[2]]
    radius = draw.uniform(7, 17)
    path = wander(draw, start, draw.uniform(14, 28), draw.count(3, 8), 0.6, cavity)
    wall = draw.uniform(1.5, 4.0)
    painter.tube(
        path,
        radius,
        [tissues.layer("fat", -1.5), tissues.layer("bowel", 0.0, 0.3), tissues.layer("content", wall, 0.6)],
    )
    for point in path:
        if draw.chance(0.3):
            size = (radius - wall) * draw.uniform(0.4, 0.95)
            at = [point[0], point[1] + 0.3 * size, point[2]]
            painter.blob(at, [size, 0.8 * size, size], None, [tissues.layer("gas")])


def _vessels(
    painter: Painter, draw: Draw, tissues: _Tissues, half: tuple[float, float], cavity: tuple[float, float, float]
) -> None:
    """Aorta and vena cava with their branches, and small vessels anywhere."""
    top = 0.5 * painter.shape[0] * painter.spacing
    y = -0.12 * half[1] + draw.uniform(-4, 4)
    fork = draw.uniform(-0.7, 0.4) * top
    for x, radius in ((-11.0, draw.uniform(6, 11)), (13.0, draw.uniform(7, 13))):
        layers = [tissues.layer("fat", -1.5), tissues.layer("vessel", 0.0, 0.5)]
        painter.tube([[x, y, top + 20], [0.6 * x, y + draw.uniform(-4, 4), fork]], radius, layers)
        for side in (-1, 1):
            knee = [side * draw.uniform(25, 40), y + draw.uniform(-12, 12), fork - draw.uniform(30, 50)]
            end = [side * draw.uniform(50, 75), 0.5 * half[1] + draw.uniform(-10, 20), fork - draw.uniform(90, 130)]
            painter.tube([[0.6 * x, y, fork], knee, end], 0.7 * radius, layers)
    for _ in range(draw.count(12, 28)):
        start = [draw.uniform(-1.2, 1.2) * c for c in cavity]
        path = wander(draw, start, draw.uniform(8, 18), draw.count(2, 5), 0.45, [1.4 * c for c in cavity])
        painter.tube(path, draw.uniform(1.3, 4.0), [tissues.layer("vessel", 0.0, 0.3)])


def _spine(painter: Painter, draw: Draw, tissues: _Tissues, half: tuple[float, float]) -> None:
    """Vertebrae with discs, canal and processes along a bent line."""
    top = 0.5 * painter.shape[0] * painter.spacing
    y, height, radius = -0.42 * half[1], draw.uniform(26, 37), draw.uniform(17, 24)
    bend = draw.uniform(-0.002, 0.002)
    z = -top - draw.uniform(0, height)
    cortex, marrow = tissues.layer("cortex"), tissues.layer("marrow", 2.0)
    disc, canal = tissues.layer("disc"), tissues.layer("fluid")
    while z < top + height:
        at = y + bend * z * z
        low, high = [-radius, at - radius, z], [radius, at + radius, z + height]
        gap = draw.uniform(3, 5)

        def column(points: Points, at: float = at) -> Tensor:
            return (points.x.square() + (1.15 * (points.y - at)).square()).sqrt() - radius

        def bone(points: Points, at: float = at, z: float = z, gap: float = gap) -> Tensor:
            level = (points.z - z - 0.5 * height).abs() - 0.5 * height + gap
            return torch.maximum(column(points, at), level)

        painter.shape_in(low, high, column, [disc])
        painter.shape_in(low, high, bone, [cortex, marrow])
        back = at - radius / 1.15
        middle = z + 0.5 * height
        painter.tube([[0, back - 14, middle], [0, back - 30, middle - 8]], draw.uniform(3, 5), [cortex, marrow])
        for side in (-1, 1):
            tip = [side * draw.uniform(30, 45), back - draw.uniform(4, 12), middle]
            painter.tube([[side * 10, back - 8, middle], tip], draw.uniform(3, 5), [cortex, marrow])
            painter.tube([[side * 12, back - 2, middle], [side * 6, back - 15, middle]], 4.0, [cortex, marrow])
        painter.tube([[0, back - 7, z], [0, back - 7, z + height]], draw.uniform(5, 8), [canal])
        z += height


def _pelvis(painter: Painter, draw: Draw, tissues: _Tissues, half: tuple[float, float]) -> None:
    """Iliac wings, sacrum, sockets, femoral heads and pubis at a random height."""
    cortex, marrow = tissues.layer("cortex"), tissues.layer("marrow", 2.2)
    z, wide = draw.uniform(-70, 60), draw.uniform(0.55, 0.7) * half[0]
    for side in (-1, 1):
        lean, thick = draw.uniform(0.3, 0.6), draw.uniform(5, 9)

        def wing(points: Points, side: int = side, lean: float = lean, thick: float = thick) -> Tensor:
            height = points.z - z
            x = side * points.x - wide - lean * height
            bowl = (x + 0.004 * (points.y + 10).square()).abs() - thick
            oval = ((points.y + 15) / 58).square() + ((height - 25) / 52).square()
            return torch.maximum(bowl, (oval.sqrt() - 1) * 40)

        reach = [side * wide, -15.0, z + 25]
        painter.shape_in([r - 75 for r in reach], [r + 75 for r in reach], wing, [cortex, marrow])
        hip = [side * wide, draw.uniform(-5, 15), z - 35]
        painter.blob(hip, [31.0, 30.0, 31.0], None, [cortex, marrow, tissues.layer("disc", 7.0)])
        painter.blob(hip, [22.0, 22.0, 22.0], None, [cortex, tissues.layer("marrow", 2.0)])
        knee = [side * (wide + 50), hip[1] - 5, z - 60]
        painter.tube([hip, knee, [knee[0], knee[1], z - 140]], draw.uniform(11, 16), [cortex, marrow])
        front = [side * 8.0, 0.45 * half[1], z - 60]
        painter.tube([[side * (wide - 15), 15, z - 30], front], draw.uniform(7, 10), [cortex, marrow])
        painter.tube([front, [side * (wide - 20), -15, z - 75]], draw.uniform(6, 9), [cortex, marrow])
    painter.blob([0, -0.5 * half[1], z + 10], [38.0, 16.0, 45.0], None, [cortex, marrow])


def _ribs(painter: Painter, draw: Draw, tissues: _Tissues, half: tuple[float, float]) -> None:
    """Ribs around the upper abdomen."""
    layers = [tissues.layer("cortex"), tissues.layer("marrow", 1.8)]
    a, b = 0.82 * half[0], 0.8 * half[1]
    for number in range(draw.count(3, 6)):
        z = draw.uniform(-10, 10) + 26 * number
        for side in (-1, 1):
            angles = torch.linspace(-1.35, draw.uniform(0.2, 1.2), 9).tolist()
            path = [
                [
                    side * a * float(torch.tensor(t).cos()),
                    b * float(torch.tensor(t).sin()),
                    z - 28 * (t + 1.35) / 2,
                ]
                for t in angles
            ]
            painter.tube(path, draw.uniform(4, 6), layers)


def _small(painter: Painter, draw: Draw, tissues: _Tissues, half: tuple[float, float]) -> None:
    """Nodes and vessels cut across, calcifications, and sometimes the table."""
    top = 0.5 * painter.shape[0] * painter.spacing
    for _ in range(draw.count(25, 60)):
        at = [draw.uniform(-0.85, 0.85) * half[0], draw.uniform(-0.8, 0.85) * half[1], draw.uniform(-1, 1) * top]
        size = draw.uniform(2, 7)
        radii = [size * draw.uniform(0.7, 1.4) for _ in range(3)]
        painter.blob(at, radii, None, [tissues.layer("dense" if draw.chance(0.08) else "node", 0.0, 0.5)])
    if draw.chance(0.4):
        depth, bend = half[1] + draw.uniform(6, 14), draw.uniform(0.0005, 0.002)
        points = painter.whole
        table = (points.y + depth - bend * points.x.square()).abs() - draw.uniform(1.5, 4)
        painter.cover(points.inside(table), draw.uniform(-600, 100), 0.0)


def ct_volume(seed: int, shape: tuple[int, int, int] = SHAPE, spacing_mm: float = SPACING_MM) -> Volume:
    """`make_ct` as a volume, float32, whose center is the origin of RAS."""
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * spacing_mm for n in reversed(shape)]
    return Volume(make_ct(seed, shape, spacing_mm).image.numpy().astype(np.float32), affine)
