"""An MR and a US with their landmarks become an alignment, and the alignment becomes files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from LandmarkFusionLogic import orientation, report
from LandmarkFusionLogic.imageio import resample, write_volume
from LandmarkFusionLogic.markupsfile import write_landmarks
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.rigid.landmarks import LandmarkFit, fit_landmarks
from LandmarkFusionLogic.transformfile import write_transform
from LandmarkFusionLogic.volume import Volume

MR_LANDMARKS, US_LANDMARKS = "mr-landmarks.mrk.json", "us-landmarks.mrk.json"
TRANSFORM, RESAMPLED, FLIPPED = "mr-to-us.h5", "mr-in-us.nrrd", "us-flipped.nrrd"
OVERLAY, REPORT, SCENE = "overlay.png", "report.json", "scene.mrb"


@dataclass(frozen=True)
class Side:
    """One image with its landmarks (RAS mm), and the network and device that found them, if any did."""

    volume: Volume
    landmarks: list[Landmark]
    model: str | None = None
    device: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fusion:
    """Both sides and the fit between them; ``us_flips`` have been applied to the US side already."""

    mr: Side
    us: Side
    fit: LandmarkFit
    us_flips: tuple[str, ...]
    us_confirmed: bool
    warnings: tuple[str, ...]


def fuse_sides(mr: Side, us: Side, us_flips: Sequence[str] = (), us_confirmed: bool = False) -> Fusion:
    """Fit the MR's landmarks to the US's and gather every warning.

    Raises InputError where the landmarks allow no fit.
    """
    fit = fit_landmarks(mr.landmarks, us.landmarks)
    warnings = [
        *mr.warnings,
        *us.warnings,
        *orientation.outside(mr.volume, mr.landmarks, "MR"),
        *orientation.outside(us.volume, us.landmarks, "US"),
        *orientation.implausible(mr.landmarks, "MR"),
        *orientation.implausible(us.landmarks, "US"),
        *fit.warnings,
        *orientation.flip_notice(us_flips),
    ]
    if not us_confirmed:
        warnings.append(orientation.UNCONFIRMED)
    # Detection may have said already what is found here again.
    return Fusion(mr, us, fit, tuple(us_flips), us_confirmed, tuple(dict.fromkeys(warnings)))


def write(fusion: Fusion, folder: Path, seconds: float, progress: Callable[[float, str], None]) -> list[str]:
    """Write the results into ``folder`` and return the names of the files.

    ``seconds`` is what the work before took, for the report. A US that was flipped is written as well, and the scene
    where slicer-core is installed.
    Raises InputError if a file cannot be written.
    """
    files = [MR_LANDMARKS, US_LANDMARKS, TRANSFORM, RESAMPLED]
    progress(0.0, "Writing landmarks, transform and resampled MR")
    write_landmarks(folder / MR_LANDMARKS, fusion.mr.landmarks)
    write_landmarks(folder / US_LANDMARKS, fusion.us.landmarks)
    write_transform(folder / TRANSFORM, fusion.fit.mr_to_us)
    mr_in_us = resample(fusion.mr.volume, fusion.us.volume, fusion.fit.mr_to_us)
    write_volume(folder / RESAMPLED, mr_in_us)
    if fusion.us_flips:
        write_volume(folder / FLIPPED, fusion.us.volume)
        files.append(FLIPPED)
    if importlib.util.find_spec("slicer") is not None:
        from LandmarkFusionLogic.mrml.scene import write_scene

        progress(0.4, "Writing the scene")
        write_scene(
            folder / SCENE,
            fusion.mr.volume,
            fusion.us.volume,
            fusion.mr.landmarks,
            fusion.us.landmarks,
            fusion.fit.mr_to_us,
            us_flips=fusion.us_flips,
            us_confirmed=fusion.us_confirmed,
        )
        files.append(SCENE)
    from LandmarkFusionLogic.overlay import draw_overlay

    progress(0.7, "Drawing the overlay")
    draw_overlay(folder / OVERLAY, fusion)
    report.write_report(folder / REPORT, fusion, seconds)
    progress(1.0, "Done")
    return [*files, OVERLAY, REPORT]
