"""Reading and writing volumes with SimpleITK. LPS, ITK's world, exists only inside this file.

NRRD, NIfTI, MHA/MHD and every other image file ITK knows; DICOM folders; ``.npy`` arrays with an affine beside them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.volume import Volume, check_volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""(4, 4); its own inverse."""


def silence_warnings() -> None:
    """Keep ITK's own warnings off standard error: they name files, and with them patients."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)


def read_volume(path: str | Path, what: str = "volume", series: int | None = None) -> Volume:
    """Read and check one scalar volume from an image file or a DICOM folder.

    ``what`` names the volume in messages. ``series`` (1, 2, …) picks one of several DICOM series in a folder.
    Raises InputError for anything that cannot be read or in which no prostate can be found (`check_volume`).
    """
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f"The {what} “{path.name}” does not exist; choose an image file or a DICOM folder.")
        if path.is_dir():
            from LandmarkFusionLogic.dicomfolder import read_dicom_folder

            image = read_dicom_folder(path, what, series)
        else:
            image = _read_file(path, what)
    except OSError as error:
        raise InputError(
            f"The {what} “{path.name}” cannot be opened ({error.strerror or 'no access'}); check its permissions."
        ) from error
    return volume_from_image(image, what)


def _read_file(path: Path, what: str) -> sitk.Image:
    with path.open("rb") as stream:
        empty = not stream.read(1)
    if empty:
        raise InputError(f"The {what} “{path.name}” is an empty file; export or copy it again.")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(_reading_failed(path.name, str(error), what)) from error
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        return image[:, :, :, 0]
    return image


def _reading_failed(name: str, details: str, what: str) -> str:
    if "orthonormal" in details.lower():
        return f"The axes of the {what} “{name}” are not at right angles (it is sheared); resample it first."
    if "spacing" in details.lower():
        return f"The {what} “{name}” has an impossible voxel size; correct its spacing."
    return (
        f"The {what} “{name}” is not an image that can be read, or is damaged; "
        "choose a NRRD, NIfTI, MHA/MHD file or a DICOM folder."
    )


def read_array(path: str | Path, ijk_to_ras: npt.ArrayLike, what: str = "volume") -> Volume:
    """Map a ``.npy`` file (K, J, I) into memory, read-only, and check it with its affine (4, 4) to RAS mm.

    Raises InputError if the file cannot be read or the volume cannot be used.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"The {what} cannot be read from its temporary file; choose it again.") from error
    return check_volume(array, np.asarray(ijk_to_ras, dtype=np.float64), what)


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write ``volume`` in the format of the file's suffix, compressed.

    Raises InputError if the file cannot be written.
    """
    try:
        sitk.WriteImage(image_from_volume(volume), str(path), useCompression=True)
    except RuntimeError as error:
        raise InputError(f"“{Path(path).name}” cannot be written; choose another folder or file type.") from error


def volume_from_image(image: sitk.Image, what: str = "volume") -> Volume:
    """The volume of a SimpleITK image (LPS), checked; voxels are copied.

    Raises InputError for images that are not one scalar 3D volume.
    """
    values = image.GetNumberOfComponentsPerPixel()
    if values > 1:
        raise InputError(
            f"The {what} has {values} values per voxel (a color, vector or time series image); "
            "choose a single scalar (gray-level) volume."
        )
    array = sitk.GetArrayFromImage(image)
    affine = np.eye(4)
    if image.GetDimension() == 3:
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
    return check_volume(array, LPS_TO_RAS @ affine, what)


def image_from_volume(volume: Volume) -> sitk.Image:
    """The SimpleITK image (LPS) of ``volume``; voxels are copied."""
    array = np.ascontiguousarray(volume.array)
    if array.dtype == np.bool_ or array.dtype == np.float16:
        array = array.astype(np.uint8 if array.dtype == np.bool_ else np.float32)
    image = sitk.GetImageFromArray(array)
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    image.SetSpacing(volume.spacing.tolist())
    image.SetDirection((lps[:3, :3] / volume.spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def itk_transform(matrix: npt.ArrayLike) -> sitk.AffineTransform:
    """ITK's transform (LPS) of points that ``matrix`` (4, 4) maps in RAS mm."""
    lps = LPS_TO_RAS @ np.asarray(matrix, dtype=np.float64) @ LPS_TO_RAS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def resample(moving: Volume, reference: Volume, moving_to_reference: npt.ArrayLike) -> Volume:
    """``moving`` brought onto the voxels of ``reference``, linearly interpolated.

    ``moving_to_reference`` (4, 4) maps RAS mm points of the moving volume to points of the reference. Outside the
    moving volume the result holds its smallest value. The type of the voxels is kept.
    """
    # ITK's resampling asks for the other direction: from the points of the grid that is filled to those of the moving.
    back = itk_transform(np.linalg.inv(np.asarray(moving_to_reference, dtype=np.float64)))
    image = image_from_volume(moving)
    outside = float(np.min(moving.array))
    grid = image_from_volume(Volume(np.broadcast_to(np.uint8(0), reference.array.shape), reference.ijk_to_ras))
    filled = sitk.Resample(image, grid, back, sitk.sitkLinear, outside, image.GetPixelID())
    return Volume(sitk.GetArrayFromImage(filled), reference.ijk_to_ras)
