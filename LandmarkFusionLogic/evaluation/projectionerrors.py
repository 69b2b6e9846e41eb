"""How far a pose is from the true one: in its parameters, at points in the vertebrae, and in the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera

LIMIT_DEGREES = 3.0
LIMIT_MM = 3.0
"""A registration fails if its rotation or its translation is off by as much (Chen 2023, section 3.3)."""


@dataclass(frozen=True)
class PoseErrors:
    """Errors of a pose.

    ``rotation`` and ``translation`` (3,): absolute differences of the parameters, degrees and mm; ``geodesic``: angle
    of R_found R_trueᵀ, degrees; ``distance``: between the places of the isocenter, mm; ``mtre``: mean distance of the
    points, mm; ``plane``: the same of their projections, in the plane through the isocenter, mm; ``detector``: the
    same on the detector, mm.
    """

    rotation: list[float]
    translation: list[float]
    geodesic: float
    distance: float
    mtre: float
    plane: float
    detector: float

    @property
    def mean_rotation(self) -> float:
        """Mean over the axes, degrees: the figure of the paper."""
        return float(np.mean(self.rotation))

    @property
    def mean_translation(self) -> float:
        """Mean over the axes, mm: the figure of the paper."""
        return float(np.mean(self.translation))

    @property
    def failed(self) -> bool:
        """Whether the registration failed by the means over the axes."""
        return not (self.mean_rotation < LIMIT_DEGREES and self.mean_translation < LIMIT_MM)

    @property
    def failed_strictly(self) -> bool:
        """Whether the registration failed by the angle and the distance, which are never less than the means."""
        return not (self.geodesic < LIMIT_DEGREES and self.distance < LIMIT_MM)


def compare(found: Pose, truth: Pose, isocenter: FloatArray, points: FloatArray, geometry: Geometry) -> PoseErrors:
    """The errors of ``found`` at ``points`` (N, 3) RAS mm, of a volume whose center is ``isocenter`` (3,)."""
    ours, theirs = (ct_to_camera(pose, isocenter, geometry) for pose in (found, truth))
    turn = (np.asarray(found.rotation) - np.asarray(truth.rotation) + 180) % 360 - 180
    shift = np.asarray(found.translation) - np.asarray(truth.translation)
    relative = ours[:3, :3] @ theirs[:3, :3].T
    sine = np.linalg.norm(relative - relative.T) / np.sqrt(8)
    placed, true = (moved(points, to_camera) for to_camera in (ours, theirs))
    off = _on_detector(placed, geometry) - _on_detector(true, geometry)
    detector = float(np.linalg.norm(off, axis=1).mean())
    depth = float(theirs[2, 3] + theirs[2, :3] @ isocenter)
    return PoseErrors(
        np.abs(turn).tolist(),
        np.abs(shift).tolist(),
        float(np.degrees(np.arctan2(sine, (np.trace(relative) - 1) / 2))),
        float(np.linalg.norm(shift)),
        float(np.linalg.norm(placed - true, axis=1).mean()),
        detector * depth / geometry.sdd,
        detector,
    )


def moved(points: FloatArray, matrix: FloatArray) -> FloatArray:
    """``points`` (N, 3), moved by ``matrix`` (4, 4)."""
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def _on_detector(points: FloatArray, geometry: Geometry) -> FloatArray:
    """(N, 2) mm; points (N, 3), camera mm, beside or behind the source are given the least depth, 1 mm."""
    return np.asarray(points[:, :2] * geometry.sdd / np.maximum(points[:, 2:], 1.0), dtype=np.float64)
