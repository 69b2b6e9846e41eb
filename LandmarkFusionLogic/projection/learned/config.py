"""How the networks that align CT and X-ray are built and trained: all that decides the result. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.simulation.seeds import TRAINING

RTPI, FINE, DEEP_REG = "rtpi", "fine", "deep-reg"
STAGES = (RTPI, FINE, DEEP_REG)

SDD_MM = 1011.7
PIXEL_MM = 0.19959
DETECTOR_PIXELS = 1024
"""The paper's C-arm, a Perlove PLX118F."""
EXTENT_MM = 200.0
"""Side of the simulated CT, and depth of what the pose network sees of one."""

SHARE = 0.3
"""The authors' code draws poses with this share of the deviations that the paper names."""
ROTATION_DEGREES = 20.0
TRANSLATION_MM = (30.0, 15.0, 100.0)
"""The paper's deviations along our tx, ty, tz; its first, 100, is the depth."""


@dataclass(frozen=True)
class ProjectionConfig:
    """One training.

    ``pixels``: side of the square image. ``volume``: side of the cube of samples that the pose network sees.
    ``widths``: channels, of the four residual blocks (rtpi) or of the three scales of an encoder; ``stem``: of the
    first layers; ``stem_stride``: of the first of them; ``blocks``: bottlenecks a scale.
    ``composite``: encoders with two branches (CE), else plain; ``embedded``: the loss is confined to the projected
    mask (EL). ``rotation`` (degrees) and ``translation`` (tx, ty, tz, mm): standard deviations of the start about the
    truth; the truth itself is drawn with the paper's, about the reference pose.
    ``optimizer``: sgd, with ``momentum``, as the paper has it, or adam, which needs fewer steps.
    The rate cycles between ``low_rate`` and ``high_rate`` every ``cycle`` steps and falls over the last ``cooldown``
    of the ``steps`` (a share). Over the last ``frozen``, batch normalization uses its running means; where that is
    all of the steps, it only scales and shifts.
    ``alpha``, ``beta``, ``decay``: weights of eq. 5. ``phantom_side``: voxels of a simulated CT, ``pool``: how many of
    them at a time; every ``steps_per_phantom`` steps the oldest is replaced.
    """

    stage: str = RTPI
    preset: str = "small"
    pixels: int = 128
    volume: int = 64
    stem: int = 32
    stem_stride: int = 1
    widths: tuple[int, ...] = (48, 64, 96, 128)
    blocks: int = 1
    composite: bool = True
    embedded: bool = True
    rotation: tuple[float, float, float] = (6.0, 6.0, 6.0)
    translation: tuple[float, float, float] = (9.0, 4.5, 30.0)
    batch: int = 16
    steps: int = 4000
    low_rate: float = 1e-3
    high_rate: float = 1e-2
    cycle: int = 100
    optimizer: str = "sgd"
    momentum: float = 0.9
    cooldown: float = 0.3
    frozen: float = 0.15
    alpha: float = 1.0
    beta: float = 1.0
    decay: float = 0.01
    phantom_side: int = 96
    pool: int = 24
    steps_per_phantom: int = 20
    first_seed: int = TRAINING.start + 500_000

    def check(self) -> None:
        """Raise InputError for values that cannot be trained with."""
        if self.stage not in STAGES:
            raise InputError(f"There is no stage “{self.stage}”; choose from {', '.join(STAGES)}.")
        if min(self.pixels, self.volume) < 32 or self.pixels % 32 or self.volume % 32:
            raise InputError("The image's and the volume's side must be multiples of 32.")
        if len(self.widths) != (4 if self.stage == RTPI else 3):
            raise InputError("Give four widths for rtpi and three for the encoders.")
        if min(self.steps, self.batch, self.pool, self.steps_per_phantom, self.cycle, *self.widths, self.stem) < 1:
            raise InputError("Steps, batch, widths and numbers of phantoms must be 1 or more.")
        if self.optimizer not in ("sgd", "adam"):
            raise InputError("The optimizer is sgd or adam.")
        if self.first_seed not in TRAINING:
            raise InputError("Training uses its own seeds only; choose a first seed of 10000000 or more.")

    @property
    def geometry(self) -> Geometry:
        """The detector that the networks see, whatever the X-ray's own."""
        spacing = PIXEL_MM * DETECTOR_PIXELS / self.pixels
        return Geometry(SDD_MM, self.pixels, self.pixels, (spacing, spacing))

    @property
    def box(self) -> tuple[float, ...]:
        """(6,) degrees and mm: the pose network answers nothing beyond, either way."""
        return (ROTATION_DEGREES,) * 3 + TRANSLATION_MM

    @property
    def truth(self) -> tuple[float, ...]:
        """(6,) degrees and mm: standard deviations of the true pose about the reference."""
        return tuple(SHARE * value for value in self.box)

    def rate(self, step: int) -> float:
        """The learning rate of ``step``: a triangle every ``cycle`` steps, then falling to a hundredth."""
        phase = (step % self.cycle) / self.cycle
        share = 1 - abs(2 * phase - 1)
        start = (1 - self.cooldown) * self.steps
        left = min(1.0, (self.steps - step) / max(self.steps - start, 1e-9))
        return (self.low_rate + (self.high_rate - self.low_rate) * share) * max(left, 0.01)


_RTPI = ProjectionConfig(
    pixels=64, volume=32, phantom_side=64, optimizer="adam", low_rate=1e-4, high_rate=1e-3, steps=5000
)
_FINE = ProjectionConfig(
    stage=FINE,
    rotation=(5.0, 5.0, 5.0),
    translation=(6.0, 6.0, 18.0),
    stem=16,
    widths=(24, 48, 96),
    batch=4,
    steps=1000,
)
# Sizes, rates, batches and numbers of steps are the paper's and its code's.
_PAPER = ProjectionConfig(
    preset="paper",
    pixels=256,
    volume=128,
    stem=64,
    widths=(64, 96, 128, 192),
    steps=200_000,
    cooldown=0.0,
    phantom_side=128,
)
_PAPER_FINE = replace(
    _PAPER,
    stage=FINE,
    stem=32,
    stem_stride=2,
    widths=(64, 128, 256),
    blocks=2,
    batch=4,
    low_rate=1e-4,
    high_rate=1e-3,
    rotation=(6.0, 6.0, 6.0),
    translation=(6.0, 6.0, 6.0),
)


def _deep_reg(fine: ProjectionConfig, steps: int) -> ProjectionConfig:
    return replace(fine, stage=DEEP_REG, composite=False, embedded=False, steps=steps)


# Adam and half the resolution bring four times the steps and more of each.
_SMALL_FINE = replace(_FINE, pixels=64, phantom_side=64, optimizer="adam", low_rate=1e-4, high_rate=1e-3, frozen=1.0)

PRESETS: dict[str, dict[str, ProjectionConfig]] = {
    "small": {
        RTPI: _RTPI,
        FINE: replace(_SMALL_FINE, steps=3000),
        DEEP_REG: _deep_reg(_SMALL_FINE, 1500),
    },
    "paper": {RTPI: _PAPER, FINE: _PAPER_FINE, DEEP_REG: _deep_reg(_PAPER_FINE, 200_000)},
}


def preset_config(stage: str, preset: str = "small", **changes: object) -> ProjectionConfig:
    """The preset of ``stage`` with ``changes`` that are not None. Raises InputError."""
    if preset not in PRESETS:
        raise InputError(f"There is no preset “{preset}”; choose from {', '.join(PRESETS)}.")
    if stage not in STAGES:
        raise InputError(f"There is no stage “{stage}”; choose from {', '.join(STAGES)}.")
    given = {key: value for key, value in changes.items() if value is not None}
    config = replace(PRESETS[preset][stage], **given)  # type: ignore[arg-type]
    config.check()
    return config
