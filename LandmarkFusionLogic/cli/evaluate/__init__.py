"""``landmarkfusion evaluate …``: errors measured; a table has a module of its own here and a place in `KINDS`."""

from __future__ import annotations

import argparse
from typing import Any

from LandmarkFusionLogic.cli.evaluate import (
    cases,
    confidence,
    deformable,
    folds,
    landmarks,
    looks,
    projection,
    refinement,
    rigid,
    simulated,
)

KINDS = (cases, simulated, folds, landmarks, looks, rigid, refinement, confidence, deformable, projection)


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and what it measures to ``commands``."""
    text = "Measure errors beside those of plain baselines."
    command = commands.add_parser("evaluate", help="measure errors", description=text)
    kinds = command.add_subparsers(title="on what", required=True, metavar="WHAT")
    for kind in KINDS:
        kind.add(kinds, common)
