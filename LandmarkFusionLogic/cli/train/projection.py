"""``landmarkfusion train projection``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = "the networks that align CT and X-ray (SOPI), on simulated spines"
    command = kinds.add_parser("projection", parents=[common], help=text, description=f"Train {text}.")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the run; an old run goes on")
    command.add_argument(
        "--stage", default="rtpi", help="rtpi (first pose), fine (composite encoders) or deep-reg (default: rtpi)"
    )
    command.add_argument("--preset", default="small", help="small, or paper: its sizes and rates (default: small)")
    command.add_argument("--steps", type=int, metavar="N", help="batches to learn from (default: the preset's)")
    command.add_argument("--batch", type=int, metavar="N", help="cases a step (default: the preset's)")
    command.add_argument("--minutes", type=float, default=float("inf"), metavar="N", help="end this call then")
    command.add_argument("--plain", action="store_true", help="ablation: plain encoders instead of composite (CE)")
    command.add_argument("--no-mask", action="store_true", help="ablation: no projected mask in the loss (EL)")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU (default: 1)")
    command.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    command.add_argument("--export", metavar="DIR", help="write the best network to this folder at the end")
    command.add_argument("--version", default="1.0.0", metavar="V", help="of the exported network (default: 1.0.0)")
    command.set_defaults(run=_run, keeps=True)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.projection.learned.config import preset_config

    config = preset_config(
        options.stage,
        options.preset,
        steps=options.steps,
        batch=options.batch,
        composite=False if options.plain else None,
        embedded=False if options.no_mask else None,
    )
    require_torch()
    import torch

    from LandmarkFusionLogic.landmarks.device import choose_device
    from LandmarkFusionLogic.projection.learned.bundle import export_run
    from LandmarkFusionLogic.projection.learned.training import train

    device = str(choose_device(options.device))
    torch.set_num_threads(options.threads)
    train(config, Path(options.out), options.minutes, lambda text: print(text, flush=True), device=device)
    if options.export:
        metadata = export_run(Path(options.out), Path(options.export), options.version)
        print(f"{options.export}: {metadata['training']['steps']} steps, sha256 {metadata['sha256'][:12]}…")
