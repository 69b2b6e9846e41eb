"""Where the anatomy lies in an image: rotations, the pose in an image's frame, and the deformation by a probe.

Frames are RAS mm. An image frame has the image's middle near its origin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.fields import undo

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Voxels of an image: ``shape`` (k, j, i), ``spacing`` mm along (i, j, k), ``rotation`` (3, 3) of its axes, middle
    in
    ``centre`` (3,) of the image frame.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    rotation: FloatArray
    centre: FloatArray

    @property
    def ijk_to_frame(self) -> FloatArray:
        """(4, 4) from voxel indices (i, j, k) to the image frame."""
        affine = np.eye(4)
        affine[:3, :3] = self.rotation * np.array(self.spacing)
        affine[:3, 3] = self.centre - affine[:3, :3] @ ((np.array(self.shape[::-1]) - 1) / 2)
        return affine

    def points(self, device: torch.device | str) -> Tensor:
        """(3, K, J, I) float32 positions of the voxels in the image frame, mm."""
        affine = self.ijk_to_frame
        k, j, i = torch.meshgrid(
            *(torch.arange(n, dtype=torch.float32, device=device) for n in self.shape), indexing="ij"
        )
        rows = [
            float(affine[a, 0]) * i + float(affine[a, 1]) * j + float(affine[a, 2]) * k + float(affine[a, 3])
            for a in range(3)
        ]
        return torch.stack(rows)


@dataclass(frozen=True)
class Placement:
    """The anatomy in an image frame: ``pose`` (4, 4) rigid, anatomical frame to image frame, then a deformation.

    ``shift`` gives, at a point of the image frame, the vector (mm) to where its tissue was before the deformation; it
    must be a contraction. None: no deformation.
    """

    pose: FloatArray
    shift: Callable[[Tensor], Tensor] | None = None

    def to_anatomy(self, points: Tensor) -> Tensor:
        """Image frame (3, ...) to anatomical frame, mm."""
        source = points if self.shift is None else points + self.shift(points)
        inverse = np.linalg.inv(self.pose)
        rows = [
            sum(
                (float(inverse[a, b]) * source[b] for b in range(3)),
                start=torch.full_like(source[0], float(inverse[a, 3])),
            )
            for a in range(3)
        ]
        return torch.stack(rows)

    def from_anatomy(self, points: FloatArray) -> FloatArray:
        """Anatomical frame (3, ...) to image frame, mm: the inverse of `to_anatomy`."""
        flat = points.reshape(3, -1)
        rigid = self.pose[:3, :3] @ flat + self.pose[:3, 3:4]
        if self.shift is None:
            return rigid.reshape(points.shape)
        return np.asarray(undo(self.shift, torch.from_numpy(rigid)).numpy()).reshape(points.shape)


def rigid(rotation: FloatArray, translation: FloatArray) -> FloatArray:
    """(4, 4) from a (3, 3) rotation and a (3,) translation in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def patient_rotation(draw: Draw) -> FloatArray:
    """(3, 3) how a man lies in the MR scanner: mostly pelvic tilt, at most about 25°."""
    degrees = [draw.normal(0, 7), draw.normal(0, 3), draw.normal(0, 4)]
    return np.asarray(Rotation.from_rotvec(np.radians(degrees)).as_matrix())


def rotation_between_scans(draw: Draw) -> FloatArray:
    """(3, 3) rotation from MR to ultrasound, at most 45°: mostly a sagittal tilt, sometimes about any axis."""
    if draw.chance(0.15):
        vector = draw.direction() * draw.uniform(0, 45)
    else:
        vector = np.array([draw.normal(0, 11), draw.normal(0, 5), draw.normal(0, 6)])
    length = float(np.linalg.norm(vector))
    return np.asarray(Rotation.from_rotvec(np.radians(vector * min(1.0, 45 / max(length, 1e-9)))).as_matrix())


def slant(draw: Draw) -> FloatArray:
    """(3, 3) how the gland lies to a probe that presses against its back: nearly straight."""
    degrees = [draw.normal(0, 8), draw.normal(0, 4), draw.normal(0, 4)]
    return np.asarray(Rotation.from_rotvec(np.radians(degrees)).as_matrix())


def keep_inside(points: FloatArray, grid: Grid, margin_mm: float) -> FloatArray:
    """(3,) smallest shift of the ``grid``'s centre, image frame, that keeps ``points`` (3, n) inside it by
    ``margin_mm``.

    Where they do not fit, they are centred.
    """
    half = np.array(grid.shape[::-1]) * np.array(grid.spacing) / 2 - margin_mm
    local = grid.rotation.T @ (points - grid.centre[:, None])
    low, high = local.min(axis=1), local.max(axis=1)
    shift = np.maximum(high - half, 0) + np.minimum(low + half, 0)
    both = high - low > 2 * half
    shift[both] = ((high + low) / 2)[both]
    return np.asarray(grid.rotation @ shift)
