"""What all ten networks learn from: simulated cases on one small grid, made once and kept as arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing
from LandmarkFusionLogic.landmarks.trainingdata import simulated_example
from LandmarkFusionLogic.simulation.seeds import TRAINING, VALIDATION

Float32Array = npt.NDArray[np.float32]

CASE_GRID = InputGrid(5.0, (24, 24, 24))
"""How the cases are kept: 120 mm around the volume's middle, for both modalities."""
GRID = InputGrid(7.5, (16, 16, 16))
"""What all ten networks see of that, interpolated: small enough that they train on a processor."""
PREPROCESSING = Preprocessing(lowpass_sigma_mm=3.0)
TRAINING_CASES = 900
VALIDATION_CASES = 152
RENDER_SPACING_MM = 2.0


@dataclass(frozen=True)
class CaseArrays:
    """N cases: ``images`` (N, K, J, I) float32, ``landmarks`` (N, L, 3) voxels k, j, i, ``visible`` (N, L) 1 or 0."""

    images: Float32Array
    landmarks: Float32Array
    visible: Float32Array

    def __len__(self) -> int:
        return len(self.images)


def prepared(
    modality: str,
    folder: Path,
    log: Callable[[str], None],
    training_cases: int = TRAINING_CASES,
    validation_cases: int = VALIDATION_CASES,
    grid: InputGrid = CASE_GRID,
) -> tuple[CaseArrays, CaseArrays]:
    """The training and the validation cases of ``modality``, from ``folder`` or, the first time, simulated."""
    wanted = json.dumps(
        {
            "modality": modality,
            "training": [TRAINING.start, training_cases],
            "validation": [VALIDATION.start, validation_cases],
            "grid": asdict(grid),
            "preprocessing": asdict(PREPROCESSING),
            "render_spacing_mm": RENDER_SPACING_MM,
        }
    )
    path = folder / f"data-{modality}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["wanted"]) == wanted:
                return _split(stored["images"], stored["landmarks"], stored["visible"], training_cases)
    log(f"{modality}: simulating {training_cases} + {validation_cases} cases")
    seeds = [*TRAINING[:training_cases], *VALIDATION[:validation_cases]]
    examples = [simulated_example(seed, modality, grid, PREPROCESSING, RENDER_SPACING_MM) for seed in seeds]
    images, landmarks, visible = (
        np.stack(part).astype(np.float32)
        for part in zip(*((e.image, e.landmarks, e.visible) for e in examples), strict=True)
    )
    folder.mkdir(parents=True, exist_ok=True)
    # Renamed when whole, so that a run that was ended leaves nothing half written.
    partial = folder / f"data-{modality}.partial.npz"
    np.savez(partial, wanted=np.array(wanted), images=images, landmarks=landmarks, visible=visible)
    partial.replace(path)
    return _split(images, landmarks, visible, training_cases)


def _split(
    images: Float32Array, landmarks: Float32Array, visible: Float32Array, count: int
) -> tuple[CaseArrays, CaseArrays]:
    return (
        CaseArrays(images[:count], landmarks[:count], visible[:count]),
        CaseArrays(images[count:], landmarks[count:], visible[count:]),
    )


def batch_of(cases: CaseArrays, step: int, size: int, seed: int, max_shift: int = 2) -> CaseArrays:
    """The ``size`` cases of training step ``step``, each mirrored left-right or not and shifted by whole voxels.

    A function of its arguments alone: every epoch is a shuffle of all cases, and a training that goes on after a
    break sees what an unbroken one sees. What is shifted in from outside is -1, as outside of a volume.
    """
    count = len(cases)
    numbers = range(step * size, (step + 1) * size)
    picks = [_order(count, number // count, seed)[number % count] for number in numbers]
    generator = np.random.default_rng([seed, 1, step])
    images, landmarks, visible = (part[picks].copy() for part in (cases.images, cases.landmarks, cases.visible))
    sides = np.array(images.shape[1:])
    for row in range(size):
        if generator.random() < 0.5:
            images[row] = images[row, :, :, ::-1].copy()
            landmarks[row, :, 2] = sides[2] - 1 - landmarks[row, :, 2]
        shift = generator.integers(-max_shift, max_shift + 1, size=3)
        images[row] = shifted(images[row], shift)
        landmarks[row] += shift
        within = np.all((landmarks[row] >= -0.5) & (landmarks[row] <= sides - 0.5), axis=-1)
        visible[row] *= within
    return CaseArrays(images, landmarks, visible)


def shifted(image: Float32Array, shift: npt.NDArray[np.int64]) -> Float32Array:
    """``image`` (K, J, I) moved by ``shift`` (3,) voxels k, j, i; -1 where nothing is known."""
    moved = np.full_like(image, -1.0)
    to = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(shift, image.shape, strict=True))
    source = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(shift, image.shape, strict=True))
    moved[to] = image[source]
    return moved


def on_grid(cases: CaseArrays, shape: tuple[int, int, int]) -> CaseArrays:
    """The same cases on a grid of ``shape`` (k, j, i) that covers the same space, by linear interpolation."""
    if cases.images.shape[1:] == shape:
        return cases
    images = torch.from_numpy(cases.images)[:, None]
    fewer = F.interpolate(images, size=shape, mode="trilinear", align_corners=False)[:, 0].numpy()
    factors = np.array(shape) / np.array(cases.images.shape[1:])
    landmarks = (cases.landmarks + 0.5) * factors - 0.5
    return CaseArrays(fewer, landmarks.astype(np.float32), cases.visible)


def _order(count: int, epoch: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)
