"""A folder of training cases: ``cases.json`` lists them, each with its MR, its ultrasound, or both.

    {"format": "landmarkfusion-cases", "version": 1, "cases": [
        {"name": "case-0001", "patient": "case-0001",
         "mr": {"image": "case-0001/mr.nrrd", "gland": "case-0001/mr-gland.nrrd",
                "landmarks": "case-0001/mr-landmarks.mrk.json"},
         "us": {"image": "case-0001/us.nrrd", "gland": null, "landmarks": "case-0001/us-landmarks.mrk.json"}}]}

Paths are relative to the folder. ``gland`` (a mask, 0 outside) and ``landmarks`` may be null; what is missing is left
out of the losses. Cases of one ``patient`` are never parted between training and test; an image that is kept again
(known by the ``sha256`` of its voxels, which may be missing) belongs to the patient it was kept for first. Names are
of the user's own: nothing here comes from a DICOM header.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from LandmarkFusionLogic.datasets.cases import ImageCase
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import read_volume, write_volume
from LandmarkFusionLogic.markupsfile import read_landmarks, write_landmarks
from LandmarkFusionLogic.points import LANDMARK_NAMES, Landmark
from LandmarkFusionLogic.volume import Volume

MANIFEST = "cases.json"
FORMAT = "landmarkfusion-cases"
VERSION = 1
MODALITIES = ("mr", "us")


@dataclass(frozen=True)
class StoredImage:
    """One image to keep: the volume, its landmarks (RAS mm) and, where there is one, its gland mask."""

    image: Volume
    landmarks: Sequence[Landmark] = ()
    gland: Volume | None = None


def write_case(folder: Path, images: dict[str, StoredImage], patient: str | None = None) -> str:
    """Add a case with ``images`` by modality (mr, us) to ``folder``; returns its name.

    The folder is made if need be. ``patient`` groups cases of one man, by default the case stands alone. The
    manifest is written last, whole or not at all, so that an interrupted write leaves the earlier cases as they were.

    Raises InputError for images without any landmark or mask, unknown modalities, and folders that cannot be written.
    """
    if not images or set(images) - set(MODALITIES):
        raise InputError("A training case needs an MR or a US.")
    for modality, stored in images.items():
        if not any(point.name in LANDMARK_NAMES for point in stored.landmarks) and stored.gland is None:
            raise InputError(
                f"The {modality.upper()} has neither landmarks nor a gland mask; there is nothing to keep."
            )
    empty: dict[str, Any] = {"format": FORMAT, "version": VERSION, "cases": []}
    data = _read(folder) if (folder / MANIFEST).exists() else empty
    name = _free_name(folder, {str(case["name"]) for case in data["cases"]})
    checksums = {modality: _checksum(stored.image) for modality, stored in images.items()}
    entry: dict[str, Any] = {"name": name, "patient": patient or _same_patient(data["cases"], checksums) or name}
    try:
        (folder / name).mkdir(parents=True)
        for modality, stored in images.items():
            entry[modality] = {**_write_image(folder, name, modality, stored), "sha256": checksums[modality]}
        data["cases"].append(entry)
        partial = folder / f"{MANIFEST}.partial"
        partial.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, folder / MANIFEST)
    except OSError as error:
        raise InputError(
            f"The case could not be kept in “{folder.name}”; choose a folder that can be written."
        ) from error
    return name


def image_cases(folder: Path, modality: str) -> list[ImageCase]:
    """The images of ``modality`` in ``folder``, read and checked.

    Raises InputError where the manifest or a file is missing or wrong; the sentence names the case.
    """
    return [_image_case(folder, case, modality) for case in _read(folder)["cases"] if case.get(modality) is not None]


def count(folder: Path) -> int:
    """How many cases ``folder`` holds; 0 where it has no manifest.

    Raises InputError for a manifest that cannot be read.
    """
    return len(_read(folder)["cases"]) if (folder / MANIFEST).exists() else 0


def _read(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The folder “{folder.name}” holds no training cases ({MANIFEST} is missing).") from error
    except ValueError as error:
        raise InputError(f"{MANIFEST} in “{folder.name}” is not valid JSON.") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("cases"), list):
        raise InputError(f"{MANIFEST} in “{folder.name}” is not a list of training cases (format “{FORMAT}”).")
    if data.get("version") != VERSION:
        raise InputError(f"{MANIFEST} in “{folder.name}” was made by another version of Landmark Fusion.")
    names = [case.get("name") if isinstance(case, dict) else None for case in data["cases"]]
    if None in names or len(set(names)) < len(names):
        raise InputError(f"{MANIFEST} in “{folder.name}” has a case without a name of its own.")
    return data


def _image_case(folder: Path, case: dict[str, Any], modality: str) -> ImageCase:
    name, entry = str(case["name"]), case[modality]
    what = f"{modality.upper()} of training case “{name}”"
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise InputError(f"The {what} has no image in {MANIFEST}.")
    unknown = sorted(set(entry) - {"image", "gland", "landmarks", "sha256"})
    if unknown:
        raise InputError(f"The {what} has an unknown entry “{unknown[0]}” in {MANIFEST}.")
    image = read_volume(str(_inside(folder, entry["image"], what)), what)
    gland, positions = None, {}
    if entry.get("gland"):
        gland = read_volume(str(_inside(folder, entry["gland"], what)), f"gland mask of the {what}")
        gland = Volume((np.asarray(gland.array) > 0).astype(np.uint8), gland.ijk_to_ras)
        if not gland.array.any():
            raise InputError(f"The gland mask of the {what} is empty.")
    if entry.get("landmarks"):
        points = read_landmarks(str(_inside(folder, entry["landmarks"], what)), f"landmarks of the {what}")
        positions = {point.name: point.position for point in points if point.name in LANDMARK_NAMES}
    if gland is None and not positions:
        raise InputError(f"The {what} has neither landmarks nor a gland mask.")
    return ImageCase(name, str(case.get("patient") or name), modality, image, gland, positions)


def _checksum(image: Volume) -> str:
    return hashlib.sha256(np.ascontiguousarray(image.array).tobytes()).hexdigest()


def _same_patient(cases: Sequence[dict[str, Any]], checksums: dict[str, str]) -> str | None:
    """The patient of an earlier case with one of these images: a case that is kept again, after a correction."""
    for case in cases:
        for modality, checksum in checksums.items():
            if isinstance(case.get(modality), dict) and case[modality].get("sha256") == checksum:
                return str(case.get("patient") or case["name"])
    return None


def _inside(folder: Path, relative: str, what: str) -> Path:
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"The {what} lies outside the folder of the cases; give a path within it.")
    return path


def _write_image(folder: Path, name: str, modality: str, stored: StoredImage) -> dict[str, str | None]:
    paths: dict[str, str | None] = {"image": f"{name}/{modality}.nrrd", "gland": None, "landmarks": None}
    write_volume(folder / f"{name}/{modality}.nrrd", stored.image)
    if stored.gland is not None:
        paths["gland"] = f"{name}/{modality}-gland.nrrd"
        mask = (np.asarray(stored.gland.array) > 0).astype(np.uint8)
        write_volume(folder / f"{name}/{modality}-gland.nrrd", Volume(mask, stored.gland.ijk_to_ras))
    kept = [Landmark(point.name, point.position) for point in stored.landmarks if point.name in LANDMARK_NAMES]
    if kept:
        paths["landmarks"] = f"{name}/{modality}-landmarks.mrk.json"
        write_landmarks(folder / f"{name}/{modality}-landmarks.mrk.json", kept)
    return paths


def _free_name(folder: Path, taken: set[str]) -> str:
    number = 1
    while (name := f"case-{number:04d}") in taken or (folder / name).exists():
        number += 1
    return name
