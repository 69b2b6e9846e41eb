"""A small CT with bones, the C-arm that looks at it, and the X-ray that it would give."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from LandmarkFusionLogic.projection.attenuation import attenuation
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.volume import Volume

TRUTH = (4.0, -5.0, 3.0, 6.0, -4.0, 10.0)
"""The pose of the X-ray, degrees and mm."""


def ct(side: int = 64, spacing: float = 2.5) -> Volume:
    """A body with six vertebrae, ribs on both sides and one bone that makes left and right differ; HU, int16."""
    z, y, x = (np.mgrid[:side, :side, :side] - (side - 1) / 2) * spacing
    array = np.full((side, side, side), -1000.0)
    array[(x / 62) ** 2 + (y / 48) ** 2 + (z / 90) ** 2 < 1] = 30.0
    for number in range(6):
        middle = (number - 2.5) * 23
        array[(x / 14) ** 2 + ((y + 14) / 13) ** 2 + ((z - middle) / 8.5) ** 2 < 1] = 600.0
        array[(abs(x) < 3) & (abs(y + 33) < 8) & (abs(z - middle + 4) < 4)] = 700.0
        ring = np.sqrt((x / 54) ** 2 + (y / 40) ** 2)
        array[(abs(ring - 1.0) < 0.05) & (abs(z - middle - 0.25 * abs(x)) < 3.5) & (y < 30)] = 500.0
    array[((x - 32) / 9) ** 2 + ((y - 8) / 7) ** 2 + ((z - 30) / 14) ** 2 < 1] = 800.0
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = np.array([12.0, -30.0, 50.0]) - spacing * (side - 1) / 2
    return Volume(array.astype(np.int16), affine)


def geometry(side: int = 96) -> Geometry:
    """A detector of 230 mm, a meter from the source."""
    return Geometry(1000.0, side, side, (230.0 / side, 230.0 / side))


@cache
def case(side: int = 96) -> SimpleNamespace:
    """``ct``, ``geometry``, and ``xray`` (rows, columns), the line integrals at `TRUTH`."""
    from LandmarkFusionLogic.projection.projector import project

    volume, detector = ct(), geometry(side)
    matrix = ct_to_camera(Pose.of(TRUTH), volume.centre, detector)
    xray = project(attenuation(volume), detector, matrix)
    return SimpleNamespace(ct=volume, geometry=detector, xray=xray, matrix=matrix)


def drr(volume: Volume, detector: Geometry, pose) -> np.ndarray:
    """The line integrals at another pose."""
    from LandmarkFusionLogic.projection.projector import project

    return project(attenuation(volume), detector, ct_to_camera(Pose.of(pose), volume.centre, detector))
