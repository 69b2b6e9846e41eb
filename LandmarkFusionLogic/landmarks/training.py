"""Training of a landmark network on simulated cases: resumable, and judged on unseen and on real images while it runs.

    landmarkfusion train landmarks --modality mr --out runs/mr --minutes 60

Needs torch, numpy and scipy only, as ``python -m LandmarkFusionLogic.cli`` too.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from LandmarkFusionLogic.landmarks.augmentation import WHOLE
from LandmarkFusionLogic.landmarks.scores import evaluate
from LandmarkFusionLogic.landmarks.trainer import Trainer
from LandmarkFusionLogic.landmarks.trainingconfig import TrainingConfig, held_out_examples, simulated_example_of
from LandmarkFusionLogic.landmarks.trainingdata import Example, development_examples
from LandmarkFusionLogic.simulation.seeds import VALIDATION

CHECKPOINT = "checkpoint.pt"

BEST = "best.pt"
"""The checkpoint with the smallest validation error so far."""


def train(
    config: TrainingConfig,
    out: Path,
    minutes: float,
    log: Callable[[str], None] = print,
    validation_cases: int = 48,
    evaluate_every: int = 500,
    device: str = "cpu",
    workers: int = 0,
) -> Trainer:
    """Train for ``minutes`` in folder ``out``, going on from its checkpoint if there is one.

    Writes a checkpoint every two minutes and, with each evaluation, a line to ``out/scores.jsonl``. The weights with
    the smallest validation error, that of held-out cases where there are any, else of simulated validation seeds, are
    kept apart and become, at the end, the network in the folder ``out``/MODALITY-landmarks.
    """
    trainer = Trainer(config, device, workers)
    out.mkdir(parents=True, exist_ok=True)
    if (out / CHECKPOINT).exists():
        trainer.load(out / CHECKPOINT)
        log(f"continuing after {trainer.steps} steps")
    sets = _evaluation_sets(config, validation_cases)
    start = saved = time.monotonic()
    losses: list[float] = []
    while time.monotonic() - start < 60 * minutes and not config.finished(trainer.steps):
        losses.append(trainer.step())
        if trainer.steps % 50 == 0:
            left = minutes - (time.monotonic() - start) / 60
            log(f"step {trainer.steps}  loss {np.mean(losses[-50:]):.2f}  {left:.1f} min left")
        if time.monotonic() - saved > 120:
            trainer.save(out / CHECKPOINT)
            saved = time.monotonic()
        if trainer.steps % evaluate_every == 0:
            _report(trainer, sets, out, log)
    trainer.close()
    trainer.save(out / CHECKPOINT)
    _report(trainer, sets, out, log)
    _export_best(config, out, log)
    return trainer


def _export_best(config: TrainingConfig, out: Path, log: Callable[[str], None]) -> None:
    from LandmarkFusionLogic.landmarks.export import export_run

    model = out / f"{config.modality}-landmarks"
    export_run(out, model, "1.0.0", checkpoint=BEST)
    log(f"the network with the smallest validation error: {model}")


def _evaluation_sets(config: TrainingConfig, validation_cases: int) -> dict[str, list[Example]]:
    plain = replace(config, augmentation=None, conditions=0.0)
    sets = {"simulated": [simulated_example_of(plain, seed) for seed in VALIDATION[:validation_cases]]}
    if config.cases is not None:
        sets["held out"] = held_out_examples(config)
    elif (data := os.environ.get("LANDMARKFUSION_DATA")) and config.stage == WHOLE:
        sets["real"] = development_examples(Path(data), config.modality, config.input_grid, config.preprocessing)
    return {name: examples for name, examples in sets.items() if examples}


def _report(trainer: Trainer, sets: dict[str, list[Example]], out: Path, log: Callable[[str], None]) -> None:
    record: dict[str, object] = {"steps": trainer.steps}
    for name, examples in sets.items():
        scores = evaluate(trainer.averaged, examples, trainer.config.input_grid.spacing_mm)
        log(f"step {trainer.steps}  {name}: {scores.text()}")
        record[name] = {"mre": scores.mre, "baseline": scores.baseline_mre, "dice": scores.dice}
        if name == _validation_set(sets) and scores.mre < _best_so_far(out):
            trainer.save(out / BEST, scores.mre)
    with (out / "scores.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record) + "\n")


def _validation_set(sets: dict[str, list[Example]]) -> str:
    # Development cases are looked at, never chosen by: they appear in the tables.
    return "held out" if "held out" in sets else "simulated"


def _best_so_far(out: Path) -> float:
    if not (out / BEST).exists():
        return math.inf
    return float(torch.load(out / BEST, map_location="cpu", weights_only=True)["validation_mre"])
