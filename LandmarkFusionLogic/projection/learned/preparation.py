"""A CT and an X-ray of any C-arm, brought to what the networks were trained with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.learned.cases import bone_mask, mask_projector
from LandmarkFusionLogic.projection.learned.config import ProjectionConfig
from LandmarkFusionLogic.projection.learned.inputs import to_view
from LandmarkFusionLogic.projection.pose import REFERENCE, Pose, ct_to_camera
from LandmarkFusionLogic.projection.projector import Projector
from LandmarkFusionLogic.volume import Volume

FloatArray = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

SMALLEST_MM = 60.0
"""A CT with a shorter side shows too little of the spine for the networks."""
FINEST_MM = 1.5
"""Finer voxels are averaged: the networks' pixels are about 1.1 mm in the patient."""
FRONTAL_DEGREES = 30.0
"""A start that is turned farther from the front is taken for the nominal pose."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What the learned methods work on: ``mu`` at a working resolution, the mask of the spine, ``xray`` as given."""

    mu: Projector
    mask: Projector
    xray: Image
    geometry: Geometry

    def view(self, config: ProjectionConfig) -> Image:
        """The X-ray as the networks' detector sees it."""
        return to_view(self.xray, self.geometry, config.geometry)


def make_scene(mu: Volume, xray: Image, inside: npt.NDArray[np.bool_] | None, geometry: Geometry) -> Scene:
    """The scene of one CT (attenuation) and one X-ray; ``inside``: where the X-ray is valid, None is everywhere.

    Raises InputError for a CT that is too small.
    """
    extent = np.array(mu.shape_ijk) * mu.spacing
    if extent.min() < SMALLEST_MM:
        text = " × ".join(f"{side:.0f}" for side in extent)
        raise InputError(
            f"The CT measures {text} mm, and the networks need {SMALLEST_MM:.0f} mm along each side; choose a larger "
            "CT, or the method “ours”."
        )
    image = np.asarray(xray, dtype=np.float32)
    if inside is not None and inside.any() and not inside.all():
        # What the shutters hide is made as dark as the darkest that they do not, as in training.
        image = np.where(inside, image, image[inside].min()).astype(np.float32)
    small = averaged(mu)
    return Scene(Projector(small), mask_projector(bone_mask(small)), image, geometry)


def averaged(mu: Volume) -> Volume:
    """``mu`` with voxels averaged until they are about `FINEST_MM`; the same center and extent where sides divide."""
    factors = [max(1, int(FINEST_MM / size + 0.25)) for size in mu.spacing]
    if max(factors) == 1:
        return mu
    i, j, k = factors
    keep = [n // f * f for n, f in zip(mu.array.shape, (k, j, i), strict=True)]
    # Cut evenly at both ends, so that the center hardly moves.
    first = [(n - kept) // 2 for n, kept in zip(mu.array.shape, keep, strict=True)]
    cut = np.asarray(mu.array, dtype=np.float32)[tuple(slice(f, f + n) for f, n in zip(first, keep, strict=True))]
    d, h, w = (n // f for n, f in zip(keep, (k, j, i), strict=True))
    coarse = cut.reshape(d, k, h, j, w, i).mean((1, 3, 5))
    to_fine = np.diag([i, j, k, 1.0])
    to_fine[:3, 3] = [(f - 1) / 2 + start for f, start in zip(factors, reversed(first), strict=True)]
    return Volume(coarse, mu.ijk_to_ras @ to_fine)


def nominal(start: FloatArray, isocenter: FloatArray, geometry: Geometry) -> tuple[FloatArray, bool]:
    """The pose about which the pose network answers, and whether it is the front that it was trained with.

    The front (a pose of zeros) unless ``start`` is turned far away from it: then the start itself.
    """
    away = Rotation.from_matrix(start[:3, :3] @ REFERENCE.T).magnitude()
    if np.rad2deg(away) > FRONTAL_DEGREES:
        return start, False
    return ct_to_camera(Pose(), isocenter, geometry), True


def moved(matrix: FloatArray, answer: Pose, isocenter: FloatArray) -> FloatArray:
    """``matrix`` (4, 4) turned about the isocenter and shifted by ``answer``; from the front, `ct_to_camera` of it."""
    center = matrix[:3, :3] @ isocenter + matrix[:3, 3]
    found = np.eye(4)
    turn = Rotation.from_euler("XYZ", answer.rotation, degrees=True).as_matrix()
    found[:3, :3] = turn @ matrix[:3, :3]
    found[:3, 3] = center + np.array(answer.translation) - found[:3, :3] @ isocenter
    return found
