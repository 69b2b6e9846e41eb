"""A male pelvis around one prostate, as tissues painted in order: the content of every simulated image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.fields import SmoothField, smooth_field, undo
from LandmarkFusionLogic.simulation.gland import Gland, Layer, sample_gland
from LandmarkFusionLogic.simulation.organs import (
    Bladder,
    Outlet,
    Rectum,
    SeminalVesicles,
    sample_bladder,
    sample_outlet,
    sample_rectum,
    sample_seminal_vesicles,
)
from LandmarkFusionLogic.simulation.pelvis import (
    CLUTTER_TISSUES,
    Clutter,
    Floor,
    Fossae,
    Pad,
    Pubis,
    SideWall,
    sample_clutter,
    sample_floor,
    sample_fossae,
    sample_pad,
    sample_pubis,
    sample_side_wall,
)
from LandmarkFusionLogic.simulation.shapes import Points

FloatArray = npt.NDArray[np.float64]

BACKGROUND = "visceral fat"
TISSUES = (
    BACKGROUND,
    "ischiorectal fat", "muscle", "cortex", "bone", "cartilage", "perineum", "levator", "retropubic fat",
    "veins", "bulb", "sphincter", "urethra", "urethral wall", "bladder wall", "urine", "rectal wall", "gas",
    "stool", "gel", "seminal wall", "seminal vesicle", "capsule", "peripheral zone", "pseudocapsule",
    "transition zone", "fibromuscular stroma", "nodule", "lesion", "cyst", "calcification", *CLUTTER_TISSUES,
)  # fmt: skip
"""Every tissue a layer can name; an image's appearance gives each a brightness."""


class Addition(Protocol):
    """Something that is not in every man: painted last."""

    def layers(self, points: Points, gland_distance: Tensor) -> Iterator[Layer]:
        """Its tissues at straightened points, in painting order."""
        ...


@dataclass(frozen=True)
class Anatomy:
    """One man's pelvis in the anatomical frame (RAS mm, origin in the gland).

    ``irregularity`` bends all of it a little, so that no surface is a perfect ellipsoid. ``additions`` are what a
    condition brings, such as a catheter.
    """

    gland: Gland
    bladder: Bladder
    rectum: Rectum
    vesicles: SeminalVesicles
    outlet: Outlet
    wall: SideWall
    fossae: Fossae
    pubis: Pubis
    floor: Floor
    pad: Pad
    clutter: Clutter
    irregularity: SmoothField
    additions: tuple[Addition, ...] = ()

    def straighten(self, xyz: Tensor) -> Tensor:
        """From a point (3, ...) of the patient to the point of the regular shapes that is found there, mm."""
        return xyz + self.irregularity(xyz)

    @cached_property
    def landmarks(self) -> dict[str, FloatArray]:
        """The three landmarks (3,), anatomical frame, mm."""
        return {name: self.bend(point) for name, point in self.gland.landmarks().items()}

    def bend(self, point: FloatArray) -> FloatArray:
        """Inverse of `straighten` for one point (3,), mm."""
        return np.asarray(undo(self.irregularity, torch.from_numpy(point)).numpy())

    def surface(self, directions: int = 240) -> FloatArray:
        """(3, directions) points on the gland's surface, anatomical frame, mm; spread evenly by a golden spiral."""
        index = np.arange(directions) + 0.5
        z = 1 - 2 * index / directions
        turn = np.pi * (1 + 5**0.5) * index
        rays = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z])
        reach = np.linspace(0, 2.2 * max(self.gland.half_width, self.gland.half_depth, self.gland.half_length), 90)
        steps = torch.from_numpy(rays[:, :, None] * reach)
        inside = (self.gland.distance(Points(self.straighten(steps))) <= 0).numpy()
        last = inside.shape[1] - 1 - np.argmax(inside[:, ::-1], axis=1)
        return np.asarray(rays * reach[last])

    def gland_distance(self, points: Points) -> Tensor:
        """Signed distance to the gland at straightened points, mm."""
        return self.gland.distance(points)

    def layers(self, points: Points, gland_distance: Tensor, rectum: Iterable[Layer] | None = None) -> Iterator[Layer]:
        """Tissues over `BACKGROUND`, in painting order, at straightened points.

        ``rectum`` replaces the rectum's layers: in an ultrasound the probe lies in it.
        """
        yield from self.fossae.layers(points)
        yield from self.wall.layers(points)
        yield from self.floor.layers(points)
        yield from self.pubis.layers(points)
        yield from self.pad.layers(points)
        yield from self.clutter.layers(points)
        yield from self.outlet.layers(points)
        yield from self.rectum.layers(points) if rectum is None else rectum
        yield from self.vesicles.layers(points)
        yield from self.bladder.layers(points)
        yield from self.gland.layers(points, gland_distance)
        for addition in self.additions:
            yield from addition.layers(points, gland_distance)


def sample_anatomy(draw: Draw) -> Anatomy:
    """A pelvis drawn from the distributions that each part states."""
    gland = sample_gland(draw)
    return Anatomy(
        gland=gland,
        bladder=sample_bladder(draw, gland),
        rectum=sample_rectum(draw, gland),
        vesicles=sample_seminal_vesicles(draw, gland),
        outlet=sample_outlet(draw, gland),
        wall=sample_side_wall(draw, gland),
        fossae=sample_fossae(draw, gland),
        pubis=sample_pubis(draw, gland),
        floor=sample_floor(draw, gland),
        pad=sample_pad(draw, gland),
        clutter=sample_clutter(draw, gland),
        irregularity=smooth_field(draw, draw.uniform(0.3, 2.2), (45, 130)),
    )
