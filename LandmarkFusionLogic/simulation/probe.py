"""Transrectal probes: where they lie, what they see, how they press."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.draw import Draw

FloatArray = npt.NDArray[np.float64]

SIDE_FIRE = "side-fire"
END_FIRE = "end-fire"


@dataclass(frozen=True)
class Probe:
    """A probe in the image frame: its head is a cylinder along +S (side-fire) or a ball (end-fire) around ``centre``.

    ``radius`` mm; beams leave around the direction that is ``lift`` rad from anterior towards superior, up to
    ``angle`` rad to either side, up to ``depth`` mm deep; ``sweep`` is mm along the axis (side-fire) or rad up and
    down (end-fire).
    """

    kind: str
    centre: FloatArray
    radius: float
    lift: float
    angle: float
    depth: float
    sweep: float

    @property
    def sweeps_in_mm(self) -> bool:
        """True where the beams are swept along an axis, false where they fan out from one point."""
        return self.kind == SIDE_FIRE

    @property
    def forward(self) -> FloatArray:
        """(3,) the middle beam's direction."""
        return np.array([0.0, math.cos(self.lift), math.sin(self.lift)])

    @property
    def along(self) -> FloatArray:
        """(3,) across the beams, superior: the axis of a side-fire probe."""
        return np.array([0.0, -math.sin(self.lift), math.cos(self.lift)])

    def polar(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth from the head's surface (mm), angle to the right (rad) and sweep (mm or rad) of points (3, ...)."""
        x = points[0] - float(self.centre[0])
        y, z = points[1] - float(self.centre[1]), points[2] - float(self.centre[2])
        cosine, sine = math.cos(self.lift), math.sin(self.lift)
        ahead, up = cosine * y + sine * z, cosine * z - sine * y
        across = torch.hypot(x, ahead)
        angle = torch.atan2(x, ahead)
        if self.kind == SIDE_FIRE:
            return across - self.radius, angle, up
        return torch.hypot(across, up) - self.radius, angle, torch.atan2(up, across)

    def sees(self, depth: Tensor, angle: Tensor, sweep: Tensor) -> Tensor:
        """True inside the field of view."""
        return (depth >= 0) & (depth <= self.depth) & (angle.abs() <= self.angle) & (sweep.abs() <= self.sweep)

    def outline(self) -> FloatArray:
        """(3, n) points spread over the field of view's border, image frame."""
        depth, angle, sweep = np.meshgrid(
            self.radius + np.linspace(0, self.depth, 9),
            np.linspace(-self.angle, self.angle, 15),
            np.linspace(-self.sweep, self.sweep, 9),
            indexing="ij",
        )
        flat = np.stack([np.sin(angle) * depth, np.cos(angle) * depth, sweep]).reshape(3, -1)
        if self.kind == END_FIRE:
            up = np.sin(flat[2]) * depth.ravel()
            flat = np.stack([flat[0] * np.cos(flat[2]), flat[1] * np.cos(flat[2]), up])
        axes = np.stack([np.array([1.0, 0.0, 0.0]), self.forward, self.along], axis=1)
        return np.asarray(axes @ flat + self.centre[:, None])


def sample_probe(draw: Draw) -> Probe:
    """Two of three are side-fire, as wide as 3D systems are; the head lies behind the middle of the image."""
    if draw.chance(0.65):
        return Probe(
            kind=SIDE_FIRE,
            centre=np.zeros(3),
            radius=draw.uniform(6, 13),
            lift=draw.normal(0, 0.05),
            angle=draw.uniform(0.65, 1.25),
            depth=draw.uniform(48, 80),
            sweep=draw.uniform(28, 44),
        )
    return Probe(
        kind=END_FIRE,
        centre=np.zeros(3),
        radius=draw.uniform(8, 13),
        lift=draw.uniform(0.0, 0.9),
        angle=draw.uniform(0.7, 1.2),
        depth=draw.uniform(55, 85),
        sweep=draw.uniform(0.6, 1.1),
    )


@dataclass(frozen=True)
class Press:
    """Tissue pushed away by the probe's head: ``push`` mm at the surface, fading over ``fade`` mm of depth and
    ``width`` mm to the sides. ``push`` must be smaller than ``fade``, so that nothing folds.
    """

    probe: Probe
    push: float
    fade: float
    width: float

    def __call__(self, points: Tensor) -> Tensor:
        """Vector (3, ...) from a point of the image to where its tissue was, mm."""
        depth, angle, _ = self.probe.polar(points)
        aside = (depth + self.probe.radius) * torch.sin(angle)
        amount = self.push * torch.exp(-depth.clamp_min(0) / self.fade - 0.5 * (aside / self.width).square())
        forward = self.probe.forward
        return torch.stack([float(-forward[axis]) * amount for axis in range(3)])
