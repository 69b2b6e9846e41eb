"""What the tags of a DICOM X-ray (XA, RF, DX, CR) say: the C-arm, what gray values mean, where the image is valid.

Most of these tags are optional in practice. What is missing is None, and what is a guess is said in a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError

FloatArray = npt.NDArray[np.float64]
Tags = Mapping[str, str]
"""Values of DICOM tags as text, by keys such as "0018|1110"."""

MODALITY, PATIENT_ORIENTATION = "0008|0060", "0020|0020"
SDD, SOURCE_TO_PATIENT, SOURCE_TO_ISOCENTER = "0018|1110", "0018|1111", "0018|9402"
IMAGER_SPACING, PIXEL_SPACING = "0018|1164", "0028|0030"
CALIBRATION, MAGNIFICATION = "0028|0a02", "0018|1114"
PRIMARY, SECONDARY = "0018|1510", "0018|1511"
FLIP = "0018|7034"
PHOTOMETRIC, RELATIONSHIP, SIGN = "0028|0004", "0028|1040", "0028|1041"
NAMES = {
    SDD: "DistanceSourceToDetector",
    SOURCE_TO_PATIENT: "DistanceSourceToPatient",
    SOURCE_TO_ISOCENTER: "DistanceSourceToIsocenter",
    IMAGER_SPACING: "ImagerPixelSpacing",
    PIXEL_SPACING: "PixelSpacing",
    PRIMARY: "PositionerPrimaryAngle",
    SECONDARY: "PositionerSecondaryAngle",
    FLIP: "FieldOfViewHorizontalFlip",
    PATIENT_ORIENTATION: "PatientOrientation",
}
COLLIMATOR, SHUTTER = "0018|1700", "0018|1600"
EDGE_PIXELS = 1
"""So much of the image inside a collimator's or shutter's edge is left out: its penumbra."""
LETTERS = {"L": (-1, 0, 0), "R": (1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}


@dataclass(frozen=True)
class TaggedGeometry:
    """What the tags say of the C-arm.

    ``data`` is what `carm` takes, None where the distance to the detector or the pixels' size is missing, which
    ``missing`` names. ``sources`` says where each of its fields comes from.
    """

    data: dict[str, Any] | None
    sources: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def geometry_of(tags: Tags, rows: int, columns: int) -> TaggedGeometry:
    """The geometry of an image of ``rows`` × ``columns`` pixels whose header says ``tags``."""
    sources: dict[str, str] = {}
    warnings: list[str] = []
    data: dict[str, Any] = {"rows": rows, "columns": columns}
    distance = _number(tags, SDD)
    if distance is not None and distance > 0:
        data["sdd"] = distance
        sources["sdd"] = _told(SDD)
    _spacing(tags, data, sources, warnings)
    for key in (SOURCE_TO_ISOCENTER, SOURCE_TO_PATIENT):
        value = _number(tags, key)
        if value is not None and distance is not None and 0.2 * distance < value < distance:
            data["source_to_isocenter"] = value
            sources["source_to_isocenter"] = _told(key)
            break
    primary, secondary = _number(tags, PRIMARY), _number(tags, SECONDARY)
    if primary is not None:
        data["primary_angle"], data["secondary_angle"] = primary, secondary or 0.0
        sources["primary_angle"] = _told(PRIMARY)
        sources["secondary_angle"] = _told(SECONDARY) if secondary is not None else "not told, taken as 0"
    _mirrored(tags, data, sources)
    missing = [NAMES[key] for name, key in (("sdd", SDD), ("spacing", IMAGER_SPACING)) if name not in data]
    return TaggedGeometry(None if missing else data, sources, missing, warnings)


def needed_geometry(tags: Tags, rows: int, columns: int, what: str) -> dict[str, Any]:
    """The ``data`` of `geometry_of`; ``what`` names the image in messages.

    Raises InputError where the tags do not tell it, or there are none.
    """
    if not tags:
        raise InputError(f"The file of the {what} says nothing of the C-arm; give its geometry (sdd, spacing).")
    found = geometry_of(tags, rows, columns)
    if found.data is None:
        raise InputError(f"The DICOM file of the {what} has no {' and no '.join(found.missing)}; give the geometry.")
    return found.data


def _spacing(tags: Tags, data: dict[str, Any], sources: dict[str, str], warnings: list[str]) -> None:
    """The pixels' size at the detector, which PixelSpacing is not where it has been corrected for magnification."""
    at_detector = _numbers(tags, IMAGER_SPACING, 2)
    if at_detector is not None and min(at_detector) > 0:
        data["spacing"], sources["spacing"] = at_detector, _told(IMAGER_SPACING)
        return
    spacing = _numbers(tags, PIXEL_SPACING, 2)
    if spacing is None or min(spacing) <= 0:
        return
    magnification = _number(tags, MAGNIFICATION)
    if tags.get(CALIBRATION, "").strip().upper() == "GEOMETRY" and magnification is not None and magnification > 0:
        data["spacing"] = [value * magnification for value in spacing]
        sources["spacing"] = f"{_told(PIXEL_SPACING)} times EstimatedRadiographicMagnificationFactor (0018,1114)"
        return
    data["spacing"], sources["spacing"] = spacing, _told(PIXEL_SPACING)
    warnings.append(
        "The size of the X-ray's pixels comes from PixelSpacing, which may be that at the patient and not at the "
        "detector; check the spacing."
    )


def _mirrored(tags: Tags, data: dict[str, Any], sources: dict[str, str]) -> None:
    """Whether columns run the other way: as PatientOrientation says with the angles, or as the flip's tag says."""
    from LandmarkFusionLogic.projection.carm import facing

    letters = tags.get(PATIENT_ORIENTATION, "").replace("/", "\\").split("\\")[0].strip().upper()[:1]
    if letters in LETTERS and "primary_angle" in data:
        along = float(facing(data["primary_angle"], data["secondary_angle"])[0] @ LETTERS[letters])
        if abs(along) > 0.3:
            data["mirrored"] = along < 0
            sources["mirrored"] = f"{_told(PATIENT_ORIENTATION)} with the positioner's angles"
            return
    flip = tags.get(FLIP, "").strip().upper()
    if flip in ("YES", "NO"):
        data["mirrored"] = flip == "YES"
        sources["mirrored"] = _told(FLIP)


def bones_of(tags: Tags) -> str | None:
    """Whether bones are bright or dark in the stored values, as the tags say it; None where they do not.

    MONOCHROME1 shows small values as white. Radiographs (DX, CR, RG) are shown with white bones; what is stored in
    relation to the beam (LIN, LOG) has small values behind bones, unless its sign is −1.
    """
    relationship = tags.get(RELATIONSHIP, "").strip().upper()
    sign = _number(tags, SIGN)
    if sign in (1.0, -1.0):
        return "dark" if sign == 1.0 else "bright"
    inverse = tags.get(PHOTOMETRIC, "").strip().upper() == "MONOCHROME1"
    if relationship in ("LIN", "LOG"):
        return "dark"
    if tags.get(MODALITY, "").strip().upper() in ("DX", "CR", "RG", "IO", "PX"):
        return "dark" if inverse else "bright"
    if inverse:
        return "dark"
    return None


def intensity_of(tags: Tags) -> str | None:
    """ "linear" where the stored values are proportional to the beam, "log" where they are not; None: not told."""
    relationship = tags.get(RELATIONSHIP, "").strip().upper()
    return {"LIN": "linear", "LOG": "log", "DISP": "log"}.get(relationship)


def valid_area(tags: Tags, rows: int, columns: int) -> npt.NDArray[np.bool_] | None:
    """(rows, columns) where neither collimator nor shutter covers the image; None where the tags name neither."""
    mask: npt.NDArray[np.bool_] | None = None
    row, column = np.mgrid[1 : rows + 1, 1 : columns + 1].astype(np.float64)  # DICOM counts from 1.
    for key in (COLLIMATOR, SHUTTER):
        for shape in tags.get(key, "").upper().split("\\"):
            inside = _SHAPES.get(shape.strip(), _none)(tags, key, row, column)
            if inside is not None:
                mask = inside if mask is None else mask & inside
    return mask


_Area = npt.NDArray[np.bool_] | None


def _tag(first: str, offset: int) -> str:
    return f"{first[:5]}{int(first[5:], 16) + offset:04x}"


def _rectangle(tags: Tags, first: str, row: FloatArray, column: FloatArray) -> _Area:
    edges = [_number(tags, _tag(first, offset)) for offset in (2, 4, 6, 8)]
    if any(edge is None for edge in edges):
        return None
    left, right, upper, lower = (float(edge or 0) for edge in edges)
    inside = (column > left + EDGE_PIXELS) & (column < right - EDGE_PIXELS)
    return np.asarray(inside & (row > upper + EDGE_PIXELS) & (row < lower - EDGE_PIXELS))


def _circle(tags: Tags, first: str, row: FloatArray, column: FloatArray) -> _Area:
    center, radius = _numbers(tags, _tag(first, 0x10), 2), _number(tags, _tag(first, 0x12))
    if center is None or radius is None:
        return None
    return np.asarray(np.hypot(row - center[0], column - center[1]) < radius - EDGE_PIXELS)


def _polygon(tags: Tags, first: str, row: FloatArray, column: FloatArray) -> _Area:
    from matplotlib.path import Path

    values = _numbers(tags, _tag(first, 0x20))
    if values is None or len(values) < 6 or len(values) % 2:
        return None
    corners = np.reshape(values, (-1, 2))
    inside = Path(corners).contains_points(np.stack([row.ravel(), column.ravel()], axis=1))
    return np.asarray(inside.reshape(row.shape), dtype=np.bool_)


def _none(tags: Tags, first: str, row: FloatArray, column: FloatArray) -> _Area:
    return None


_SHAPES: dict[str, Callable[[Tags, str, FloatArray, FloatArray], _Area]] = {
    "RECTANGULAR": _rectangle,
    "CIRCULAR": _circle,
    "POLYGONAL": _polygon,
}


def _told(key: str) -> str:
    group, element = key.split("|")
    return f"{NAMES[key]} ({group},{element})"


def _number(tags: Tags, key: str) -> float | None:
    values = _numbers(tags, key)
    return values[0] if values else None


def _numbers(tags: Tags, key: str, count: int | None = None) -> list[float] | None:
    """The finite numbers of a tag, ``count`` of them; None where there are not."""
    try:
        values = [float(part) for part in tags.get(key, "").split("\\") if part.strip()]
    except ValueError:
        return None
    if not values or not all(map(math.isfinite, values)) or (count is not None and len(values) != count):
        return None
    return values
