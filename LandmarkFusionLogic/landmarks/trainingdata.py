"""Examples for training and evaluation, as a network sees them: simulated images, development pairs of mrus-27."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing, network_input, resample
from LandmarkFusionLogic.points import LANDMARK_NAMES
from LandmarkFusionLogic.simulation.case import SimulatedImage, simulate_image
from LandmarkFusionLogic.volume import Volume

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

GRIDS = {"mr": InputGrid(3.0, (40, 40, 40)), "us": InputGrid(3.0, (32, 32, 32))}
"""What each modality's first network sees: 120 mm around an MR's middle, 96 mm around an ultrasound's."""
CROP_GRID = InputGrid(2.0, (40, 40, 40))
"""What the second network sees of either: 80 mm around the gland that the first one, or a click, has found."""
CROP_PREPROCESSING = Preprocessing(lowpass_sigma_mm=1.3)
"""A finer grid needs less filtering."""


@dataclass(frozen=True)
class Example:
    """One image as the network sees it, with the truth on the same grid.

    ``image`` (K, J, I) float32; ``gland`` (K, J, I) float32 0..1; ``landmarks`` (L, 3) voxels k, j, i in the order of
    `LANDMARK_NAMES`; ``visible`` (L,) 1 where the truth is known and inside the grid, else 0. Without
    ``gland_known``, ``gland`` is empty and says nothing.
    """

    image: Float32Array
    gland: Float32Array
    landmarks: Float32Array
    visible: Float32Array
    name: str = field(default="", compare=False)
    gland_known: bool = True

    def mirrored(self) -> Example:
        """Left and right swapped."""
        landmarks = self.landmarks.copy()
        landmarks[:, 2] = self.image.shape[2] - 1 - landmarks[:, 2]
        return Example(
            np.ascontiguousarray(self.image[:, :, ::-1]),
            np.ascontiguousarray(self.gland[:, :, ::-1]),
            landmarks,
            self.visible,
            f"{self.name} mirrored",
            self.gland_known,
        )


def simulated_example(
    seed: int, modality: str, grid: InputGrid, settings: Preprocessing, spacing_mm: float = 2.0
) -> Example:
    """The image of ``seed`` in ``modality`` (mr, us), rendered at ``spacing_mm`` and preprocessed as in detection."""
    simulated = simulate_image(seed, modality, spacing_mm)
    return example_of(simulated, grid, settings, f"seed {seed}")


def example_of(simulated: SimulatedImage, grid: InputGrid, settings: Preprocessing, name: str = "") -> Example:
    """A simulated image at any resolution as an example."""
    positions = {landmark.name: landmark.position for landmark in simulated.landmarks}
    return make_example(simulated.image, simulated.gland, positions, grid, settings, name)


def make_example(
    image: Volume,
    gland: Volume | None,
    positions: Mapping[str, FloatArray],
    grid: InputGrid,
    settings: Preprocessing,
    name: str = "",
    centre: FloatArray | None = None,
) -> Example:
    """An image with its gland mask and its known landmarks (RAS mm) on the network's grid.

    The grid lies around ``centre`` (3,), RAS mm, by default the volume's.
    """
    seen = network_input(image, grid, settings, centre)
    mask = np.zeros(grid.shape, dtype=np.float32)
    if gland is not None:
        values, inside = resample(gland, seen.ijk_to_ras, grid.shape, lowpass_sigma_mm=1.0)
        mask = np.where(inside, values, 0).astype(np.float32)
    to_index = np.linalg.inv(seen.ijk_to_ras)
    landmarks = np.zeros((len(LANDMARK_NAMES), 3), dtype=np.float32)
    visible = np.zeros(len(LANDMARK_NAMES), dtype=np.float32)
    for row, landmark in enumerate(LANDMARK_NAMES):
        if landmark in positions:
            ijk = to_index[:3, :3] @ positions[landmark] + to_index[:3, 3]
            landmarks[row] = ijk[::-1]
            visible[row] = np.all((landmarks[row] >= -0.5) & (landmarks[row] <= np.array(grid.shape) - 0.5))
    return Example(seen.array, mask, landmarks, visible, name, gland is not None)


def development_examples(data: Path, modality: str, grid: InputGrid, settings: Preprocessing) -> list[Example]:
    """The pairs of mrus-27 whose number is divisible by 3 (the others are for final tables), in ``modality``.

    ``data`` is the folder that LANDMARKFUSION_DATA names. Apex and bladder neck are the experts', where they set them;
    the posterior median follows from both and the expert's gland mask (see `mrus27.posterior_of_mask`).
    """
    from LandmarkFusionLogic.datasets import mrus27

    return [
        make_example(case.image, case.gland, case.positions, grid, settings, case.name)
        for case in mrus27.image_cases(data, modality)
        if mrus27.is_development(Path(case.name))
    ]


def radial_errors(predicted: Float32Array, examples: Sequence[Example], spacing_mm: float) -> FloatArray:
    """(N, L) distances in mm between ``predicted`` (N, L, 3) voxels and the truth; NaN where it is unknown."""
    true = np.stack([example.landmarks for example in examples])
    visible = np.stack([example.visible for example in examples]) > 0
    errors = np.linalg.norm((predicted - true).astype(np.float64), axis=-1) * spacing_mm
    return np.where(visible, errors, np.nan)


def mean_position_errors(examples: Sequence[Example], spacing_mm: float) -> FloatArray:
    """(N, L) errors in mm of always answering the mean position, relative to the volume's centre, of the others."""
    true = np.stack([example.landmarks for example in examples]).astype(np.float64)
    visible = np.stack([example.visible for example in examples])[..., None].astype(np.float64)
    others = (true * visible).sum(axis=0) - true * visible
    count = visible.sum(axis=0) - visible
    mean = others / np.maximum(count, 1)
    errors = np.linalg.norm(mean - true, axis=-1) * spacing_mm
    return np.where((visible[..., 0] > 0) & (count[..., 0] > 0), errors, np.nan)
