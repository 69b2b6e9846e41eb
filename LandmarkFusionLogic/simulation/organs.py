"""The organs that touch the prostate: bladder, rectum, seminal vesicles, and the membranous urethra below the apex."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.gland import Gland, Layer
from LandmarkFusionLogic.simulation.shapes import Points, ellipsoid, segment


@dataclass(frozen=True)
class Bladder:
    """An ellipsoidal bladder on the bladder neck: ``centre``, ``radii`` and ``wall`` thickness in mm."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    wall: float

    def distance(self, points: Points) -> Tensor:
        """Distance to the inner surface."""
        return ellipsoid(points, self.centre, self.radii)

    def layers(self, points: Points) -> Iterator[Layer]:
        """Wall, then urine."""
        distance = self.distance(points)
        yield "bladder wall", points.inside(distance - self.wall)
        yield "urine", points.inside(distance)


def sample_bladder(draw: Draw, gland: Gland, fullest: float = 1.0, emptiest: float = 0.0) -> Bladder:
    """From ``emptiest`` to ``fullest`` (0, nearly empty, to 1); its lowest part is the bladder neck."""
    filling = draw.uniform(emptiest, fullest)
    # An empty bladder is folded: little of it is to be seen.
    folded = draw.uniform(0.25, 1.0) if filling < 0.2 else 1.0
    radii = (
        folded * draw.uniform(14, 24) + 22 * filling,
        folded * draw.uniform(12, 20) + 20 * filling,
        folded * draw.uniform(7, 12) + 24 * filling,
    )
    lean = gland.neck_angle * draw.uniform(0.4, 1.2)
    towards = (0.0, math.sin(lean), math.cos(lean))
    reach = 1 / math.sqrt(sum((t / r) ** 2 for t, r in zip(towards, radii, strict=True)))
    reach *= draw.uniform(0.86, 0.99)
    neck = gland.neck
    centre = (
        float(neck[0]) + draw.normal(0, 3),
        float(neck[1]) + reach * towards[1] + draw.normal(0, 2),
        float(neck[2]) + reach * towards[2],
    )
    return Bladder(centre, radii, draw.uniform(1.5, 6.0))


@dataclass(frozen=True)
class Rectum:
    """A bent tube behind the gland, mm: ``front`` is the y of its lumen's front where it comes nearest, at
    ``nearest_z``.

    It recedes from there as a parabola (``recede`` per mm), narrows to the anal canal below ``canal_z``; ``side`` is
    its offset to the right and ``squeeze`` its width over its depth. ``filled``: tissue of the content.
    """

    front: float
    nearest_z: float
    recede: tuple[float, float]
    radius: float
    squeeze: float
    side: float
    canal_z: float
    wall: float
    filled: str

    def layers(self, points: Points) -> Iterator[Layer]:
        """Wall, then content."""
        height = points.z - self.nearest_z
        bend = torch.where(height > 0, self.recede[0] * height, self.recede[1] * height) * height
        narrow = 1 - 0.65 * ((self.canal_z - points.z) / 12).clamp(0, 1)
        radius = self.radius * narrow
        y = points.y - (self.front - self.radius) + bend
        distance = (((points.x - self.side) / self.squeeze).square() + y.square()).sqrt() - radius
        yield "rectal wall", points.inside(distance - self.wall, 0.3)
        yield self.filled, points.inside(distance, 0.3)


def sample_rectum(draw: Draw, gland: Gland) -> Rectum:
    """Collapsed to distended, with gas, stool or gel."""
    kind = draw.uniform(0, 1)
    filled = "gas" if kind < 0.45 else "stool" if kind < 0.85 else "gel"
    wall = draw.uniform(2.0, 5.5)
    return Rectum(
        front=-gland.posterior_depth - wall - draw.uniform(-1.0, 5.0),
        nearest_z=draw.uniform(-0.5, 0.3) * gland.half_length,
        recede=(draw.uniform(0.002, 0.014), draw.uniform(0.0, 0.012)),
        radius=draw.uniform(3, 8) if draw.chance(0.3) else draw.uniform(7, 19),
        squeeze=draw.uniform(0.9, 1.8),
        side=draw.normal(0, 4),
        canal_z=-gland.half_length * draw.uniform(0.6, 1.2),
        wall=wall,
        filled=filled,
    )


@dataclass(frozen=True)
class SeminalVesicles:
    """A pair of flat lobed bags behind the bladder, above the base; mm. ``front`` is their y, ``height`` their z."""

    front: float
    height: float
    out: float
    radii: tuple[float, float, float]
    rise: float

    def layers(self, points: Points) -> Iterator[Layer]:
        """Both vesicles, and the deferent ducts between them."""
        turned = Points(torch.stack([points.x, points.y, points.z - self.rise * points.abs_x]), points.softness)
        distance = ellipsoid(turned, (self.out, self.front, self.height), self.radii, mirrored=True)
        yield "seminal wall", points.inside(distance - 0.8)
        yield "seminal vesicle", points.inside(distance, 0.3)
        duct = ellipsoid(points, (4.0, self.front, self.height + 4), (3.0, 3.0, 9.0), mirrored=True)
        yield "seminal wall", points.inside(duct)


def sample_seminal_vesicles(draw: Draw, gland: Gland) -> SeminalVesicles:
    """Small to large, flat to raised at the sides."""
    return SeminalVesicles(
        front=-gland.posterior_depth * draw.uniform(0.4, 0.95),
        height=gland.half_length * draw.uniform(0.75, 1.05) + draw.uniform(1, 5),
        out=draw.uniform(10, 18),
        radii=(draw.uniform(9, 18), draw.uniform(3.5, 7), draw.uniform(4, 9)),
        rise=draw.uniform(-0.1, 0.5),
    )


@dataclass(frozen=True)
class Outlet:
    """What leaves the apex: the membranous urethra in its sphincter, and the penile bulb it enters. Points in mm."""

    apex: tuple[float, float, float]
    end: tuple[float, float, float]
    sphincter: float
    lumen: float
    bulb_radii: tuple[float, float, float]

    def layers(self, points: Points) -> Iterator[Layer]:
        """Bulb, sphincter, urethra."""
        bulb_centre = (self.end[0], self.end[1] - 2.0, self.end[2] - 0.6 * self.bulb_radii[2])
        yield "bulb", points.inside(ellipsoid(points, bulb_centre, self.bulb_radii), 0.5)
        course = segment(points, self.apex, self.end)
        yield "sphincter", points.inside(course - self.sphincter, 0.5)
        yield "urethra", points.inside(course - self.lumen, 0.4)


def sample_outlet(draw: Draw, gland: Gland) -> Outlet:
    """A membranous urethra of 8 to 18 mm, running down and a little forward."""
    apex = gland.apex
    length = draw.uniform(8, 18)
    return Outlet(
        apex=(float(apex[0]), float(apex[1]), float(apex[2])),
        end=(0.0, float(apex[1]) + length * draw.uniform(-0.1, 0.4), float(apex[2]) - length),
        sphincter=draw.uniform(4, 7.5),
        lumen=draw.uniform(0.8, 2.2),
        bulb_radii=(draw.uniform(8, 13), draw.uniform(8, 13), draw.uniform(6, 11)),
    )
