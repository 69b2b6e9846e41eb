"""The poses in which a network looks at a volume: turned, shifted and mirrored about a centre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.points import APEX, BLADDER_NECK, POSTERIOR_MEDIAN
from LandmarkFusionLogic.volume import FloatArray

MIRROR = np.diag([-1.0, 1.0, 1.0])
START_DEGREES = 35.0
"""How far the start rotations turn: with what a network has learned of turned glands, ±45° are reached from them."""

UPRIGHT_MM = {APEX: (0.0, 1.0, -23.5), BLADDER_NECK: (0.0, 13.0, 19.0), POSTERIOR_MEDIAN: (0.0, -14.0, 4.5)}
"""Where the landmarks of the mean prostate lie in a patient who is upright in the volume: RAS mm from their mean."""

NARROW_MM = 5.0


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


def upright_turn(names: Sequence[str], positions: FloatArray) -> FloatArray:
    """The rotation (3, 3) that turns landmarks ``names`` at ``positions`` (L, 3) RAS mm nearest to `UPRIGHT_MM`.

    The identity where the names are others than those, and where the landmarks lie too close together to tell.
    """
    away = positions - positions.mean(axis=0)
    if set(names) != set(UPRIGHT_MM) or np.linalg.norm(away, axis=1).max() < NARROW_MM:
        return np.eye(3)
    upright = np.array([UPRIGHT_MM[name] for name in names])
    turn, _ = Rotation.align_vectors(upright - upright.mean(axis=0), away)
    return np.asarray(turn.as_matrix())


def degrees_between(one: FloatArray, other: FloatArray) -> float:
    """The angle between two rotations (3, 3)."""
    return float(np.degrees(Rotation.from_matrix(one @ other.T).magnitude()))
