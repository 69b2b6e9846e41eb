"""One DICOM series of a folder as a SimpleITK image, its slices sorted and checked for gaps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError

POSITION, ORIENTATION, DESCRIPTION = "0020|0032", "0020|0037", "0008|103e"
GAP_TOLERANCE = 0.1
"""Slice distances may differ from their median by this fraction before a slice counts as missing or doubled."""


def read_dicom_folder(folder: Path, what: str, series: int | None = None) -> sitk.Image:
    """Read the folder's only DICOM series, or its ``series``-th (1, 2, …), sorted by position along the slice normal.

    Raises InputError for a folder without DICOM images, with several series and no choice, or with gaps; OSError for a
    folder that cannot be listed.
    """
    os.listdir(folder)  # GDCM reports a folder it may not read as one without images.
    names = sorted(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))
    if not names:
        raise InputError(f"The folder of the {what} holds no DICOM images; choose another folder or an image file.")
    files = [sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), name) for name in names]
    files.sort(key=lambda group: group[0])
    if series is None and len(files) > 1:
        raise InputError(
            f"The folder of the {what} holds {len(files)} DICOM series ({_listed(files)}); "
            "keep one of them in a folder of its own, or give its number."
        )
    if series is not None and not 1 <= series <= len(files):
        raise InputError(f"The folder of the {what} has no DICOM series {series}; it holds {len(files)}.")
    return _read_series(files[(series or 1) - 1], what)


def _read_series(files: tuple[str, ...], what: str) -> sitk.Image:
    try:
        if len(files) == 1:
            return sitk.ReadImage(files[0])
        _check_slices(files, what)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(files)
        return reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"A DICOM image of the {what} cannot be read or is damaged; export the series again."
        ) from error


def _check_slices(files: tuple[str, ...], what: str) -> None:
    positions = []
    normal = np.array([0.0, 0.0, 1.0])
    for file in files:
        header = _header(file)
        if not (header.HasMetaDataKey(POSITION) and header.HasMetaDataKey(ORIENTATION)):
            raise InputError(f"The DICOM slices of the {what} do not say where they lie; export the series again.")
        positions.append(_numbers(header.GetMetaData(POSITION)))
        rows = _numbers(header.GetMetaData(ORIENTATION))
        normal = np.cross(rows[:3], rows[3:])
    steps = np.diff(np.array(positions) @ normal)
    middle = float(np.median(steps))
    if abs(middle) < 1e-3 or np.any(np.abs(steps - middle) > GAP_TOLERANCE * abs(middle)):
        raise InputError(
            f"The DICOM slices of the {what} are not evenly spaced (slices are missing, doubled or from several "
            "scans); choose a complete series."
        )


def _listed(files: list[tuple[str, ...]]) -> str:
    parts = []
    for number, group in enumerate(files[:6], start=1):
        header = _header(group[0])
        name = header.GetMetaData(DESCRIPTION).strip() if header.HasMetaDataKey(DESCRIPTION) else "no description"
        parts.append(f"{number}: {name}, {len(group)} images")
    return "; ".join(parts) + ("; …" if len(files) > 6 else "")


def _header(file: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.LoadPrivateTagsOff()
    reader.ReadImageInformation()
    return reader


def _numbers(text: str) -> npt.NDArray[np.float64]:
    return np.array([float(part) for part in text.split("\\")])
