"""Conditions of the MR alone: an endorectal coil, a metal hip, thick slices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.anatomy import Anatomy
from LandmarkFusionLogic.simulation.condition import Condition, with_additions
from LandmarkFusionLogic.simulation.gland import Layer
from LandmarkFusionLogic.simulation.mr import Acquisition
from LandmarkFusionLogic.simulation.organs import Rectum
from LandmarkFusionLogic.simulation.pose import FloatArray, Placement
from LandmarkFusionLogic.simulation.probe import SIDE_FIRE, Press, Probe
from LandmarkFusionLogic.simulation.shapes import Points


@dataclass(frozen=True)
class Shaft:
    """The coil's shaft inside its balloon: a dark tube along z through (``x``, ``y``), mm."""

    x: float
    y: float
    radius: float
    low: float
    high: float

    def layers(self, points: Points, gland_distance: Tensor) -> Iterator[Layer]:
        """A tube with a lumen."""
        away = ((points.x - self.x).square() + (points.y - self.y).square()).sqrt() - self.radius
        extent = torch.maximum(points.z - self.high, self.low - points.z)
        yield "calcification", points.inside(torch.maximum(away, extent)) * 0.9
        yield "gel", points.inside(torch.maximum(away + 0.6 * self.radius, extent)) * 0.5


class EndorectalCoil(Condition):
    """A balloon with a coil in the rectum: it pushes the gland forward, and what is near it is very bright."""

    title: ClassVar[str] = "endorectal coil"
    modalities: ClassVar[tuple[str, ...]] = ("mr",)
    usual: ClassVar[bool] = False

    def anatomy(self, anatomy: Anatomy, modality: str) -> Anatomy:
        """With a rectum distended by a balloon of air, perfluorocarbon (both dark) or water."""
        draw = self.draw("balloon")
        gland = anatomy.gland
        wall = draw.uniform(1.5, 3.0)
        radius = draw.uniform(15, 22)
        front = -gland.posterior_depth - wall - draw.uniform(-0.5, 1.0)
        rectum = Rectum(
            front=front,
            nearest_z=draw.uniform(-0.3, 0.3) * gland.half_length,
            recede=(draw.uniform(0.002, 0.005), draw.uniform(0.0, 0.004)),
            radius=radius,
            squeeze=draw.uniform(1.0, 1.35),
            side=draw.normal(0, 2),
            canal_z=-gland.half_length - draw.uniform(2, 10),
            wall=wall,
            filled="gas" if draw.chance(0.75) else "gel",
        )
        shaft = Shaft(
            rectum.side, front - radius + draw.uniform(-4, 4), draw.uniform(3, 6), -gland.half_length - 30, 35.0
        )
        return with_additions(replace(anatomy, rectum=rectum), shaft)

    def mr_acquisition(self, acquisition: Acquisition) -> Acquisition:
        """A small field of view, not blurred: that is what the coil is for."""
        return replace(acquisition, fov=self.draw("field").uniform(110, 165), blur_mm=0.0, margin_mm=0.0)

    def deform(self, placement: Placement, anatomy: Anatomy) -> Placement:
        """Push the back of the gland forward by 2 to 8 mm."""
        draw = self.draw("push")
        behind = np.array([0.0, anatomy.rectum.front - anatomy.rectum.radius, 0.0])
        centre = placement.pose[:3, :3] @ behind + placement.pose[:3, 3]
        forward = placement.pose[:3, 1]
        balloon = Probe(
            kind=SIDE_FIRE,
            centre=centre,
            radius=anatomy.rectum.radius,
            lift=math.atan2(float(forward[2]), float(forward[1])),
            angle=1.5,
            depth=100.0,
            sweep=100.0,
        )
        return replace(placement, shift=Press(balloon, draw.uniform(2, 8), draw.uniform(22, 35), draw.uniform(25, 40)))

    def signal(self, image: Tensor, points: Points, anatomy: Anatomy) -> Tensor:
        """The coil's sensitivity falls with the distance from its front, steeply at first."""
        draw = self.draw("flare")
        rectum = anatomy.rectum
        along = (points.z - rectum.nearest_z).abs() - draw.uniform(22, 32)
        across = (points.x - rectum.side).abs() - 0.5 * rectum.radius
        away = ((points.y - rectum.front).square() + across.clamp_min(0).square() + along.clamp_min(0).square()).sqrt()
        return image * (0.8 + draw.uniform(3, 10) * torch.exp(-away / draw.uniform(9, 18)))


@dataclass(frozen=True)
class Dipole:
    """Displacement by the field of a metal ball in the image frame: along ``axis`` (3,), at most ``amount`` mm.

    It falls with the cube of the distance from ``centre`` (3,), counted in ``radius`` mm.
    """

    centre: FloatArray
    radius: float
    axis: FloatArray
    amount: float

    def __call__(self, points: Tensor) -> Tensor:
        """Vector (3, ...) from a point of the image to where its tissue is, mm."""
        strength = dipole(points, self.centre, self.radius) * (0.5 * self.amount)
        return torch.stack([float(self.axis[a]) * strength for a in range(3)])


def dipole(points: Tensor, centre: FloatArray, radius: float) -> Tensor:
    """Field, -1..2, of a ball magnetised along z at ``points`` (3, ...): constant in depth inside ``radius`` mm."""
    x, y, z = (points[a] - float(centre[a]) for a in range(3))
    squared = x.square() + y.square() + z.square()
    reach = squared.clamp_min(radius**2)
    return (3 * z.square() / squared.clamp_min(1e-3) - 1) * (radius**3 / reach.pow(1.5))


class HipMetal(Condition):
    """A hip prosthesis at one side: no signal around it, a bright rim, lines bent near it."""

    title: ClassVar[str] = "hip metal"
    modalities: ClassVar[tuple[str, ...]] = ("mr",)
    usual: ClassVar[bool] = False

    def _ball(self, anatomy: Anatomy) -> tuple[FloatArray, float]:
        """Centre (3,), anatomical frame, and radius of the void, mm."""
        draw = self.draw("hip")
        radius = draw.uniform(30, 50)
        # Hips lie 7 to 10 cm beside the middle; the void never reaches the gland.
        inner = max(draw.uniform(15, 36), 1.12 * anatomy.gland.half_width + 2)
        side = -1.0 if draw.chance(0.5) else 1.0
        return np.array([side * (inner + 1.1 * radius), draw.uniform(-5, 20), draw.uniform(-5, 25)]), radius

    def mr_acquisition(self, acquisition: Acquisition) -> Acquisition:
        """Wide enough to show it."""
        return replace(acquisition, fov=max(acquisition.fov, self.draw("field").uniform(130, 210)))

    def deform(self, placement: Placement, anatomy: Anatomy) -> Placement:
        """Bend the image along its read-out direction, left-right or front-back."""
        centre, radius = self._ball(anatomy)
        draw = self.draw("bend")
        axis = np.array([1.0, 0.0, 0.0] if draw.chance(0.5) else [0.0, 1.0, 0.0])
        place = placement.pose[:3, :3] @ centre + placement.pose[:3, 3]
        # A tenth of the radius: the displacement stays a contraction.
        return replace(placement, shift=Dipole(place, radius, axis, draw.uniform(0.05, 0.1) * radius))

    def signal(self, image: Tensor, points: Points, anatomy: Anatomy) -> Tensor:
        """Nothing in the void, whose shape follows the field; signal piled up at parts of its rim."""
        centre, radius = self._ball(anatomy)
        draw = self.draw("void")
        x, y, z = (points.xyz[a] - float(centre[a]) for a in range(3))
        away = (x.square() + y.square() + z.square()).sqrt()
        lobes = draw.uniform(0.05, 0.2) * (3 * z.square() / away.square().clamp_min(1.0) - 1)
        turned = torch.cos(2 * torch.atan2(y, x) + draw.uniform(0, 2 * math.pi))
        edge = away - radius * (1 + lobes + draw.uniform(0.02, 0.12) * turned)
        rim = (edge / draw.uniform(1.5, 4.0)).square().neg().exp() * turned.clamp_min(0)
        return image * torch.sigmoid(edge / 1.5) * (1 + draw.uniform(0.5, 3.0) * rim)


class ThickSlices(Condition):
    """Slices of 3 to 4 mm, sharp, as diagnostic protocols have them."""

    title: ClassVar[str] = "3–4 mm slices"
    modalities: ClassVar[tuple[str, ...]] = ("mr",)

    def mr_acquisition(self, acquisition: Acquisition) -> Acquisition:
        """Thick slices without a blur."""
        draw = self.draw("slices")
        spacing = draw.uniform(3.0, 4.0)
        return replace(
            acquisition,
            slice_spacing=spacing,
            thickness=spacing * draw.uniform(0.85, 1.0),
            blur_mm=0.0,
            margin_mm=0.0,
        )
