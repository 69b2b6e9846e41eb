"""Simulated cases for the networks that align CT and X-ray: phantoms, poses, and what the C-arm would show."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, zoom

from LandmarkFusionLogic.projection.attenuation import attenuation
from LandmarkFusionLogic.projection.learned.config import EXTENT_MM, RTPI, ProjectionConfig
from LandmarkFusionLogic.projection.learned.inputs import frustum
from LandmarkFusionLogic.projection.learned.poses import draw_start, draw_truth
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.projection.projector import Projector
from LandmarkFusionLogic.simulation.seeds import VALIDATION
from LandmarkFusionLogic.simulation.spine import make_spine
from LandmarkFusionLogic.simulation.xray import degrade, draw_degradation
from LandmarkFusionLogic.volume import Volume

Image = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

FULL, SPINE, MISMATCH = "full", "spine", "mismatch"
CONTENTS = (FULL, SPINE, MISMATCH)
"""Same CT in both images; vertebrae only in both; X-ray of the whole, CT of the vertebrae only."""
SHARES = (0.55, 0.2, 0.25)
BONE_MU = 0.0248
"""What stands for the mask of the spine where there is none: voxels above 240 HU."""
MASK_SIDE = 48
VALIDATION_CASES = 24
STREAM = 0x534F


@dataclass(frozen=True, eq=False)
class Phantom:
    """Projectors of a simulated CT: whole, its vertebrae (dilated by a voxel), masks of vertebrae and of all bone."""

    full: Projector
    spine: Projector
    vertebrae: Projector
    bone: Projector
    kept: dict[tuple[object, ...], Image] = field(default_factory=dict)
    """Samples that were taken before."""

    @property
    def isocenter(self) -> FloatArray:
        """(3,) RAS mm."""
        return self.full.mu.centre

    def moving(self, content: str) -> Projector:
        """What the CT shows where the case is of ``content``."""
        return self.full if content == FULL else self.spine

    def fixed(self, content: str) -> Projector:
        """What the X-ray shows."""
        return self.spine if content == SPINE else self.full


def make_phantom(seed: int, side: int) -> Phantom:
    """The phantom of ``seed`` with ``side`` voxels along each axis."""
    phantom = make_spine(seed, (side,) * 3, EXTENT_MM / side)
    mu = attenuation(phantom.ct)
    spine = np.where(binary_dilation(phantom.bone.array == 1), mu.array, np.float32(0))
    return Phantom(
        Projector(mu),
        Projector(Volume(spine, mu.ijk_to_ras)),
        mask_projector(Volume(phantom.bone.array == 1, mu.ijk_to_ras)),
        mask_projector(bone_mask(mu)),
    )


def bone_mask(mu: Volume) -> Volume:
    """Where ``mu`` is as dense as bone."""
    return Volume(np.asarray(mu.array, dtype=np.float32) > BONE_MU, mu.ijk_to_ras)


def mask_projector(mask: Volume) -> Projector:
    """A projector of ``mask`` on a coarse grid: the mask is asked for on the grid of the features only."""
    values = np.asarray(mask.array, dtype=np.float32)
    factors = [min(1.0, MASK_SIDE / n) for n in values.shape]
    coarse = zoom(values, factors, order=1, mode="nearest", grid_mode=True)
    scale = np.array(values.shape[::-1]) / np.array(coarse.shape[::-1])
    to_fine = np.diag([*scale, 1.0])
    to_fine[:3, 3] = (scale - 1) / 2
    return Projector(Volume(coarse, mask.ijk_to_ras @ to_fine))


def projected_mask(projector: Projector, config: ProjectionConfig, matrix: FloatArray) -> Image:
    """M' of eq. 6, (pixels / 4, pixels / 4): 1 where a ray meets more than a millimeter of the mask, else 0."""
    side = feature_side(config)
    return np.asarray(projector.project(config.geometry.resized(side, side), matrix) > 1.0, dtype=np.float32)


def feature_side(config: ProjectionConfig) -> int:
    """Side of the finest embedded features."""
    return config.pixels // (4 * config.stem_stride)


@dataclass(frozen=True, eq=False)
class Case:
    """One X-ray and the CT that it is to be aligned with. ``xray`` (pixels, pixels) line integrals, degraded."""

    phantom: Phantom
    content: str
    truth: Pose
    start: Pose
    config: ProjectionConfig
    degradation_seed: int
    by_bone: bool

    @cached_property
    def truth_matrix(self) -> FloatArray:
        """`ct_to_camera` of the truth."""
        return ct_to_camera(self.truth, self.phantom.isocenter, self.config.geometry)

    @cached_property
    def start_matrix(self) -> FloatArray:
        """`ct_to_camera` of the start."""
        return ct_to_camera(self.start, self.phantom.isocenter, self.config.geometry)

    @cached_property
    def clean(self) -> Image:
        """The X-ray before it is degraded."""
        return self.phantom.fixed(self.content).project(self.config.geometry, self.truth_matrix)

    @cached_property
    def xray(self) -> Image:
        """The X-ray."""
        if self.degradation_seed < 0:
            return self.clean
        draw = np.random.default_rng([self.degradation_seed, STREAM])
        settings = draw_degradation(self.degradation_seed, float(draw.uniform(0, 1)))
        return degrade(self.clean, self.degradation_seed, settings)

    @property
    def mask(self) -> Projector:
        """The mask that M' is projected from: of the vertebrae, or of all that is dense."""
        return self.phantom.bone if self.by_bone else self.phantom.vertebrae

    def samples(self) -> Image:
        """What the pose network sees of the CT, at the reference pose."""
        config, kept = self.config, self.phantom.kept
        key = self.content == FULL, config.pixels, config.volume
        if key not in kept:
            reference = ct_to_camera(Pose(), self.phantom.isocenter, config.geometry)
            kept[key] = frustum(self.phantom.moving(self.content).mu, reference, config.geometry, config.volume)
        return kept[key]


class Cases:
    """The cases of a training: step and place in the batch give one, always the same."""

    def __init__(self, config: ProjectionConfig) -> None:
        self.config = config
        self._phantom = lru_cache(maxsize=config.pool + 4)(lambda seed: make_phantom(seed, config.phantom_side))

    def case(self, step: int, place: int) -> Case:
        """Case ``place`` of the batch of ``step``."""
        config = self.config
        draw = np.random.default_rng([config.first_seed, STREAM, step, place])
        # The oldest phantom leaves, a new one comes, every few steps.
        seed = config.first_seed + step // config.steps_per_phantom + int(draw.integers(config.pool))
        return draw_case(self._phantom(seed), config, draw)

    def batch(self, step: int) -> list[Case]:
        """The batch of ``step``."""
        return [self.case(step, place) for place in range(self.config.batch)]


def draw_case(phantom: Phantom, config: ProjectionConfig, draw: np.random.Generator) -> Case:
    """A case of ``phantom`` with poses, content and degradation at random."""
    truth = draw_truth(config, draw)
    start = draw_truth(config, draw) if config.stage == RTPI else draw_start(config, truth, draw)
    content = str(draw.choice(CONTENTS, p=SHARES))
    degraded = int(draw.integers(1 << 30)) if draw.random() < 0.6 else -1
    return Case(phantom, content, truth, start, config, degraded, bool(draw.random() < 0.5))


def validation_cases(config: ProjectionConfig, count: int = VALIDATION_CASES) -> list[Case]:
    """Cases of phantoms that no training sees, three of each."""
    phantoms = [make_phantom(seed, config.phantom_side) for seed in VALIDATION[: -(-count // 3)]]
    draws = [np.random.default_rng([VALIDATION.start, STREAM, number]) for number in range(count)]
    return [draw_case(phantoms[number // 3], config, draw) for number, draw in enumerate(draws)]
