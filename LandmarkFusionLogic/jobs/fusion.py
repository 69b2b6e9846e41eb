"""The job "fuse": two volumes in, an aligned scene out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from LandmarkFusionLogic import orientation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.reading import click_of, load, mask_of, swap_warnings
from LandmarkFusionLogic.jobs.records import MODALITIES, Matrix, Report, VolumeSource, part
from LandmarkFusionLogic.points import FloatArray, Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLogic.fusion import Side
    from LandmarkFusionLogic.targets import Target

FITS = ("best", "svd")


@dataclass(frozen=True)
class FuseRequest:
    """Two volumes in, an aligned scene out: the files of `FuseResult` in the folder ``out``.

    ``mr_landmarks`` and ``us_landmarks`` are markups files; a side without one is detected. ``us_flips`` turns the
    ultrasound round about its centre ("lr", "ap", "si") before anything else; ``us_confirmed`` says that somebody has
    checked the left and right of the ultrasound. Models, clicks and gland masks are those of `DetectRequest`, for each
    side, on the volumes as they are stored. ``targets`` are files of what is to be carried over from the MR; ``fit``
    is "best" (knows the points' uncertainty) or "svd" (plain).
    """

    mr: VolumeSource
    us: VolumeSource
    out: str
    mr_landmarks: str | None = None
    us_landmarks: str | None = None
    device: str = "auto"
    us_flips: list[str] = field(default_factory=list)
    us_confirmed: bool = False
    mr_model: str | None = None
    us_model: str | None = None
    mr_click: list[float] | None = None
    us_click: list[float] | None = None
    mr_gland: VolumeSource | None = None
    us_gland: VolumeSource | None = None
    targets: list[str] = field(default_factory=list)
    fit: str = "best"


@dataclass(frozen=True)
class TargetRecord:
    """A target carried over from the MR: centre (3) RAS mm in the US, its expected (root mean square) error in mm."""

    name: str
    centre: list[float]
    expected_mm: float


@dataclass(frozen=True)
class FuseResult:
    """What was written to the folder, how well the landmarks agree (FRE, mm) and plain warnings for the user.

    ``mr_to_us`` is the 4x4 matrix that maps RAS mm points of the MR to points of the US. ``check_first`` names the
    doubtful landmarks ("Apex in the US"), least certain first; ``expected_mm`` is the error of the fit to expect at
    each landmark of the MR and in the middle of its gland.
    """

    out: str
    files: list[str]
    mr_to_us: Matrix
    errors: dict[str, float]
    rms: float
    seconds: float
    warnings: list[str] = field(default_factory=list)
    check_first: list[str] = field(default_factory=list)
    expected_mm: dict[str, float] = field(default_factory=dict)
    targets: list[TargetRecord] = field(default_factory=list)


def fuse(request: FuseRequest, report: Report) -> FuseResult:
    """Align an MR to a US by their landmarks and write every result to the folder ``out``, all of it or nothing.

    Raises InputError for input that cannot be used.
    """
    from LandmarkFusionLogic import fusion
    from LandmarkFusionLogic.landmarks.device import check_name
    from LandmarkFusionLogic.report import expected_errors
    from LandmarkFusionLogic.workfolder import replacing

    started = time.perf_counter()
    check_name(request.device)
    if request.fit not in FITS:
        raise InputError(f"The fit “{request.fit}” is not known; choose one of: {', '.join(FITS)}.")
    orientation.flip_matrix(np.zeros(3), request.us_flips)
    report(0.0, "Reading the volumes")
    mr, us = load(request.mr, "MR volume"), load(request.us, "US volume")
    _refuse_same(mr, us)
    flips = orientation.net_flips(request.us_flips)
    turned = orientation.flipped(us, flips)
    targets = _targets(request.targets)
    turn = orientation.flip_matrix(us.centre, flips)
    mr_side = _side(request, "mr", mr, np.eye(4), part(report, 0.05, 0.4))
    us_side = _side(request, "us", turned, turn, part(report, 0.4, 0.75))
    done = fusion.fuse_sides(mr_side, us_side, flips, request.us_confirmed, request.fit, targets)
    with replacing(Path(request.out)) as folder:
        files = fusion.write(done, folder, time.perf_counter() - started, part(report, 0.75, 1.0))
    return FuseResult(
        out=request.out,
        files=files,
        mr_to_us=done.fit.mr_to_us.tolist(),
        errors=done.fit.errors,
        rms=done.fit.rms,
        seconds=time.perf_counter() - started,
        warnings=list(done.warnings),
        check_first=[f"{name} in the {modality.upper()}" for modality, name in done.ask_first],
        expected_mm=expected_errors(done),
        targets=[
            TargetRecord(target.name, [float(value) for value in target.centre], float(target.expected_error))
            for target in done.targets
        ],
    )


def _refuse_same(mr: Volume, us: Volume) -> None:
    if mr.array.shape == us.array.shape and np.array_equal(mr.array, us.array):
        raise InputError("The MR and the US are the same volume; choose two different ones.")


def _side(request: FuseRequest, modality: str, volume: Volume, turn: FloatArray, report: Report) -> Side:
    """One side of ``request``: ``volume`` with its landmarks, given or detected, all turned by ``turn`` (4, 4)."""
    from LandmarkFusionLogic.fusion import Side
    from LandmarkFusionLogic.markupsfile import read_landmarks

    name = MODALITIES[modality]
    markups, model, click, gland = (
        (request.mr_landmarks, request.mr_model, request.mr_click, request.mr_gland)
        if modality == "mr"
        else (request.us_landmarks, request.us_model, request.us_click, request.us_gland)
    )
    swapped = swap_warnings(volume, modality)
    mask = mask_of(gland, f"{name} gland mask", turn)
    place = click_of(click, f"The point given for the {name}", turn)
    if markups is not None:
        if place is not None or model is not None:
            raise InputError(f"The {name} landmarks are given, so nothing is detected; leave its click and model out.")
        given = read_landmarks(markups, f"{name} landmarks")
        # The file lies on the volume as it is stored: a flip takes its points along.
        moved = [_turned(point, turn) for point in given]
        return Side(volume, moved, warnings=tuple(swapped), gland=mask)
    from LandmarkFusionLogic.landmarks.detection import detect_landmarks

    started = time.perf_counter()
    found = detect_landmarks(volume, modality, request.device, model, report, place, mask)
    return Side(
        volume,
        list(found.landmarks),
        found.model,
        found.device,
        (*swapped, *found.warnings),
        gland=found.gland,
        kind=found.kind,
        ask_first=found.ask_first,
        disagreement_mm=found.disagreement_mm,
        coverage=found.coverage,
        seconds=time.perf_counter() - started,
    )


def _turned(point: Landmark, turn: FloatArray) -> Landmark:
    covariance = None if point.covariance is None else turn[:3, :3] @ point.covariance @ turn[:3, :3].T
    return replace(point, position=apply(turn, point.position), covariance=covariance)


def _targets(files: Sequence[str]) -> list[Target]:
    if not files:
        return []
    from LandmarkFusionLogic.targets import read_targets

    return [target for file in files for target in read_targets(file)]
