"""What a condition may change in a simulated image. `conditions` lists those there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.pose import Grid, Placement

if TYPE_CHECKING:
    from LandmarkFusionLogic.simulation import mr, ultrasound
    from LandmarkFusionLogic.simulation.anatomy import Addition, Anatomy
    from LandmarkFusionLogic.simulation.probe import Probe
    from LandmarkFusionLogic.simulation.shapes import Points


@dataclass(frozen=True)
class Beams:
    """Where an ultrasound's voxels lie to its beams, each (K, J, I): ``positions`` (3, ...) mm in the image frame,
    ``depth`` mm, ``angle`` rad, ``sweep`` mm or rad.
    """

    probe: Probe
    positions: Tensor
    depth: Tensor
    angle: Tensor
    sweep: Tensor

    def behind(self, point: npt.NDArray[np.float64], radius: float) -> Tensor:
        """0..1: how much of the beam is hidden by a ball of ``radius`` mm around ``point`` (3,), image frame, mm."""
        own = self.probe.polar(_column(point, self.positions))
        at, angle, sweep = (float(value) for value in own)
        reach = self.depth.clamp_min(0) + self.probe.radius
        across = (self.angle - angle) * reach
        # A side-fire probe sweeps along its axis in mm, an end-fire one in rad.
        along = (self.sweep - sweep) * (1.0 if self.probe.sweeps_in_mm else reach)
        aside = (across.square() + along.square()).sqrt() - radius
        return (aside * -2).sigmoid() * ((self.depth - at - 0.4 * radius) * 2).sigmoid()


def _column(point: npt.NDArray[np.float64], like: Tensor) -> Tensor:
    return like.new_tensor(point.tolist())


@dataclass(frozen=True)
class Condition:
    """No condition: changes nothing. The others override what they change.

    All random numbers of a condition are its own, drawn for ``seed``: what it leaves alone stays as it is without it.
    """

    seed: int

    title: ClassVar[str] = "as they come"
    modalities: ClassVar[tuple[str, ...]] = ("mr", "us")
    usual: ClassVar[bool] = True
    """True where many images show it without being told to."""

    def draw(self, purpose: str) -> Draw:
        """Random numbers for ``purpose``, the same each time."""
        return Draw(self.seed, f"{type(self).__name__} {purpose}")

    def anatomy(self, anatomy: Anatomy, modality: str) -> Anatomy:
        """The anatomy as it is with the condition."""
        return anatomy

    def mr_acquisition(self, acquisition: mr.Acquisition) -> mr.Acquisition:
        """How the MR is taken."""
        return acquisition

    def us_acquisition(self, acquisition: ultrasound.Acquisition) -> ultrasound.Acquisition:
        """How the ultrasound is taken."""
        return acquisition

    def stored_with_probe(self, aligned: bool) -> bool:
        """Whether the ultrasound is stored in the probe's frame; ``aligned`` is the answer without a condition."""
        return aligned

    def deform(self, placement: Placement, anatomy: Anatomy) -> Placement:
        """The anatomy's place in the MR."""
        return placement

    def signal(self, image: Tensor, points: Points, anatomy: Anatomy) -> Tensor:
        """The MR's signal (K, J, I) before noise and blur, at straightened ``points``."""
        return image

    def echo(self, echo: Tensor, beams: Beams, anatomy: Anatomy, placement: Placement) -> Tensor:
        """The ultrasound's echo (K, J, I), dB."""
        return echo

    def grey(self, grey: Tensor) -> Tensor:
        """The ultrasound as it is displayed, 0..1."""
        return grey

    def grid(self, grid: Grid, probe: Probe, anatomy: Anatomy, placement: Placement) -> Grid:
        """The voxels of the ultrasound that are kept."""
        return grid

    def seen(self, seen: Tensor, beams: Beams, grid: Grid, anatomy: Anatomy, placement: Placement) -> Tensor:
        """Which voxels (K, J, I) of the ultrasound are not black; ``seen`` are those in the fan."""
        return seen


def with_additions(anatomy: Anatomy, *additions: Addition) -> Anatomy:
    """``anatomy`` with more painted into it."""
    return replace(anatomy, additions=(*anatomy.additions, *additions))
