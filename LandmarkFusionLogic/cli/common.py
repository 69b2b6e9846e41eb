"""What several commands share: options, progress and warnings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.errors import InputError

VOLUME_HELP = "NRRD, NIfTI, MHA/MHD file, or the folder of a DICOM series"


def add_device(command: argparse.ArgumentParser) -> None:
    """The option --device."""
    command.add_argument(
        "--device", default="auto", metavar="auto|cuda|mps|cpu", help="where the networks run (default: auto)"
    )


def add_help_for_detection(command: Any, prefix: str, whose: str) -> None:
    """The options --model, --click and --gland, each with ``prefix``; ``whose`` completes their help."""
    command.add_argument(
        f"{prefix}model", metavar="NAME|DIR", help=f"network for the landmarks{whose}: the name of one or its folder"
    )
    command.add_argument(
        f"{prefix}click",
        nargs=3,
        type=float,
        metavar=("R", "A", "S"),
        help=f"a point in the prostate{whose}, RAS mm: where to look when the landmarks are not found by themselves",
    )
    command.add_argument(
        f"{prefix}gland",
        metavar="FILE",
        help=f"mask of the prostate{whose}: where to look, and its centroid in the fit",
    )


def add_data(command: argparse.ArgumentParser) -> None:
    """The option --data, by default what the environment names."""
    command.add_argument(
        "--data",
        metavar="DIR",
        default=os.environ.get("LANDMARKFUSION_DATA"),
        help="folder that holds mrus-27 (default: the environment's LANDMARKFUSION_DATA)",
    )


def data_folder(options: argparse.Namespace) -> Path:
    """The folder that --data or the environment names. Raises InputError where neither does."""
    if not options.data:
        raise InputError("The folder of the images is not known; give it with --data.")
    return Path(options.data)


def require_torch() -> None:
    """Raise InputError where PyTorch is missing."""
    from LandmarkFusionLogic.landmarks.device import require_torch

    require_torch()


def warn(warnings: Sequence[str]) -> None:
    """Print warnings beside the results."""
    for text in warnings:
        print(f"Warning: {text}", file=sys.stderr)


@contextmanager
def progress() -> Iterator[Any]:
    """A report function: a bar on a terminal, a line for each step elsewhere."""
    if not sys.stderr.isatty():
        shown = ""

        def plain(fraction: float, text: str) -> None:
            nonlocal shown
            if text != shown:
                shown = text
                print(f"[{fraction:4.0%}] {text}", file=sys.stderr, flush=True)

        yield plain
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=text)
