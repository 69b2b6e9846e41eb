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
    simulated.add_argument(
        "--against", metavar="DIR", help="another network: what it loses or gains, paired; its modality only"
    )
    simulated.add_argument(
        "--validation", action="store_true", help="validation seeds, on which choices may be made, not test seeds"
    )
    simulated.add_argument("--workers", type=int, default=1, metavar="N", help="processes at once (default: 1)")
    simulated.set_defaults(run=_run)
    add_device(simulated)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    from LandmarkFusionLogic.evaluation.simulated import (
        describe_against,
        describe_simulated,
        describe_trials,
        evaluate_trials,
        models_of,
    )
    from LandmarkFusionLogic.simulation.seeds import TEST, VALIDATION

    models = models_of(options.model)
    rival = models_of([options.against]) if options.against else {}
    modalities = (options.modality,) if options.modality else tuple(sorted(rival or models)) or ("mr", "us")
    seeds = VALIDATION if options.validation else TEST
    common = (modalities, options.conditions, options.turns)
    with progress() as report:
        outcomes = evaluate_trials(options.cases, options.device, report, *common, models, options.workers, seeds)
        others = (
            evaluate_trials(options.cases, options.device, report, *common, rival, options.workers, seeds)
            if rival
            else []
        )
    if options.conditions or options.turns:
        print(describe_trials(outcomes))
    else:
        print(describe_simulated([finding for outcome in outcomes for finding in outcome.findings]))
    if others:
        print(f"\n{describe_against(outcomes, others, options.against)}")
