"""Training of DCNN-Match on simulated pairs: resumable, and judged on unseen simulated anatomy while it runs.

Every step's pair comes from seeds of its own, so a run that was ended and continued learns what an unbroken one
learns. Needs torch, numpy and scipy only.
"""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from LandmarkFusionLogic.deformable.dcnn.config import MatchConfig
from LandmarkFusionLogic.deformable.dcnn.losses import MATCH_MM, Loss, background_loss, match_loss, true_matches
from LandmarkFusionLogic.deformable.dcnn.matching import mutual_matches, variant_named
from LandmarkFusionLogic.deformable.dcnn.network import Features, MatchNetwork
from LandmarkFusionLogic.deformable.dcnn.pairs import Pair, make_pair, to_mm
from LandmarkFusionLogic.deformable.dcnn.sampling import cell_maxima, descriptors, values_at
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.simulation.seeds import VALIDATION

CHECKPOINT = "checkpoint.pt"
SCORES = "scores.jsonl"
VALIDATION_PAIRS = 12
THRESHOLD = 0.5
"""A landmark at inference has at least this probability."""
CELL = 2
"""At inference one landmark a cell of so many voxels: neighbors tell the same, and the time goes with their square."""


class Trainer:
    """A network in training: `step` learns from one pair, `save` and `load` keep and restore all that matters."""

    def __init__(self, config: MatchConfig, device: str = "cpu") -> None:
        config.check()
        self.config = config
        self.variant = variant_named(config.variant)
        self.device = torch.device(device)
        torch.manual_seed(config.first_seed % 2**31)
        self.network = MatchNetwork(config.width, self.variant.cross_entropy)
        # On CPUs this order of memory is half as fast again.
        self.network = self.network.to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.steps = 0
        self.seconds = 0.0

    def pair(self) -> Pair:
        """The pair of the next step."""
        config = self.config
        anatomy = config.first_seed + self.steps // config.pairs_per_anatomy
        return make_pair(anatomy, config.first_seed + self.steps, config.size, config.border)

    def step(self, pair: Pair | None = None) -> Loss:
        """One step of the optimizer on ``pair``, by default the next one."""
        start = time.process_time()
        config = self.config
        pair = pair or self.pair()
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(self.steps)
        self.network.train()
        if self.steps >= (1 - config.frozen) * config.steps:
            _freeze_statistics(self.network)
        features = run_network(self.network, pair.images.to(self.device), config.mixed_precision)
        loss = pair_loss(self.network, features, pair, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.steps += 1
        self.seconds += time.process_time() - start
        return loss

    def save(self, path: Path) -> None:
        """Write everything to ``path``, whole or not at all."""
        state = {
            "config": asdict(self.config),
            "steps": self.steps,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on where `save` left off; only the number of steps may be another one.

        Raises InputError for a damaged file, and for one of a training with other settings.
        """
        state = read_checkpoint(path)
        before, now = ({**config, "steps": 0} for config in (state["config"], asdict(self.config)))
        if before != now:
            changed = ", ".join(sorted(key for key in now if before.get(key) != now[key]))
            raise InputError(
                f"The run in this folder was begun with other settings ({changed}); choose another folder."
            )
        self.steps, self.seconds = int(state["steps"]), float(state["seconds"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `Trainer.save` wrote. Raises InputError where it is missing or damaged."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"“{path.parent.name}” holds no training that could go on; choose another folder.") from error
    if not isinstance(state, dict) or not {"config", "steps", "seconds", "network", "optimizer"} <= state.keys():
        raise InputError(f"“{path.parent.name}” holds the training of another kind of network; choose another folder.")
    return state


def _freeze_statistics(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eval()


def run_network(network: MatchNetwork, images: torch.Tensor, mixed_precision: bool) -> Features:
    """The features of ``images`` (B, 1, D, H, W); with ``mixed_precision`` in bfloat16 where that is safe."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=mixed_precision):
        features: Features = network(images.contiguous(memory_format=torch.channels_last_3d))
    return features


def pair_loss(network: MatchNetwork, features: Features, pair: Pair, config: MatchConfig) -> Loss:
    """Eq. 2 for one pair, and the lesson of the valid mask: nothing outside of the body."""
    size = config.size
    logits = features.logits[:, 0]
    points, found, sampled = [], [], []
    for image in range(2):
        at = cell_maxima(logits[image], pair.valid[image].to(logits.device), config.cell, config.points, -1e9)
        points.append(at)
        found.append(descriptors([level[image] for level in features.levels], at, size))
        sampled.append(values_at(features.logits[image], at, size)[:, 0])
    fixed, moving = (to_mm(at.cpu(), size) for at in points)
    matches = true_matches(fixed, pair.warp(moving)).to(logits.device)
    variant = variant_named(config.variant)
    loss = match_loss(variant, network.matching, (sampled[0], sampled[1]), (found[0], found[1]), matches)
    outside = sum(background_loss(logits[image], pair.bodies[image].to(logits.device)) for image in range(2))
    return loss._replace(total=loss.total + outside)


@dataclass(frozen=True)
class Scores:
    """Of pairs of validation patches: ``matches`` found a pair, the share ``within`` 4 mm, ``median_mm`` error.

    ``in_place`` is that share, and ``motion_mm`` that median, for who answers the same place as in the fixed patch.
    """

    matches: float
    within: float
    median_mm: float
    in_place: float
    motion_mm: float

    def text(self) -> str:
        """One line for a log."""
        return (
            f"{self.matches:.0f} matches a patch, {self.within:.0%} within 4 mm, median {self.median_mm:.1f} mm "
            f"(in place: {self.in_place:.0%}, {self.motion_mm:.1f} mm)"
        )


def evaluate(network: MatchNetwork, pairs: Sequence[Pair], config: MatchConfig) -> Scores:
    """How well ``network`` matches ``pairs`` as at inference: all above the threshold, mutual best."""
    network.eval()
    device = next(network.parameters()).device
    counts, errors, motions = [], [], []
    for pair in pairs:
        with torch.inference_mode():
            features = run_network(network, pair.images.to(device), config.mixed_precision)
            points, found = [], []
            for image in range(2):
                probability = features.logits[image, 0].sigmoid()
                at = cell_maxima(probability, pair.valid[image].to(device), CELL, threshold=THRESHOLD)
                points.append(to_mm(at.cpu(), config.size))
                found.append(descriptors([level[image] for level in features.levels], at, config.size))
            matches = mutual_matches(variant_named(config.variant), network.matching, *found)
        chosen = points[0][matches.fixed.cpu()]
        errors.append((chosen - pair.warp(points[1][matches.moving.cpu()])).norm(dim=1))
        motions.append((chosen - pair.warp(chosen)).norm(dim=1))
        counts.append(len(matches.fixed))
    every, still = torch.cat(errors).numpy(), torch.cat(motions).numpy()
    if not len(every):
        return Scores(0.0, *[float("nan")] * 4)
    return Scores(
        float(np.mean(counts)),
        float((every <= MATCH_MM).mean()),
        float(np.median(every)),
        float((still <= MATCH_MM).mean()),
        float(np.median(still)),
    )


def validation_pairs(config: MatchConfig, count: int = VALIDATION_PAIRS) -> list[Pair]:
    """Pairs of anatomy that no training sees."""
    seeds = VALIDATION[:count]
    return [make_pair(VALIDATION[number // 4], seed, config.size, config.border) for number, seed in enumerate(seeds)]


def train(
    config: MatchConfig,
    out: Path,
    minutes: float = float("inf"),
    log: Callable[[str], None] = print,
    validation: int = VALIDATION_PAIRS,
    evaluate_every: int = 250,
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
    pairs = validation_pairs(config, validation)
    start = saved = time.monotonic()
    first, losses = trainer.steps, list[float]()
    while trainer.steps < config.steps and time.monotonic() - start < 60 * minutes:
        losses.append(float(trainer.step().total.detach()))
        now = time.monotonic()
        if trainer.steps % 50 == 0:
            left = (config.steps - trainer.steps) * (now - start) / (trainer.steps - first) / 60
            left = min(left, minutes - (now - start) / 60)
            log(f"step {trainer.steps} of {config.steps}  loss {np.mean(losses[-50:]):.3f}  {left:.1f} min left")
        if now - saved > 120:
            trainer.save(out / CHECKPOINT)
            saved = now
        if pairs and trainer.steps % evaluate_every == 0 and trainer.steps < config.steps:
            _report(trainer, pairs, out, log)
    trainer.save(out / CHECKPOINT)
    if pairs:
        _report(trainer, pairs, out, log)
    return trainer


def _report(trainer: Trainer, pairs: Sequence[Pair], out: Path, log: Callable[[str], None]) -> None:
    scores = evaluate(trainer.network, pairs, trainer.config)
    log(f"step {trainer.steps}  validation: {scores.text()}")
    with (out / SCORES).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"steps": trainer.steps, **asdict(scores)}) + "\n")
