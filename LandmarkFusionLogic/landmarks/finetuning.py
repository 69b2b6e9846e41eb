"""A network learns from a user's own corrected cases, and is kept only where cross-validation finds it better.

The cases are parted into folds by patient. For each fold the network is fine-tuned on the other folds, beginning with
the old weights and rehearsing simulated cases, and the complete detection is run on the fold with the old and the new
network. Then all cases together give the network that is kept.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from LandmarkFusionLogic.datasets.cases import ImageCase
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.augmentation import CROP, WHOLE, Augmentation
from LandmarkFusionLogic.landmarks.bundle import METADATA, load_bundle
from LandmarkFusionLogic.landmarks.detection import detect_landmarks
from LandmarkFusionLogic.landmarks.export import export_run
from LandmarkFusionLogic.landmarks.trainer import Trainer
from LandmarkFusionLogic.landmarks.training import CHECKPOINT
from LandmarkFusionLogic.landmarks.trainingconfig import TrainingConfig, read_cases
from LandmarkFusionLogic.points import LANDMARK_NAMES, FloatArray
from LandmarkFusionLogic.volume import Volume
from LandmarkFusionLogic.workfolder import replacing

Report = Callable[[float, str], None]

FINE = "fine"
FIRST_SEED = 80_000_000
MIN_PATIENTS = 3
"""Fewer cannot be parted into folds that say anything."""
MAX_DICE_LOSS = 0.02
"""A network that finds the landmarks better but the gland worse by more than this is not better."""


@dataclass(frozen=True)
class Scores:
    """Errors (N, L) in mm, NaN where the truth is unknown, and Dice (N,) of the gland, NaN likewise."""

    errors: FloatArray
    dice: FloatArray

    @property
    def mre(self) -> float:
        """Mean radial error over all known landmarks, mm; NaN where none is known."""
        errors = self.errors[np.isfinite(self.errors)]
        return float(errors.mean()) if errors.size else float("nan")

    @property
    def mean_dice(self) -> float:
        """Mean over the cases with a mask; NaN where there is none."""
        dice = self.dice[np.isfinite(self.dice)]
        return float(dice.mean()) if dice.size else float("nan")


@dataclass(frozen=True)
class Outcome:
    """What fine-tuning came to: the same cases with the old network and with new ones that have never seen them."""

    modality: str
    cases: int
    folds: int
    steps: int
    old: Scores
    new: Scores
    seconds: float

    @property
    def better(self) -> bool:
        """Whether the new network is to be kept: closer to the landmarks, and no worse at the gland."""
        if np.isfinite(self.old.mre):
            worse_gland = self.new.mean_dice < self.old.mean_dice - MAX_DICE_LOSS  # NaN compares as not worse
            return bool(self.new.mre < self.old.mre and not worse_gland)
        return bool(self.new.mean_dice > self.old.mean_dice)

    def text(self) -> str:
        """Old against new, a line a landmark."""
        lines = [
            (
                f"{self.cases} {self.modality.upper()} cases, cross-validation in {self.folds} folds by patient, "
                f"{self.steps} steps each; radial error in mm, mean / median"
            ),
            f"{'':<18}{'cases':>6}{'old':>16}{'new':>16}",
        ]
        for row, name in enumerate((*LANDMARK_NAMES, "all landmarks")):
            old, new = (
                (scores.errors if row == len(LANDMARK_NAMES) else scores.errors[:, row])
                for scores in (self.old, self.new)
            )
            count = int(np.isfinite(old).sum())
            if count:
                lines.append(f"{name:<18}{count:>6}{_pair(old):>16}{_pair(new):>16}")
        if np.isfinite(self.old.mean_dice):
            lines.append(
                f"{'gland Dice':<18}{int(np.isfinite(self.old.dice).sum()):>6}{self.old.mean_dice:>16.2f}"
                f"{self.new.mean_dice:>16.2f}"
            )
        return "\n".join(lines)


def fine_tune(
    cases: Path,
    modality: str,
    base: Path,
    out: Path,
    steps: int = 250,
    folds: int = 3,
    report: Report = lambda fraction, text: None,
    mixed_precision: bool = False,
) -> Outcome:
    """Fine-tune the network in folder ``base`` on the cases of ``modality`` in folder ``cases``.

    Where cross-validation finds it better, the network of all cases is written to the folder ``out``; else nothing is
    written. ``steps`` bounds each training: one for each fold and one for all, for each stage of the network.

    Raises InputError for cases or networks that cannot be used, and where there are too few patients.
    """
    started = time.monotonic()
    everything = read_cases(cases, modality)
    patients = sorted({case.patient for case in everything})
    if len(patients) < MIN_PATIENTS:
        raise InputError(
            f"Fine-tuning needs {modality.upper()} cases of at least {MIN_PATIENTS} patients; "
            f"“{cases.name}” holds {len(patients)}."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"“{out.name}” is in use already; choose a new folder for the network.")
    _check_unseen(load_bundle(base).metadata, {case.name for case in everything})
    folds = min(folds, len(patients))
    stages = [WHOLE] + ([CROP] if (base / FINE / METADATA).exists() else [])
    clock = _Clock(report, (folds + 1) * len(stages) * steps)
    settings = _Settings(cases, modality, base, steps, mixed_precision)
    old, new = [], []
    with tempfile.TemporaryDirectory(prefix="fine-tune-") as temporary:
        for fold in range(folds):
            left_out = tuple(patients[fold::folds])
            held_out = [case for case in everything if case.patient in left_out]
            folder = Path(temporary) / f"{modality}-fold-{fold}"
            _train(settings, stages, left_out, folder, clock, f"Fold {fold + 1} of {folds}")
            old.append(score(held_out, base))
            new.append(score(held_out, folder))
        outcome = Outcome(
            modality, len(everything), folds, steps, _joined(old), _joined(new), time.monotonic() - started
        )
        if outcome.better:
            folder = Path(temporary) / out.name
            _train(settings, stages, (), folder, clock, "All cases")
            _add_evaluation(folder, outcome)
            _install(folder, out)
    report(1.0, "Done")
    return replace(outcome, seconds=time.monotonic() - started)


def _check_unseen(metadata: Mapping[str, Any], names: set[str]) -> None:
    """Cross-validation says nothing where the network to begin with has learned from the cases already."""
    seen = sorted(names & set(metadata.get("training", {}).get("real_cases", [])))
    if seen:
        title = metadata.get("title", metadata["name"])
        raise InputError(
            f"The network “{title}” has learned from these cases already ({seen[0]}); begin with one that has not, "
            "such as Simulation only."
        )


def score(cases: Sequence[ImageCase], model: Path) -> Scores:
    """Errors and Dice of the complete detection with the network in folder ``model`` on ``cases``."""
    errors = np.full((len(cases), len(LANDMARK_NAMES)), np.nan)
    dice = np.full(len(cases), np.nan)
    for row, case in enumerate(cases):
        found = detect_landmarks(case.image, case.modality, "cpu", model)
        positions = {point.name: point.position for point in found.landmarks}
        for column, name in enumerate(LANDMARK_NAMES):
            if name in case.positions and name in positions:
                errors[row, column] = np.linalg.norm(positions[name] - case.positions[name])
        if case.gland is not None:
            # A gland that is not found counts as nothing, not as unknown.
            dice[row] = 0.0 if found.gland is None else gland_dice(found.gland.mask(), case.gland)
    return Scores(errors, dice)


def gland_dice(found: Volume, true: Volume) -> float:
    """Dice of two masks (0 outside) on different grids, on the grid of ``true``."""
    reference = np.asarray(true.array) > 0
    index = np.indices(reference.shape).reshape(3, -1)[::-1]
    to_found = np.linalg.inv(found.ijk_to_ras) @ true.ijk_to_ras
    source = (to_found[:3, :3] @ index + to_found[:3, 3:])[::-1]
    values = map_coordinates(np.asarray(found.array, dtype=np.float32), source, order=1, mode="constant")
    mask = (values > 0.5).reshape(reference.shape)
    return 2 * float((mask & reference).sum()) / max(int(mask.sum() + reference.sum()), 1)


@dataclass(frozen=True)
class _Settings:
    cases: Path
    modality: str
    base: Path
    steps: int
    mixed_precision: bool


class _Clock:
    """Reports the share done and how many minutes are left, from the steps so far."""

    def __init__(self, report: Report, steps: int) -> None:
        self._report, self._steps, self._done = report, steps, 0
        self._started = time.monotonic()

    def tick(self, text: str) -> None:
        self._done += 1
        left = (time.monotonic() - self._started) / self._done * (self._steps - self._done) / 60
        minutes = "less than a minute" if left < 1 else f"about {left:.0f} min"
        self._report(0.98 * self._done / self._steps, f"{text}: {minutes} left")


def _train(
    settings: _Settings, stages: Sequence[str], left_out: tuple[str, ...], folder: Path, clock: _Clock, text: str
) -> None:
    """One network of all ``stages`` into ``folder``, trained without the patients in ``left_out``."""
    for stage in stages:
        base = settings.base / FINE if stage == CROP else settings.base
        target = folder / FINE if stage == CROP else folder
        bundle = load_bundle(base)
        config = TrainingConfig(
            settings.modality,
            stage=stage,
            network=bundle.metadata["network"],
            grid=bundle.grid,
            preprocessing=bundle.preprocessing,
            replay_after=0,
            learning_rate=8e-4,
            cooldown_start=0,
            cooldown_steps=settings.steps,
            average=0.98,
            mixed_precision=settings.mixed_precision,
            first_seed=FIRST_SEED,
            render_spacing_mm=1.5 if stage == CROP else 2.0,
            augmentation=Augmentation(shift_mm=12.0 if stage == CROP else 10.0),
            start=str(base),
            cases=str(settings.cases),
            leave_out=left_out,
        )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            trainer = Trainer(config)
            while not config.finished(trainer.steps):
                trainer.step()
                clock.tick(text)
        finally:
            torch.set_num_threads(threads)
        target.mkdir(parents=True, exist_ok=True)
        trainer.save(target / CHECKPOINT)
        export_run(target, target, bundle.version)
        (target / CHECKPOINT).unlink()
        _inherit(bundle.metadata, target / METADATA)


def _inherit(base: Mapping[str, Any], path: Path) -> None:
    """The confidence of the network it began with, until its own has been measured, and what that had seen."""
    metadata = json.loads(path.read_text(encoding="utf-8"))
    for key in ("calibration", "discrepancy_mm"):
        if key in base:
            metadata[key] = base[key]
    before = base.get("training", {}).get("real_cases", [])
    metadata["training"]["real_cases"] = [*before, *metadata["training"]["real_cases"]]
    if base.get("kind") == "research" or base.get("research"):
        metadata["research"] = True
        metadata["title"] += ", from research weights"
        metadata["caution"] += " It began with research weights: research use only."
        metadata["training"]["data"] += "; begun with research weights (mrus-27, patients of µ-RegPro, research only)"
        metadata["licence"] += "; begun with research weights: research use only"
    path.write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _joined(parts: Sequence[Scores]) -> Scores:
    return Scores(np.concatenate([part.errors for part in parts]), np.concatenate([part.dice for part in parts]))


def _add_evaluation(folder: Path, outcome: Outcome) -> None:
    path = folder / METADATA
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["evaluation"] = {
        "method": f"cross-validation in {outcome.folds} folds by patient",
        "unit": "radial error in mm, mean; Dice of the gland",
        "old": {"mre": known(outcome.old.mre), "dice": known(outcome.old.mean_dice)},
        "new": {"mre": known(outcome.new.mre), "dice": known(outcome.new.mean_dice)},
    }
    path.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def known(value: float) -> float | None:
    """``value`` to three digits, None where it is NaN: as JSON wants it."""
    return round(value, 3) if np.isfinite(value) else None


def _install(folder: Path, out: Path) -> None:
    """``folder`` becomes ``out``, whole or not at all."""
    with replacing(out) as target:
        for source in sorted(path for path in folder.rglob("*") if path.is_file()):
            copy = target / source.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())


def _pair(errors: FloatArray) -> str:
    return f"{np.nanmean(errors):.1f} / {np.nanmedian(errors):.1f}"
