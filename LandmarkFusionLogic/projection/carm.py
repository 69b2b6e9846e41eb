"""A C-arm as its JSON file says it: the geometry of its image, and the angles at which its positioner stood.

Positioner angles as in DICOM, degrees: the primary one is positive where the detector stands to the patient's left
(LAO), the secondary one where it stands to the head (cranial); at 0 and 0 the detector is in front of the patient.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera, pose_from_matrix

FloatArray = npt.NDArray[np.float64]

ANGLES = ("primary_angle", "secondary_angle")
NAME = "name"
FOLDER = ("Resources", "c-arms")
OPPOSITE = np.diag([-1.0, 1.0, -1.0])
"""(3, 3) camera to camera on the other side of the patient, whose image, looked at from behind, is nearly the same."""


@dataclass(frozen=True)
class CArm:
    """``geometry`` of the image, and primary and secondary ``angles`` in degrees; None where they are unknown."""

    geometry: Geometry
    angles: tuple[float, float] | None = None


def carm(data: Any, what: str = "geometry") -> CArm:
    """The C-arm of parsed JSON; ``what`` names it in messages.

    Raises InputError for missing or unknown keys, and for values that cannot be.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"The {what} is no JSON object; give sdd, rows, columns and spacing.")
    needed = {key: value for key, value in data.items() if key not in (*ANGLES, NAME)}
    for key in ("sdd", "rows", "columns", "spacing"):
        if key not in needed:
            raise InputError(f"The {what} has no “{key}”; it needs sdd, rows, columns and spacing.")
    # Whole numbers that a program wrote as 256.0 are whole.
    for key in ("rows", "columns"):
        if isinstance(needed[key], float) and needed[key].is_integer():
            needed[key] = int(needed[key])
    try:
        geometry = Geometry.from_json(needed)
    except InputError as error:
        raise InputError(re.sub(r"^Geometry\.(\w+)", rf"“\1” of the {what}", str(error))) from error
    angles = [data[key] for key in ANGLES if data.get(key) is not None]
    if not angles:
        return CArm(geometry)
    if len(angles) == 1:
        raise InputError(f"The {what} has one of primary_angle and secondary_angle only; give both.")
    if not all(isinstance(angle, (int, float)) and math.isfinite(angle) for angle in angles):
        raise InputError(f"The angles of the {what} must be finite numbers, in degrees.")
    return CArm(geometry, (float(angles[0]), float(angles[1])))


def to_json(arm: CArm) -> dict[str, Any]:
    """What `carm` takes."""
    return {**arm.geometry.to_json(), **dict(zip(ANGLES, arm.angles or (), strict=False))}


def read_geometry_data(file: str | Path) -> dict[str, Any]:
    """The parsed JSON of a geometry file, or of the preset of that name.

    Raises InputError where there is neither, or it cannot be read.
    """
    path = Path(file)
    if not path.exists() and path.name == str(file):
        known = presets()
        if path.name in known:
            return known[path.name]
        raise InputError(
            f"There is no geometry file “{path.name}” and no C-arm of that name; those known are {', '.join(known)}."
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"The geometry “{path.name}” cannot be opened ({error.strerror or 'no access'}); choose a JSON file."
        ) from error
    except ValueError as error:
        raise InputError(
            f"The geometry “{path.name}” is no JSON file; give sdd, rows, columns and spacing."
        ) from error
    if not isinstance(data, dict):
        raise InputError(f"The geometry “{path.name}” is no JSON object; give sdd, rows, columns and spacing.")
    return data


def presets() -> dict[str, dict[str, Any]]:
    """The C-arms that come along, by the names of their files: what `carm` takes, with a "name" for people."""
    files = sorted(assets.path(*FOLDER).glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def facing(primary: float, secondary: float) -> FloatArray:
    """(3, 3) from RAS to the camera's axes of a positioner at these angles (degrees), the patient's head up."""
    alpha, beta = math.radians(primary), math.radians(secondary)
    to_detector = np.array(
        [-math.sin(alpha) * math.cos(beta), math.cos(alpha) * math.cos(beta), math.sin(beta)], dtype=np.float64
    )
    head = np.array([0.0, 0.0, 1.0])
    down = head @ to_detector * to_detector - head
    if np.linalg.norm(down) < 1e-6:  # Straight along the body: what is up in the image is what was before the turn.
        down = np.array([math.sin(alpha), -math.cos(alpha), 0.0]) * -math.copysign(1.0, beta)
    down = down / np.linalg.norm(down)
    return np.stack([np.cross(down, to_detector), down, to_detector])


def between(first: CArm, second: CArm, opposite: bool = False) -> FloatArray | None:
    """(4, 4) first camera mm to second camera mm of one C-arm turned about its isocenter; None: angles unknown.

    ``opposite``: source and detector stand where the angles put the other, see `starts`.
    """
    if first.angles is None or second.angles is None:
        return None
    side = OPPOSITE if opposite else np.eye(3)
    matrix = np.eye(4)
    matrix[:3, :3] = side @ facing(*second.angles) @ facing(*first.angles).T @ side
    there = np.array([0.0, 0.0, second.geometry.isocenter_distance])
    here = np.array([0.0, 0.0, first.geometry.isocenter_distance])
    matrix[:3, 3] = there - matrix[:3, :3] @ here
    return matrix


def between_poses(first: CArm, second: CArm, pose: Pose, pose2: Pose, isocenter: npt.ArrayLike) -> FloatArray:
    """(4, 4) first camera mm to second camera mm where the same CT lies at ``pose`` in one and ``pose2`` in the other.

    ``isocenter`` (3,) RAS mm is the CT's center.
    """
    here = ct_to_camera(pose, isocenter, first.geometry)
    there = ct_to_camera(pose2, isocenter, second.geometry)
    return np.asarray(there @ np.linalg.inv(here), dtype=np.float64)


def starts(arm: CArm) -> list[Pose]:
    """Where to begin when nobody says: the poses that this C-arm may have, most likely first, patient on the back.

    With positioner angles, or for a mirrored image, there are two that look alike but for their perspective: from the
    source where the angles put it, and from the opposite side, since files differ in how images are turned over.
    """
    sides = (False, True) if arm.geometry.mirrored else (True, False)
    poses = [start(arm, opposite) for opposite in sides]
    return poses if arm.geometry.mirrored or arm.angles is not None else poses[:1]


def start(arm: CArm, opposite: bool) -> Pose:
    """The pose of a patient on the back in the isocenter of ``arm``, whose angles are 0 unless they are known.

    ``opposite``: with source and detector where the angles put the other.
    """
    turn = facing(*(arm.angles or (0.0, 0.0)))
    return _pose(arm, OPPOSITE @ turn if opposite else turn)


def is_opposite(arm: CArm, pose: Pose) -> bool:
    """Whether ``pose`` has source and detector nearer to where the angles of ``arm`` put the other."""
    toward = facing(*(arm.angles or (0.0, 0.0)))[2]
    return bool(ct_to_camera(pose, np.zeros(3), arm.geometry)[2, :3] @ toward < 0)


def _pose(arm: CArm, turn: FloatArray) -> Pose:
    """The pose whose rotation RAS to camera is ``turn`` (3, 3), with the isocenter where it belongs."""
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[2, 3] = arm.geometry.isocenter_distance
    return Pose.of(np.round(pose_from_matrix(matrix, np.zeros(3), arm.geometry).parameters, 9) + 0.0)  # No −0.
