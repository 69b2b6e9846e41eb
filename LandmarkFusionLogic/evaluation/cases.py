"""Detection on the real pairs of mrus-27: errors against the points their publishers give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from LandmarkFusionLogic.datasets.mrus27 import case_folders, is_development, true_landmarks
from LandmarkFusionLogic.evaluation.errors import Finding, listing, table
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.landmarks.detection import detect_landmarks

SOURCE = (
    "Images: mrus-27, 27 MR/TRUS pairs from the repository DeepRegNet/DeepReg (Apache-2.0), blurred on purpose\n"
    "before publication, 1.6 mm voxels; the patients are those of µ-RegPro (Zenodo 7870104). Apex and bladder neck:\n"
    "the publishers' points, where both images have them. Posterior median: not theirs, but where the perpendicular\n"
    "to their line from apex to bladder neck, from its middle backwards, leaves their gland mask."
)


def evaluate_cases(data: Path, device: str, report: Callable[[float, str], None]) -> list[Finding]:
    """Detect in every image of ``data``/mrus-27 and compare with the truth.

    Raises InputError where the folder is not there.
    """
    folders = case_folders(data)
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
    development = [finding for finding in findings if is_development(Path(finding.case))]
    final = [finding for finding in findings if not is_development(Path(finding.case))]
    return "\n\n".join(
        [
            "Radial errors, mm\n" + listing(findings),
            "Development cases (number divisible by 3), mean / median\n" + table(findings, development),
            "Final cases, mean / median\n" + table(findings, final),
            "Mean position: leave-one-out over all 27 cases, relative to the middle of the volume.\n" + SOURCE,
        ]
    )
