"""The poses in which a network looks at a volume: turned, shifted and mirrored about a centre."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.volume import FloatArray

MIRROR = np.diag([-1.0, 1.0, 1.0])
START_DEGREES = 35.0
"""How far the start rotations turn: with what a network has learned of turned glands, ±45° are reached from them."""


@dataclass(frozen=True)
class Pose:
    """``turn`` (3, 3) about a centre, then ``shift`` (3,) mm; ``turn`` may mirror left-right."""

    turn: FloatArray = field(default_factory=lambda: np.eye(3))
    shift: FloatArray = field(default_factory=lambda: np.zeros(3))

    def matrix(self, centre: FloatArray) -> FloatArray:
        """(4, 4) RAS mm: from the patient to what the network sees, about ``centre`` (3,)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.turn
        matrix[:3, 3] = centre + self.shift - self.turn @ centre
        return matrix


_JITTERS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((6.0, 0.0, 0.0), (0.0, 3.0, 3.0)),
    ((-6.0, 0.0, 0.0), (0.0, -3.0, 3.0)),
    ((0.0, 0.0, 6.0), (3.0, 0.0, -3.0)),
)
"""Rotation vector in degrees and shift in mm (RAS) of each pose; each is also seen mirrored left-right."""
JITTERS = len(_JITTERS)


def jitter(number: int, start: FloatArray) -> tuple[Pose, Pose]:
    """Jitter ``number`` (0: none) of a volume that ``start`` (3, 3) has turned: as it is, and mirrored left-right."""
    rotation, shift = _JITTERS[number]
    turn = Rotation.from_rotvec(rotation, degrees=True).as_matrix() @ start
    pose = Pose(turn, np.array(shift))
    return pose, mirrored(pose)


def mirrored(pose: Pose) -> Pose:
    """The same pose, left and right swapped."""
    return Pose(MIRROR @ pose.turn, pose.shift)


def starts() -> Iterator[FloatArray]:
    """The start rotations (3, 3) to try where the upright volume is not understood: to both sides about each axis."""
    for axis in np.eye(3):
        for sign in (1.0, -1.0):
            yield np.asarray(Rotation.from_rotvec(sign * START_DEGREES * axis, degrees=True).as_matrix())
