"""The pelvis around the organs: fat compartments, side walls, pubis, levator, perineum, meaningless clutter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.gland import Gland, Layer
from LandmarkFusionLogic.simulation.shapes import Points, ellipsoid


@dataclass(frozen=True)
class SideWall:
    """Obturator internus and the bone behind it, both sides.

    The muscle begins at |x| = ``width`` mm beside the gland's middle, comes inwards by ``curve`` (per mm) in front of
    y =
    ``middle_y``, goes outwards by ``flare`` mm per mm behind it and inwards by ``slope`` mm per mm downwards; it is
    ``thickness`` mm thick.
    """

    width: float
    curve: float
    middle_y: float
    flare: float
    slope: float
    thickness: float

    def start(self, points: Points) -> Tensor:
        """|x| of the muscle's inner face, mm."""
        ahead = (points.y - self.middle_y).clamp(-45, 45)
        bend = torch.where(ahead > 0, self.curve * ahead.square(), self.flare * ahead)
        return self.width - bend + self.slope * points.z.clamp(-45, 45)

    def layers(self, points: Points) -> Iterator[Layer]:
        """Muscle, then bone."""
        depth = points.abs_x - self.start(points)
        yield "muscle", points.inside(-depth, 0.3)
        yield "cortex", points.inside(self.thickness - depth, 0.5)
        yield "bone", points.inside(self.thickness + 3 - depth, 0.5)


@dataclass(frozen=True)
class Fossae:
    """Ischiorectal fat: the bright corners behind and below, outside the levator.

    The inner edge lies at |x| = ``inner`` mm at the gland's back, closes by ``closing`` per mm backwards and opens by
    ``opening`` per mm upwards; it begins ``front`` (y, mm).
    """

    inner: float
    closing: float
    opening: float
    front: float
    back: float
    below: float

    def layers(self, points: Points) -> Iterator[Layer]:
        """Both fossae."""
        edge = self.inner + self.closing * (points.y - self.back) + self.opening * (points.z - self.below)
        outside = points.inside(edge.clamp_min(0) - points.abs_x, 0.6)
        yield "ischiorectal fat", outside * points.inside(points.y - self.front, 3.0)


@dataclass(frozen=True)
class Pubis:
    """The pubic bones in front and below: a tilted oval in the sagittal plane, sweeping back at the sides; mm."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    lean: float
    sweep: float
    half_width: float
    gap: float

    def distance(self, points: Points) -> Tensor:
        """Distance to the bones, the joint's gap included."""
        # Rounded in the middle: the arch has no edge there.
        back = self.sweep * ((points.x.square() + 64).sqrt() - 8)
        y = points.y - self.centre[0] + back
        z = points.z - self.centre[1] + 0.3 * back
        cosine, sine = math.cos(self.lean), math.sin(self.lean)
        along, across = cosine * z + sine * y, cosine * y - sine * z
        oval = ((across / self.radii[0]).square() + (along / self.radii[1]).square()).sqrt() - 1
        return torch.maximum(oval * min(self.radii), points.abs_x - self.half_width)

    def layers(self, points: Points) -> Iterator[Layer]:
        """Dark rim, marrow, and the cartilage between the bones."""
        distance = self.distance(points)
        yield "cortex", points.inside(distance - 1.0)
        yield "bone", points.inside(distance + 1.0)
        yield "cartilage", torch.minimum(points.inside(distance), points.inside(points.abs_x - self.gap))


@dataclass(frozen=True)
class Floor:
    """Levator sheets beside the apex, and the perineum with its muscles below it; mm."""

    levator_x: float
    levator_slope: float
    levator_closing: float
    levator_z: float
    levator_thickness: float
    levator_y: tuple[float, float]
    perineum_z: float
    perineum_x: float
    front_z: float
    front_y: float

    def layers(self, points: Points) -> Iterator[Layer]:
        """Muscles in front and below, perineum, then the levator."""
        anterior = points.inside(points.z - self.front_z - 0.4 * (points.y - self.front_y), 1.5)
        yield "muscle", anterior * points.inside(self.front_y - points.y, 1.5) * points.inside(8 - points.abs_x, 1.0)
        below = points.inside(points.z - self.perineum_z, 1.0)
        yield "perineum", below * points.inside(points.abs_x - self.perineum_x, 1.0)
        rising = self.levator_x + (points.z - self.levator_z).clamp(-40, 40) * self.levator_slope
        # The sling: both sheets meet behind the rectum.
        rising = rising + self.levator_closing * (points.y - self.levator_y[0] - 15).clamp(-30, 15)
        sheet = (points.abs_x - rising.clamp_min(3.0)).abs() - 0.5 * self.levator_thickness
        middle = 0.5 * (self.levator_y[0] + self.levator_y[1])
        extent = (points.y - middle).abs() - 0.5 * (self.levator_y[1] - self.levator_y[0])
        yield "levator", points.inside(sheet) * points.inside(extent, 1.5)


@dataclass(frozen=True)
class Pad:
    """What lies between pubis, bladder and gland: fat and the venous plexus in front of it. Ellipsoids in mm."""

    fat_centre: tuple[float, float, float]
    fat_radii: tuple[float, float, float]
    veins_centre: tuple[float, float, float]
    veins_radii: tuple[float, float, float]
    bundle: tuple[float, float]

    def layers(self, points: Points) -> Iterator[Layer]:
        """Fat, veins, and the neurovascular bundles behind at both sides."""
        yield "retropubic fat", points.inside(ellipsoid(points, self.fat_centre, self.fat_radii), 1.0)
        yield "veins", points.inside(ellipsoid(points, self.veins_centre, self.veins_radii), 1.0)
        bundles = ellipsoid(points, (self.bundle[0], self.bundle[1], 0.0), (5.0, 5.0, 22.0), mirrored=True)
        yield "veins", points.inside(bundles, 1.0) * 0.7


@dataclass(frozen=True)
class Clutter:
    """Ellipsoids of any brightness outside the gland, for what no simulator thinks of: tissue, centre, radii, pair."""

    blobs: tuple[tuple[str, tuple[float, float, float], tuple[float, float, float], bool], ...]

    def layers(self, points: Points) -> Iterator[Layer]:
        """All blobs, half transparent."""
        for tissue, centre, radii, mirrored in self.blobs:
            yield tissue, points.inside(ellipsoid(points, centre, radii, mirrored), 0.8) * 0.75


CLUTTER_TISSUES = ("clutter 1", "clutter 2", "clutter 3")


def sample_side_wall(draw: Draw, gland: Gland) -> SideWall:
    """The bony pelvis does not grow with the gland: its width is drawn by itself, but never inside the gland."""
    return SideWall(
        width=max(draw.uniform(30, 46), gland.half_width + draw.uniform(2, 6)),
        curve=draw.uniform(0.0, 0.008),
        middle_y=draw.uniform(-15, 15),
        flare=draw.uniform(0.0, 0.9),
        slope=draw.uniform(-0.05, 0.35),
        thickness=draw.uniform(11, 24),
    )


def sample_fossae(draw: Draw, gland: Gland) -> Fossae:
    """From narrow to wide, from far behind to beside the gland."""
    return Fossae(
        inner=draw.uniform(12, 26),
        closing=draw.uniform(0.5, 1.4),
        opening=draw.uniform(0.1, 0.6),
        front=-gland.posterior_depth + draw.uniform(5, 2.0 * gland.posterior_depth),
        back=-gland.posterior_depth,
        below=-0.5 * gland.half_length + draw.uniform(-8, 8),
    )


def sample_pubis(draw: Draw, gland: Gland) -> Pubis:
    """Close to the gland or up to 2 cm in front of it, at the height of the apex or of the middle."""
    radii = (draw.uniform(8, 13), draw.uniform(16, 25))
    lean = math.radians(draw.uniform(15, 65))
    reach = radii[0] + 0.4 * (radii[1] - radii[0]) * math.sin(lean)
    return Pubis(
        centre=(gland.half_depth + draw.uniform(3, 16) + reach, draw.uniform(-0.9, 0.5) * gland.half_length),
        radii=radii,
        lean=lean,
        sweep=draw.uniform(0.15, 0.7),
        half_width=draw.uniform(25, 60),
        gap=draw.uniform(1.0, 4.0),
    )


def sample_floor(draw: Draw, gland: Gland) -> Floor:
    """Levator close to the gland's lower half; perineum 2 to 14 mm below the apex."""
    return Floor(
        levator_x=draw.uniform(0.45, 0.7) * gland.half_width + draw.uniform(1, 6),
        levator_slope=draw.uniform(0.2, 0.75),
        levator_closing=draw.uniform(0.0, 1.0),
        levator_z=-gland.half_length,
        levator_thickness=draw.uniform(2.5, 9.0),
        levator_y=(-gland.posterior_depth - draw.uniform(10, 35), draw.uniform(0.2, 1.1) * gland.half_depth),
        perineum_z=-gland.half_length - draw.uniform(2, 14),
        perineum_x=draw.uniform(12, 28),
        front_z=-gland.half_length + draw.uniform(-8, 12),
        front_y=gland.half_depth + draw.uniform(0, 14),
    )


def sample_pad(draw: Draw, gland: Gland) -> Pad:
    """Fat in front of the gland and below the bladder; veins hug the front of the gland down to the apex."""
    front = gland.half_depth
    return Pad(
        fat_centre=(0.0, front + draw.uniform(0, 8), draw.uniform(-0.2, 0.9) * gland.half_length),
        fat_radii=(draw.uniform(14, 32), draw.uniform(6, 14), draw.uniform(10, 24)),
        veins_centre=(0.0, front + draw.uniform(-2, 4), -draw.uniform(0.1, 0.9) * gland.half_length),
        veins_radii=(draw.uniform(10, 24), draw.uniform(4, 8), draw.uniform(8, 18)),
        bundle=(draw.uniform(0.7, 1.0) * gland.half_width, -gland.posterior_depth * draw.uniform(0.6, 1.0)),
    )


def sample_clutter(draw: Draw, gland: Gland) -> Clutter:
    """Up to eight blobs anywhere around, often in pairs."""
    half = (gland.half_width, gland.half_depth, gland.half_length)
    blobs = []
    for _ in range(draw.count(0, 8)):
        centre = (
            draw.uniform(-2.0, 2.0) * half[0],
            draw.uniform(-2.5, 2.2) * half[1],
            draw.uniform(-2.0, 2.0) * half[2],
        )
        radii = (draw.uniform(3, 15), draw.uniform(3, 15), draw.uniform(3, 15))
        tissue = CLUTTER_TISSUES[draw.count(0, len(CLUTTER_TISSUES) - 1)]
        mirrored = draw.chance(0.5)
        blobs.append((tissue, (abs(centre[0]) if mirrored else centre[0], centre[1], centre[2]), radii, mirrored))
    return Clutter(tuple(blobs))
