"""The six numbers that say how a CT lies before the C-arm, and the matrices they stand for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry

FloatArray = npt.NDArray[np.float64]

REFERENCE = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])
"""(3, 3) RAS to camera of a pose of zeros: x is the patient's left, y inferior, z posterior, an AP view."""


@dataclass(frozen=True)
class Pose:
    """A pose of the CT about its isocenter: ``rotation`` (rx, ry, rz) in degrees, ``translation`` in mm.

    The axes are the camera's: tx along the columns, ty along the rows, tz away from the source (depth).
    Raises InputError for values that are not finite.
    """

    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if len(self.rotation) != 3 or len(self.translation) != 3 or not np.all(np.isfinite(self.parameters)):
            raise InputError("The pose must be six finite numbers: three angles in degrees, three shifts in mm.")

    @property
    def parameters(self) -> FloatArray:
        """(6,) rx, ry, rz in degrees and tx, ty, tz in mm."""
        return np.array([*self.rotation, *self.translation], dtype=np.float64)

    @staticmethod
    def of(parameters: npt.ArrayLike) -> Pose:
        """The pose of (6,) rx, ry, rz in degrees and tx, ty, tz in mm."""
        rx, ry, rz, tx, ty, tz = np.asarray(parameters, dtype=np.float64).ravel().tolist()
        return Pose((rx, ry, rz), (tx, ty, tz))


def ct_to_camera(pose: Pose, isocenter: npt.ArrayLike, geometry: Geometry) -> FloatArray:
    """(4, 4) from CT points, RAS mm, to the camera frame, mm: T · Rx · Ry · Rz about ``isocenter`` (paper eq. 2-3).

    ``isocenter`` (3,) RAS mm is the CT's center. A pose of zeros puts it on the central ray, `isocenter_distance`
    from the source, seen from the front (`REFERENCE`).
    """
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("XYZ", pose.rotation, degrees=True).as_matrix() @ REFERENCE
    shift = np.array(pose.translation, dtype=np.float64)
    shift[2] += geometry.isocenter_distance
    matrix[:3, 3] = shift - matrix[:3, :3] @ np.asarray(isocenter, dtype=np.float64)
    return matrix


def pose_from_matrix(matrix: npt.ArrayLike, isocenter: npt.ArrayLike, geometry: Geometry) -> Pose:
    """The pose for which `ct_to_camera` gives ``matrix`` (4, 4).

    Raises InputError where the matrix is not rigid: the camera frame and RAS are both right-handed.
    """
    values = np.asarray(matrix, dtype=np.float64)
    turn = values[:3, :3]
    if not np.all(np.isfinite(values)) or np.abs(turn @ turn.T - np.eye(3)).max() > 1e-3 or np.linalg.det(turn) < 0:
        raise InputError("The transform from CT to X-ray is not a rotation and a shift; give a rigid one.")
    with warnings.catch_warnings():
        # A lateral view leaves open how a turn is shared among x and z: any share will do.
        warnings.simplefilter("ignore", UserWarning)
        angles = Rotation.from_matrix(turn @ REFERENCE.T).as_euler("XYZ", degrees=True)
    shift = turn @ np.asarray(isocenter, dtype=np.float64) + values[:3, 3]
    shift[2] -= geometry.isocenter_distance
    return Pose.of([*angles, *shift])


def step_matrix(step: npt.ArrayLike, center: npt.ArrayLike) -> FloatArray:
    """(4, 4) camera to camera of a ``step`` (6,): a turn about ``center`` (3,), then a shift.

    The first three values are a rotation vector in radians (so(3)), the last three mm; all in the camera frame. The
    new `ct_to_camera` is this matrix times the old one. About the isocenter, turns and shifts hardly mix.
    """
    values = np.asarray(step, dtype=np.float64)
    middle = np.asarray(center, dtype=np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(values[:3]).as_matrix()
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle + values[3:]
    return matrix


def steps_of_parameters(pose: Pose) -> FloatArray:
    """(6, 6) from small changes of a pose's parameters (degrees, mm) to the step (radians, mm) about its isocenter.

    An image's Jacobian to steps, (6, rows, columns), times it is the Jacobian to the parameters:
    ``np.einsum("srk,sp->prk", jacobian, steps_of_parameters(pose))``.
    """
    rx, ry, _ = pose.rotation
    first = Rotation.from_euler("X", rx, degrees=True).as_matrix()
    second = first @ Rotation.from_euler("Y", ry, degrees=True).as_matrix()
    matrix = np.eye(6)
    matrix[:3, :3] = np.deg2rad(np.stack([np.eye(3)[0], first[:, 1], second[:, 2]], axis=1))
    return matrix
