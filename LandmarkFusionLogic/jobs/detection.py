"""The job "detect": the landmarks and the gland of one volume."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.reading import click_of, load, mask_of, swap_warnings
from LandmarkFusionLogic.jobs.records import (
    MODALITIES,
    GlandRecord,
    LandmarkRecord,
    Report,
    VolumeSource,
    gland_record,
    record,
)


@dataclass(frozen=True)
class DetectRequest:
    """Find the landmarks of one volume. ``modality`` is "mr" or "us"; ``device`` auto | cuda | mps | cpu.

    ``model`` is the folder of a network, or the name of one that ships; None takes the default one. ``click`` (3) is a
    point in the gland, RAS mm, ``gland_mask`` a mask of it (0 outside): with either, the search starts there.
    ``out`` is a folder that exists, where ``gland.npy`` goes: the gland's probability, float32 (K, J, I).
    """

    volume: VolumeSource
    modality: str
    device: str = "auto"
    model: str | None = None
    click: list[float] | None = None
    gland_mask: VolumeSource | None = None
    out: str | None = None


@dataclass(frozen=True)
class DetectResult:
    """The landmarks found, what found them and on what, and plain warnings for the user.

    ``ask_first`` names the doubtful landmarks, least certain first; ``disagreement_mm`` is the distance to what a
    second network says, for each landmark, empty where there is none; ``coverage`` (0..1) is how much of the gland's
    surroundings the image really shows; ``kind`` is the network's: simulation, research or own.
    """

    modality: str
    landmarks: list[LandmarkRecord]
    model: str
    device: str
    seconds: float
    warnings: list[str] = field(default_factory=list)
    gland: GlandRecord | None = None
    ask_first: list[str] = field(default_factory=list)
    disagreement_mm: dict[str, float] = field(default_factory=dict)
    coverage: float | None = None
    kind: str = "simulation"


def detect(request: DetectRequest, report: Report) -> DetectResult:
    """Find the landmarks of one volume.

    Raises InputError for input, network or device that cannot be used.
    """
    from LandmarkFusionLogic.landmarks.detection import detect_landmarks

    started = time.perf_counter()
    if request.modality not in MODALITIES:
        raise InputError(f"There is no modality “{request.modality}”; choose mr or us.")
    name = MODALITIES[request.modality]
    report(0.0, f"Reading the {name} volume")
    volume = load(request.volume, f"{name} volume")
    mask = mask_of(request.gland_mask, f"{name} gland mask", np.eye(4))
    click = click_of(request.click, f"The point given for the {name}", np.eye(4))
    if request.out is not None and not Path(request.out).is_dir():
        raise InputError("The folder for the gland is not there; give one that exists.")
    swapped = swap_warnings(volume, request.modality)
    found = detect_landmarks(volume, request.modality, request.device, request.model, report, click, mask)
    gland = None if found.gland is None else gland_record(found.gland, request.out)
    report(1.0, f"Found the landmarks of the {name}")
    return DetectResult(
        modality=request.modality,
        landmarks=[record(item) for item in found.landmarks],
        model=found.model,
        device=found.device,
        seconds=time.perf_counter() - started,
        warnings=[*swapped, *found.warnings],
        gland=gland,
        ask_first=list(found.ask_first),
        disagreement_mm=found.disagreement_mm,
        coverage=found.coverage,
        kind=found.kind,
    )
