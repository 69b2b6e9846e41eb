"""``landmarkfusion evaluate projection``: the tables of Chen 2023."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import progress
from LandmarkFusionLogic.errors import InputError

SETS = ("phantom", "ct-spine", "ct-pelvis")
CONTENTS = ("full", "spine", "mismatch", "degraded")


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = "Tables 1 to 3 of Chen 2023: the pose of a CT from an X-ray, by every method, on X-rays simulated from CTs"
    command = kinds.add_parser("projection", parents=[common], help=text, description=f"Print {text}.")
    command.add_argument(
        "--on",
        action="append",
        default=[],
        choices=SETS,
        help="which CTs; may be given more than once (default: phantom, with --data also ct-spine)",
    )
    command.add_argument(
        "--content",
        action="append",
        default=[],
        choices=CONTENTS,
        help="what X-ray and moving volume show: the whole CT in both, the spine alone in both, a mismatch (the whole "
        "CT in the X-ray, the spine alone in the volume), the whole CT with a degraded X-ray; may be given more than "
        "once (default: full, spine and mismatch)",
    )
    command.add_argument(
        "--data",
        metavar="DIR",
        default=os.environ.get("LANDMARKFUSION_DATA"),
        help="folder that holds ct-spine and ct-pelvis (default: the environment's LANDMARKFUSION_DATA)",
    )
    command.add_argument("--cases", type=int, default=10, metavar="N", help="X-rays of each (default: 10)")
    command.add_argument("--development", action="store_true", help="the seeds for development, not those for tests")
    command.add_argument(
        "--methods",
        nargs="+",
        default=[],
        metavar="METHOD",
        help="of initial, opt-nccl, opt-ngi, opt-gc, deep-reg, rtpi, sopi, sopi+opt, ours, “ours, two views”, and for "
        "the ablation sopi-without-rtpi, -ce, -el, -ce-el (default: all whose networks are there, two views left out)",
    )
    command.add_argument("--run", metavar="DIR", help="keep each case here, and go on from what it holds", dest="kept")
    command.add_argument("--plots", metavar="DIR", help="draw the figures here")
    command.add_argument("--workers", type=int, default=1, metavar="N", help="processes at once (default: 1)")
    command.set_defaults(run=_run, keeps=True)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.evaluation.projection import Task, evaluate, training_steps
    from LandmarkFusionLogic.evaluation.projectioncases import seeds_of
    from LandmarkFusionLogic.evaluation.projectiontable import NOTE, PAPER, describe
    from LandmarkFusionLogic.imageio import silence_warnings

    silence_warnings()
    methods, untrained = _methods(options.methods)
    sets = options.on or (SETS[:2] if options.data else SETS[:1])
    groups = [(dataset, content) for dataset in sets for content in options.content or CONTENTS[:3]]
    tasks = [
        Task(dataset, seed, content, methods, options.data, options.kept)
        for seed in seeds_of(options.cases, options.development)
        for dataset, content in groups
    ]
    with progress() as report:
        outcomes = evaluate(tasks, options.workers, report)
    steps = {method: training_steps(method) for method in methods}
    for dataset, content in groups:
        part = [outcome for outcome in outcomes if (outcome.dataset, outcome.content) == (dataset, content)]
        print(describe(part, steps) + "\n")
        if options.plots:
            from LandmarkFusionLogic.evaluation.projectionplots import plot

            print(f"Wrote {', '.join(file.name for file in plot(part, Path(options.plots)))} to {options.plots}.\n")
    print(f"{NOTE}\n{PAPER}")
    if untrained:
        print(f"Not measured, since their networks are missing: {', '.join(untrained)}.")


def _methods(asked: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The methods to measure, and those that are left out since their networks are missing."""
    from LandmarkFusionLogic.evaluation.projection import METHODS, OURS_TWO_VIEWS, PARTS_OF_SOPI, check_method

    def there(method: str) -> bool:
        try:
            check_method(method)
        except InputError:
            return False
        return True

    for method in asked:
        check_method(method)
    names = [name for name in (*METHODS, *PARTS_OF_SOPI) if name != OURS_TWO_VIEWS]
    found = tuple(asked) or tuple(name for name in names if there(name))
    return found, [] if asked else [name for name in names if name not in found]
