"""Writes the alignment to files, without the worker: it is a matter of milliseconds, a flipped ultrasound apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLogic import report
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.fusion import (
    FLIPPED,
    MR_GLAND,
    MR_LANDMARKS,
    REPORT,
    TARGET_LIST,
    TARGETS,
    TRANSFORM,
    US_GLAND,
    US_LANDMARKS,
    Side,
    fuse_sides,
)
from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.imageio import write_volume
from LandmarkFusionLogic.markupsfile import write_landmarks
from LandmarkFusionLogic.mrml import landmarks, volumes
from LandmarkFusionLogic.points import DETECTED
from LandmarkFusionLogic.targets import Target, write_csv, write_targets
from LandmarkFusionLogic.transformfile import write_transform
from LandmarkFusionLogic.workfolder import replacing


@dataclass
class Image:
    """A volume node, its landmark list, and its gland where one was detected."""

    volume: Any
    landmarks: Any
    gland: Gland | None


def write(folder: str, mr: Image, us: Image, method: str, targets: Sequence[Target]) -> list[str]:
    """Write transform, landmarks, glands, targets and the report into ``folder``; returns the names of the files.

    ``method`` is that of the fit; ``targets`` are of the MR. A flipped ultrasound is written, too: landmarks and
    transform belong to it as it lies now.
    Raises InputError where there is no fit, or the files cannot be written; nothing has been written then.
    """
    if not folder:
        raise InputError(_("Choose a folder to export to first."))
    sides = _side(mr, "MR volume"), _side(us, "US volume")
    flips = volumes.flips(us.volume)
    fusion = fuse_sides(*sides, flips, volumes.orientation_confirmed(us.volume), method, targets)
    files = [TRANSFORM, MR_LANDMARKS, US_LANDMARKS, REPORT]
    with replacing(Path(folder)) as fresh:
        write_transform(fresh / TRANSFORM, fusion.fit.mr_to_us)
        write_landmarks(fresh / MR_LANDMARKS, fusion.mr.landmarks)
        write_landmarks(fresh / US_LANDMARKS, fusion.us.landmarks)
        for name, side in ((MR_GLAND, fusion.mr), (US_GLAND, fusion.us)):
            if side.gland is not None:
                write_volume(fresh / name, side.gland.mask())
                files.append(name)
        if flips:
            write_volume(fresh / FLIPPED, fusion.us.volume)
            files.append(FLIPPED)
        if fusion.targets:
            write_targets(fresh / TARGETS, fusion.targets)
            write_csv(fresh / TARGET_LIST, fusion.targets)
            files += [TARGETS, TARGET_LIST]
        report.write_report(fresh / REPORT, fusion, _seconds(mr.landmarks, us.landmarks))
    return files


def _seconds(*lists: Any) -> float:
    """How long finding the landmarks took; 0 for landmarks placed by hand."""
    return float(sum(landmarks.detection(node).get("seconds", 0.0) for node in lists))


def _side(image: Image, what: str) -> Side:
    found = landmarks.detection(image.landmarks)
    # What was said of a point does not hold for one that was corrected or placed anew.
    rows = landmarks.rows(image.landmarks)
    detected = {row.name: row for row in rows if row.landmark is not None and row.landmark.state == DETECTED}
    return Side(
        volumes.volume_from_node(image.volume, what),
        landmarks.read(image.landmarks),
        found.get("model"),
        found.get("device"),
        tuple(found.get("warnings", [])),
        image.gland,
        found.get("kind"),
        tuple(name for name in found.get("ask_first", []) if name in detected and not detected[name].checked),
        {name: value for name, value in found.get("disagreement_mm", {}).items() if name in detected},
        found.get("coverage"),
    )
