"""Landmarks in Slicer's markups files: ``.mrk.json`` read and written, the older ``.fcsv`` read.

Files hold LPS (Slicer's default) or RAS; in memory there is RAS only. A landmark's state and spread travel in the
point's description, which Slicer keeps and shows: ``detected; covariance mm2 (RAS) xx xy xz yy yz zz``.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import LANDMARK_NAMES, PLACED, STATES, FloatArray, Landmark, by_name

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_FLIP = np.array([-1.0, -1.0, 1.0])
_UPPER = np.triu_indices(3)


def read_landmarks(path: str | Path, what: str = "landmarks") -> list[Landmark]:
    """The placed points of a ``.mrk.json`` or ``.fcsv`` file, RAS mm, in the order of the file.

    Points that are not placed are left out. The three landmarks are recognised whatever the case of their label.
    Raises InputError if the file cannot be read, is of another kind, or names two points alike.
    """
    found = read_points(path, what)
    by_name(found)
    return found


def read_points(path: str | Path, what: str = "points") -> list[Landmark]:
    """As `read_landmarks`, for points that may share a name."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"The file of the {what} “{path.name}” does not exist; choose a .mrk.json file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The file of the {what} “{path.name}” cannot be read; choose a .mrk.json file.") from error
    try:
        found = _from_fcsv(text) if path.suffix.lower() == ".fcsv" else _from_json(json.loads(text))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(
            f"The file of the {what} “{path.name}” is not a Slicer markups file; "
            "save the points from Slicer as .mrk.json."
        ) from error
    return found


def write_landmarks(path: str | Path, landmarks: Iterable[Landmark]) -> None:
    """Write ``landmarks`` (RAS mm) as a Slicer point list, ``.mrk.json`` of schema 1.0.3 in LPS.

    Raises InputError if the file cannot be written.
    """
    write_points(path, ((landmark.name, landmark.position, describe(landmark)) for landmark in landmarks))


def write_points(path: str | Path, places: Iterable[tuple[str, FloatArray, str]]) -> None:
    """Write points, each a label, a position (3,) RAS mm and a description, as `write_landmarks` does."""
    points = [_control_point(number, *place) for number, place in enumerate(places, start=1)]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": points,
    }
    text = json.dumps({"@schema": SCHEMA, "markups": [markup]}, indent=2, ensure_ascii=False)
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"“{Path(path).name}” cannot be written; choose another folder.") from error


def describe(landmark: Landmark) -> str:
    """The description of a landmark's control point: its state and, for a detected one, its spread."""
    if landmark.covariance is None:
        return landmark.state
    numbers = " ".join(f"{value:.6g}" for value in np.asarray(landmark.covariance)[_UPPER])
    return f"{landmark.state}; covariance mm2 (RAS) {numbers}"


def parse_description(description: str) -> tuple[str, FloatArray | None]:
    """The state (placed if the text is no description of ours) and covariance (3, 3) mm² that `describe` wrote."""
    state, _, rest = description.partition(";")
    if state.strip() not in STATES:
        return PLACED, None
    match = re.fullmatch(r"\s*covariance mm2 \(RAS\)((?:\s+\S+){6})\s*", rest)
    if match is None:
        return state.strip(), None
    covariance = np.zeros((3, 3))
    try:
        covariance[_UPPER] = [float(number) for number in match.group(1).split()]
    except ValueError:
        return state.strip(), None
    return state.strip(), covariance + covariance.T - np.diag(np.diag(covariance))


def _control_point(number: int, label: str, place: FloatArray, description: str) -> dict[str, Any]:
    position = np.asarray(place, dtype=np.float64) * _FLIP
    return {
        "id": str(number),
        "label": label,
        "description": description,
        "associatedNodeID": "",
        "position": [float(value) for value in position],
        "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined",
    }


def _from_json(data: dict[str, Any]) -> list[Landmark]:
    found = []
    for markup in data["markups"]:
        flip = _axes(str(markup.get("coordinateSystem", "LPS")), default_lps=True)
        for point in markup.get("controlPoints") or []:
            if point.get("positionStatus", "defined") != "defined" or point.get("position") is None:
                continue
            found.append(_landmark(point.get("label", ""), point["position"], flip, point.get("description", "")))
    return found


def _from_fcsv(text: str) -> list[Landmark]:
    lines = text.splitlines()
    if not lines or not lines[0].startswith("#"):
        raise ValueError("no header")
    header = dict(part.lstrip("# ").split(" = ", 1) for part in lines if part.startswith("#") and " = " in part)
    flip = _axes(header.get("CoordinateSystem", "RAS").strip(), default_lps=False)
    columns = [name.strip() for name in header["columns"].split(",")]
    found = []
    for row in csv.DictReader((line for line in lines if line and not line.startswith("#")), fieldnames=columns):
        position = [float(row[axis]) for axis in ("x", "y", "z")]
        found.append(_landmark(row.get("label") or "", position, flip, row.get("desc") or ""))
    return found


def _axes(system: str, default_lps: bool) -> FloatArray:
    # Slicer's older files number the systems: 0 is RAS, 1 is LPS.
    lps = {"LPS": True, "1": True, "RAS": False, "0": False}.get(system.upper(), default_lps)
    return _FLIP if lps else np.ones(3)


def _landmark(label: str, position: list[float], flip: FloatArray, description: str) -> Landmark:
    values = np.array([float(value) for value in position])
    if values.shape != (3,) or not np.all(np.isfinite(values)):
        raise ValueError("not a 3D position")
    state, covariance = parse_description(description)
    known = {name.lower(): name for name in LANDMARK_NAMES}
    name = known.get(label.strip().lower(), label.strip())
    return Landmark(name, values * flip, covariance, state)
