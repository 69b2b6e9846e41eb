"""A rigid correction and a smooth deformation of bounded reach: what the refinement looks for.

Points are RAS mm of the fixed volume, "brought" ones are those of the moving volume after the transform to start from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.distance import cdist

from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.bayesian import cross_matrices, rotation_matrices

CHUNK = 20_000


def bump(distance: FloatArray) -> FloatArray:
    """Wendland's function (1 - d)⁴ (4 d + 1), 0 from ``distance`` 1 on: smooth, of compact support, a covariance."""
    left = np.maximum(1.0 - distance, 0.0)
    left *= left
    left *= left  # Ten times as fast as a power.
    return np.asarray(left * (4.0 * distance + 1.0))


@dataclass(frozen=True)
class Field:
    """Displacements Σ ``weights`` bump(‖x - center‖ / ``reach_mm``): (N, 3) ``centers`` RAS mm, ``weights`` (N, 3) mm.

    Farther than ``reach_mm`` from every center it is exactly zero.
    """

    centers: FloatArray = field(compare=False)
    weights: FloatArray = field(compare=False)
    reach_mm: float

    def at(self, points: FloatArray) -> FloatArray:
        """(N, 3) mm at ``points`` (N, 3)."""
        result = np.zeros_like(points)
        if len(self.centers) == 0:
            return result
        for start in range(0, len(points), CHUNK):
            part = points[start : start + CHUNK]
            result[start : start + CHUNK] = bump(cdist(part, self.centers) / self.reach_mm) @ self.weights
        return result


@dataclass(frozen=True)
class Motion:
    """Fixed points to brought ones: x → turned and shifted (x + field(x)).

    ``turn`` (3,) is a rotation vector, rad, about ``pivot`` (3,), ``shift`` (3,) mm.
    """

    pivot: FloatArray = field(compare=False)
    turn: FloatArray = field(compare=False)
    shift: FloatArray = field(compare=False)
    field: Field

    @property
    def matrix(self) -> FloatArray:
        """(4, 4): the rigid part, to be applied after the field."""
        result = np.eye(4)
        result[:3, :3] = self.rotation
        result[:3, 3] = self.pivot + self.shift - self.rotation @ self.pivot
        return result

    @property
    def rotation(self) -> FloatArray:
        """(3, 3) of ``turn``."""
        return np.asarray(rotation_matrices(self.turn[None])[0])

    def forward(self, points: FloatArray) -> FloatArray:
        """(N, 3) fixed points as brought points."""
        return self._rigid(points + self.field.at(points))

    def back(self, brought: FloatArray, tolerance_mm: float = 1e-2, iterations: int = 30) -> FloatArray:
        """(N, 3) brought points as fixed points: the inverse, by iteration."""
        goal = (brought - self.pivot - self.shift) @ self.rotation + self.pivot
        found = goal.copy()
        for _ in range(iterations):
            step = goal - self.field.at(found) - found
            found += step
            if len(step) == 0 or np.abs(step).max() < tolerance_mm:
                break
        return found

    def linear(self, points: FloatArray) -> FloatArray:
        """(N, 3): what the motion moves fixed points by, in their frame, to first order in the turn."""
        offsets = points - self.pivot
        return np.asarray(np.cross(self.turn, offsets) + self.shift + self.field.at(points))

    def _rigid(self, points: FloatArray) -> FloatArray:
        return np.asarray((points - self.pivot) @ self.rotation.T + self.pivot + self.shift)


def still(pivot: FloatArray, reach_mm: float) -> Motion:
    """The motion that moves nothing."""
    return Motion(pivot, np.zeros(3), np.zeros(3), Field(np.zeros((0, 3)), np.zeros((0, 3)), reach_mm))


def rigid_rows(points: FloatArray, pivot: FloatArray) -> FloatArray:
    """(N, 3, 6): how points (N, 3) move with a turn (rad) about the pivot and a shift (mm), to first order."""
    result = np.zeros((len(points), 3, 6))
    result[:, :, :3] = -cross_matrices(points - pivot)
    result[:, :, 3:] = np.eye(3)
    return result
