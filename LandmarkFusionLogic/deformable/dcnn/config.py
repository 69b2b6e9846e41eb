"""How a network of DCNN-Match is trained: all that decides the result, in numbers. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.simulation.seeds import TRAINING

SIDES = 16
"""Every side of a patch is a multiple of this: the network halves it four times."""


@dataclass(frozen=True)
class MatchConfig:
    """``variant`` as in `matching.VARIANTS`; ``patch`` along i, j, k in voxels of 2 mm.

    Each step sees one new pair of patches and samples up to ``points`` landmarks in each, one a cell of ``cell``
    voxels, none nearer than ``border`` voxels to the patch's faces. The learning rate falls over the last
    ``cooldown`` of the ``steps`` (a share); over the last ``frozen``, batch normalization uses its running means, as
    it does at inference. One simulated anatomy gives ``pairs_per_anatomy`` pairs.
    """

    variant: str = "ce"
    width: int = 8
    patch: tuple[int, int, int] = (64, 64, 48)
    points: int = 256
    cell: int = 4
    border: int = 6
    steps: int = 3000
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    cooldown: float = 0.4
    frozen: float = 0.2
    pairs_per_anatomy: int = 24
    mixed_precision: bool = True
    first_seed: int = TRAINING.start

    def check(self) -> None:
        """Raise InputError for values that cannot be trained with."""
        if self.width < 1 or self.steps < 1 or self.points < 1 or self.cell < 1 or self.pairs_per_anatomy < 1:
            raise InputError("Width, steps, points, cell and pairs per anatomy must be 1 or more.")
        if len(self.patch) != 3 or any(n < SIDES or n % SIDES for n in self.patch):
            raise InputError(f"Each side of a patch must be a multiple of {SIDES} voxels, for instance 64x64x48.")
        if not 0 <= self.border < min(self.patch) / 2 - self.cell:
            raise InputError("The border leaves nothing of the patch; take a smaller border or a larger patch.")
        if max(self.patch) > LARGEST_SIDE:
            raise InputError(
                f"A patch may have {LARGEST_SIDE} voxels a side at most: simulated anatomy is not larger."
            )
        if self.first_seed not in TRAINING:
            raise InputError("Training uses its own seeds only; choose a first seed of 10000000 or more.")

    @property
    def size(self) -> tuple[int, int, int]:
        """The patch as arrays have it: k, j, i."""
        i, j, k = self.patch
        return k, j, i

    def rate(self, step: int) -> float:
        """The learning rate of ``step``: 50 steps of warming up, then constant, then falling to a fiftieth."""
        start = (1 - self.cooldown) * self.steps
        left = min(1.0, (self.steps - step) / max(self.steps - start, 1e-9))
        return self.learning_rate * min(1.0, (step + 1) / 50) * max(left, 0.02)


LARGEST_SIDE = 128

PRESETS = {
    "small": MatchConfig(),
    # K, patch, width, rate and decay are the paper's; cell and border those of the authors' 2D code.
    "paper": MatchConfig(
        width=64, patch=(128, 128, 48), points=512, cell=8, border=10, steps=100_000, learning_rate=1e-4
    ),
}


def parse_patch(text: str) -> tuple[int, int, int]:
    """``64x64x48`` as numbers along i, j, k. Raises InputError."""
    try:
        i, j, k = (int(part) for part in text.lower().replace("×", "x").split("x"))
    except ValueError as error:
        raise InputError(f"“{text}” is no patch size; write it as 64x64x48.") from error
    return i, j, k


def preset_config(name: str, **changes: object) -> MatchConfig:
    """The preset ``name`` with ``changes`` that are not None. Raises InputError."""
    if name not in PRESETS:
        raise InputError(f"There is no preset “{name}”; choose from {', '.join(PRESETS)}.")
    given = {key: value for key, value in changes.items() if value is not None}
    config = replace(PRESETS[name], **given)  # type: ignore[arg-type]
    config.check()
    return config
