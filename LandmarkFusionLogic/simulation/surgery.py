"""Conditions that change what is in the pelvis: a cavity after resection, a large median lobe, a catheter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.anatomy import Anatomy
from LandmarkFusionLogic.simulation.condition import Beams, Condition, with_additions
from LandmarkFusionLogic.simulation.gland import Gland, Layer
from LandmarkFusionLogic.simulation.organs import sample_bladder
from LandmarkFusionLogic.simulation.pose import Placement
from LandmarkFusionLogic.simulation.shapes import Points, cone, ellipsoid, segment

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Cavity:
    """A funnel of urine from the bladder (``top``) through the neck down to the colliculus (``bottom``); radii mm.

    ``rim`` is the thickness (mm) of the scar around it.
    """

    bottom: Point
    neck: Point
    top: Point
    bottom_radius: float
    neck_radius: float
    rim: float

    def layers(self, points: Points, gland_distance: Tensor) -> Iterator[Layer]:
        """Scar inside the gland, then urine that is one with the bladder's."""
        funnel = torch.minimum(
            cone(points, self.bottom, self.neck, self.bottom_radius, self.neck_radius),
            cone(points, self.neck, self.top, self.neck_radius, 1.2 * self.neck_radius),
        )
        yield (
            "fibromuscular stroma",
            torch.minimum(points.inside(funnel - self.rim, 0.3), points.inside(gland_distance)),
        )
        yield "urine", points.inside(funnel, 0.2)


class Resected(Condition):
    """After transurethral resection: the middle of the gland is a cavity open to the bladder.

    The bladder neck stays the centre of the orifice at the base, which is wide now; the gland's outline includes the
    cavity, as contours on planning images do.
    """

    title: ClassVar[str] = "TURP cavity"
    usual: ClassVar[bool] = False

    def anatomy(self, anatomy: Anatomy, modality: str) -> Anatomy:
        """With a cavity; without a median lobe, which would have been resected first."""
        draw = self.draw("cavity")
        gland = replace(anatomy.gland, median_lobe=0.0)
        neck, bottom = gland.neck, np.array(gland.colliculus)
        inwards = draw.uniform(0.55, 1.0)
        bottom = neck + inwards * (bottom - neck)
        widest = 0.42 * min(gland.half_width, gland.half_depth)
        neck_radius = draw.uniform(0.5, 1.0) * widest
        towards = np.array(anatomy.bladder.centre) - neck
        top = neck + towards / np.linalg.norm(towards) * (neck_radius + draw.uniform(0, 3))
        cavity = Cavity(
            _point(bottom),
            _point(neck),
            _point(top),
            draw.uniform(1.5, 0.55 * neck_radius + 1.5),
            neck_radius,
            draw.uniform(0.5, 2.5),
        )
        return with_additions(replace(anatomy, gland=gland), cavity)


@dataclass(frozen=True)
class Lobe:
    """The tissue of a median lobe of ``gland``: adenoma in a thin rim, unlike the peripheral zone."""

    gland: Gland

    def layers(self, points: Points, gland_distance: Tensor) -> Iterator[Layer]:
        """Rim, then adenoma."""
        distance = self.gland.lobe_distance(points)
        yield "pseudocapsule", points.inside(distance)
        yield "transition zone", points.inside(distance + 1.2)


class MedianLobe(Condition):
    """A large median lobe that rises into a bladder that is not empty."""

    title: ClassVar[str] = "large median lobe"
    usual: ClassVar[bool] = False

    def anatomy(self, anatomy: Anatomy, modality: str) -> Anatomy:
        """With a lobe of about half of the gland's half-length in radius."""
        gland = replace(anatomy.gland, median_lobe=self.draw("lobe").uniform(0.36, 0.55) * anatomy.gland.half_length)
        draw = self.draw(f"bladder {modality}")
        bladder = sample_bladder(draw, gland, fullest=0.9 if modality == "mr" else 0.5, emptiest=0.25)
        return with_additions(replace(anatomy, gland=gland, bladder=bladder), Lobe(gland))


@dataclass(frozen=True)
class Foley:
    """A catheter: a tube along ``course`` (points in mm, from below to its tip) and a balloon around ``balloon``.

    Lengths in mm; ``filled`` is the tissue that looks as the balloon's content does, ``lumen`` as the tube's.
    """

    course: tuple[Point, ...]
    radius: float
    balloon: Point
    balloon_radius: float
    filled: str
    lumen: str

    def layers(self, points: Points, gland_distance: Tensor) -> Iterator[Layer]:
        """Balloon, where it is not in the gland, then the tube through it."""
        outside = 1 - points.inside(gland_distance)
        balloon = ellipsoid(points, self.balloon, (self.balloon_radius,) * 3)
        yield "bladder wall", torch.minimum(outside, points.inside(balloon - 3.0, 0.4))
        yield "calcification", torch.minimum(outside, points.inside(balloon)) * 0.8
        yield self.filled, torch.minimum(outside, points.inside(balloon + 0.8))
        tube = segment(points, self.course[0], self.course[1])
        for start, end in zip(self.course[1:-1], self.course[2:], strict=True):
            tube = torch.minimum(tube, segment(points, start, end))
        yield "calcification", points.inside(tube - self.radius) * 0.9
        yield self.lumen, points.inside(tube - 0.55 * self.radius)


class Catheter(Condition):
    """A Foley catheter: tube in the urethra, balloon in a bladder that it has emptied."""

    title: ClassVar[str] = "catheter"
    usual: ClassVar[bool] = False

    def anatomy(self, anatomy: Anatomy, modality: str) -> Anatomy:
        """With a catheter of 14 to 20 French and a balloon of 5 to 20 ml."""
        return with_additions(self._emptied(anatomy, modality), self._foley(anatomy))

    def _emptied(self, anatomy: Anatomy, modality: str) -> Anatomy:
        bladder = sample_bladder(self.draw(f"bladder {modality}"), anatomy.gland, fullest=0.22)
        return replace(anatomy, bladder=bladder)

    def _foley(self, anatomy: Anatomy) -> Foley:
        draw = self.draw("foley")
        gland = anatomy.gland
        size = draw.uniform(10.5, 17.0)
        rise = gland.neck_angle * draw.uniform(0.2, 0.8)
        up = np.array([0.0, math.sin(rise), math.cos(rise)])
        balloon = gland.neck + (size + draw.uniform(-1.0, 1.5)) * up
        filled = "gas" if draw.chance(0.15) else "urine"
        below = np.array(anatomy.outlet.end)
        bulb = below + np.array([0.0, draw.uniform(10, 25), draw.uniform(-6, 2)])
        return Foley(
            course=(
                _point(bulb),
                anatomy.outlet.end,
                anatomy.outlet.apex,
                gland.colliculus,
                _point(gland.neck),
                _point(balloon + (size + draw.uniform(4, 15)) * up),
            ),
            radius=draw.uniform(2.3, 3.4),
            balloon=_point(balloon),
            balloon_radius=size,
            filled=filled,
            lumen="urine" if draw.chance(0.6) else "calcification",
        )

    def echo(self, echo: Tensor, beams: Beams, anatomy: Anatomy, placement: Placement) -> Tensor:
        """The tube casts a weak shadow, a balloon of air a strong one."""
        foley = self._foley(anatomy)
        draw = self.draw("shadow")
        hidden = torch.zeros_like(echo)
        for start, end in zip(foley.course[1:-1], foley.course[2:], strict=True):
            for step in np.linspace(0, 1, 6):
                middle = (1 - step) * np.array(start) + step * np.array(end)
                place = placement.from_anatomy(anatomy.bend(middle)[:, None])[:, 0]
                hidden = torch.maximum(hidden, beams.behind(place, foley.radius))
        echo = echo - draw.uniform(3, 14) * hidden
        if foley.filled == "gas":
            place = placement.from_anatomy(anatomy.bend(np.array(foley.balloon))[:, None])[:, 0]
            echo = echo - 25.0 * beams.behind(place, 0.9 * foley.balloon_radius)
        return echo


def _point(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Point:
    x, y, z = (float(value) for value in array)
    return (x, y, z)
