"""The 27 real MR/US pairs of mrus-27: where they lie, which are for development, and what is known of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.datasets.cases import ImageCase
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, POSTERIOR_MEDIAN, FloatArray
from LandmarkFusionLogic.volume import Volume


def case_folders(data: Path) -> list[Path]:
    """The folders of the cases below ``data``, the folder that holds mrus-27.

    Raises InputError where there are none.
    """
    folders = sorted((data / "mrus-27").glob("case*"))
    if not folders:
        raise InputError(f"The folder “{data.name}” holds no mrus-27 cases; give the folder that holds mrus-27.")
    return folders


def is_development(folder: Path) -> bool:
    """Whether a case (case000003) may be looked at while developing: its number is divisible by 3."""
    return int(folder.name.removeprefix("case")) % 3 == 0


def fold_of(folder: Path) -> int:
    """The fold of cross-validation that holds a case: its number modulo 3."""
    return int(folder.name.removeprefix("case")) % 3


def image_cases(data: Path, modality: str) -> list[ImageCase]:
    """All 27 images of ``modality`` (mr, us) with gland masks and the landmarks that are known of each.

    Raises InputError where the folder holds none.
    """
    cases = []
    for folder in case_folders(data):
        image, gland = (read_volume(folder / f"{modality}{part}.nrrd") for part in ("", "-gland"))
        positions = true_landmarks(folder, modality)
        cases.append(ImageCase(folder.name, folder.name, modality, image, gland, positions))
    return cases


def true_landmarks(folder: Path, modality: str) -> dict[str, FloatArray]:
    """The known landmarks of a case's image, (3,) RAS mm, by name."""
    points = json.loads((folder / "points.json").read_text(encoding="utf-8"))
    known = {
        name: np.array(points[key][modality], dtype=np.float64)
        for key, name in (("apex", APEX), ("base", BLADDER_NECK))
        if key in points
    }
    if APEX in known and BLADDER_NECK in known:
        gland = read_volume(folder / f"{modality}-gland.nrrd", "gland mask")
        posterior = posterior_of_mask(gland, known[APEX], known[BLADDER_NECK])
        if posterior is not None:
            known[POSTERIOR_MEDIAN] = posterior
    return known


def labelled_points(folder: Path) -> tuple[FloatArray, FloatArray]:
    """The same places in a case's MR and US, by its publishers: apex, base and targets, (N, 3) each, RAS mm."""
    points = json.loads((folder / "points.json").read_text(encoding="utf-8"))
    pairs = [points[key] for key in ("apex", "base") if key in points] + list(points.get("targets", []))
    mr, us = (np.array([pair[side] for pair in pairs], dtype=np.float64).reshape(-1, 3) for side in ("mr", "us"))
    return mr, us


def posterior_of_mask(gland: Volume, apex: FloatArray, neck: FloatArray) -> FloatArray | None:
    """(3,) RAS mm: the posterior median by its definition, from a mask (0 outside) and the two other landmarks (3,).

    From the middle of the line apex to neck, perpendicular to it and backwards in the sagittal plane, to where the ray
    leaves the mask. None where it never meets the mask.
    """
    axis = np.array([0.0, neck[1] - apex[1], neck[2] - apex[2]])
    backwards = np.array([0.0, -axis[2], axis[1]]) / np.linalg.norm(axis)
    ray = (apex + neck) / 2 + np.arange(0, 80, 0.25)[:, None] * backwards
    to_index = np.linalg.inv(gland.ijk_to_ras)
    index = np.round(ray @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)[:, ::-1]
    within = np.all((index >= 0) & (index < gland.array.shape), axis=1)
    inside = np.zeros(len(ray), dtype=bool)
    inside[within] = np.asarray(gland.array, dtype=np.float32)[tuple(index[within].T)] > 0
    return np.asarray(ray[np.flatnonzero(inside)[-1]]) if inside.any() else None
