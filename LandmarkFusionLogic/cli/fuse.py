"""``landmarkfusion fuse``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from LandmarkFusionLogic import NOTICE
from LandmarkFusionLogic.cli.common import VOLUME_HELP, add_device, add_help_for_detection, progress, warn

if TYPE_CHECKING:
    from LandmarkFusionLogic.jobs import FuseRequest, FuseResult


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``."""
    text = "Find the landmarks in both volumes, fit MR to US rigidly, and write the aligned result to a folder."
    command = commands.add_parser(
        "fuse",
        parents=[common],
        help="two volumes in, an aligned scene out",
        description=text,
        epilog=(
            "Written to DIR: mr-landmarks.mrk.json, us-landmarks.mrk.json, mr-to-us.h5 (points of the MR to points of "
            "the US, as Slicer and ITK read it), mr-in-us.nrrd, overlay.png, report.json, and scene.mrb where "
            "slicer-core is installed; mr-gland.nrrd and us-gland.nrrd where the prostate was found, targets.mrk.json "
            "and targets.csv with --targets. After --us-flip also us-flipped.nrrd: the ultrasound that transform and "
            f"landmarks belong to then. {NOTICE}"
        ),
    )
    command.add_argument("--mr", required=True, metavar="MR", help=f"the T2-weighted MR: {VOLUME_HELP}")
    command.add_argument("--us", required=True, metavar="US", help=f"the 3D ultrasound: {VOLUME_HELP}")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made if it is missing")
    for side in ("mr", "us"):
        command.add_argument(
            f"--{side}-landmarks",
            metavar="F.mrk.json",
            help=f"landmarks of the {side.upper()} placed in Slicer; they are not detected then",
        )
        command.add_argument(
            f"--{side}-series", type=int, metavar="N", help=f"which DICOM series of the {side.upper()} folder: 1, 2, …"
        )
    command.add_argument(
        "--us-flip",
        action="append",
        default=[],
        choices=("lr", "ap", "si"),
        help="turn a wrongly oriented ultrasound round about its center, left-right, front-back or up-down, its "
        "landmarks file with it; may be given more than once",
    )
    for side in ("mr", "us"):
        add_help_for_detection(command, f"--{side}-", f" of the {side.upper()}")
    command.add_argument(
        "--targets",
        action="append",
        default=[],
        metavar="FILE",
        help="what was marked in the MR and is to be shown in the US: points (.mrk.json), a surface (.stl) or a mask; "
        "may be given more than once",
    )
    command.add_argument(
        "--fit",
        default="best",
        choices=("best", "svd"),
        help="best knows how sure each landmark is (default), svd is the plain least-squares fit",
    )
    command.add_argument(
        "--us-orientation-confirmed",
        action="store_true",
        help="say that you have checked left and right of the ultrasound; without it the report warns",
    )
    command.add_argument(
        "--refine",
        action="store_true",
        help="then refine deformably, as landmarkfusion refine does, and write that to DIR/refined; the rigid result "
        "stays as it is",
    )
    add_device(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.imageio import silence_warnings
    from LandmarkFusionLogic.jobs import FuseRequest, VolumeSource, fuse

    silence_warnings()

    request = FuseRequest(
        mr=VolumeSource(options.mr, series=options.mr_series),
        us=VolumeSource(options.us, series=options.us_series),
        out=options.out,
        mr_landmarks=options.mr_landmarks,
        us_landmarks=options.us_landmarks,
        device=options.device,
        us_flips=options.us_flip,
        us_confirmed=options.us_orientation_confirmed,
        mr_model=options.mr_model,
        us_model=options.us_model,
        mr_click=options.mr_click,
        us_click=options.us_click,
        mr_gland=VolumeSource(options.mr_gland) if options.mr_gland else None,
        us_gland=VolumeSource(options.us_gland) if options.us_gland else None,
        targets=options.targets,
        fit=options.fit,
    )
    with progress() as report:
        result = fuse(request, report)
    print("Distance between the landmarks after the fit (FRE, mm; agreement, not accuracy):")
    for name, error in result.errors.items():
        print(f"  {name:<18} {error:6.2f}")
    print(f"  {'root mean square':<18} {result.rms:6.2f}")
    print("Expected error of the fit (root mean square, mm):")
    for name, error in result.expected_mm.items():
        print(f"  {name:<18} {error:6.2f}")
    for target in result.targets:
        place = ", ".join(f"{value:.1f}" for value in target.centre)
        print(f"Target {target.name}: in the US at {place} (RAS mm), expected error {target.expected_mm:.1f} mm")
    if result.check_first:
        print(f"Check first: {', '.join(result.check_first)}.")
    warn(result.warnings)
    print(f"Wrote {', '.join(result.files)} to {options.out} in {result.seconds:.1f} s. {NOTICE}")
    if options.refine:
        _refine(request, result)


def _refine(request: FuseRequest, result: FuseResult) -> None:
    """Refine what has just been written, with the landmarks and glands that lie beside it."""
    from LandmarkFusionLogic import fusion
    from LandmarkFusionLogic.cli import refine as command
    from LandmarkFusionLogic.jobs import RefineRequest, VolumeSource, record, refine
    from LandmarkFusionLogic.markupsfile import read_landmarks

    folder = Path(result.out)

    def written(name: str) -> VolumeSource | None:
        return VolumeSource(str(folder / name)) if name in result.files else None

    asked = RefineRequest(
        fixed=written(fusion.FLIPPED) or request.us,
        moving=request.mr,
        initial=result.mr_to_us,
        out=str(folder / "refined"),
        fixed_mask=written(fusion.US_GLAND),
        moving_mask=written(fusion.MR_GLAND),
        drawn=request.us_gland is not None and request.mr_gland is not None,
        fixed_landmarks=[record(point) for point in read_landmarks(folder / fusion.US_LANDMARKS, "US landmarks")],
        moving_landmarks=[record(point) for point in read_landmarks(folder / fusion.MR_LANDMARKS, "MR landmarks")],
    )
    with progress() as report:
        found = refine(asked, report)
    command.describe(found)
    warn(found.deformation.warnings)
    print(f"Wrote the refinement to {asked.out} in {found.deformation.seconds:.1f} s. {NOTICE}")
