"""An MR and a US with their landmarks become an alignment, and the alignment becomes files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from LandmarkFusionLogic import orientation, report
from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.imageio import resample, write_volume
from LandmarkFusionLogic.markupsfile import write_landmarks
from LandmarkFusionLogic.points import Landmark, spread
from LandmarkFusionLogic.rigid.landmarks import BEST, LandmarkFit, fit_landmarks, gland_pair
from LandmarkFusionLogic.targets import CarriedTarget, Target, carry_over, write_csv, write_targets
from LandmarkFusionLogic.transformfile import write_transform
from LandmarkFusionLogic.volume import Volume

MR_LANDMARKS, US_LANDMARKS = "mr-landmarks.mrk.json", "us-landmarks.mrk.json"
TRANSFORM, RESAMPLED, FLIPPED = "mr-to-us.h5", "mr-in-us.nrrd", "us-flipped.nrrd"
OVERLAY, REPORT, SCENE = "overlay.png", "report.json", "scene.mrb"
MR_GLAND, US_GLAND = "mr-gland.nrrd", "us-gland.nrrd"
TARGETS, TARGET_LIST = "targets.mrk.json", "targets.csv"


@dataclass(frozen=True)
class Side:
    """One image with its landmarks (RAS mm), and the network and device that found them, if any did.

    ``gland`` is the network's or the user's. ``kind`` is the network's: simulation, research or own. What is to be
    checked is as in `landmarks.detection.Detection`; nothing of it is known of landmarks that were given. ``seconds``
    is what the detection took.
    """

    volume: Volume
    landmarks: list[Landmark]
    model: str | None = None
    device: str | None = None
    warnings: tuple[str, ...] = ()
    gland: Gland | None = field(default=None, compare=False)
    kind: str | None = None
    ask_first: tuple[str, ...] = ()
    disagreement_mm: dict[str, float] = field(default_factory=dict)
    coverage: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Fusion:
    """Both sides and the fit between them; ``us_flips`` have been applied to the US side already.

    ``targets`` were marked in the MR and have been carried over to the US.
    """

    mr: Side
    us: Side
    fit: LandmarkFit
    us_flips: tuple[str, ...]
    us_confirmed: bool
    warnings: tuple[str, ...]
    targets: tuple[CarriedTarget, ...] = ()

    @property
    def ask_first(self) -> list[tuple[str, str]]:
        """("mr" or "us", landmark) of all that is doubtful, least certain first."""
        found = []
        for modality, side in (("mr", self.mr), ("us", self.us)):
            known = {point.name: point.covariance for point in side.landmarks}
            for name in side.ask_first:
                covariance = known.get(name)
                found.append((0.0 if covariance is None else spread(covariance), modality, name))
        return [(modality, name) for _, modality, name in sorted(found, key=lambda item: -item[0])]


def fuse_sides(
    mr: Side,
    us: Side,
    us_flips: Sequence[str] = (),
    us_confirmed: bool = False,
    method: str = BEST,
    targets: Sequence[Target] = (),
) -> Fusion:
    """Fit the MR's landmarks to the US's, carry ``targets`` of the MR over, and gather every warning.

    ``method`` is that of `fit_landmarks`; the glands' centroids count as a further pair where both are known.
    Raises InputError where the landmarks allow no fit, and for a method that there is not.
    """
    pair = gland_pair(mr.gland, us.gland) if mr.gland is not None and us.gland is not None else None
    fit = fit_landmarks(mr.landmarks, us.landmarks, method, [] if pair is None else [pair])
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
    carried = tuple(carry_over(targets, fit))
    return Fusion(mr, us, fit, tuple(us_flips), us_confirmed, tuple(dict.fromkeys(warnings)), carried)


def write(fusion: Fusion, folder: Path, seconds: float, progress: Callable[[float, str], None]) -> list[str]:
    """Write the results into ``folder`` and return the names of the files.

    ``seconds`` is what the work before took, for the report. A US that was flipped is written as well, glands and
    targets where there are any, and the scene where slicer-core is installed.
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
    for name, side in ((MR_GLAND, fusion.mr), (US_GLAND, fusion.us)):
        if side.gland is not None:
            write_volume(folder / name, side.gland.mask())
            files.append(name)
    if fusion.targets:
        write_targets(folder / TARGETS, fusion.targets)
        write_csv(folder / TARGET_LIST, fusion.targets)
        files += [TARGETS, TARGET_LIST]
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
            detections={name: _noted(side) for name, side in (("mr", fusion.mr), ("us", fusion.us)) if side.model},
            glands_found={name: side.gland for name, side in (("mr", fusion.mr), ("us", fusion.us)) if side.gland},
            method=fusion.fit.method,
        )
        files.append(SCENE)
    from LandmarkFusionLogic.overlay import draw_overlay

    progress(0.7, "Drawing the overlay")
    draw_overlay(folder / OVERLAY, fusion)
    report.write_report(folder / REPORT, fusion, seconds)
    progress(1.0, "Done")
    return [*files, OVERLAY, REPORT]


def _noted(side: Side) -> dict[str, object]:
    """What a scene remembers of the detection of ``side``, as the panel notes it of its own."""
    return {
        "model": side.model,
        "device": side.device,
        "seconds": side.seconds,
        "warnings": list(side.warnings),
        "kind": side.kind,
        "ask_first": list(side.ask_first),
        "disagreement_mm": side.disagreement_mm,
        "coverage": side.coverage,
    }
