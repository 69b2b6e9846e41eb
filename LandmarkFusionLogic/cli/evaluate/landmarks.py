"""``landmarkfusion evaluate landmarks``: Table 1 of Fang 2023."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import add_device, progress, require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = "Table 1 of Fang 2023: five methods on equal budgets, the networks that ship, and the mean position"
    landmarks = kinds.add_parser("landmarks", parents=[common], help=text, description=f"Print {text}.")
    landmarks.add_argument(
        "--cases", type=int, default=263, metavar="N", help="how many unseen simulated pairs (default: 263)"
    )
    landmarks.add_argument("--data", metavar="DIR", help="folder that holds mrus-27, for tables on real pairs too")
    landmarks.add_argument("--workers", type=int, default=0, metavar="N", help="processes that share the work")
    landmarks.add_argument(
        "--methods-only", action="store_true", help="on simulated pairs, leave the networks that ship out"
    )
    landmarks.set_defaults(run=_run)
    add_device(landmarks)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    from LandmarkFusionLogic.evaluation.landmarktable import describe_landmarks, measure_cases, measure_simulated

    with progress() as report:
        real = measure_cases(Path(options.data), options.device, report) if options.data else []
        simulated = measure_simulated(
            options.cases, options.device, report, options.workers, complete=not options.methods_only
        )
    print(describe_landmarks(simulated, real))
