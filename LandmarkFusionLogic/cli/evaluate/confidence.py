"""``landmarkfusion evaluate confidence``: whether the networks know how sure they are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import add_device, progress, require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    command = kinds.add_parser(
        "confidence",
        parents=[common],
        help="whether the networks know how sure they are",
        description="Measure on unseen simulated cases, as they come and made hard, how many true points lie inside "
        "of the 95 % ellipsoids, and how well the expected error tells landmarks that are more than 10 mm off.",
    )
    command.add_argument("--cases", type=int, default=140, metavar="N", help="how many seeds (default: 140)")
    command.add_argument(
        "--first", type=int, default=0, metavar="N", help="leave out the first N test seeds (default: 0)"
    )
    command.add_argument(
        "--fit",
        action="store_true",
        help="fit the confidence on as many validation seeds first, and write it into the networks' metadata",
    )
    command.add_argument(
        "--data", metavar="DIR", help="folder that holds mrus-27: measure (and fit) the research networks on its folds"
    )
    command.add_argument("--folds", metavar="DIR", help="folder of the networks mr-0 … us-2 (default: models/folds)")
    command.add_argument("--modality", choices=("mr", "us"), help="only this one (default: both)")
    command.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME|DIR",
        help="a network, one for each modality (default: those that are used)",
    )
    command.add_argument("--workers", type=int, default=1, metavar="N", help="processes at once (default: 1)")
    add_device(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    from LandmarkFusionLogic.evaluation.confidence import evaluate_confidence
    from LandmarkFusionLogic.evaluation.simulated import models_of

    models = models_of(options.model)
    modalities = (options.modality,) if options.modality else tuple(sorted(models)) or ("mr", "us")
    if options.data:
        from LandmarkFusionLogic.evaluation.foldconfidence import evaluate_fold_confidence

        folds = Path(options.folds) if options.folds else None
        with progress() as report:
            text = evaluate_fold_confidence(
                Path(options.data), options.device, report, modalities, folds, models, options.fit
            )
        print(text)
        return
    with progress() as report:
        text = evaluate_confidence(
            options.cases, options.device, report, modalities, models, options.fit, options.workers, options.first
        )
    print(text)
