"""``landmarkfusion evaluate deformable``: the tables and figures of Grewal 2023."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import add_device, progress
from LandmarkFusionLogic.errors import InputError

SETS = ("simulated", "ct-pelvis", "prostate-mr", "ct-lung")


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = "Tables 1 and 2, figures 7 and 10 of Grewal 2023: landmarks found automatically, and registration with them"
    command = kinds.add_parser("deformable", parents=[common], help=text, description=f"Print {text}.")
    command.add_argument(
        "--on",
        action="append",
        default=[],
        choices=SETS,
        help="which volumes are deformed; may be given more than once (default: simulated, with --data also ct-pelvis "
        "and prostate-mr; ct-lung is for development)",
    )
    command.add_argument(
        "--data",
        metavar="DIR",
        default=os.environ.get("LANDMARKFUSION_DATA"),
        help="folder that holds ct-pelvis and the others (default: the environment's LANDMARKFUSION_DATA)",
    )
    command.add_argument("--cases", type=int, default=10, metavar="N", help="deformed pairs of each (default: 10)")
    command.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="mind|NAME|DIR",
        help="source of landmarks; may be given more than once (default: mind and the networks that are installed)",
    )
    command.add_argument("--preset", default="fast", choices=("fast", "paper"), help="of elastix (default: fast)")
    command.add_argument("--matching-only", action="store_true", help="no registration: elastix is not needed")
    command.add_argument("--outliers", action="store_true", help="plant 0 to 30 %% wrong pairs and remove them")
    command.add_argument(
        "--paper",
        type=int,
        default=0,
        metavar="N",
        help="the paper's deformable stage too, on the first N pairs of each",
    )
    command.add_argument(
        "--weights",
        type=int,
        default=0,
        metavar="N",
        help="weights chosen for the pair by a held-out tenth of the landmarks too, on the first N pairs of each",
    )
    command.add_argument("--run", metavar="DIR", help="keep each case here, and go on from what it holds", dest="kept")
    command.add_argument("--plots", metavar="DIR", help="draw the figures here")
    command.add_argument("--workers", type=int, default=1, metavar="N", help="processes at once (default: 1)")
    add_device(command)
    command.set_defaults(run=_run, keeps=True)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.evaluation.deformable import Task, evaluate
    from LandmarkFusionLogic.evaluation.deformablechecks import generalization
    from LandmarkFusionLogic.evaluation.deformableoutcome import NONE
    from LandmarkFusionLogic.evaluation.deformablepairs import seeds_of
    from LandmarkFusionLogic.evaluation.deformabletable import describe
    from LandmarkFusionLogic.imageio import silence_warnings

    silence_warnings()
    sets = options.on or (SETS[:3] if options.data else SETS[:1])
    sources = options.source or ["mind", *_networks()]
    device = "cpu"
    if any(source != "mind" for source in sources):
        from LandmarkFusionLogic.landmarks.device import choose_device

        device = str(choose_device(options.device))
    if "simulated" in sets:
        from LandmarkFusionLogic.landmarks.device import require_torch

        require_torch()
    tasks = [
        Task(
            dataset,
            seed,
            (*(() if options.matching_only else (NONE,)), *sources),
            options.data,
            options.preset,
            not options.matching_only,
            options.outliers,
            device,
            options.kept,
            number < options.paper,
            number < options.weights,
        )
        for dataset in sets
        for number, seed in enumerate(seeds_of(dataset, options.cases))
    ]
    with progress() as report:
        outcomes = evaluate(tasks, options.workers, report)
    parts = {dataset: [outcome for outcome in outcomes if outcome.dataset == dataset] for dataset in sets}
    for part in parts.values():
        print(describe(part) + "\n")
        if options.plots:
            from LandmarkFusionLogic.evaluation.deformableplots import plot

            print(f"Wrote {', '.join(file.name for file in plot(part, Path(options.plots)))} to {options.plots}.\n")
    if {"ct-pelvis", "prostate-mr"} <= set(sets):
        print(generalization(parts["ct-pelvis"], parts["prostate-mr"]) + "\n")


def _networks() -> list[str]:
    from LandmarkFusionLogic import assets

    try:
        folder = assets.path("models")
    except InputError:
        return []
    return sorted(file.parents[1].name for file in folder.glob("dcnn-*/configs/metadata.json"))
