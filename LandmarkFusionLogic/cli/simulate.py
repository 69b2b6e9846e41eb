"""``landmarkfusion simulate``."""

from __future__ import annotations

import argparse
from typing import Any

from LandmarkFusionLogic.cli.common import progress


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``."""
    command = commands.add_parser(
        "simulate",
        parents=[common],
        help="make a simulated case to try things out",
        description="Make one simulated MR and ultrasound of the same prostate, with their true landmarks.",
    )
    command.add_argument("--seed", required=True, type=int, metavar="N", help="number of the case: 0, 1, 2, …")
    command.add_argument(
        "--condition",
        metavar="NAME",
        help="show what clinics meet: turp, median-lobe, catheter, endorectal-coil, hip-metal, thick-slices, sharp, "
        "blurred, published, calcification or partial-view",
    )
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the case; made if it is missing")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.jobs import SimulateRequest, simulate

    with progress() as report:
        result = simulate(SimulateRequest(options.seed, options.out, options.condition), report)
    print(f"Wrote {', '.join(result.files)} to {options.out} in {result.seconds:.1f} s.")
