"""``landmarkfusion evaluate folds``: cross-validation on the real pairs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import add_data, data_folder, progress, require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = (
        "Cross-validation on mrus-27: the landmarks of each real image, found by a network fine-tuned on the other "
        "two folds, beside the network of simulation alone, the mean position, and a click into the gland."
    )
    folds = kinds.add_parser("folds", parents=[common], help="cross-validation on mrus-27", description=text)
    add_data(folds)
    folds.add_argument("--models", metavar="DIR", help="folder of the networks mr-0 … us-2 (default: models/folds)")
    folds.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    data = data_folder(options)
    require_torch()
    from LandmarkFusionLogic.evaluation.folds import describe_folds, evaluate_folds

    with progress() as report:
        found = evaluate_folds(data, report, Path(options.models) if options.models else None)
    print(describe_folds(found))
