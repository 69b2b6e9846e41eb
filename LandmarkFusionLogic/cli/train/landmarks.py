"""``landmarkfusion train landmarks``: from scratch, on cases of one's own, or fine-tuned on them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from LandmarkFusionLogic.cli.common import require_torch
from LandmarkFusionLogic.errors import InputError

if TYPE_CHECKING:
    from LandmarkFusionLogic.landmarks.trainingconfig import TrainingConfig


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    command = kinds.add_parser(
        "landmarks",
        parents=[common],
        help="landmark network of one modality",
        description="Train a landmark network on simulated cases, or on cases of your own.",
    )
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE.json",
        help="the fields of TrainingConfig, instead of the options for one",
    )
    command.add_argument("--modality", choices=("mr", "us"), help="which images the network is for")
    command.add_argument(
        "--stage", choices=("whole", "crop"), default="whole", help="see the whole volume, or around the gland"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for checkpoint and scores; an old run goes on"
    )
    command.add_argument("--minutes", type=float, default=60.0, metavar="N", help="end this call then (default: 60)")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU (default: 1)")
    command.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes that make the cases meanwhile (default: 0)"
    )
    command.add_argument("--device", default="cpu", metavar="cuda|mps|cpu", help="where to train (default: cpu)")
    command.add_argument("--first-seed", type=int, metavar="N", help="number of the first simulated case")
    command.add_argument("--start", metavar="DIR", help="folder of a network to begin with")
    command.add_argument("--augment", action="store_true", help="pose every example at random")
    command.add_argument(
        "--conditions", type=float, default=0.0, metavar="SHARE", help="share of cases with a cavity, a catheter, …"
    )
    command.add_argument(
        "--mixed-precision", action="store_true", help="bfloat16 where it is safe: about twice as fast"
    )
    command.add_argument(
        "--cooldown-start", type=int, metavar="N", help="step from which the learning rate falls to zero"
    )
    command.add_argument(
        "--cooldown-steps", type=int, default=1000, metavar="N", help="how long it takes to (default: 1000)"
    )
    tuning = command.add_argument_group("fine-tuning on cases of your own, kept only where it is better")
    tuning.add_argument("--fine-tune", type=Path, metavar="CASES", help="folder of cases (cases.json), or of mrus-27")
    tuning.add_argument("--base", metavar="NAME|DIR", help="network to begin with (default: the one that ships)")
    tuning.add_argument("--steps", type=int, default=250, metavar="N", help="of each training (default: 250)")
    command.set_defaults(run=_run, keeps=True)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    import torch

    from LandmarkFusionLogic.landmarks.training import train
    from LandmarkFusionLogic.landmarks.trainingconfig import read_config

    torch.set_num_threads(options.threads)
    if options.fine_tune is not None:
        _fine_tune(options)
        return
    train(
        _config(options) if options.config is None else read_config(options.config),
        options.out,
        options.minutes,
        lambda text: print(text, flush=True),
        device=options.device,
        workers=options.workers,
    )


def _config(options: argparse.Namespace) -> TrainingConfig:
    from LandmarkFusionLogic.landmarks.augmentation import CROP, Augmentation
    from LandmarkFusionLogic.landmarks.preprocessing import Preprocessing
    from LandmarkFusionLogic.landmarks.trainingconfig import TrainingConfig
    from LandmarkFusionLogic.landmarks.trainingdata import CROP_PREPROCESSING
    from LandmarkFusionLogic.simulation.seeds import TRAINING

    if options.modality is None:
        raise InputError("Give --modality mr or us, or a configuration with --config.")
    crop = options.stage == CROP
    return TrainingConfig(
        options.modality,
        stage=options.stage,
        preprocessing=CROP_PREPROCESSING if crop else Preprocessing(),
        render_spacing_mm=1.5 if crop else 2.0,
        augmentation=Augmentation(wide=0.5) if crop or options.augment else None,
        start=options.start,
        conditions=options.conditions,
        first_seed=TRAINING.start if options.first_seed is None else options.first_seed,
        mixed_precision=options.mixed_precision,
        cooldown_start=options.cooldown_start,
        cooldown_steps=options.cooldown_steps,
    )


def _fine_tune(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.landmarks.finetuning import fine_tune
    from LandmarkFusionLogic.landmarks.networks import network_folder

    if options.modality is None:
        raise InputError("Give --modality mr or us.")
    said = ""

    def report(fraction: float, text: str) -> None:
        nonlocal said
        if text != said:
            print(f"[{fraction:4.0%}] {text}", flush=True)
            said = text

    outcome = fine_tune(
        options.fine_tune,
        options.modality,
        network_folder(options.modality, options.base),
        options.out,
        options.steps,
        report=report,
        mixed_precision=options.mixed_precision,
    )
    print(outcome.text())
    print(f"Better: written to {options.out}." if outcome.better else "Not better: nothing was written.")
