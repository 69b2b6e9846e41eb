"""A rigid transform as ITK file (``.h5``, ``.tfm``), in the direction Slicer reads it back as "MR to US".

ITK's transforms map points of the fixed image to points of the moving one, in LPS: the file of ``mr_to_us`` holds the
map US to MR. Slicer takes such a file for the transform *from* the parent, so the node it makes moves MR nodes onto
the US.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import LPS_TO_RAS, itk_transform


def write_transform(path: str | Path, moving_to_fixed: npt.ArrayLike) -> None:
    """Write ``moving_to_fixed`` (4, 4), RAS mm, for instance MR to US, as ITK's fixed to moving, LPS.

    Raises InputError if the file cannot be written.
    """
    inverse = np.linalg.inv(np.asarray(moving_to_fixed, dtype=np.float64))
    try:
        sitk.WriteTransform(itk_transform(inverse), str(path))
    except RuntimeError as error:
        raise InputError(f"“{Path(path).name}” cannot be written; choose another folder.") from error


def read_transform(path: str | Path) -> npt.NDArray[np.float64]:
    """The matrix (4, 4) moving to fixed, RAS mm, of a linear ITK transform file.

    Raises InputError if the file cannot be read or its transform is not linear.
    """
    name = Path(path).name
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputError(f"“{name}” is not a transform file that can be read; choose a .h5 or .tfm file.") from error
    if not transform.IsLinear() or transform.GetDimension() != 3:
        raise InputError(f"The transform in “{name}” is not linear; choose a rigid transform.")
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    fixed_to_moving = np.eye(4)
    for axis in range(3):
        fixed_to_moving[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - origin
    fixed_to_moving[:3, 3] = origin
    return np.asarray(np.linalg.inv(LPS_TO_RAS @ fixed_to_moving @ LPS_TO_RAS), dtype=np.float64)
