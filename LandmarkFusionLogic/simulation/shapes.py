"""Points of the anatomical frame and soft shapes on them.

A shape is a signed distance in mm, negative inside, exact or nearly so close to the surface. The anatomical frame is
RAS with the gland's centre as origin: x to the right, y anterior, z superior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Points:
    """Where tissue is asked for: ``xyz`` (3, ...) mm in the anatomical frame.

    ``softness`` in mm is how soft an edge must be drawn so that voxels do not show steps (about a third of a voxel).
    """

    xyz: Tensor
    softness: float = 0.3

    @property
    def x(self) -> Tensor:
        """Towards the patient's right, mm."""
        return self.xyz[0]

    @property
    def y(self) -> Tensor:
        """Anterior, mm."""
        return self.xyz[1]

    @property
    def z(self) -> Tensor:
        """Superior, mm."""
        return self.xyz[2]

    @cached_property
    def abs_x(self) -> Tensor:
        """Distance from the midsagittal plane, mm."""
        return self.xyz[0].abs()

    def inside(self, distance: Tensor, blend_mm: float = 0.0) -> Tensor:
        """Coverage 0..1 of the shape whose signed ``distance`` is given; its edge blends over ``blend_mm`` more."""
        return torch.sigmoid(distance * (-1.0 / (self.softness + blend_mm)))


def ellipsoid(points: Points, centre: Sequence[float], radii: Sequence[float], mirrored: bool = False) -> Tensor:
    """Distance to an ellipsoid; ``mirrored`` gives the pair left and right of the midsagittal plane."""
    x = points.abs_x if mirrored else points.x
    squared = ((x - centre[0]) / radii[0]).square()
    squared += ((points.y - centre[1]) / radii[1]).square()
    squared += ((points.z - centre[2]) / radii[2]).square()
    return (squared.sqrt() - 1) * min(radii)


def segment(points: Points, start: Sequence[float], end: Sequence[float]) -> Tensor:
    """Distance in mm from the straight segment between two points."""
    return cone(points, start, end, 0.0, 0.0)


def cone(
    points: Points, start: Sequence[float], end: Sequence[float], start_radius: float, end_radius: float
) -> Tensor:
    """Distance to a round-ended cone between two points, mm; exact where both radii are the same."""
    a = [e - s for s, e in zip(start, end, strict=True)]
    length = max(sum(c * c for c in a), 1e-6)
    x, y, z = points.x - start[0], points.y - start[1], points.z - start[2]
    t = ((x * a[0] + y * a[1] + z * a[2]) / length).clamp(0, 1)
    distance = ((x - t * a[0]).square() + (y - t * a[1]).square() + (z - t * a[2]).square()).sqrt()
    if start_radius == end_radius:
        return distance - start_radius if start_radius else distance
    return distance - (start_radius + (end_radius - start_radius) * t)
