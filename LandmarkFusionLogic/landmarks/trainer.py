"""A landmark network in training: one step after the other, saved and restored whole.

Every batch is made of new cases, each from its own seed, so a run that was ended and continued sees what an unbroken
one sees.
Needs torch, numpy and scipy only.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.losses import total_loss
from LandmarkFusionLogic.landmarks.network import LandmarkNetwork
from LandmarkFusionLogic.landmarks.trainingconfig import (
    TrainingConfig,
    case_examples,
    simulated_examples,
    training_cases,
)
from LandmarkFusionLogic.landmarks.trainingdata import Example


class Trainer:
    """A network in training: `step` learns from one batch, `save` and `load` keep and restore all that matters.

    ``workers`` processes make the cases of the next steps meanwhile; what is learned does not depend on them.
    """

    def __init__(self, config: TrainingConfig, device: str = "cpu", workers: int = 0) -> None:
        config.check()
        self.config = config
        self.device = torch.device(device)
        torch.manual_seed(config.first_seed % 2**31)
        self.network = LandmarkNetwork(**config.network).to(self.device)
        if config.start is not None:
            self.network.load_state_dict(_start_weights(config))
        self.averaged = LandmarkNetwork(**config.network).to(self.device)
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.steps = 0
        self._recent: dict[int, list[Example]] = {}
        self._coming: dict[int, Future[list[Example]]] = {}
        self._pool = _pool(workers) if workers else None
        self._ahead = 4 * workers

    def examples(self) -> list[Example]:
        """The next batch: new seeds, the mirror images of earlier ones, which cost nothing, and real cases."""
        return self._simulated() + case_examples(self.config, self.steps)

    def _simulated(self) -> list[Example]:
        if self.config.batch < 1:
            return []
        replay = self.config.replay_after
        new = self._of_step(self.steps)
        if not replay:
            return new
        self._recent[self.steps] = new
        if self.steps < replay:
            return new
        earlier = self._recent.pop(self.steps - replay, None) or self._of_step(self.steps - replay)
        return new + [example.mirrored() for example in earlier]

    def _of_step(self, step: int) -> list[Example]:
        if self._pool is None:
            return simulated_examples(self.config, step)
        for coming in range(step, step + self._ahead):
            if coming not in self._coming:
                self._coming[coming] = self._pool.submit(simulated_examples, self.config, coming)
        return self._coming.pop(step).result()

    def close(self) -> None:
        """End the processes that make cases."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def step(self, examples: Sequence[Example] | None = None) -> float:
        """One step of the optimizer on ``examples`` (by default the next simulated ones); returns the loss."""
        examples = examples or self.examples()
        images, glands, landmarks, visible = collate(examples, self.device)
        known = torch.tensor([float(example.gland_known) for example in examples], device=self.device)
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(self.steps)
        self.network.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=config.mixed_precision):
            output = self.network(images)
        loss = total_loss(output, landmarks, visible, glands, config.input_grid.spacing_mm, config.loss, known)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 50.0)
        self.optimizer.step()
        self.steps += 1
        self._average()
        return float(loss.detach())

    def _average(self) -> None:
        # A young mean must not remember the random start.
        decay = min(self.config.average, self.steps / (self.steps + 10))
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)

    def save(self, path: Path, validation_mre: float | None = None) -> None:
        """Write everything to ``path``, whole or not at all."""
        state = {
            "config": asdict(self.config),
            "cases": [case.name for case in training_cases(self.config)],
            "steps": self.steps,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "validation_mre": validation_mre,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on where `save` left off."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.steps = state["steps"]
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])


def collate(examples: Sequence[Example], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (B, 1, D, H, W), glands (B, 1, D, H, W), landmarks (B, L, 3), visible (B, L)."""

    def stack(arrays: list[npt.NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(device)

    return (
        stack([e.image for e in examples])[:, None],
        stack([e.gland for e in examples])[:, None],
        stack([e.landmarks for e in examples]),
        stack([e.visible for e in examples]),
    )


def _start_weights(config: TrainingConfig) -> dict[str, Tensor]:
    """The weights that fine-tuning begins with.

    Raises InputError where they are missing or those of another network.
    """
    bundle = load_bundle(Path(config.start or ""))
    if bundle.modality != config.modality or bundle.metadata["network"] != config.network:
        raise InputError(f"The network “{bundle.name}” cannot be trained on as this {config.modality} network.")
    return bundle.network.state_dict()


def _pool(workers: int) -> ProcessPoolExecutor:
    # One thread each, as in a run without workers; spawned, since torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)


def _begin_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A training that is killed must not leave its workers behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
