"""Projections and X-rays as image files, on the grid of their detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry

PICTURES = (".png", ".tif", ".tiff")
IMAGES = (".nrrd", ".nii", ".nii.gz", ".mha", ".mhd")
WHITE = 65535


def kind_of(path: Path) -> str:
    """ "picture" or "image", by the suffix of ``path``. Raises InputError for any other."""
    name = path.name.lower()
    if name.endswith(PICTURES):
        return "picture"
    if name.endswith(IMAGES):
        return "image"
    raise InputError(f"“{path.name}” has no suffix of an image file; end it in .nrrd or .png.")


def stem_of(path: Path) -> str:
    """The name of ``path`` without its suffix, both parts of .nii.gz."""
    name = path.name
    return name[:-7] if name.lower().endswith(".nii.gz") else path.stem


def write_drr(path: Path, image: npt.NDArray[np.float32], geometry: Geometry) -> float:
    """Write ``image`` (rows, columns); the result is how much one unit of it makes in the file.

    Image files hold float32 as it is, mm at the detector, with the principal point at the origin. Pictures hold 16
    bits, 0 black, the largest value white.
    Raises InputError where it cannot be written.
    """
    scale = 1.0
    if kind_of(path) == "picture":
        scale = WHITE / max(float(image.max()), 1e-6)
        written = sitk.GetImageFromArray(np.clip(np.round(image * scale), 0, WHITE).astype(np.uint16))
    else:
        written = sitk.GetImageFromArray(np.ascontiguousarray(image, dtype=np.float32))
    row, column = geometry.spacing
    written.SetSpacing((column, row))
    written.SetOrigin((-geometry.center[1] * column, -geometry.center[0] * row))
    try:
        sitk.WriteImage(written, str(path), useCompression=True)
    except RuntimeError as error:
        raise InputError(f"“{path.name}” cannot be written; choose another folder or file type.") from error
    return scale
