"""Training of a landmark network on simulated cases: resumable, and judged on unseen and on real images while it runs.

    python -m LandmarkFusionLogic.landmarks.training --modality mr --out runs/mr --minutes 60

Every batch is made of new cases, each from its own seed, so a run that was ended and continued sees what an unbroken
one sees.
Needs torch, numpy and scipy only.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jsondata import from_json
from LandmarkFusionLogic.landmarks.augmentation import CROP, WHOLE, Augmentation
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.losses import total_loss
from LandmarkFusionLogic.landmarks.network import LandmarkNetwork, dsnt
from LandmarkFusionLogic.landmarks.preprocessing import Preprocessing
from LandmarkFusionLogic.landmarks.trainingconfig import (
    TrainingConfig,
    case_examples,
    held_out_examples,
    simulated_example_of,
    simulated_examples,
    training_cases,
)
from LandmarkFusionLogic.landmarks.trainingdata import (
    CROP_PREPROCESSING,
    GRIDS,
    Example,
    development_examples,
    mean_position_errors,
    radial_errors,
)
from LandmarkFusionLogic.points import LANDMARK_NAMES
from LandmarkFusionLogic.simulation.seeds import TRAINING, VALIDATION

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
"""The checkpoint with the smallest validation error so far."""


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


@dataclass(frozen=True)
class Scores:
    """Errors in mm per landmark, of the network and of always answering the mean position; the gland's mean Dice."""

    errors: npt.NDArray[np.float64]
    baseline: npt.NDArray[np.float64]
    dice: float

    def text(self) -> str:
        """One line for a log: mean/median against the mean position's mean, per landmark."""
        parts = []
        for row, name in enumerate(LANDMARK_NAMES):
            known = self.errors[:, row][np.isfinite(self.errors[:, row])]
            base = self.baseline[:, row][np.isfinite(self.baseline[:, row])]
            if known.size and base.size:
                parts.append(f"{name} {known.mean():.1f}/{np.median(known):.1f} (mean pos. {base.mean():.1f})")
        return "; ".join(parts) + f"; MRE {self.mre:.2f} vs {self.baseline_mre:.2f}; Dice {self.dice:.2f}"

    @property
    def mre(self) -> float:
        """Mean radial error over all known landmarks, mm."""
        return float(np.nanmean(self.errors))

    @property
    def baseline_mre(self) -> float:
        """The same for the mean position."""
        return float(np.nanmean(self.baseline))


def evaluate(network: LandmarkNetwork, examples: Sequence[Example], spacing_mm: float) -> Scores:
    """How well ``network`` does on ``examples``."""
    device = next(network.parameters()).device
    network.eval()
    predicted, dice = [], []
    with torch.inference_mode():
        for example in examples:
            output = network(torch.from_numpy(example.image).to(device)[None, None])
            predicted.append(dsnt(output.heatmaps)[0].cpu().numpy())
            mask = output.gland_logits[0, 0].cpu().numpy() > 0
            true = example.gland > 0.5
            dice.append(2 * float((mask & true).sum()) / max(int(mask.sum() + true.sum()), 1))
    errors = radial_errors(np.stack(predicted), examples, spacing_mm)
    return Scores(errors, mean_position_errors(examples, spacing_mm), float(np.mean(dice)))


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


def read_config(path: Path) -> TrainingConfig:
    """The configuration in a JSON file: the fields of `TrainingConfig` by their names.

    Raises InputError where the file, a field or a value is wrong.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The configuration “{path.name}” cannot be read.") from error
    except ValueError as error:
        raise InputError(f"The configuration “{path.name}” is not valid JSON.") from error
    config = from_json(TrainingConfig, data)
    config.check()
    return config


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Train a landmark network on simulated cases, or on cases of your own."
    )
    parser.add_argument(
        "--config", type=Path, help="JSON file with the fields of TrainingConfig; instead of the options"
    )
    parser.add_argument("--modality", choices=sorted(GRIDS))
    parser.add_argument("--stage", choices=(WHOLE, CROP), default=WHOLE)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint and scores; an old run goes on")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that make the cases meanwhile")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--first-seed", type=int, default=TRAINING.start)
    parser.add_argument("--start", help="folder of a network to begin with")
    parser.add_argument("--augment", action="store_true", help="pose every example at random")
    parser.add_argument("--conditions", type=float, default=0.0, help="share of cases with a cavity, a catheter, …")
    parser.add_argument(
        "--mixed-precision", action="store_true", help="bfloat16 where it is safe: about twice as fast"
    )
    parser.add_argument("--cooldown-start", type=int, help="step from which the learning rate falls to zero")
    parser.add_argument("--cooldown-steps", type=int, default=1000)
    tuning = parser.add_argument_group("fine-tuning on cases of your own, kept only where it is better")
    tuning.add_argument("--fine-tune", type=Path, metavar="CASES", help="folder of cases (cases.json), or of mrus-27")
    tuning.add_argument("--base", help="folder or name of the network to begin with (default: the one that ships)")
    tuning.add_argument("--steps", type=int, default=250, help="steps of each training (default: 250)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.fine_tune is not None:
        _fine_tune(options)
        return 0
    train(
        _config(options) if options.config is None else read_config(options.config),
        options.out,
        options.minutes,
        lambda text: print(text, flush=True),
        device=options.device,
        workers=options.workers,
    )
    return 0


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

    base = network_folder(options.modality, options.base)
    outcome = fine_tune(
        options.fine_tune,
        options.modality,
        base,
        options.out,
        options.steps,
        report=report,
        mixed_precision=options.mixed_precision,
    )
    print(outcome.text())
    print(f"Better: written to {options.out}." if outcome.better else "Not better: nothing was written.")


def _config(options: argparse.Namespace) -> TrainingConfig:
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
        first_seed=options.first_seed,
        mixed_precision=options.mixed_precision,
        cooldown_start=options.cooldown_start,
        cooldown_steps=options.cooldown_steps,
    )


if __name__ == "__main__":
    raise SystemExit(main())
