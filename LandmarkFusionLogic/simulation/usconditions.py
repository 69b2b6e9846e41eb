"""Conditions of the ultrasound alone: sharp, blurred, calcified, and cut by its field of view."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.anatomy import Anatomy
from LandmarkFusionLogic.simulation.condition import Beams, Condition
from LandmarkFusionLogic.simulation.gland import Focus
from LandmarkFusionLogic.simulation.pose import FloatArray, Grid, Placement, keep_inside
from LandmarkFusionLogic.simulation.probe import SIDE_FIRE, Probe
from LandmarkFusionLogic.simulation.ultrasound import Acquisition


class Sharp(Condition):
    """As it leaves the system: speckle, no blur."""

    title: ClassVar[str] = "sharp TRUS"
    modalities: ClassVar[tuple[str, ...]] = ("us",)

    def us_acquisition(self, acquisition: Acquisition) -> Acquisition:
        """Not blurred."""
        return replace(acquisition, blur_mm=0.0)


class Blurred(Condition):
    """Blurred by its publisher, so that no patient can be recognised."""

    title: ClassVar[str] = "blurred TRUS"
    modalities: ClassVar[tuple[str, ...]] = ("us",)

    def us_acquisition(self, acquisition: Acquisition) -> Acquisition:
        """A blur of 1.5 to 4 mm."""
        return replace(acquisition, blur_mm=self.draw("blur").uniform(1.5, 4.0))


class Published(Condition):
    """As mrus-27 shows it: side-fire, cut closely around the gland, blurred, the near field bright into the gland.

    The distributions follow what was measured on its development cases.
    """

    title: ClassVar[str] = "blurred TRUS, cropped"
    modalities: ClassVar[tuple[str, ...]] = ("us",)

    def us_acquisition(self, acquisition: Acquisition) -> Acquisition:
        """A side-fire probe's volume, aligned with it; blurred by 2.5 to 4 mm."""
        draw = self.draw("acquisition")
        probe = Probe(
            kind=SIDE_FIRE,
            centre=np.zeros(3),
            radius=draw.uniform(8, 13),
            lift=draw.normal(0, 0.04),
            angle=draw.uniform(0.7, 1.05),
            depth=draw.uniform(55, 80),
            sweep=draw.uniform(36, 48),
        )
        return replace(
            acquisition,
            probe=probe,
            gap=draw.uniform(3, 9),
            border=0.0,
            blur_mm=draw.uniform(2.5, 4.0),
            black_border=False,
        )

    def stored_with_probe(self, aligned: bool) -> bool:
        """Always in the probe's frame."""
        return True

    def grid(self, grid: Grid, probe: Probe, anatomy: Anatomy, placement: Placement) -> Grid:
        """About 94 x 70 x 66 mm, the gland in the middle."""
        draw = self.draw("crop")
        gland = placement.from_anatomy(anatomy.surface())
        centre = (gland.min(axis=1) + gland.max(axis=1)) / 2
        centre = centre + np.array([draw.normal(0, 2), draw.normal(-0.5, 2.5), draw.normal(-2, 4)])
        sides = (draw.uniform(86, 102), draw.uniform(64, 78), draw.uniform(60, 74))
        i, j, k = (max(8, round(side / step)) for side, step in zip(sides, grid.spacing, strict=True))
        cut = replace(grid, shape=(k, j, i), rotation=np.eye(3), centre=centre)
        landmarks = placement.from_anatomy(np.stack(list(anatomy.landmarks.values()), axis=1))
        return replace(cut, centre=centre + keep_inside(landmarks, cut, 2.0))

    def echo(self, echo: Tensor, beams: Beams, anatomy: Anatomy, placement: Placement) -> Tensor:
        """Little contrast between tissues; a near field that outshines the back of the gland, dark sides."""
        draw = self.draw("gain")
        middle = echo.median()
        echo = middle + draw.uniform(0.3, 0.75) * (echo - middle)
        reach = (beams.depth - draw.uniform(2, 8)).clamp_min(0) / draw.uniform(11, 20)
        aside = (beams.angle / beams.probe.angle).square()
        near = draw.uniform(7, 18) * (-reach.square()).exp()
        far = draw.uniform(0.05, 0.45) * (beams.depth - 22).clamp(0, 35)
        return echo + near + far - draw.uniform(3, 11) * aside

    def grey(self, grey: Tensor) -> Tensor:
        """Darker middle tones."""
        return grey.pow(self.draw("display").uniform(1.1, 2.2))


class Calcified(Condition):
    """Calcifications, most of them around the urethra and at the surgical capsule, with shadows behind."""

    title: ClassVar[str] = "calcification"
    modalities: ClassVar[tuple[str, ...]] = ("us",)
    usual: ClassVar[bool] = False

    def anatomy(self, anatomy: Anatomy, modality: str) -> Anatomy:
        """With three to eight of them."""
        gland = anatomy.gland
        return replace(anatomy, gland=replace(gland, foci=(*gland.foci, *self._foci(anatomy))))

    def _foci(self, anatomy: Anatomy) -> list[Focus]:
        draw = self.draw("foci")
        gland = anatomy.gland
        half = np.array([gland.half_width, gland.posterior_depth, gland.half_length])
        foci = []
        for _ in range(draw.count(3, 8)):
            if draw.chance(0.5):
                centre = np.array(
                    [draw.normal(0, 4), draw.normal(-0.1, 0.15) * half[1], draw.normal(0, 0.3) * half[2]]
                )
            else:
                centre = draw.direction() * half * gland.transition
            radius = draw.uniform(1.2, 4.0)
            x, y, z = (float(value) for value in centre)
            foci.append(
                Focus(
                    "calcification",
                    (x, y, z),
                    (radius * draw.uniform(1.0, 1.8), radius * draw.uniform(0.5, 0.9), radius),
                )
            )
        return foci

    def echo(self, echo: Tensor, beams: Beams, anatomy: Anatomy, placement: Placement) -> Tensor:
        """Each hides what lies behind it, by 8 to 35 dB; shadows do not add up."""
        draw = self.draw("shadow")
        loss = torch.zeros_like(echo)
        for focus in self._foci(anatomy):
            place = placement.from_anatomy(anatomy.bend(np.array(focus.centre))[:, None])[:, 0]
            hidden = beams.behind(place, 0.9 * max(focus.radii))
            loss = torch.maximum(loss, draw.uniform(8, 35) * hidden)
        return echo - loss


class PartialView(Condition):
    """Apex, base or a side of the gland is not in the image; the landmarks are where they are, outside it too."""

    title: ClassVar[str] = "partial view"
    modalities: ClassVar[tuple[str, ...]] = ("us",)
    usual: ClassVar[bool] = False

    def _cut(self, grid: Grid, probe: Probe, anatomy: Anatomy, placement: Placement) -> tuple[int, float, float]:
        """Axis of the grid (0 i, 2 k), direction (±1) and where (mm along it, image frame) the view ends.

        12 to 40 % of what the fan shows of the gland's extent are cut.
        """
        draw = self.draw("view")
        axis = 0 if draw.chance(1 / 3) else 2
        direction = 1.0 if draw.chance(0.5) else -1.0
        along = direction * (grid.rotation[:, axis] @ self._in_fan(probe, anatomy, placement))
        low, high = float(along.min()), float(along.max())
        return axis, direction, high - draw.uniform(0.12, 0.4) * (high - low)

    @staticmethod
    def _in_fan(probe: Probe, anatomy: Anatomy, placement: Placement) -> FloatArray:
        """(3, n) points of the gland that the probe sees, image frame, mm."""
        surface = anatomy.surface()
        points = placement.from_anatomy(np.hstack([share * surface for share in (0.0, 0.4, 0.7, 0.9, 1.0)]))
        seen = probe.sees(*probe.polar(torch.from_numpy(points))).numpy()
        return points[:, seen] if seen.any() else points

    def grid(self, grid: Grid, probe: Probe, anatomy: Anatomy, placement: Placement) -> Grid:
        """In half of the images the volume ends there, in the others it is black beyond."""
        axis, direction, end = self._cut(grid, probe, anatomy, placement)
        if self.draw("crop").chance(0.5):
            return grid
        count, spacing = grid.shape[2 - axis], grid.spacing[axis]
        middle = direction * float(grid.rotation[:, axis] @ grid.centre)
        far = middle + (count - 1) / 2 * spacing
        gone = min(max(int(np.ceil((far - end) / spacing)), 0), count - 8)
        shape = list(grid.shape)
        shape[2 - axis] = count - gone
        centre = grid.centre - direction * grid.rotation[:, axis] * (gone * spacing / 2)
        return replace(grid, shape=(shape[0], shape[1], shape[2]), centre=centre)

    def seen(self, seen: Tensor, beams: Beams, grid: Grid, anatomy: Anatomy, placement: Placement) -> Tensor:
        """Black beyond the end of the view."""
        axis, direction, end = self._cut(grid, beams.probe, anatomy, placement)
        normal = direction * grid.rotation[:, axis]
        along = sum(float(normal[a]) * beams.positions[a] for a in range(3))
        return seen & (along <= end)
