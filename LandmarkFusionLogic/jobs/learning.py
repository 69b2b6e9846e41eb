"""The jobs "keep" and "fine-tune": corrected cases, and networks that learn from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.reading import load
from LandmarkFusionLogic.jobs.records import MODALITIES, LandmarkRecord, Report, VolumeSource, landmarks


@dataclass(frozen=True)
class KeepRequest:
    """Keep a corrected case for training in ``folder``, which is made if need be: an MR, a US, or both.

    Landmarks and masks are those of the volumes as they are given. Nothing else of the patient is stored.
    """

    folder: str
    mr: VolumeSource | None = None
    us: VolumeSource | None = None
    mr_landmarks: list[LandmarkRecord] = field(default_factory=list)
    us_landmarks: list[LandmarkRecord] = field(default_factory=list)
    mr_gland: VolumeSource | None = None
    us_gland: VolumeSource | None = None


@dataclass(frozen=True)
class KeepResult:
    """The name that the case got, and how many cases the folder holds now."""

    name: str
    cases: int


@dataclass(frozen=True)
class FineTuneRequest:
    """Fine-tune a network of ``modality`` on the cases kept in ``folder``; a better one goes to a new folder, ``out``.

    ``base`` is the folder or name of the network to begin with, by default the one that ships.
    """

    folder: str
    modality: str
    out: str
    base: str | None = None
    steps: int = 250


@dataclass(frozen=True)
class FineTuneResult:
    """Old against new by cross-validation over the kept cases; ``out`` is None where the new network is not better.

    Errors are mean radial errors in mm and Dice of the gland; NaN does not occur, what is unknown is None.
    """

    modality: str
    out: str | None
    cases: int
    old_mm: float | None
    new_mm: float | None
    old_dice: float | None
    new_dice: float | None
    table: str
    seconds: float


def keep(request: KeepRequest, report: Report) -> KeepResult:
    """Keep a corrected case for training.

    Raises InputError for volumes without landmarks or mask, and folders that cannot be used.
    """
    from LandmarkFusionLogic.datasets.manifest import StoredImage, count, write_case

    sides = {
        "mr": (request.mr, request.mr_landmarks, request.mr_gland),
        "us": (request.us, request.us_landmarks, request.us_gland),
    }
    images = {}
    for modality, (source, points, gland) in sides.items():
        if source is not None:
            name = MODALITIES[modality]
            report(0.1 if modality == "mr" else 0.4, f"Reading the {name} volume")
            mask = None if gland is None else load(gland, f"{name} gland mask")
            images[modality] = StoredImage(load(source, f"{name} volume"), landmarks(points), mask)
    report(0.7, "Keeping the case")
    name = write_case(Path(request.folder), images)
    report(1.0, "Done")
    return KeepResult(name, count(Path(request.folder)))


def fine_tune(request: FineTuneRequest, report: Report) -> FineTuneResult:
    """Fine-tune a network on kept cases and keep it where cross-validation finds it better.

    Raises InputError for cases, networks and folders that cannot be used, and where PyTorch is missing.
    """
    from LandmarkFusionLogic.landmarks.device import require_torch

    if request.modality not in MODALITIES:
        raise InputError(f"There is no modality “{request.modality}”; choose mr or us.")
    if request.steps < 1:
        raise InputError("Fine-tuning needs at least one step.")
    require_torch()
    from LandmarkFusionLogic.landmarks import finetuning
    from LandmarkFusionLogic.landmarks.networks import network_folder

    base = network_folder(request.modality, request.base)
    done = finetuning.fine_tune(
        Path(request.folder), request.modality, base, Path(request.out), request.steps, report=report
    )
    return FineTuneResult(
        modality=request.modality,
        out=request.out if done.better else None,
        cases=done.cases,
        old_mm=finetuning.known(done.old.mre),
        new_mm=finetuning.known(done.new.mre),
        old_dice=finetuning.known(done.old.mean_dice),
        new_dice=finetuning.known(done.new.mean_dice),
        table=done.text(),
        seconds=done.seconds,
    )
