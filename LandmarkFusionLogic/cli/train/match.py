"""``landmarkfusion train match``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = "a network that finds corresponding points (DCNN-Match), on simulated anatomy"
    match = kinds.add_parser("match", parents=[common], help=text, description=f"Train {text}.")
    match.add_argument("--out", required=True, metavar="DIR", help="folder for the run; an old run goes on")
    match.add_argument("--variant", default="ce", help="hinge, ce, hinge-ce, hinge0.1-ce or hinge0.2-ce (default: ce)")
    match.add_argument(
        "--preset", default="small", help="small, or paper: width 64, patches of 128x128x48 (default: small)"
    )
    match.add_argument("--width", type=int, metavar="N", help="channels of the finest level (default: the preset's)")
    match.add_argument("--patch", metavar="IxJxK", help="voxels of 2 mm, multiples of 16 (default: the preset's)")
    match.add_argument("--points", type=int, metavar="K", help="landmarks sampled in an image (default: the preset's)")
    match.add_argument("--steps", type=int, metavar="N", help="pairs of patches to learn from (default: the preset's)")
    match.add_argument("--minutes", type=float, default=float("inf"), metavar="N", help="end this call then")
    match.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU (default: 1)")
    match.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    match.add_argument("--full-precision", action="store_true", help="no bfloat16; about half as fast")
    match.add_argument("--export", metavar="DIR", help="write the network to this folder at the end")
    match.add_argument("--version", default="1.0.0", metavar="V", help="of the exported network (default: 1.0.0)")
    match.set_defaults(run=_run, keeps=True)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.deformable.dcnn.config import parse_patch, preset_config

    config = preset_config(
        options.preset,
        variant=options.variant,
        width=options.width,
        patch=None if options.patch is None else parse_patch(options.patch),
        points=options.points,
        steps=options.steps,
        mixed_precision=False if options.full_precision else None,
    )
    require_torch()
    import torch

    from LandmarkFusionLogic.deformable.dcnn.bundle import export_run
    from LandmarkFusionLogic.deformable.dcnn.training import train
    from LandmarkFusionLogic.landmarks.device import choose_device

    device = str(choose_device(options.device))
    torch.set_num_threads(options.threads)
    train(config, Path(options.out), options.minutes, lambda text: print(text, flush=True), device=device)
    if options.export:
        metadata = export_run(Path(options.out), Path(options.export), options.version)
        print(f"{options.export}: {metadata['training']['steps']} steps, sha256 {metadata['sha256'][:12]}…")
