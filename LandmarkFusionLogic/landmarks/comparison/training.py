"""Training of the ten networks of Table 1 with equal budgets: equal cases, equal augmentation, equal steps.

    landmarkfusion train comparison --out runs/comparison --steps 3000 --export models/comparison

The networks advance in rounds of a few hundred steps each, so that whenever a run is ended all have had about the
same; the next call goes on where it stopped. Needs torch, numpy and scipy only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.comparison.data import GRID, CaseArrays, batch_of, on_grid, prepared
from LandmarkFusionLogic.landmarks.comparison.methods import METHODS, method_loss, method_of, new_network, positions
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid

MODALITIES = ("mr", "us")
ALL = tuple((modality, key) for modality in MODALITIES for key in METHODS)
"""Modality and method of each of the ten networks."""


@dataclass(frozen=True)
class Budget:
    """What all ten have in common, besides their cases: the same budget and method give the same weights.

    Adam at ``learning_rate`` with batches of ``batch``, as in the paper. ``normalize`` adds instance normalization,
    which the paper does not name: without it an MR network with DSNT stood at 13.3 mm on the validation cases after
    800 steps, with it at 10.2 mm, and budgets here are a few thousand steps. Every ``check_every`` steps the
    validation cases are judged, and the best network is kept.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    normalize: bool = True
    batch: int = 4
    learning_rate: float = 1e-4
    check_every: int = 250
    seed: int = 0


class Learner:
    """One network in training, with the best of its past selves by mean radial error on the validation cases.

    The cases may be finer than ``grid``, which the network sees; both cover the same space.
    """

    def __init__(
        self,
        key: str,
        modality: str,
        training: CaseArrays,
        validation: CaseArrays,
        grid: InputGrid,
        budget: Budget,
    ) -> None:
        if modality not in MODALITIES:
            raise InputError(f"The modality is “{modality}”; give mr or us.")
        self.method, self.modality, self.budget = method_of(key), modality, budget
        self.training, self.validation = training, on_grid(validation, grid.shape)
        self.grid = grid
        torch.manual_seed(budget.seed)
        self.network = new_network(key, grid.shape, budget.widths, budget.normalize)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=budget.learning_rate)
        self.steps = 0
        self.seconds = 0.0
        """Processor time spent on steps and checks."""
        self.best: dict[str, Any] = {"mre": float("inf"), "steps": 0, "network": {}}
        self.history: list[list[float]] = []
        """Steps and validation MRE, mm, of each check."""

    @property
    def name(self) -> str:
        """Modality and method, as the folders are called."""
        return f"{self.modality}-{self.method.key}"

    def advance(self, steps: int, until: float = float("inf"), log: Callable[[str], None] = print) -> None:
        """Train to ``steps`` in all, or to the moment ``until`` of `time.monotonic`."""
        while self.steps < steps and time.monotonic() < until:
            began = time.process_time()
            self.step()
            checked = self.steps % self.budget.check_every == 0
            if checked:
                self.check()
            self.seconds += time.process_time() - began
            if checked:
                log(
                    f"{self.name}: step {self.steps}, validation MRE {self.history[-1][1]:.2f} mm, "
                    f"best {self.best['mre']:.2f} at {self.best['steps']}, {self.seconds / 60:.1f} core-minutes"
                )

    def step(self) -> float:
        """One step of Adam; returns the loss before it."""
        batch = batch_of(self.training, self.steps, self.budget.batch, self.budget.seed)
        cases = on_grid(batch, self.grid.shape)
        images, landmarks, visible = (
            torch.from_numpy(part) for part in (cases.images, cases.landmarks, cases.visible)
        )
        self.network.train()
        output = self.network(images[:, None])
        loss = method_loss(self.method, self.modality, output, landmarks, visible, self.grid.spacing_mm)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.steps += 1
        return float(loss.detach())

    def check(self) -> float:
        """Mean radial error on the validation cases, mm; the network is kept if none was better."""
        mre = float(np.nanmean(radial_errors(self, self.validation)))
        self.history.append([self.steps, mre])
        if mre < self.best["mre"]:
            weights = {name: value.clone() for name, value in self.network.state_dict().items()}
            self.best = {"mre": mre, "steps": self.steps, "network": weights}
        return mre

    def save(self, folder: Path) -> None:
        """Write everything to ``folder``, whole or not at all."""
        state = {
            "budget": asdict(self.budget),
            "steps": self.steps,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "history": self.history,
        }
        path = checkpoint_of(folder, self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def load(self, folder: Path) -> bool:
        """Go on where `save` left off; False where nothing was saved.

        Raises InputError where another budget was used.
        """
        path = checkpoint_of(folder, self.name)
        if not path.exists():
            return False
        state = torch.load(path, map_location="cpu", weights_only=True)
        if {**state["budget"], "widths": tuple(state["budget"]["widths"])} != asdict(self.budget):
            raise InputError(f"“{folder.name}” holds a training of {self.name} with another budget; use a new folder.")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.seconds = state["steps"], state["seconds"]
        self.best, self.history = state["best"], state["history"]
        return True


def checkpoint_of(folder: Path, name: str) -> Path:
    """Where the training of the network ``name`` is kept below ``folder``."""
    return folder / name / "checkpoint.pt"


def radial_errors(learner: Learner, cases: CaseArrays) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, L) errors in mm of the network as it is now on ``cases``; NaN where a landmark lies outside the grid."""
    cases = on_grid(cases, learner.grid.shape)
    learner.network.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(cases), 16):
            images = torch.from_numpy(cases.images[start : start + 16])[:, None]
            found.append(positions(learner.method, learner.network(images)).double().numpy())
    errors = np.linalg.norm(np.concatenate(found) - cases.landmarks, axis=-1) * learner.grid.spacing_mm
    return np.where(cases.visible > 0, errors, np.nan)


def train_all(
    out: Path,
    steps: int,
    minutes: float = float("inf"),
    names: Sequence[tuple[str, str]] = ALL,
    budget: Budget | None = None,
    round_steps: int = 500,
    log: Callable[[str], None] = print,
) -> bool:
    """Train the networks ``names`` (modality, method) in folder ``out`` to ``steps`` each, for at most ``minutes``.

    Goes on from what is there. Returns whether all have had their steps. Raises InputError for a bad name, number of
    steps, or a folder that holds trainings with another budget.
    """
    budget = budget or Budget()
    if steps < 1 or steps % budget.check_every:
        raise InputError(f"The number of steps must be a multiple of {budget.check_every}.")
    for _, key in names:
        method_of(key)
    until = time.monotonic() + 60 * minutes
    sets = {modality: prepared(modality, out, log) for modality in dict.fromkeys(modality for modality, _ in names)}
    for target in [*range(round_steps, steps, round_steps), steps]:
        for modality, key in names:
            learner = Learner(key, modality, *sets[modality], GRID, budget)
            learner.load(out)
            while learner.steps < target:
                if time.monotonic() >= until:
                    log(f"time is up at step {learner.steps} of {learner.name}; the next call goes on")
                    return False
                # Saved with every check, so that a kill costs little.
                check = learner.steps - learner.steps % budget.check_every + budget.check_every
                learner.advance(min(check, target), until, log)
                learner.save(out)
    return True
