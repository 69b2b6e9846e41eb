"""``landmarkfusion match``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from LandmarkFusionLogic import NOTICE
from LandmarkFusionLogic.cli.common import VOLUME_HELP, add_device, progress, warn


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``."""
    command = commands.add_parser(
        "match",
        parents=[common],
        help="find corresponding points in two volumes",
        description="Find pairs of points that show the same anatomy in two volumes.",
        epilog="Written to DIR: fixed-points.mrk.json and moving-points.mrk.json, pairs with equal names, and "
        f"report.json. {NOTICE}",
    )
    for side in ("fixed", "moving"):
        command.add_argument(f"--{side}", required=True, metavar="FILE", help=f"the {side} volume: {VOLUME_HELP}")
        command.add_argument(f"--{side}-mask", metavar="FILE", help=f"where points may lie in the {side} volume")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made if it is missing")
    command.add_argument(
        "--method",
        default="mind",
        metavar="mind|NAME|DIR",
        help="mind needs no network (default); or a network's name, such as dcnn, or its folder",
    )
    command.add_argument(
        "--initial", metavar="F.h5", help="linear transform that lays the moving volume on the fixed one"
    )
    command.add_argument(
        "--region",
        nargs=6,
        type=float,
        metavar=("R0", "R1", "A0", "A1", "S0", "S1"),
        help="part of the fixed volume, RAS mm",
    )
    add_device(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.imageio import silence_warnings
    from LandmarkFusionLogic.jobs import MatchRequest, VolumeSource, match
    from LandmarkFusionLogic.transformfile import read_transform
    from LandmarkFusionLogic.workfolder import replacing

    silence_warnings()
    request = MatchRequest(
        VolumeSource(options.fixed),
        VolumeSource(options.moving),
        options.method,
        VolumeSource(options.fixed_mask) if options.fixed_mask else None,
        VolumeSource(options.moving_mask) if options.moving_mask else None,
        read_transform(options.initial).tolist() if options.initial else None,
        options.region,
        options.device,
    )
    with progress() as report:
        result = match(request, report)
    with replacing(Path(options.out)) as folder:
        write_pairs(folder, result.pairs)
        report_of = {
            # The folder of a network of one's own could tell more than its name should.
            "method": Path(result.method).name,
            "pairs": len(result.pairs),
            "removed": result.removed,
            "seconds": round(result.seconds, 2),
            "warnings": result.warnings,
            "confidence": [round(pair.confidence, 4) for pair in result.pairs],
            "notice": NOTICE,
        }
        (folder / "report.json").write_text(json.dumps(report_of, indent=2, ensure_ascii=False), encoding="utf-8")
    warn(result.warnings)
    print(
        f"{len(result.pairs)} corresponding points ({result.removed} more contradicted their neighbors) in "
        f"{result.seconds:.1f} s, written to {options.out}. {NOTICE}"
    )


def write_pairs(folder: Path, pairs: Any) -> None:
    """Write both sides of ``pairs`` (PointPair) as lists of points with equal names."""
    import numpy as np

    from LandmarkFusionLogic.markupsfile import write_points

    for side in ("fixed", "moving"):
        places = [
            (pair.name or str(number), np.array(getattr(pair, side)), f"confidence {pair.confidence:.3f}")
            for number, pair in enumerate(pairs, start=1)
        ]
        write_points(folder / f"{side}-points.mrk.json", places)
