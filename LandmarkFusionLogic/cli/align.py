"""``landmarkfusion align``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from LandmarkFusionLogic import NOTICE
from LandmarkFusionLogic.cli.carm import GEOMETRY_HELP, XRAY_HELP, add_intensity, add_pose, geometry, pose, xray
from LandmarkFusionLogic.cli.common import VOLUME_HELP, add_device, progress, warn

if TYPE_CHECKING:
    from LandmarkFusionLogic.jobs import AlignResult


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``."""
    command = commands.add_parser(
        "align",
        parents=[common],
        help="align a CT with one or two X-ray images",
        description="Find the pose of a CT that explains an X-ray image, or two of them. The C-arm comes from "
        "--geometry, or from the X-ray's DICOM tags.",
        epilog="Written to DIR: transform.h5 (CT to X-ray camera, for Slicer), drr.nrrd and xray.nrrd (projection and "
        "X-ray on one grid, bones bright; drr2.nrrd and xray2.nrrd), overlay.png, report.json (pose, ct_to_camera, "
        f"figures, warnings), similarity.csv, pose.json. {NOTICE}",
    )
    command.add_argument("--ct", required=True, metavar="CT", help=f"the CT: {VOLUME_HELP}")
    command.add_argument("--xray", required=True, metavar="X", help=f"the X-ray: {XRAY_HELP}")
    command.add_argument("--xray2", metavar="Y", help="a second X-ray of the same patient, lying still")
    command.add_argument("--geometry", metavar="G.json", help=GEOMETRY_HELP)
    command.add_argument(
        "--geometry2",
        metavar="G.json",
        help="that of the second X-ray (default: its DICOM tags, else the first one's)",
    )
    add_pose(
        command,
        "--pose",
        "where to start, degrees and mm (default: as the positioner's angles tell, otherwise from the front)",
    )
    add_pose(
        command,
        "--pose2",
        "with --pose: nominal pose of the same CT in the second X-ray, which says where its camera stands; not needed "
        "where both X-rays come with positioner angles",
    )
    command.add_argument(
        "--method",
        default="ours",
        metavar="NAME",
        help="ours (default), opt-nccl, opt-ngi, opt-gc, rtpi, deep-reg, sopi or sopi+opt",
    )
    command.add_argument("--model", metavar="DIR", help="folder of networks of one's own, for the methods that learn")
    add_intensity(command)
    for option, text in (("--frame", "the X-ray"), ("--frame2", "the second X-ray")):
        command.add_argument(option, type=int, metavar="N", help=f"which frame of {text}, where its file has several")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made if it is missing")
    add_device(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.imageio import silence_warnings
    from LandmarkFusionLogic.jobs import AlignRequest, VolumeSource, align

    silence_warnings()
    request = AlignRequest(
        ct=VolumeSource(options.ct),
        xray=xray(options.xray, options, options.frame),
        out=options.out,
        geometry=geometry(options.geometry),
        xray2=xray(options.xray2, options, options.frame2) if options.xray2 else None,
        geometry2=geometry(options.geometry2),
        pose=pose(options.pose),
        pose2=pose(options.pose2, "--pose2"),
        method=options.method,
        model=options.model,
        device=options.device,
    )
    with progress() as report:
        # Where each new text is a line of its own, values that change with every report are left out.
        tell = report if sys.stderr.isatty() else lambda fraction, text: report(fraction, text.split(", ")[0])
        result = align(request, tell)
    _print(result)
    warn(result.warnings)
    print(f"Wrote {options.out} in {result.seconds:.1f} s. {NOTICE}")


def _print(result: AlignResult) -> None:
    print(f"{'':<8}{'rx °':>9}{'ry °':>9}{'rz °':>9}{'tx mm':>9}{'ty mm':>9}{'tz mm':>9}{'similarity':>12}")
    for name, values, similarity in (
        ("start", result.start, result.similarity_before),
        ("found", result.pose, result.similarity_after),
    ):
        print(f"{name:<8}" + "".join(f"{value:9.2f}" for value in values) + f"{similarity:12.4f}")
