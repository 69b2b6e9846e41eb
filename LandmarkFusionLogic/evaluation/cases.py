"""Detection on the real pairs of mrus-27: errors against the points their publishers give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.errors import Finding, listing, table
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.landmarks.detection import detect_landmarks
from LandmarkFusionLogic.landmarks.trainingdata import posterior_of_mask
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, POSTERIOR_MEDIAN, FloatArray

SOURCE = (
    "Images: mrus-27, 27 MR/TRUS pairs from the repository DeepRegNet/DeepReg (Apache-2.0), blurred on purpose\n"
    "before publication, 1.6 mm voxels; the patients are those of µ-RegPro (Zenodo 7870104). Apex and bladder neck:\n"
    "the publishers' points, where both images have them. Posterior median: not theirs, but where the perpendicular\n"
    "to their line from apex to bladder neck, from its middle backwards, leaves their gland mask."
)


def is_development(case: str) -> bool:
    """Whether ``case`` (case000003) may be looked at while developing: its number is divisible by 3."""
    return int(case.removeprefix("case")) % 3 == 0


def true_landmarks(folder: Path, modality: str) -> dict[str, FloatArray]:
    """The known landmarks of a case's image, (3,) RAS mm, by name."""
    points = json.loads((folder / "points.json").read_text(encoding="utf-8"))
    known = {
        name: np.array(points[key][modality], dtype=np.float64)
        for key, name in (("apex", APEX), ("base", BLADDER_NECK))
        if key in points
    }
    if APEX in known and BLADDER_NECK in known:
        gland = read_volume(folder / f"{modality}-gland.nrrd", "gland mask")
        posterior = posterior_of_mask(gland, known[APEX], known[BLADDER_NECK])
        if posterior is not None:
            known[POSTERIOR_MEDIAN] = posterior
    return known


def evaluate_cases(data: Path, device: str, report: Callable[[float, str], None]) -> list[Finding]:
    """Detect in every image of ``data``/mrus-27 and compare with the truth.

    Raises InputError where the folder is not there.
    """
    folders = sorted((data / "mrus-27").glob("case*"))
    if not folders:
        raise InputError(f"The folder “{data.name}” holds no mrus-27 cases; give the folder that holds mrus-27.")
    findings = []
    for number, folder in enumerate(folders):
        report(number / len(folders), f"Detecting in {folder.name}")
        for modality in ("mr", "us"):
            volume = read_volume(folder / f"{modality}.nrrd")
            found = {point.name: point.position for point in detect_landmarks(volume, modality, device).landmarks}
            findings += [
                Finding(folder.name, modality, name, found[name], true, volume.centre)
                for name, true in true_landmarks(folder, modality).items()
            ]
    report(1.0, "Done")
    return findings


def describe_cases(findings: list[Finding]) -> str:
    """The tables as text: every case, then development and final cases apart."""
    development = [finding for finding in findings if is_development(finding.case)]
    final = [finding for finding in findings if not is_development(finding.case)]
    return "\n\n".join(
        [
            "Radial errors, mm\n" + listing(findings),
            "Development cases (number divisible by 3), mean / median\n" + table(findings, development),
            "Final cases, mean / median\n" + table(findings, final),
            "Mean position: leave-one-out over all 27 cases, relative to the middle of the volume.\n" + SOURCE,
        ]
    )
