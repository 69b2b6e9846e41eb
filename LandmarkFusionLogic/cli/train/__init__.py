"""``landmarkfusion train …``: a kind of network has a module of its own here and a place in `KINDS`."""

from __future__ import annotations

import argparse
from typing import Any

from LandmarkFusionLogic.cli.train import comparison, landmarks, match, projection

KINDS = (landmarks, comparison, match, projection)


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command and the networks that it trains to ``commands``."""
    command = commands.add_parser("train", help="train networks on simulated cases", description="Train networks.")
    kinds = command.add_subparsers(title="networks", required=True, metavar="NETWORK")
    for kind in KINDS:
        kind.add(kinds, common)
