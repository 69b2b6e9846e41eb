"""``landmarkfusion train comparison``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = "the ten networks of Fang 2023, Table 1, with equal budgets"
    comparison = kinds.add_parser("comparison", parents=[common], help=text, description=f"Train {text}.")
    comparison.add_argument("--out", required=True, metavar="DIR", help="folder for the run; an old run goes on")
    comparison.add_argument("--steps", type=int, default=2000, metavar="N", help="for each network (default: 2000)")
    comparison.add_argument("--minutes", type=float, default=float("inf"), metavar="N", help="end this call then")
    comparison.add_argument("--export", metavar="DIR", help="write the networks to this folder when all are done")
    comparison.set_defaults(run=_run, keeps=True)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    from LandmarkFusionLogic.landmarks.comparison.bundle import export_all
    from LandmarkFusionLogic.landmarks.comparison.training import train_all

    def log(text: str) -> None:
        print(text, flush=True)

    if train_all(Path(options.out), options.steps, options.minutes, log=log) and options.export:
        export_all(Path(options.out), Path(options.export))
