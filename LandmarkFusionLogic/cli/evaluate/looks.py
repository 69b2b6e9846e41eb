"""``landmarkfusion evaluate looks``: which looks at a volume pay."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import add_device, progress, require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    command = kinds.add_parser(
        "looks",
        parents=[common],
        help="whether flips, jitters and two stages pay",
        description="Take the detections apart: errors with one look, with the mirrored one, with the jittered ones, "
        "in the first stage, the second, and the mean of both. On validation seeds, or on the folds of mrus-27.",
    )
    command.add_argument("--cases", type=int, default=40, metavar="N", help="how many seeds (default: 40)")
    command.add_argument("--data", metavar="DIR", help="folder that holds mrus-27: its images instead of seeds")
    command.add_argument("--folds", metavar="DIR", help="folder of the networks mr-0 … us-2 (default: models/folds)")
    command.add_argument("--modality", choices=("mr", "us"), help="only this one (default: both)")
    command.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME|DIR",
        help="a network, one for each modality (default: those that are used)",
    )
    add_device(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    from LandmarkFusionLogic.evaluation.looks import evaluate_looks, evaluate_real_looks
    from LandmarkFusionLogic.evaluation.simulated import models_of

    models = models_of(options.model)
    modalities = (options.modality,) if options.modality else tuple(sorted(models)) or ("mr", "us")
    with progress() as report:
        if options.data:
            folds = Path(options.folds) if options.folds else None
            text = evaluate_real_looks(Path(options.data), options.device, report, modalities, folds)
        else:
            text = evaluate_looks(options.cases, options.device, report, modalities, models)
    print(text)
