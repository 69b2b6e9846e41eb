"""One typed request and result per user action; what the panel, the command line and cohort runs all call.

Requests and results hold paths, numbers and text only, so that each turns into JSON and back (`to_json`, `from_json`).
Nothing heavy is imported here: each job imports what it needs when it starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from LandmarkFusionLogic import orientation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jsondata import from_json as from_json
from LandmarkFusionLogic.jsondata import to_json as to_json
from LandmarkFusionLogic.points import FloatArray, Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLogic.fusion import Side
    from LandmarkFusionLogic.gland import Gland
    from LandmarkFusionLogic.targets import Target

Matrix = list[list[float]]
Report = Callable[[float, str], None]
"""Called with the fraction done (0..1) and one short sentence."""

MODALITIES = {"mr": "MR", "us": "US"}
FITS = ("best", "svd")


@dataclass(frozen=True)
class VolumeSource:
    """Where a job reads a volume: an image file or a DICOM folder, or a ``.npy`` (K, J, I) with its affine beside it.

    ``ijk_to_ras`` is the 4x4 row-major affine to RAS mm, needed for ``.npy`` and forbidden otherwise. ``series`` (1,
    2, …) picks one of several DICOM series in a folder.
    """

    path: str
    ijk_to_ras: Matrix | None = None
    series: int | None = None


@dataclass(frozen=True)
class LandmarkRecord:
    """A landmark as JSON: position (3) RAS mm, covariance 3x3 mm² or None, state detected | edited | placed."""

    name: str
    position: list[float]
    covariance: Matrix | None = None
    state: str = "placed"


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
class GlandRecord:
    """The gland of one image: centroid (3) RAS mm with covariance 3x3 mm², volume in ml.

    ``path`` is the ``.npy`` file of its probability, float32 (K, J, I), whose affine is ``ijk_to_ras`` (4x4 to RAS
    mm); None where none was asked for.
    """

    path: str | None
    ijk_to_ras: Matrix
    centroid: list[float]
    centroid_covariance: Matrix
    millilitres: float


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


@dataclass(frozen=True)
class SimulateRequest:
    """Make one simulated case, an MR and a US volume with their true landmarks, in the folder ``out``.

    ``condition`` names what its images show, such as turp (`simulation.conditions`); None: nothing special.
    """

    seed: int
    out: str
    condition: str | None = None


@dataclass(frozen=True)
class SimulateResult:
    """The files of a simulated case."""

    out: str
    files: list[str]
    seconds: float


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


def record(landmark: Landmark) -> LandmarkRecord:
    """``landmark`` as JSON-ready record."""
    covariance = None if landmark.covariance is None else np.asarray(landmark.covariance).tolist()
    return LandmarkRecord(landmark.name, [float(value) for value in landmark.position], covariance, landmark.state)


def landmark(item: LandmarkRecord) -> Landmark:
    """The landmark of a record."""
    covariance = None if item.covariance is None else np.array(item.covariance, dtype=np.float64)
    return Landmark(item.name, np.array(item.position, dtype=np.float64), covariance, item.state)


def landmarks(items: Iterable[LandmarkRecord]) -> list[Landmark]:
    """The landmarks of records."""
    return [landmark(item) for item in items]


def gland_record(gland: Gland, out: str | None) -> GlandRecord:
    """``gland`` as JSON-ready record; its probability is written to ``gland.npy`` in the folder ``out``, if given.

    Raises InputError if it cannot be written.
    """
    path = None if out is None else Path(out) / "gland.npy"
    if path is not None:
        try:
            np.save(path, np.asarray(gland.probability.array, dtype=np.float32))
        except OSError as error:
            raise InputError("The gland cannot be written; choose another folder.") from error
    return GlandRecord(
        path=None if path is None else str(path),
        ijk_to_ras=gland.probability.ijk_to_ras.tolist(),
        centroid=gland.centroid.tolist(),
        centroid_covariance=gland.centroid_covariance.tolist(),
        millilitres=gland.millilitres,
    )


def load(source: VolumeSource, what: str) -> Volume:
    """The checked volume of ``source``; ``what`` names it in messages.

    Raises InputError if it cannot be read or used.
    """
    from LandmarkFusionLogic import imageio

    if source.path.endswith(".npy"):
        if source.ijk_to_ras is None:
            raise InputError(f"The {what} is a .npy array without its affine; give an image file.")
        return imageio.read_array(source.path, source.ijk_to_ras, what)
    if source.ijk_to_ras is not None:
        raise InputError(f"The {what} has a geometry of its own and an affine beside it; give one of them.")
    return imageio.read_volume(source.path, what, source.series)


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
    mask = _mask(request.gland_mask, f"{name} gland mask", np.eye(4))
    click = _click(request.click, f"The point given for the {name}", np.eye(4))
    if request.out is not None and not Path(request.out).is_dir():
        raise InputError("The folder for the gland is not there; give one that exists.")
    swapped = _swap_warnings(volume, request.modality)
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


def simulate(request: SimulateRequest, report: Report) -> SimulateResult:
    """Make a simulated case: both volumes, gland masks, true landmarks and the rigid part of the motion between them.

    Raises InputError for a seed or folder that cannot be used, and where PyTorch is missing.
    """
    from LandmarkFusionLogic.imageio import write_volume
    from LandmarkFusionLogic.landmarks.device import require_torch
    from LandmarkFusionLogic.markupsfile import write_landmarks
    from LandmarkFusionLogic.transformfile import write_transform
    from LandmarkFusionLogic.workfolder import replacing

    started = time.perf_counter()
    if not 0 <= request.seed < 2**32:
        raise InputError(f"A case cannot have the number {request.seed}; choose 0 or more.")
    require_torch()
    from LandmarkFusionLogic.simulation.case import simulate_case

    with replacing(Path(request.out)) as folder:
        report(0.0, "Simulating the case")
        case = simulate_case(request.seed, condition=request.condition)
        report(0.8, "Writing the case")
        for name, volume in (
            ("mr", case.mr),
            ("us", case.us),
            ("mr-gland", case.mr_gland),
            ("us-gland", case.us_gland),
        ):
            write_volume(folder / f"{name}.nrrd", volume)
        write_landmarks(folder / "mr-landmarks.mrk.json", case.mr_landmarks)
        write_landmarks(folder / "us-landmarks.mrk.json", case.us_landmarks)
        write_transform(folder / "mr-to-us.h5", case.mr_to_us)
        files = sorted(file.name for file in folder.iterdir())
    report(1.0, "Done")
    return SimulateResult(request.out, files, time.perf_counter() - started)


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


def part(report: Report, start: float, end: float) -> Report:
    """A report whose 0..1 is the stretch ``start``..``end`` of ``report``."""
    return lambda fraction, text: report(start + fraction * (end - start), text)


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
    swapped = _swap_warnings(volume, modality)
    mask = _mask(gland, f"{name} gland mask", turn)
    place = _click(click, f"The point given for the {name}", turn)
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


def _mask(source: VolumeSource | None, what: str, turn: FloatArray) -> Gland | None:
    """The gland of a mask file, turned by ``turn`` (4, 4) as its volume was."""
    from LandmarkFusionLogic.gland import gland_of_mask

    if source is None:
        return None
    mask = load(source, what)
    return gland_of_mask(Volume(mask.array, turn @ mask.ijk_to_ras), what)


def _click(point: list[float] | None, what: str, turn: FloatArray) -> FloatArray | None:
    """A point (3,) RAS mm, turned by ``turn`` (4, 4) as its volume was."""
    if point is None:
        return None
    if len(point) != 3 or not np.all(np.isfinite(point)):
        raise InputError(f"{what} needs three finite coordinates (R, A, S).")
    return apply(turn, point)


def _swap_warnings(volume: Volume, modality: str) -> list[str]:
    from LandmarkFusionLogic.landmarks.modality import swap_warning

    warning = swap_warning(volume, modality)
    return [] if warning is None else [warning]


JOBS: dict[str, tuple[type[Any], Callable[[Any, Report], Any]]] = {
    "detect": (DetectRequest, detect),
    "fuse": (FuseRequest, fuse),
    "simulate": (SimulateRequest, simulate),
    "keep": (KeepRequest, keep),
    "fine-tune": (FineTuneRequest, fine_tune),
}
"""What a worker can be asked for: the request's type and the function."""
