"""Pairs of volumes whose deformation is known: parts of real CT and MR, and unseen simulated anatomy, deformed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.simulation.deformations import Deformation, deform, draw_deformation
from LandmarkFusionLogic.simulation.seeds import TEST, VALIDATION
from LandmarkFusionLogic.volume import Volume

SPACING_MM = 2.0
SHAPE = (96, 128, 128)
"""Voxels (K, J, I) of a case at most; of a larger volume a part is taken, another one for each seed."""
POINTS = 100
"""Validation landmarks a case, as in the paper."""
NOISE = 0.01
"""Noise is added to both images, this share of the range from the 1st to the 99th percentile: else the moving image
would be the fixed one but for interpolation, and matching would be easier than with any two scans."""
INSIDE_MM = 4.0
"""Validation landmarks keep this distance from the border of either volume."""

PELVIS, SIMULATED, MR = "ct-pelvis", "simulated", "prostate-mr"
LUNG = "ct-lung"
SETS = (PELVIS, SIMULATED, MR, LUNG)
"""Test sets; ct-lung was used to develop the matcher and is for such use only."""
_FILES = {
    PELVIS: ("ct-pelvis/example_ct.nii.gz",),
    MR: (
        "prostate-mr/Prostate3T-03-0001.nii.gz",
        "prostate-mr/Prostate3T-03-0002.nii.gz",
        "prostate-mr/ProstateX-0000-t2-tra.nii.gz",
    ),
    LUNG: ("ct-lung/3DCT_lung.mha",),
}


@dataclass(frozen=True)
class DeformedPair:
    """``fixed`` and ``moving`` with their true ``deformation``, the fixed ``body`` (K, J, I), validation landmarks.

    ``points`` (N, 3) lie in the fixed volume, ``partners`` (N, 3) are their true places in the moving one, RAS mm.
    """

    fixed: Volume
    moving: Volume
    deformation: Deformation
    body: npt.NDArray[np.bool_]
    points: FloatArray
    partners: FloatArray


def make_pair(dataset: str, seed: int, data: Path | None, shape: tuple[int, int, int] = SHAPE) -> DeformedPair:
    """The case ``seed`` of ``dataset``, one of `SETS`; ``data`` is the folder of the real volumes.

    Raises InputError for an unknown set, or where its volumes are missing.
    """
    random = np.random.default_rng([seed, 4])
    source = _source(dataset, seed, data)
    grid = _part(source, random, shape)
    deformation = draw_deformation(seed, grid)
    nothing = draw_deformation(seed, grid, "translation")
    still = Deformation(np.eye(4), nothing.center, nothing.vector, 1.0, nothing.lattice, nothing.lattice_to_ras)
    clean = deform(source, still, grid)
    inside = body_of(clean)
    points, partners = _validation(grid, inside, deformation, random)
    fixed, moving = (_noisy(image, clean, random) for image in (clean, deform(source, deformation, grid)))
    return DeformedPair(fixed, moving, deformation, inside, points, partners)


def seeds_of(dataset: str, cases: int) -> list[int]:
    """The seeds of the first ``cases`` cases: test seeds, or validation seeds for ct-lung.

    Raises InputError for an impossible number.
    """
    seeds = VALIDATION if dataset == LUNG else TEST
    if not 1 <= cases <= len(seeds):
        raise InputError(f"The number of cases must lie between 1 and {len(seeds)}.")
    return list(seeds[:cases])


def body_of(volume: Volume) -> npt.NDArray[np.bool_]:
    """The patient (K, J, I): the largest part that is clearly brighter than the background, filled slice by slice."""
    values = np.asarray(volume.array, dtype=np.float32)
    low, high = np.percentile(values, (1, 75))
    bright = ndimage.binary_opening(values > low + 0.4 * (high - low), iterations=1)
    labels, count = ndimage.label(bright)
    if count == 0:
        return np.ones(volume.array.shape, dtype=bool)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return np.stack([ndimage.binary_fill_holes(part) for part in largest])


def _source(dataset: str, seed: int, data: Path | None) -> Volume:
    if dataset == SIMULATED:
        from LandmarkFusionLogic.simulation.ct import ct_volume

        return ct_volume(seed)
    if dataset not in _FILES:
        raise InputError(f"There is no set of volumes “{dataset}”; choose from {', '.join(SETS)}.")
    if data is None:
        raise InputError("The folder of the images is not known; give it with --data.")
    files = _FILES[dataset]
    return _read(data / files[seed % len(files)])


@lru_cache(maxsize=2)
def _read(path: Path) -> Volume:
    return read_volume(path, "volume")


def _part(source: Volume, random: np.random.Generator, shape: tuple[int, int, int]) -> Volume:
    """A grid of `SPACING_MM` voxels, along the axes of ``source`` and somewhere in it; it holds no values."""
    extent = np.array(source.shape_ijk) * source.spacing
    counts = np.minimum(np.array(shape[::-1]), np.floor(extent / SPACING_MM)).astype(int)
    directions = source.ijk_to_ras[:3, :3] / source.spacing
    free = extent - counts * SPACING_MM
    corner = random.uniform(0, 1, 3) * free + (SPACING_MM - source.spacing) / 2
    affine = np.eye(4)
    affine[:3, :3] = directions * SPACING_MM
    affine[:3, 3] = source.ijk_to_ras[:3, 3] + directions @ corner
    return Volume(np.broadcast_to(np.float32(0), tuple(counts[::-1])), affine)


def _validation(
    grid: Volume, inside: npt.NDArray[np.bool_], deformation: Deformation, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    voxels = np.argwhere(inside)
    chosen = voxels[random.integers(len(voxels), size=30 * POINTS)] + random.uniform(-0.5, 0.5, (30 * POINTS, 3))
    points = chosen[:, ::-1] @ grid.ijk_to_ras[:3, :3].T + grid.ijk_to_ras[:3, 3]
    partners = deformation.to_moving(points)
    kept = _inner(points, grid) & _inner(partners, grid)
    return points[kept][:POINTS], partners[kept][:POINTS]


def _inner(points: FloatArray, grid: Volume) -> npt.NDArray[np.bool_]:
    back = np.linalg.inv(grid.ijk_to_ras)
    index = points @ back[:3, :3].T + back[:3, 3]
    margin = INSIDE_MM / SPACING_MM - 0.5
    return np.asarray(np.all((index > margin) & (index < np.array(grid.shape_ijk) - 1 - margin), axis=1))


def _noisy(image: Volume, clean: Volume, random: np.random.Generator) -> Volume:
    low, high = np.percentile(np.asarray(clean.array, dtype=np.float32), (1, 99))
    noise = random.normal(0, NOISE * float(high - low), image.array.shape)
    return Volume((np.asarray(image.array, dtype=np.float32) + noise).astype(np.float32), image.ijk_to_ras)
