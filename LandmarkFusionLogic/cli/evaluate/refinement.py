"""``landmarkfusion evaluate refinement``: what the deformable refinement after the rigid fit gains."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import add_device, progress, require_torch

SIMULATION, FOLDS = "simulation", "folds"
KINDS = (SIMULATION, FOLDS)


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = "what the refinement of the gland after the rigid fit gains, with the masks of networks and with true ones"
    command = kinds.add_parser(
        "refinement",
        parents=[common],
        help=text,
        description=f"Print {text}: on unseen simulated pairs or, with --data, on the final pairs of mrus-27: with "
        "the networks of simulation alone and, where models/folds holds them, with those of the other folds.",
    )
    command.add_argument("--cases", type=int, default=20, metavar="N", help="how many simulated pairs (default: 20)")
    command.add_argument(
        "--data", metavar="DIR", help="folder that holds mrus-27: its pairs instead of simulated ones"
    )
    command.add_argument(
        "--networks", choices=KINDS, help="with --data, which networks see the pairs (default: both kinds)"
    )
    command.add_argument("--workers", type=int, default=1, metavar="N", help="processes at once (default: 1)")
    command.set_defaults(run=_run)
    add_device(command)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    from LandmarkFusionLogic.evaluation import refinement
    from LandmarkFusionLogic.evaluation.pairs import Networks
    from LandmarkFusionLogic.evaluation.refinementtable import describe_refinement
    from LandmarkFusionLogic.evaluation.rigid import fold_folder

    networks = Networks("mr-landmarks", "us-landmarks")
    if options.data is None:
        with progress() as report:
            cases = refinement.evaluate_simulated(options.cases, networks, options.device, options.workers, report)
        title = f"{len(cases)} simulated pairs, seeds {cases[0].name} to {cases[-1].name}, never trained on"
        print(describe_refinement(cases, title, real=False))
        return
    data, folds = Path(options.data), fold_folder()
    for kind in KINDS if options.networks is None else (options.networks,):
        if kind == FOLDS and folds is None:
            continue
        folder = folds if kind == FOLDS else None
        with progress() as report:
            cases = refinement.evaluate_real(data, networks, options.device, options.workers, report, folder)
        seen = "networks of the other folds" if kind == FOLDS else "networks of simulation alone"
        print(describe_refinement(cases, f"{len(cases)} final real pairs, {seen}", real=True) + "\n")
