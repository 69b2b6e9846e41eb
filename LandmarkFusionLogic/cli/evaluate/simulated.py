"""``landmarkfusion evaluate simulated``: the detection's errors on unseen simulated cases."""

from __future__ import annotations

import argparse
from typing import Any

from LandmarkFusionLogic.cli.common import add_device, progress, require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = "Measure the detection's landmark errors beside the plainest baseline, always the mean position."
    simulated = kinds.add_parser("simulated", parents=[common], help="unseen simulated cases", description=text)
    simulated.add_argument("--cases", type=int, default=20, metavar="N", help="how many (default: 20)")
    simulated.add_argument(
        "--conditions", action="store_true", help="a row for each condition that clinics meet, sharp and blurred too"
    )
    simulated.add_argument("--turns", action="store_true", help="rows for starts turned by 15, 30 and 45 degrees")
    simulated.add_argument("--modality", choices=("mr", "us"), help="only this one (default: both)")
    simulated.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="DIR",
        help="folder or name of a network, one for each modality (default: those that are used)",
    )
    simulated.add_argument("--workers", type=int, default=1, metavar="N", help="processes at once (default: 1)")
    simulated.set_defaults(run=_run)
    add_device(simulated)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    from LandmarkFusionLogic.evaluation.simulated import (
        describe_simulated,
        describe_trials,
        evaluate_trials,
        models_of,
    )

    models = models_of(options.model)
    modalities = (options.modality,) if options.modality else tuple(sorted(models)) or ("mr", "us")
    with progress() as report:
        outcomes = evaluate_trials(
            options.cases,
            options.device,
            report,
            modalities,
            options.conditions,
            options.turns,
            models,
            options.workers,
        )
    if options.conditions or options.turns:
        print(describe_trials(outcomes))
    else:
        print(describe_simulated([finding for outcome in outcomes for finding in outcome.findings]))
