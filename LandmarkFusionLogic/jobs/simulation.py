"""The job "simulate": a simulated case with its true landmarks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.records import Report


@dataclass(frozen=True)
class SimulateRequest:
    """Make one simulated case, an MR and a US volume with their true landmarks, in the folder ``out``.

    ``condition`` names what its images show, such as turp (`simulation.conditions`); None: nothing special.
    """

    seed: int
    out: str
    condition: str | None = None


@dataclass(frozen=True)
class SimulateResult:
    """The files of a simulated case."""

    out: str
    files: list[str]
    seconds: float


def simulate(request: SimulateRequest, report: Report) -> SimulateResult:
    """Make a simulated case: both volumes, gland masks, true landmarks and the rigid part of the motion between them.

    Raises InputError for a seed or folder that cannot be used, and where PyTorch is missing.
    """
    from LandmarkFusionLogic.imageio import write_volume
    from LandmarkFusionLogic.landmarks.device import require_torch
    from LandmarkFusionLogic.markupsfile import write_landmarks
    from LandmarkFusionLogic.transformfile import write_transform
    from LandmarkFusionLogic.workfolder import replacing

    started = time.perf_counter()
    if not 0 <= request.seed < 2**32:
        raise InputError(f"A case cannot have the number {request.seed}; choose 0 or more.")
    require_torch()
    from LandmarkFusionLogic.simulation.case import simulate_case

    with replacing(Path(request.out)) as folder:
        report(0.0, "Simulating the case")
        case = simulate_case(request.seed, condition=request.condition)
        report(0.8, "Writing the case")
        for name, volume in (
            ("mr", case.mr),
            ("us", case.us),
            ("mr-gland", case.mr_gland),
            ("us-gland", case.us_gland),
        ):
            write_volume(folder / f"{name}.nrrd", volume)
        write_landmarks(folder / "mr-landmarks.mrk.json", case.mr_landmarks)
        write_landmarks(folder / "us-landmarks.mrk.json", case.us_landmarks)
        write_transform(folder / "mr-to-us.h5", case.mr_to_us)
        files = sorted(file.name for file in folder.iterdir())
    report(1.0, "Done")
    return SimulateResult(request.out, files, time.perf_counter() - started)
