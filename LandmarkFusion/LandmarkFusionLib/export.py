"""Writes the alignment to files, without the worker: it is a matter of milliseconds."""

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLogic import report
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.fusion import MR_LANDMARKS, REPORT, TRANSFORM, US_LANDMARKS, Side, fuse_sides
from LandmarkFusionLogic.markupsfile import write_landmarks
from LandmarkFusionLogic.mrml import landmarks, volumes
from LandmarkFusionLogic.transformfile import write_transform
from LandmarkFusionLogic.workfolder import replacing


def write(folder: str, mr: tuple[Any, Any], us: tuple[Any, Any]) -> list[str]:
    """Write transform, both landmark lists and the report into ``folder``; returns the names of the files.

    ``mr`` and ``us`` are a volume node and its landmark list each.
    Raises InputError where there is no fit, or the files cannot be written; nothing has been written then.
    """
    if not folder:
        raise InputError(_("Choose a folder to export to first."))
    sides = _side(*mr, "MR volume"), _side(*us, "US volume")
    fusion = fuse_sides(*sides, volumes.flips(us[0]), volumes.orientation_confirmed(us[0]))
    with replacing(Path(folder)) as fresh:
        write_transform(fresh / TRANSFORM, fusion.fit.mr_to_us)
        write_landmarks(fresh / MR_LANDMARKS, fusion.mr.landmarks)
        write_landmarks(fresh / US_LANDMARKS, fusion.us.landmarks)
        report.write_report(fresh / REPORT, fusion, _seconds(mr[1], us[1]))
    return [TRANSFORM, MR_LANDMARKS, US_LANDMARKS, REPORT]


def _seconds(*lists: Any) -> float:
    """How long finding the landmarks took; 0 for landmarks placed by hand."""
    return float(sum(landmarks.detection(node).get("seconds", 0.0) for node in lists))


def _side(volume: Any, node: Any, what: str) -> Side:
    found = landmarks.detection(node)
    return Side(
        volumes.volume_from_node(volume, what),
        landmarks.read(node),
        found.get("model"),
        found.get("device"),
        tuple(found.get("warnings", [])),
    )
