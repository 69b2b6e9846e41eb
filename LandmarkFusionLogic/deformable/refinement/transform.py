"""A motion as the transform that files and Slicer take: from fixed to moving points, LPS."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from LandmarkFusionLogic.deformable.refinement.motion import Field, Motion
from LandmarkFusionLogic.deformable.transforms import Deformation
from LandmarkFusionLogic.imageio import itk_transform
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.fit import apply

SPACING_MM = 5.0
"""Of the grid of displacements, which are linear in between; the field bends over many times as much."""
_FLIP = np.array([-1.0, -1.0, 1.0])


def deformation(motion: Motion, initial: FloatArray) -> Deformation:
    """``motion``, then the inverse of ``initial`` (4, 4; moving to fixed, RAS mm): fixed points to moving ones."""
    linear = itk_transform(np.linalg.inv(initial) @ motion.matrix)
    if len(motion.field.centers) == 0:
        return Deformation(linear)
    # ITK applies the last one first.
    return Deformation(sitk.CompositeTransform([linear, _displacements(motion.field)]))


def _displacements(field: Field) -> sitk.DisplacementFieldTransform:
    low = field.centers.min(axis=0) - field.reach_mm
    high = field.centers.max(axis=0) + field.reach_mm
    i, j, k = (int(n) for n in np.ceil((high - low) / SPACING_MM).astype(int) + 1)
    # The axes of LPS run against those of RAS: the first voxel is the one at the highest R and A.
    affine = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = [low[0] + SPACING_MM * (i - 1), low[1] + SPACING_MM * (j - 1), low[2]]
    places = apply(affine, np.argwhere(np.ones((k, j, i), dtype=bool))[:, ::-1])
    values = (field.at(places) * _FLIP).reshape(k, j, i, 3)
    image = sitk.GetImageFromArray(values, isVector=True)
    image.SetSpacing([SPACING_MM] * 3)
    image.SetOrigin((affine[:3, 3] * _FLIP).tolist())
    return sitk.DisplacementFieldTransform(image)
