"""Detection on the real pairs of mrus-27 by networks that have not seen them: errors against the publishers' points.

The networks are those of simulation only, whatever the default is: the research networks were trained on these images,
and what they are worth is said by cross-validation (`folds`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.datasets.mrus27 import case_folders, is_development, true_landmarks
from LandmarkFusionLogic.evaluation.errors import Finding, listing, mean_position_errors, table
from LandmarkFusionLogic.evaluation.statistics import paired_interval
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.landmarks.detection import detect_landmarks
from LandmarkFusionLogic.points import APEX, BLADDER_NECK

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
            detection = detect_landmarks(volume, modality, device, f"{modality}-landmarks")
            found = {point.name: point.position for point in detection.landmarks}
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
            "Networks trained on simulation only. Radial errors, mm\n" + listing(findings),
            "Development cases (number divisible by 3), mean / median\n" + table(findings, development),
            "Final cases, mean / median\n" + table(findings, final),
            "Apex and bladder neck together, network - mean position, 95 % bootstrap interval over cases\n"
            + "\n".join(_difference(findings, *part) for part in (("final cases", final), ("all cases", findings))),
            "Mean position: leave-one-out over all 27 cases, relative to the middle of the volume.\n" + SOURCE,
        ]
    )


def _difference(findings: list[Finding], label: str, part: list[Finding]) -> str:
    texts = []
    for modality in ("mr", "us"):
        mean, low, high = apex_and_neck_difference(findings, part, modality)
        texts.append(f"{modality.upper()} {mean:+.2f} mm ({low:+.2f} to {high:+.2f})")
    return f"{label}: " + "; ".join(texts)


def apex_and_neck_difference(
    findings: list[Finding], part: list[Finding], modality: str
) -> tuple[float, float, float]:
    """Mean and interval (low, high) of network error minus mean-position error, mm, over both points in ``part``.

    The mean position is that of all ``findings``, leave-one-out.
    """
    baseline = {id(finding): error for finding, error in zip(findings, mean_position_errors(findings), strict=True)}
    chosen = [f for f in part if f.modality == modality and f.name in (APEX, BLADDER_NECK)]
    errors, rule = np.array([f.error for f in chosen]), np.array([baseline[id(f)] for f in chosen])
    low, high = paired_interval(errors, rule, groups=[f.case for f in chosen])
    return float(np.nanmean(errors - rule)), low, high
