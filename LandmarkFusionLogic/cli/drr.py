"""``landmarkfusion drr``."""

from __future__ import annotations

import argparse
from typing import Any

from LandmarkFusionLogic import NOTICE
from LandmarkFusionLogic.cli.carm import GEOMETRY_HELP, XRAY_HELP, add_pose, geometry, pose, tagged
from LandmarkFusionLogic.cli.common import VOLUME_HELP, progress, warn
from LandmarkFusionLogic.errors import InputError


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``."""
    command = commands.add_parser(
        "drr",
        parents=[common],
        help="project a CT as a C-arm would see it",
        description="Project a CT in Hounsfield units as a C-arm sees it at a pose: a digitally reconstructed "
        "radiograph of line integrals, bones bright.",
        epilog="Beside FILE, under its stem with .json, stand the pose and ct_to_camera, the 4x4 matrix from RAS mm "
        "to the camera's mm (source at the origin, x along columns, y along rows, z to the detector). A pose of zeros "
        f"looks from the front at the CT's center. {NOTICE}",
    )
    command.add_argument("--ct", required=True, metavar="CT", help=f"the CT: {VOLUME_HELP}")
    command.add_argument("--geometry", metavar="G.json", help=GEOMETRY_HELP)
    command.add_argument("--xray", metavar="X", help=f"take the geometry from this X-ray's tags: {XRAY_HELP}")
    add_pose(command, "--pose", "angles in degrees and shifts in mm (default: zeros)")
    command.add_argument("--out", required=True, metavar="FILE", help="the projection: a .nrrd (float32) or .png file")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.imageio import silence_warnings
    from LandmarkFusionLogic.jobs import DrrRequest, VolumeSource, drr

    silence_warnings()
    arm = geometry(options.geometry)
    if arm is None:
        if options.xray is None:
            raise InputError(
                "The C-arm is not known; give its geometry with --geometry, or a DICOM X-ray with --xray."
            )
        arm = tagged(options.xray, None)
    place = pose(options.pose) or [0.0] * 6
    with progress() as report:
        result = drr(DrrRequest(VolumeSource(options.ct), arm, place, options.out), report)
    warn(result.warnings)
    print(
        f"{result.rows} × {result.columns} pixels, {result.seen:.0%} of the rays meet the CT, line integrals "
        f"{result.low:.2f} to {result.high:.2f}."
    )
    print(f"Wrote {options.out} in {result.seconds:.1f} s. {NOTICE}")
