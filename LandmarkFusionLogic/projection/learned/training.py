"""Training of the networks that align CT and X-ray, on simulated spines: resumable, and judged on unseen ones.

Every case comes from its step's number, so a run that was ended and continued learns what an unbroken one learns.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.learned.cases import VALIDATION_CASES, Case, Cases, validation_cases
from LandmarkFusionLogic.projection.learned.config import RTPI, ProjectionConfig
from LandmarkFusionLogic.projection.learned.encoders import FineNetwork
from LandmarkFusionLogic.projection.learned.poses import axis_errors
from LandmarkFusionLogic.projection.learned.rtpi import RtpiNetwork
from LandmarkFusionLogic.projection.learned.steps import fine_loss, rtpi_answers, rtpi_step_loss, to_pose

CHECKPOINT = "checkpoint.pt"
SCORES = "scores.jsonl"
LONGEST_GRADIENT = 10.0
SAVE_SECONDS = 120
FIELDS = {"config", "steps", "seconds", "network", "optimizer", "best", "best_score", "best_steps"}

Scores = dict[str, float]


def make_network(config: ProjectionConfig) -> RtpiNetwork | FineNetwork:
    """The untrained network of ``config``; its first weights come from the seed."""
    torch.manual_seed(config.first_seed % 2**31)
    if config.stage == RTPI:
        one, two, three, four = config.widths
        return RtpiNetwork(config.pixels, config.volume, config.stem, (one, two, three, four))
    fine, middle, coarse = config.widths
    return FineNetwork(config.stem, config.stem_stride, (fine, middle, coarse), config.blocks, config.composite)


class Trainer:
    """A network in training: `step` learns from one batch, `save` and `load` keep and restore all that matters."""

    def __init__(self, config: ProjectionConfig, device: str = "cpu") -> None:
        config.check()
        self.config = config
        self.network = make_network(config).to(device)
        parameters = self.network.parameters()
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(parameters, lr=config.low_rate)
            if config.optimizer == "adam"
            else torch.optim.SGD(parameters, lr=config.low_rate, momentum=config.momentum)
        )
        self.cases = Cases(config)
        self.steps = 0
        self.seconds = 0.0
        self.best: dict[str, Any] = {}
        self.best_score = float("inf")
        self.best_steps = 0

    def loss(self, cases: Sequence[Case]) -> torch.Tensor:
        """Eq. 5 or eq. 7, the mean over ``cases``."""
        if isinstance(self.network, RtpiNetwork):
            return rtpi_step_loss(self.network, cases, self.config).total
        return fine_loss(self.network, cases, self.config).mean()

    def step(self) -> float:
        """One step of the optimizer on the next batch; returns the loss."""
        start = time.process_time()
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(self.steps)
        self.network.train()
        if self.steps >= (1 - config.frozen) * config.steps:
            freeze_statistics(self.network)
        loss = self.loss(self.cases.batch(self.steps))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        length = torch.nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT)
        if bool(torch.isfinite(length)):
            self.optimizer.step()
        self.steps += 1
        self.seconds += time.process_time() - start
        return float(loss.detach())

    def judge(self, scores: Scores) -> None:
        """Keep the network where it scores better than ever before."""
        if scores["score"] < self.best_score:
            self.best_score, self.best_steps = scores["score"], self.steps
            self.best = copy.deepcopy(self.network.state_dict())

    def save(self, path: Path) -> None:
        """Write everything to ``path``, whole or not at all."""
        state = {
            "config": asdict(self.config),
            "steps": self.steps,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_score": self.best_score,
            "best_steps": self.best_steps,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on where `save` left off; only the number of steps may be another one.

        Raises InputError for a damaged file, and for one of a training with other settings.
        """
        state = read_checkpoint(path)
        now = json.loads(json.dumps(asdict(self.config)))
        before = json.loads(json.dumps(state["config"]))
        other = sorted(key for key in now if key != "steps" and before.get(key) != now[key])
        if other:
            raise InputError(
                f"“{path.parent.name}” holds a training with other settings ({', '.join(other)}); "
                "choose another folder."
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.seconds = int(state["steps"]), float(state["seconds"])
        self.best, self.best_score, self.best_steps = state["best"], state["best_score"], state["best_steps"]


def freeze_statistics(network: nn.Module) -> None:
    """Let batch normalization use its running means, as at inference."""
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `Trainer.save` wrote. Raises InputError where it is missing, damaged or of something else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"“{path.parent.name}” holds no training that could go on; choose another folder.") from error
    if not isinstance(state, dict) or not state.keys() >= FIELDS or "stage" not in state["config"]:
        raise InputError(f"“{path.parent.name}” holds the training of another kind of network; choose another folder.")
    return state


def evaluate(network: RtpiNetwork | FineNetwork, cases: Sequence[Case], config: ProjectionConfig) -> Scores:
    """How well ``network`` does on ``cases``; "score" is the number that chooses the best, lower is better.

    Pose network: mean absolute errors over the axes, degrees and mm, beside those of starts drawn as the truth is.
    Encoders: eq. 7, beside what directions at random have (about 2.6).
    """
    network.eval()
    if isinstance(network, FineNetwork):
        values = [float(fine_loss(network, [case], config).detach()) for case in cases]
        return {"score": float(np.mean(values)), "median": float(np.median(values))}
    with torch.inference_mode():
        answers = [rtpi_answers(network, [case])[0] for case in cases]
    found = np.array([axis_errors(to_pose(a, config), case.truth) for a, case in zip(answers, cases, strict=True)])
    starts = np.array([axis_errors(case.start, case.truth) for case in cases])
    zero = np.array([axis_errors(type(case.truth)(), case.truth) for case in cases])
    (degrees, mm), (start_degrees, start_mm), (zero_degrees, zero_mm) = (e.mean(0) for e in (found, starts, zero))
    return {
        "score": float(degrees / zero_degrees + mm / zero_mm),
        "degrees": float(degrees),
        "mm": float(mm),
        "start_degrees": float(start_degrees),
        "start_mm": float(start_mm),
        "zero_degrees": float(zero_degrees),
        "zero_mm": float(zero_mm),
    }


def scores_text(scores: Scores) -> str:
    """One line for a log."""
    if "degrees" not in scores:
        return f"eq. 7 {scores['score']:.3f} (median {scores['median']:.3f})"
    return (
        f"{scores['degrees']:.2f}° {scores['mm']:.2f} mm (start {scores['start_degrees']:.2f}° "
        f"{scores['start_mm']:.2f} mm, always zero {scores['zero_degrees']:.2f}° {scores['zero_mm']:.2f} mm)"
    )


def train(
    config: ProjectionConfig,
    out: Path,
    minutes: float = float("inf"),
    log: Callable[[str], None] = print,
    validation: int = VALIDATION_CASES,
    evaluate_every: int = 200,
    device: str = "cpu",
) -> Trainer:
    """Train in folder ``out`` until ``config.steps`` or for ``minutes``, going on from its checkpoint if there is one.

    Writes a checkpoint every two minutes and a line to ``out``/scores.jsonl with each evaluation.
    Raises InputError where the folder holds a training with other settings.
    """
    trainer = Trainer(config, device)
    if (out / CHECKPOINT).exists():
        trainer.load(out / CHECKPOINT)
        log(f"continuing after {trainer.steps} steps")
    out.mkdir(parents=True, exist_ok=True)
    cases = validation_cases(config, validation) if validation else []
    start = saved = time.monotonic()
    first, losses = trainer.steps, list[float]()
    while trainer.steps < config.steps and time.monotonic() - start < 60 * minutes:
        losses.append(trainer.step())
        now = time.monotonic()
        if trainer.steps % 20 == 0:
            left = (config.steps - trainer.steps) * (now - start) / (trainer.steps - first) / 60
            left = min(left, minutes - (now - start) / 60)
            log(f"step {trainer.steps} of {config.steps}  loss {np.mean(losses[-20:]):.3f}  {left:.1f} min left")
        if cases and (trainer.steps % evaluate_every == 0 or trainer.steps == config.steps):
            _report(trainer, cases, out, log)
        if now - saved > SAVE_SECONDS:
            trainer.save(out / CHECKPOINT)
            saved = now
    trainer.save(out / CHECKPOINT)
    return trainer


def _report(trainer: Trainer, cases: Sequence[Case], out: Path, log: Callable[[str], None]) -> None:
    scores = evaluate(trainer.network, cases, trainer.config)
    trainer.judge(scores)
    log(f"step {trainer.steps}  validation: {scores_text(scores)}")
    with (out / SCORES).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"steps": trainer.steps, "seconds": round(trainer.seconds), **scores}) + "\n")
