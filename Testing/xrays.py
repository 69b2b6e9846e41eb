"""The X-ray that a small trunk would give before a C-arm, at a pose that is known."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import projectionsamples

from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera

TRUTH = (4.0, -5.0, 3.0, 6.0, -4.0, 10.0)
"""The pose of the X-ray, degrees and mm."""


@cache
def case(side: int = 96) -> SimpleNamespace:
    """``ct``, ``geometry`` of ``side`` pixels, ``xray`` (rows, columns) at `TRUTH`, ``matrix`` from CT to camera."""
    volume = projectionsamples.ct()
    detector = Geometry.from_json(projectionsamples.GEOMETRY).resized(side, side)
    matrix = ct_to_camera(Pose.of(TRUTH), volume.centre, detector)
    xray = projectionsamples.xray(volume, TRUTH, detector.to_json())
    return SimpleNamespace(ct=volume, geometry=detector, xray=np.asarray(xray), matrix=matrix)
