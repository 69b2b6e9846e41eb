"""The deformable transform of elastix: points both ways, the warped volume, its Jacobian, its file.

elastix's transform maps points of the fixed image to points of the moving one, LPS mm: what resampling needs, and
what Slicer takes for the transform *from* the parent when it loads the file, so that a moving volume and its markups
under the node both move to the fixed volume. LPS exists only inside this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import image_from_volume, itk_transform
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume

_FLIP = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Deformation:
    """A transform that maps RAS mm points of the fixed volume to points of the moving volume."""

    transform: sitk.Transform

    def to_moving(self, points: npt.ArrayLike) -> FloatArray:
        """(N, 3) RAS mm points of the fixed volume as points of the moving volume."""
        lps = np.reshape(np.asarray(points, dtype=np.float64), (-1, 3)) * _FLIP
        moved = [self.transform.TransformPoint(point) for point in lps.tolist()]
        return np.asarray(np.reshape(np.array(moved, dtype=np.float64), (-1, 3)) * _FLIP, dtype=np.float64)

    def to_fixed(self, points: npt.ArrayLike, tolerance_mm: float = 1e-3, iterations: int = 50) -> FloatArray:
        """(N, 3) RAS mm points of the moving volume as points of the fixed volume: the inverse, by iteration.

        A point that cannot be brought within ``tolerance_mm``, where the transform folds, gets the nearest found.
        """
        target = np.reshape(np.asarray(points, dtype=np.float64), (-1, 3))
        linear, shift = self._linear_part(target)
        back = np.linalg.inv(linear)
        guess = (target - shift) @ back.T
        best, least = guess.copy(), np.full(len(target), np.inf)
        for _ in range(iterations):
            miss = target - self.to_moving(guess)
            distance = np.linalg.norm(miss, axis=1)
            better = distance < least
            best[better], least[better] = guess[better], distance[better]
            if np.all(least < tolerance_mm):
                break
            # Damped where the last step made it worse, so that steep places settle too.
            guess = np.where(better[:, None], guess + miss @ back.T, best + 0.5 * (guess - best))
        return best

    def warp(self, moving: Volume, reference: Volume) -> Volume:
        """``moving`` resampled once, linearly, on the voxels of ``reference``; outside, its smallest value."""
        outside = float(np.min(moving.array))
        grid = image_from_volume(Volume(np.broadcast_to(np.uint8(0), reference.array.shape), reference.ijk_to_ras))
        image = image_from_volume(moving)
        filled = sitk.Resample(image, grid, self.transform, sitk.sitkLinear, outside, image.GetPixelID())
        return Volume(sitk.GetArrayFromImage(filled), reference.ijk_to_ras)

    def jacobian(self, reference: Volume) -> Volume:
        """Determinant of the Jacobian at the voxels of ``reference``, float32 (K, J, I).

        1 keeps volumes, below 1 the moving anatomy is smaller than the fixed one, 0 or less is a fold. By central
        differences over the voxels, whatever the axes of the volume.
        """
        count = reference.array.shape[0]
        grid = image_from_volume(Volume(np.broadcast_to(np.uint8(0), reference.array.shape), reference.ijk_to_ras))
        lps = np.diag([*_FLIP, 1.0]) @ reference.ijk_to_ras
        size = abs(np.linalg.det(lps[:3, :3]))
        sign = np.sign(np.linalg.det(lps[:3, :3]))
        result = np.empty(reference.array.shape, dtype=np.float32)
        step = 16
        for start in range(0, count, step):
            low, high = max(0, start - 1), min(count, start + step + 1)
            slab = grid[:, :, low:high]
            field = sitk.TransformToDisplacementField(
                self.transform,
                sitk.sitkVectorFloat64,
                slab.GetSize(),
                slab.GetOrigin(),
                slab.GetSpacing(),
                slab.GetDirection(),
            )
            moved = sitk.GetArrayFromImage(field)
            # Displacements change along i, j, k by the derivative less the step of the grid itself.
            columns = [np.gradient(moved, axis=2 - axis) + lps[:3, axis] for axis in range(3)]
            determinant = np.linalg.det(np.stack(columns, axis=-1)) * sign / size
            result[start : min(count, start + step)] = determinant[start - low : start - low + step]
        return Volume(result, reference.ijk_to_ras)

    def write(self, path: Path) -> None:
        """Write the transform as ITK file (``.h5``, ``.tfm``). Raises InputError if it cannot be written."""
        try:
            sitk.WriteTransform(self.transform, str(path))
        except RuntimeError as error:
            raise InputError(f"“{path.name}” cannot be written; choose another folder.") from error

    def _linear_part(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The affine map (3, 3) and (3,) nearest to the transform in the middle of ``points``: where to start from."""
        middle = points.mean(axis=0) if len(points) else np.zeros(3)
        reach = 40.0
        corners = np.vstack([middle, middle + reach * np.eye(3), middle - reach * np.eye(3)])
        moved = self.to_moving(corners)
        linear = (moved[1:4] - moved[4:7]).T / (2 * reach)
        if np.linalg.det(linear) <= 0.1:
            linear = np.eye(3)
        return linear, moved[0] - linear @ middle


def read_deformation(path: Path) -> Deformation:
    """The transform of a file that elastix or `Deformation.write` has written.

    Raises InputError if it cannot be read.
    """
    try:
        return Deformation(sitk.ReadTransform(str(path)))
    except RuntimeError as error:
        raise InputError(f"“{path.name}” is not a transform file that can be read.") from error


def linear_deformation(moving_to_fixed: npt.ArrayLike) -> Deformation:
    """The transform that a matrix (4, 4) moving to fixed, RAS mm, describes."""
    return Deformation(itk_transform(np.linalg.inv(np.asarray(moving_to_fixed, dtype=np.float64))))
