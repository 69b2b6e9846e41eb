"""What decides the weights of a landmark network besides the code, and the batches that follow from it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from LandmarkFusionLogic.datasets.cases import ImageCase
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jsondata import from_json
from LandmarkFusionLogic.landmarks.augmentation import CROP, WHOLE, Augmentation, augmented, gland_centre
from LandmarkFusionLogic.landmarks.losses import LossWeights
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing
from LandmarkFusionLogic.landmarks.trainingdata import CROP_GRID, GRIDS, Example, example_of, make_example
from LandmarkFusionLogic.simulation.case import simulate_image
from LandmarkFusionLogic.simulation.conditions import draw_condition
from LandmarkFusionLogic.simulation.seeds import TRAINING


@dataclass(frozen=True)
class TrainingConfig:
    """The same configuration and steps give the same weights.

    ``stage`` is "whole" for a network that sees the whole volume, "crop" for one that sees the gland's surroundings.
    ``average`` is the decay of the running mean of the weights, which is what is evaluated and shipped. The learning
    rate falls as 1 / sqrt(1 + step / ``settle_steps``), so that no end needs to be known beforehand. Each
    step brings ``batch`` new simulated cases, a share ``conditions`` of them with one of the simulator's conditions,
    and those of ``replay_after`` steps before mirrored (0: none). With ``augmentation`` every example is posed at
    random. To finish a run, let the rate fall to zero over ``cooldown_steps`` from step ``cooldown_start``.

    Fine-tuning: ``start`` is the folder of a network to begin with, ``cases`` a folder of cases (see
    `datasets.manifest`) or that of mrus-27, without the names or patients in ``leave_out``; each step brings
    ``cases_batch`` of them.
    """

    modality: str
    stage: str = WHOLE
    network: dict[str, Any] = field(default_factory=lambda: {"landmarks": 3, "widths": [8, 32, 64, 96]})
    grid: InputGrid | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    loss: LossWeights = field(default_factory=LossWeights)
    batch: int = 2
    replay_after: int = 100
    learning_rate: float = 2e-3
    settle_steps: int = 2000
    cooldown_start: int | None = None
    cooldown_steps: int = 1000
    average: float = 0.998
    mixed_precision: bool = False
    first_seed: int = TRAINING.start
    render_spacing_mm: float = 2.0
    conditions: float = 0.0
    augmentation: Augmentation | None = None
    start: str | None = None
    cases: str | None = None
    cases_batch: int = 2
    leave_out: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises InputError for a configuration that cannot be trained."""
        if self.modality not in GRIDS:
            raise InputError(f"The modality is “{self.modality}”; give mr or us.")
        if self.stage not in (WHOLE, CROP):
            raise InputError(f"The stage is “{self.stage}”; give whole or crop.")
        if self.first_seed not in TRAINING:
            raise InputError(f"Training seeds begin at {TRAINING.start}, so that no test case is trained on.")
        if self.batch < 1 and not (self.cases and self.cases_batch >= 1):
            raise InputError("Nothing to learn from: give simulated cases a step (batch) or a folder of cases.")

    def rate(self, step: int) -> float:
        """Learning rate at ``step``."""
        rate = self.learning_rate / math.sqrt(1 + step / self.settle_steps)
        if self.cooldown_start is None:
            return rate
        return rate * min(1.0, max(0.0, 1 - (step - self.cooldown_start) / self.cooldown_steps))

    def finished(self, step: int) -> bool:
        """Whether the rate has fallen to zero at ``step``."""
        return self.cooldown_start is not None and step >= self.cooldown_start + self.cooldown_steps

    @property
    def input_grid(self) -> InputGrid:
        """The stage's and modality's grid unless another was given."""
        return self.grid or (CROP_GRID if self.stage == CROP else GRIDS[self.modality])


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


def simulated_examples(config: TrainingConfig, step: int) -> list[Example]:
    """The simulated cases that ``step`` brings: seeds that no other step brings."""
    first = config.first_seed + step * config.batch
    return [simulated_example_of(config, seed) for seed in range(first, first + config.batch)]


def simulated_example_of(config: TrainingConfig, seed: int) -> Example:
    """The simulated case of ``seed`` as ``config`` wants it seen."""
    condition = draw_condition(seed, config.modality, config.conditions) if config.conditions else None
    simulated = simulate_image(seed, config.modality, config.render_spacing_mm, condition=condition)
    name = f"seed {seed}"
    if config.augmentation is None and config.stage == WHOLE:
        return example_of(simulated, config.input_grid, config.preprocessing, name)
    positions = {landmark.name: landmark.position for landmark in simulated.landmarks}
    case = ImageCase(name, name, config.modality, simulated.image, simulated.gland, positions)
    if config.augmentation is None:
        return _as_seen(config, case)
    generator = np.random.default_rng([seed, 0])
    return augmented(case, config.input_grid, config.preprocessing, config.augmentation, generator, config.stage)


def case_examples(config: TrainingConfig, step: int) -> list[Example]:
    """The real cases that ``step`` brings: each case once in turn, in an order that changes with every round."""
    cases = training_cases(config)
    if not cases or config.cases_batch < 1:
        return []
    examples = []
    for draw in range(step * config.cases_batch, (step + 1) * config.cases_batch):
        turn, place = divmod(draw, len(cases))
        case = cases[np.random.default_rng([config.first_seed, 1, turn]).permutation(len(cases))[place]]
        generator = np.random.default_rng([config.first_seed, 2, draw])
        ranges = config.augmentation or Augmentation()
        examples.append(augmented(case, config.input_grid, config.preprocessing, ranges, generator, config.stage))
    return examples


def training_cases(config: TrainingConfig) -> list[ImageCase]:
    """The cases of ``config.cases`` that may be trained on."""
    if config.cases is None:
        return []
    return [case for case in _cases(config.cases, config.modality) if not _left_out(config, case)]


def held_out_cases(config: TrainingConfig) -> list[ImageCase]:
    """The cases of ``config.cases`` that are left out of the training."""
    if config.cases is None:
        return []
    return [case for case in _cases(config.cases, config.modality) if _left_out(config, case)]


def held_out_examples(config: TrainingConfig) -> list[Example]:
    """`held_out_cases` as the network sees them, unchanged; cropped around the true gland where it sees a crop."""
    return [_as_seen(config, case) for case in held_out_cases(config)]


def _left_out(config: TrainingConfig, case: ImageCase) -> bool:
    return case.name in config.leave_out or case.patient in config.leave_out


def _as_seen(config: TrainingConfig, case: ImageCase) -> Example:
    centre = None if config.stage == WHOLE else gland_centre(case)
    return make_example(
        case.image, case.gland, case.positions, config.input_grid, config.preprocessing, case.name, centre
    )


@lru_cache(maxsize=4)
def _cases(folder: str, modality: str) -> Sequence[ImageCase]:
    return read_cases(Path(folder), modality)


def read_cases(folder: Path, modality: str) -> list[ImageCase]:
    """The images of ``modality`` in a folder of cases: one with a manifest, or one that holds mrus-27.

    Raises InputError where it is neither.
    """
    from LandmarkFusionLogic.datasets import manifest, mrus27

    if (folder / "mrus-27").is_dir():
        return mrus27.image_cases(folder, modality)
    return manifest.image_cases(folder, modality)
