"""Detection on simulated cases that no network has been trained on."""

from __future__ import annotations

from collections.abc import Callable

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.errors import Finding, table
from LandmarkFusionLogic.landmarks.detection import detect_landmarks
from LandmarkFusionLogic.simulation.case import simulate_image
from LandmarkFusionLogic.simulation.seeds import TEST

SPACING_MM = 1.2
"""In-plane voxel size at which the cases are rendered: the network's grid is 3 mm, a finer one only costs time."""


def evaluate_simulated(
    cases: int, device: str, report: Callable[[float, str], None], modalities: tuple[str, ...] = ("mr", "us")
) -> list[Finding]:
    """Detect in the first ``cases`` cases of the test seeds, which training never draws from.

    Raises InputError for an impossible number of cases.
    """
    if not 2 <= cases <= len(TEST):
        raise InputError(f"The number of cases must lie between 2 and {len(TEST)}.")
    findings = []
    for number, seed in enumerate(TEST[:cases]):
        report(number / cases, f"Simulating case {seed} and detecting")
        for modality in modalities:
            case = simulate_image(seed, modality, SPACING_MM)
            found = detect_landmarks(case.image, modality, device).landmarks
            positions = {point.name: point.position for point in found}
            findings += [
                Finding(str(seed), modality, point.name, positions[point.name], point.position, case.image.centre)
                for point in case.landmarks
            ]
    report(1.0, "Done")
    return findings


def describe_simulated(findings: list[Finding]) -> str:
    """The table as text."""
    seeds = sorted({int(finding.case) for finding in findings})
    return (
        f"{len(seeds)} simulated cases, seeds {seeds[0]} to {seeds[-1]}, never trained on; mean / median error, mm\n"
        f"{table(findings)}\n"
        "Mean position: leave-one-out over these cases, relative to the middle of the volume."
    )
