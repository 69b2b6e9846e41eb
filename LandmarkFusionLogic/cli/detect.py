"""``landmarkfusion detect``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic import NOTICE
from LandmarkFusionLogic.cli.common import VOLUME_HELP, add_device, add_help_for_detection, progress, warn
from LandmarkFusionLogic.errors import InputError


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``."""
    command = commands.add_parser(
        "detect",
        parents=[common],
        help="find the landmarks of one volume",
        description="Find apex, bladder neck and posterior median in one volume.",
        epilog=NOTICE,
    )
    command.add_argument("volume", metavar="VOLUME", help=VOLUME_HELP)
    command.add_argument("--modality", required=True, choices=("mr", "us"), help="MR (T2-weighted) or 3D ultrasound")
    command.add_argument("--out", required=True, metavar="FILE.mrk.json", help="where the landmarks go")
    command.add_argument("--series", type=int, metavar="N", help="which DICOM series of the folder: 1, 2, …")
    add_help_for_detection(command, "--", "")
    add_device(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.imageio import silence_warnings
    from LandmarkFusionLogic.jobs import DetectRequest, VolumeSource, detect, landmarks
    from LandmarkFusionLogic.markupsfile import write_landmarks
    from LandmarkFusionLogic.points import spread

    silence_warnings()

    out = Path(options.out)
    if not out.name.endswith(".json") or out.is_dir() or not out.absolute().parent.is_dir():
        raise InputError(f"“{out.name}” cannot be written; give a name ending in .mrk.json in a folder that exists.")
    source = VolumeSource(options.volume, series=options.series)
    with progress() as report:
        mask = VolumeSource(options.gland) if options.gland else None
        result = detect(
            DetectRequest(source, options.modality, options.device, options.model, options.click, mask), report
        )
    found = landmarks(result.landmarks)
    write_landmarks(out, found)
    print(f"{'Landmark':<18} {'R':>8} {'A':>8} {'S':>8}   expected error (mm)")
    for point in found:
        right, anterior, superior = point.position
        unsure = "" if point.covariance is None else f"{spread(point.covariance):8.1f}"
        print(f"{point.name:<18} {right:8.1f} {anterior:8.1f} {superior:8.1f}   {unsure}")
    if result.gland is not None:
        print(f"Prostate: {result.gland.millilitres:.0f} ml")
    if result.ask_first:
        print(f"Check first: {', '.join(result.ask_first)}.")
    warn(result.warnings)
    print(f"{result.model} on {result.device}, {result.seconds:.1f} s. {NOTICE}")
