"""The form of the C-arm's geometry: filled by a preset, by what an X-ray's file says, or by hand."""

import json
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _
from slicer.util import NodeModify

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import projectionplane
from LandmarkFusionLogic.projection import carm
from LandmarkFusionLogic.projection.carm import CArm
from LandmarkFusionLogic.projection.geometry import Geometry

if TYPE_CHECKING:
    from LandmarkFusionLib.parameters import Parameters

PRESET, DICOM, IMAGE = "preset", "dicom", "image"
CARM = "LandmarkFusion.carm"
"""Attribute of an X-ray node: the geometry that its file told, as the jobs take it (JSON)."""
SOURCES = "LandmarkFusion.sources"
"""Attribute of an X-ray node: which tag of its file gave which field of the geometry (JSON)."""
LIVE_SIDE = 256
"""Rows or columns of the live DRR, whichever are more."""


def read(parameters: "Parameters") -> Geometry:
    """The geometry as the form has it. Raises InputError for values that no C-arm has."""
    p = parameters.projection
    return Geometry(
        sdd=p.sdd,
        rows=p.rows,
        columns=p.columns,
        spacing=(p.rowSpacing, p.columnSpacing),
        principal_point=None if p.centered else (p.principalRow, p.principalColumn),
        source_to_isocenter=p.isocenter or None,
        mirrored=p.mirrored,
    )


def readArm(parameters: "Parameters") -> CArm:
    """The same with the angles of the C-arm; zeros that no file has told mean that nobody knows them."""
    p = parameters.projection
    known = p.source == DICOM or p.primary != 0.0 or p.secondary != 0.0
    return CArm(read(parameters), (p.primary, p.secondary) if known else None)


def forLive(geometry: Geometry) -> Geometry:
    """The same detector with at most `LIVE_SIDE` pixels a side."""
    share = min(1.0, LIVE_SIDE / max(geometry.rows, geometry.columns))
    return geometry.resized(max(2, round(geometry.rows * share)), max(2, round(geometry.columns * share)))


def take(parameters: "Parameters", arm: CArm, source: str, title: str) -> None:
    """Fill the form; ``source`` and ``title`` say what gave the geometry."""
    p, geometry = parameters.projection, arm.geometry
    with NodeModify(parameters.parameterNode):
        p.sdd, p.rows, p.columns = float(geometry.sdd), int(geometry.rows), int(geometry.columns)
        p.rowSpacing, p.columnSpacing = (float(value) for value in geometry.spacing)
        p.centered = geometry.principal_point is None
        p.principalRow, p.principalColumn = (float(value) for value in geometry.center)
        p.isocenter = float(geometry.source_to_isocenter or 0.0)
        p.mirrored = geometry.mirrored
        if arm.angles is not None:
            p.primary, p.secondary = arm.angles
        p.given, p.source, p.title = json.dumps(geometry.to_json()), source, title


def followSize(parameters: "Parameters") -> None:
    """Keep the central ray in the middle, where it is meant to be there, of as many pixels as there are now."""
    p = parameters.projection
    middle = (p.rows - 1) / 2, (p.columns - 1) / 2
    if p.centered and (p.principalRow, p.principalColumn) != middle:
        with NodeModify(parameters.parameterNode):
            p.principalRow, p.principalColumn = middle


def takePreset(parameters: "Parameters", name: str, xray: Any) -> None:
    """Fill the form by a preset; with an X-ray of the same shape, at the X-ray's size. Raises InputError."""
    data = carm.presets()[name]
    take(parameters, _sized(carm.carm(data), xray), PRESET, str(data.get("name", name)))


def takeXray(parameters: "Parameters", xray: Any) -> None:
    """A new X-ray was chosen: what its file told goes into the form, else its size does, where that is plain."""
    found = ofNode(xray)
    if found is not None:
        take(parameters, found, DICOM, "")
        return
    size, p = projectionplane.size(xray), parameters.projection
    if size is None or size == (p.rows, p.columns):
        return
    if p.source:
        take(parameters, _sized(readArm(parameters), xray), p.source, p.title)
    else:  # Nobody has said anything of the detector yet: the pixels as the image has them.
        across, down, _along = xray.GetSpacing()
        spacing = tuple(value if 0.01 <= value <= 20.0 else 1.0 for value in (down, across))
        take(parameters, CArm(Geometry(p.sdd, *size, spacing), None), IMAGE, "")


def ofNode(xray: Any) -> CArm | None:
    """What the file of an X-ray node told of the C-arm, or None."""
    told = xray.GetAttribute(CARM) if xray is not None else None
    try:
        return carm.carm(json.loads(told)) if told else None
    except (ValueError, InputError):  # A scene may have been edited outside.
        return None


def problem(parameters: "Parameters", xray: Any) -> str:
    """Why the geometry does not fit the X-ray, one sentence, or "". Raises InputError as `read` does."""
    geometry, size = read(parameters), projectionplane.size(xray)
    if size is None or size == (geometry.rows, geometry.columns):
        return ""
    return _(
        "The geometry has {rows} × {columns} pixels, the X-ray {ownRows} × {ownColumns}; set rows and columns or "
        "choose a preset again."
    ).format(rows=geometry.rows, columns=geometry.columns, ownRows=size[0], ownColumns=size[1])


def sourceText(parameters: "Parameters") -> str:
    """What gave the geometry, and whether it has been edited since."""
    p = parameters.projection
    names = {
        PRESET: _("Preset: {title}").format(title=p.title),
        DICOM: _("From the tags of the DICOM file"),
        IMAGE: _("Size and spacing of the image; check all of it"),
    }
    origin = names.get(p.source, "")
    try:
        edited = bool(p.given) and read(parameters) != Geometry.from_json(json.loads(p.given))
    except (ValueError, InputError):
        edited = True
    if not origin:
        return _("Not set yet: choose a preset, or type what you know.")
    return _("Edited. It was: {origin}").format(origin=origin) if edited else origin


def sourceTip(parameters: "Parameters", xray: Any) -> str:
    """Which tag of the X-ray's file gave which value, or ""."""
    told = xray.GetAttribute(SOURCES) if xray is not None and parameters.projection.source == DICOM else None
    try:
        return "\n".join(f"{name}: {tag}" for name, tag in json.loads(told).items()) if told else ""
    except (ValueError, AttributeError):  # As above.
        return ""


def _sized(arm: CArm, xray: Any) -> CArm:
    """The same detector with the X-ray's pixels, where the X-ray has the detector's shape."""
    size, geometry = projectionplane.size(xray), arm.geometry
    if size is None or size[0] * geometry.columns != size[1] * geometry.rows:
        return arm
    return CArm(geometry.resized(*size), arm.angles)
