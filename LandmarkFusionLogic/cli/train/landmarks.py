"""``landmarkfusion train landmarks``."""

from __future__ import annotations

import argparse
from typing import Any

from LandmarkFusionLogic.cli.common import require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``; its options are read where the training is."""
    text = "landmark network of one modality; its options: landmarkfusion train landmarks --help"
    landmarks = kinds.add_parser("landmarks", parents=[common], add_help=False, help=text)
    landmarks.set_defaults(run=_run, keeps=True)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    from LandmarkFusionLogic.landmarks import training

    training.main(options.words)
