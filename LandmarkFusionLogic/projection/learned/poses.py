"""Random poses, what a step between two of them is, and their distance: plain numbers for training and inference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.projection.learned.config import ProjectionConfig
from LandmarkFusionLogic.projection.pose import Pose

FloatArray = npt.NDArray[np.float64]

UNITS = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 3.0])
"""The metric of eq. 7 and of the steps at inference: radians, and mm, of which three along the depth count as one.

An X-ray hardly shows the depth: counted like the others it would take nearly all of the translation's direction.
"""


def draw_truth(config: ProjectionConfig, draw: np.random.Generator) -> Pose:
    """A true pose about the reference, within the box of what the pose network can answer."""
    limit = np.array(config.box)
    return Pose.of(np.clip(draw.normal(0.0, config.truth), -limit, limit))


def draw_start(config: ProjectionConfig, truth: Pose, draw: np.random.Generator) -> Pose:
    """A start about ``truth`` for the fine registration."""
    return Pose.of(truth.parameters + draw.normal(0.0, (*config.rotation, *config.translation)))


def geodesic_step(start: FloatArray, truth: FloatArray, isocenter: FloatArray) -> FloatArray:
    """(6,) the step, radians and mm, that leads from one `ct_to_camera` (4, 4) to another along the geodesic.

    A rotation vector about the isocenter and the way of the isocenter, both in the camera frame: half the negative
    gradient of the squared geodesic distance on SO(3) × R³, which is the metric of the paper's eq. 7.
    """
    turn = Rotation.from_matrix(truth[:3, :3] @ start[:3, :3].T).as_rotvec()
    first, second = (matrix[:3, :3] @ isocenter + matrix[:3, 3] for matrix in (start, truth))
    return np.concatenate([turn, second - first])


def axis_errors(found: Pose, truth: Pose) -> tuple[float, float]:
    """Mean over the axes of the absolute differences, degrees and mm: the paper's rotation and translation error."""
    difference = np.abs(found.parameters - truth.parameters)
    return float(difference[:3].mean()), float(difference[3:].mean())
