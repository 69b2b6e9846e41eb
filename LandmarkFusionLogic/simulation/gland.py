"""The prostate: shape, zones, urethra, and the three landmarks by their definitions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from LandmarkFusionLogic.points import APEX, BLADDER_NECK, POSTERIOR_MEDIAN
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.shapes import Points, ellipsoid, segment

FloatArray = npt.NDArray[np.float64]
Layer = tuple[str, Tensor]
"""A tissue's name and its coverage 0..1; later layers are painted over earlier ones."""


@dataclass(frozen=True)
class Focus:
    """A nodule, lesion, cyst or calcification: ``tissue``, centre and radii (mm, anatomical frame)."""

    tissue: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]


@dataclass(frozen=True)
class Gland:
    """A prostate around the origin of the anatomical frame; lengths in mm.

    A superellipsoid of half-axes ``half_width``, ``half_depth``, ``half_length``, flatter behind (``flatness``),
    narrowing to the apex (``taper``), leaning (``tilt``: mm anterior per mm superior), with a groove behind, one side
    a bit larger (``asymmetry``) and, where ``median_lobe`` > 0, a lobe of that radius rising behind the bladder neck.
    ``neck_angle`` is how far (rad) the bladder neck lies anterior of straight above.
    """

    half_width: float
    half_depth: float
    half_length: float
    flatness: float
    taper: float
    exponent: float
    tilt: float
    groove: float
    asymmetry: float
    neck_angle: float
    median_lobe: float
    transition: float
    foci: tuple[Focus, ...] = ()

    @property
    def posterior_depth(self) -> float:
        """Half-depth behind the origin, mm."""
        return self.half_depth * self.flatness

    def distance(self, points: Points) -> Tensor:
        """Approximate signed distance to the gland's surface, median lobe included."""
        body = self._body(points)
        if self.median_lobe <= 0:
            return body
        return torch.minimum(body, self.lobe_distance(points))

    def lobe_distance(self, points: Points) -> Tensor:
        """Approximate signed distance to the median lobe, mm; only where there is one."""
        return ellipsoid(
            points, self._lobe_centre(), (1.15 * self.median_lobe, self.median_lobe, 1.1 * self.median_lobe)
        )

    def _body(self, points: Points) -> Tensor:
        below = (points.z * (-1 / self.half_length)).clamp(0, 1.15)
        scale = 1 - (1 - self.taper) * below * below.sqrt()
        width = torch.where(
            points.x > 0, self.half_width * (1 + self.asymmetry), self.half_width * (1 - self.asymmetry)
        )
        y = points.y - self.tilt * points.z
        behind = self.posterior_depth * (1 - self.groove * torch.exp(-(points.x * (2.5 / self.half_width)).square()))
        depth = torch.where(y > 0, torch.full_like(y, self.half_depth), behind)
        terms = (points.abs_x / (width * scale)).pow(self.exponent)
        terms += (y.abs() / (depth * scale)).pow(self.exponent)
        terms += (points.z.abs() / self.half_length).pow(self.exponent)
        shortest = min(self.half_width, self.half_depth, self.half_length)
        return (terms.pow(1 / self.exponent) - 1) * (0.9 * shortest)

    def landmarks(self) -> dict[str, FloatArray]:
        """The landmarks (3,) in mm by their definitions.

        Apex: the lowest point of the surface, where the urethra leaves. Bladder neck: centre of the internal urethral
        orifice, on the surface of the base in front of any median lobe. Posterior median: where the perpendicular to
        the line apex-neck, from its middle and backwards in the midsagittal plane, leaves the gland.
        """
        apex = self.apex
        neck = self.neck
        axis = (neck - apex) / np.linalg.norm(neck - apex)
        backwards = np.array([0.0, -axis[2], axis[1]])
        return {
            APEX: apex,
            BLADDER_NECK: neck,
            POSTERIOR_MEDIAN: self._leave((apex + neck) / 2, backwards),
        }

    @property
    def apex(self) -> FloatArray:
        """(3,) mm: the body's lowest point, exactly, since its terms in x and y vanish there."""
        return np.array([0.0, -self.tilt * self.half_length, -self.half_length])

    @cached_property
    def neck(self) -> FloatArray:
        """(3,) mm: internal urethral orifice."""
        return self._leave(np.zeros(3), np.array([0.0, math.sin(self.neck_angle), math.cos(self.neck_angle)]))

    @property
    def colliculus(self) -> tuple[float, float, float]:
        """Where the urethra bends, mm: a little behind the middle."""
        return (0.0, -0.12 * self.half_depth, -0.15 * self.half_length)

    def _leave(self, start: FloatArray, direction: FloatArray) -> FloatArray:
        """The last point of the body on the ray from ``start``."""
        reach = np.linspace(0, 2.5 * max(self.half_width, self.half_depth, self.half_length), 4001)
        ray = start[:, None] + direction[:, None] * reach
        inside = (self._body(Points(torch.from_numpy(ray))) <= 0).numpy()
        return np.asarray(ray[:, np.flatnonzero(inside)[-1]])

    def _lobe_centre(self) -> tuple[float, float, float]:
        neck = self.neck
        # Behind the neck by a little more than its radius: it rises above the orifice and does not swallow it.
        return (0.0, float(neck[1]) - 1.25 * self.median_lobe, float(neck[2]) - 0.15 * self.median_lobe)

    def layers(self, points: Points, distance: Tensor) -> Iterator[Layer]:
        """The gland's tissues, given its ``distance`` at the points."""
        whole = points.inside(distance)
        yield "capsule", points.inside(distance.abs() - 0.6) * 0.8
        yield "peripheral zone", points.inside(distance + 0.6)
        size = self.transition
        centre = (0.0, 0.35 * (1 - size) * self.half_depth, 0.15 * self.half_length)
        radii = (size * self.half_width, size * self.half_depth, size * self.half_length)
        zone = ellipsoid(points, centre, radii)
        inner = torch.minimum(whole, points.inside(zone))
        yield "pseudocapsule", torch.minimum(whole, points.inside(zone.abs() - 0.7)) * 0.7
        yield "transition zone", torch.minimum(whole, points.inside(zone + 0.5))
        stroma = ellipsoid(
            points,
            (0.0, 0.95 * self.half_depth, 0.0),
            (0.4 * self.half_width, 0.32 * self.half_depth, 0.8 * self.half_length),
        )
        yield "fibromuscular stroma", torch.minimum(whole, points.inside(stroma, 1.0))
        for focus in self.foci:
            within = inner if focus.tissue == "nodule" else whole
            yield focus.tissue, torch.minimum(within, points.inside(ellipsoid(points, focus.centre, focus.radii), 0.3))
        neck = self.neck.tolist()
        course = torch.minimum(
            segment(points, self.apex.tolist(), self.colliculus), segment(points, self.colliculus, neck)
        )
        yield "urethral wall", torch.minimum(whole, points.inside(course - 3.0, 0.4))
        yield "urethra", torch.minimum(whole, points.inside(course - 1.2, 0.2))


ZONES = ("peripheral zone", "transition zone", "fibromuscular stroma", "nodule", "pseudocapsule", "urethral wall")


def blend_zones(draw: Draw, brightness: dict[str, float]) -> None:
    """Take away some of the contrast between the gland's zones, as in many men; changes ``brightness`` in place."""
    common = brightness["transition zone"] if draw.chance(0.5) else brightness["peripheral zone"]
    share = draw.uniform(0, 0.9) if draw.chance(0.5) else 0.0
    for zone in ZONES:
        brightness[zone] += share * (common - brightness[zone])


def sample_gland(draw: Draw) -> Gland:
    """A gland of 20 to 150 ml; large ones are rounder, with more transition zone and more often a median lobe."""
    millilitres = math.exp(draw.uniform(math.log(20), math.log(150)))
    size = (math.log(millilitres) - math.log(20)) / math.log(7.5)
    shape = Gland(
        half_width=1.0,
        half_depth=draw.uniform(0.62, 0.9) + 0.15 * size,
        half_length=draw.uniform(0.68, 1.02),
        flatness=draw.uniform(0.65, 1.0),
        taper=draw.uniform(0.4, 0.85),
        exponent=draw.uniform(2.0, 2.7),
        tilt=draw.normal(0.0, 0.16),
        groove=draw.uniform(0, 0.22),
        asymmetry=draw.normal(0, 0.05),
        neck_angle=math.radians(draw.normal(36, 15)),
        median_lobe=0.0,
        transition=min(0.86, draw.uniform(0.45, 0.65) + 0.25 * size),
    )
    factor = (millilitres / shape_millilitres(shape)) ** (1 / 3)
    gland = replace(
        shape,
        half_width=shape.half_width * factor,
        half_depth=shape.half_depth * factor,
        half_length=shape.half_length * factor,
    )
    if draw.chance(0.1 + 0.35 * size):
        gland = replace(gland, median_lobe=draw.uniform(0.18, 0.34) * gland.half_length)
    return replace(gland, foci=tuple(_foci(draw, gland, size)))


def shape_millilitres(gland: Gland) -> float:
    """The gland's volume in ml, lobe included, by counting points of a grid."""
    steps = 40
    reach = 1.3 * max(gland.half_width, gland.half_depth, gland.half_length) + 2 * gland.median_lobe
    axis = (torch.arange(steps) + 0.5) * (2 * reach / steps) - reach
    points = Points(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")))
    return float((gland.distance(points) <= 0).sum()) * (2 * reach / steps) ** 3 / 1000


def _foci(draw: Draw, gland: Gland, size: float) -> Iterator[Focus]:
    half = (gland.half_width, gland.half_depth, gland.half_length)
    for _ in range(draw.count(0, 2 + round(6 * size))):
        radius = draw.uniform(0.12, 0.3) * half[0]
        offset = [draw.uniform(-0.55, 0.55) for _ in range(3)]
        yield Focus(
            "nodule",
            (offset[0] * half[0], offset[1] * half[1], offset[2] * half[2]),
            (radius * draw.uniform(0.8, 1.2), radius * draw.uniform(0.8, 1.2), radius),
        )
    for tissue, most, radii in (("lesion", 2, (3.0, 9.0)), ("cyst", 1, (1.5, 6.0)), ("calcification", 2, (0.7, 2.5))):
        for _ in range(draw.count(0, most)):
            place = 0.8 * draw.direction()
            radius = draw.uniform(*radii)
            yield Focus(
                tissue,
                (float(place[0]) * half[0], float(place[1]) * half[1], float(place[2]) * half[2]),
                (radius, radius * draw.uniform(0.6, 1.0), radius * draw.uniform(0.7, 1.3)),
            )
