"""X-ray images from files: NRRD, NIfTI, MHA with one slice, PNG, TIFF and DICOM, brought to bright bones.

An alignment wants images like line integrals: 0 where nothing stands in the way, bones bright. What a file holds is
turned into that in two steps: `read_xray` reads values, tags and valid area as they are, `brighten` turns them over
and takes the logarithm where needed; between them the image may be resampled, which intensities allow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.dicomgeometry import MODALITY, PHOTOMETRIC, Tags, valid_area

FloatArray = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

SMALLEST_SIDE = 16
NO_XRAYS = ("CT", "MR", "PT", "NM", "US")
"""Modalities whose images are no projections."""


@dataclass(frozen=True)
class XRay:
    """An X-ray as its file holds it.

    ``values`` (rows, columns) float32, the file's own gray values. ``mask`` (rows, columns): where the image is
    valid; None: everywhere. ``tags`` are those of a DICOM file. ``spacing`` (row, column) mm is the file's own, None
    where it says nothing.
    """

    values: Image
    mask: Mask | None = None
    tags: Tags = field(default_factory=dict)
    spacing: tuple[float, float] | None = None

    @property
    def modality(self) -> str | None:
        """DICOM's modality, for instance XA; None for other files."""
        return self.tags.get(MODALITY, "").strip() or None


def read_xray(path: str | Path, what: str = "X-ray", frame: int | None = None) -> XRay:
    """The X-ray image in a file; ``frame`` (1, 2, …) picks one of several. ``what`` names it in messages.

    Raises InputError for what cannot be read or is no single gray-level image.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f"The {what} “{path.name}” does not exist; choose an image or DICOM file.")
        if path.is_dir():
            path = _only_file(path, what)
        if path.suffix == ".npy":
            return XRay(_checked(np.load(path, allow_pickle=False), frame, what))
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except (OSError, ValueError) as error:
        raise InputError(f"The {what} “{path.name}” cannot be opened; choose another file.") from error
    if empty:
        raise InputError(f"The {what} “{path.name}” is an empty file; export or copy it again.")
    return _read_image(path, what, frame)


def _only_file(folder: Path, what: str) -> Path:
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    if len(files) != 1:
        raise InputError(
            f"The {what} “{folder.name}” is a folder of {len(files)} files; choose one image or DICOM file."
        )
    return files[0]


def _read_image(path: Path, what: str, frame: int | None) -> XRay:
    try:
        dicom = sitk.ImageFileReader.GetImageIOFromFileName(str(path)) == "GDCMImageIO"
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"The {what} “{path.name}” is not an image that can be read, or is damaged; choose a DICOM, NRRD, NIfTI, "
            "MHA, PNG or TIFF file."
        ) from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"The {what} is a color image; choose one of gray values.")
    tags = {key: image.GetMetaData(key).strip(" \0") for key in image.GetMetaDataKeys()} if dicom else {}
    if tags.get(MODALITY, "") in NO_XRAYS:
        raise InputError(f"The {what} “{path.name}” is an image of modality {tags[MODALITY]}; choose an X-ray image.")
    values = _checked(sitk.GetArrayFromImage(image), frame, what)
    if tags.get(PHOTOMETRIC, "").upper() == "MONOCHROME1":
        values = _as_stored(values, tags)
    column, row = (float(value) for value in image.GetSpacing()[:2])
    spacing = None if dicom or (column, row) == (1.0, 1.0) else (row, column)
    return XRay(values, valid_area(tags, *values.shape), tags, spacing)


def _as_stored(values: Image, tags: Tags) -> Image:
    """MONOCHROME1 as the file holds it, rescaled: ITK has turned it over, so that small values are dark."""

    def number(key: str, otherwise: float) -> float:
        return float(tags.get(key, "").split("\\")[0] or otherwise)

    highest = -1.0 if number("0028|0103", 0) == 1 else 2.0 ** number("0028|0101", 16) - 1
    slope, intercept = number("0028|1053", 1), number("0028|1052", 0)
    return np.asarray(slope * highest + 2 * intercept - values, dtype=np.float32)


def _checked(array: npt.NDArray[np.generic], frame: int | None, what: str) -> Image:
    """(rows, columns) float32 of what a file held."""
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    frames = len(array) if array.ndim == 3 else 1
    if frame is not None and not 1 <= frame <= frames:
        raise InputError(f"The {what} has no frame {frame}; it has {frames}.")
    if array.ndim == 3 and frame is not None:
        array = array[frame - 1]
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3:
        raise InputError(
            f"The {what} is a 3D image (or has {len(array)} frames); choose a single 2D image, or say which frame."
        )
    if array.ndim != 2 or array.dtype.kind not in "buif":
        raise InputError(f"The {what} is no 2D image of gray values; choose another file.")
    if min(array.shape) < SMALLEST_SIDE:
        raise InputError(
            f"The {what} has {array.shape[0]} × {array.shape[1]} pixels, too few to align with; choose another file."
        )
    values = np.asarray(array, dtype=np.float32)
    if not np.all(np.isfinite(values)):
        raise InputError(f"The {what} contains NaN or infinite values; replace them by numbers first.")
    if values.min() == values.max():
        raise InputError(f"Every pixel of the {what} has the same value; choose an image that shows something.")
    return values


def resized(xray: XRay, rows: int, columns: int) -> XRay:
    """``xray`` with ``rows`` × ``columns`` pixels over the same area, each the mean of what it covers.

    Pixels outside the valid area count nothing; a pixel is valid where at least half of it is.
    """
    if xray.values.shape == (rows, columns):
        return xray
    down, right = _shares(xray.values.shape[0], rows), _shares(xray.values.shape[1], columns)
    if xray.mask is None:
        return replace(xray, values=np.asarray(down @ xray.values @ right.T, dtype=np.float32))
    covered = down @ xray.mask @ right.T
    total = down @ (xray.values * xray.mask) @ right.T
    outside = down @ xray.values @ right.T
    mean = np.where(covered > 1e-6, total / np.maximum(covered, 1e-6), outside)
    return replace(xray, values=mean.astype(np.float32), mask=np.asarray(covered >= 0.5))


def _shares(before: int, after: int) -> FloatArray:
    """(after, before) share that each old pixel has in each new one, the old and new spanning the same length."""
    edges = np.arange(after + 1) * (before / after)
    low, high = edges[:-1, None], edges[1:, None]
    old = np.arange(before)[None, :]
    overlap = np.clip(np.minimum(high, old + 1) - np.maximum(low, old), 0, None)
    return np.asarray(overlap / (before / after), dtype=np.float64)
