"""The job "deform": a deformable registration by elastix, with landmarks of any source."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from LandmarkFusionLogic import NOTICE, __version__
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.matching import PointPair, initial_matrix
from LandmarkFusionLogic.jobs.reading import load, load_mask
from LandmarkFusionLogic.jobs.records import Matrix, Report, VolumeSource, part
from LandmarkFusionLogic.points import FloatArray

if TYPE_CHECKING:
    from LandmarkFusionLogic.deformable.correspondences import Correspondences
    from LandmarkFusionLogic.deformable.executables import Elastix
    from LandmarkFusionLogic.deformable.quality import Assessment
    from LandmarkFusionLogic.deformable.registration import Pair, Prepared
    from LandmarkFusionLogic.deformable.transforms import Deformation

PRESETS = ("fast", "paper")
NONE, POINTS = "none", "points"
_GROWING = ("elastix.log", "metric.csv")


@dataclass(frozen=True)
class TargetError:
    """Distance in mm between points of equal ``name`` in both volumes: at the start, and after the registration."""

    name: str
    before_mm: float
    after_mm: float


@dataclass(frozen=True)
class DeformRequest:
    """Register ``moving`` to ``fixed`` and write the result into the new folder ``out``.

    ``landmarks``: none, points (``pairs`` guide), mind, or the name of a network. ``initial`` as in `MatchRequest`.
    ``targets`` guide nothing: their distances before and after are told. ``elastix`` is a folder or an executable
    that the user has set; None looks for one.
    """

    fixed: VolumeSource
    moving: VolumeSource
    out: str
    landmarks: str = "none"
    preset: str = "fast"
    pairs: list[PointPair] = field(default_factory=list)
    targets: list[PointPair] = field(default_factory=list)
    fixed_mask: VolumeSource | None = None
    moving_mask: VolumeSource | None = None
    initial: Matrix | None = None
    region: list[float] | None = None
    elastix: str | None = None
    choose_weights: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class DeformResult:
    """What was written, and how good it is.

    ``transform``, ``warped``, ``jacobian``, ``report`` and ``log`` are paths in the request's folder. ``folded`` is
    the share of the voxels in the fixed body whose Jacobian determinant is not positive. ``pairs`` guided the
    registration. ``similarity_before`` and ``similarity_after`` are of one image similarity, larger is better.
    """

    transform: str
    warped: str
    jacobian: str
    report: str
    log: str
    pairs: list[PointPair]
    jacobian_min: float
    jacobian_max: float
    folded: float
    similarity_before: float
    similarity_after: float
    targets: list[TargetError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)


def deform(request: DeformRequest, report: Report) -> DeformResult:
    """Find the landmarks that were asked for, register, and write transform, warped volume, Jacobian and report.

    While it runs, ``metric.csv`` and ``elastix.log`` grow in the request's folder ``out``, unless it holds some
    already; where elastix fails its log stays there.
    Raises InputError for volumes, masks, points or settings that cannot be used, where elastix is missing or fails.
    """
    from LandmarkFusionLogic import workfolder
    from LandmarkFusionLogic.deformable.executables import find
    from LandmarkFusionLogic.deformable.failures import ElastixError
    from LandmarkFusionLogic.deformable.quality import assess

    started = time.perf_counter()
    elastix = find(request.elastix)
    pair, warnings = _pair(request, part(report, 0.0, 0.3))
    out = Path(request.out)
    try:
        with ExitStack() as stack:
            if any((out / name).exists() for name in _GROWING):
                folder = stack.enter_context(workfolder.replacing(out))
                log, metric = (folder / name for name in _GROWING)
            else:
                log, metric = stack.enter_context(workfolder.visible(out, *_GROWING))
                folder = stack.enter_context(workfolder.replacing(out))
            deformation, prepared, weights = _register(request, pair, elastix, folder, log, metric, report)
            report(0.9, "Assessing the result")
            targets = _correspondences(request.targets)
            found = assess(prepared.fixed, pair.moving, deformation, pair.initial, targets, prepared.points)
            report(0.95, "Writing the result")
            result = DeformResult(
                transform=str(out / "transform.h5"),
                warped=str(out / "warped.nrrd"),
                jacobian=str(out / "jacobian.nrrd"),
                report=str(out / "report.json"),
                log=str(out / "elastix.log"),
                pairs=_pairs(prepared.points, request),
                jacobian_min=found.jacobian_min,
                jacobian_max=found.jacobian_max,
                folded=found.folded,
                similarity_before=found.similarity_before,
                similarity_after=found.similarity_after,
                targets=[
                    TargetError(target.name, float(before), float(after))
                    for target, before, after in zip(request.targets, found.before_mm, found.after_mm, strict=True)
                ],
                warnings=[*warnings, *prepared.warnings, *found.warnings],
                seconds=time.perf_counter() - started,
                weights=weights,
            )
            _write(folder, deformation, found, result, request, elastix.origin)
    except ElastixError as error:
        _keep_log(out, error.log)
        raise
    report(1.0, "Done")
    return result


def _pair(request: DeformRequest, report: Report) -> tuple[Pair, list[str]]:
    """The checked volumes, masks and landmarks of ``request``, and what to tell the user of them."""
    from LandmarkFusionLogic.deformable.preparation import size_warning
    from LandmarkFusionLogic.deformable.registration import Pair
    from LandmarkFusionLogic.deformable.sources import CLASSICAL, match_volumes

    if request.preset not in PRESETS:
        raise InputError(f"There is no preset “{request.preset}”; choose {' or '.join(PRESETS)}.")
    initial = initial_matrix(request.initial)
    report(0.0, "Reading the volumes")
    fixed, moving = load(request.fixed, "fixed volume"), load(request.moving, "moving volume")
    fixed_mask, moving_mask = (
        load_mask(source, f"{what} mask")
        for source, what in ((request.fixed_mask, "fixed"), (request.moving_mask, "moving"))
    )
    warnings = size_warning(fixed, moving, initial)
    points = None
    if request.landmarks == POINTS:
        points = _correspondences(request.pairs)
        if points is None:
            raise InputError("There are no pairs of points to guide the registration; give some, or choose none.")
    elif request.landmarks != NONE:
        device = "cpu"
        if request.landmarks != CLASSICAL:
            from LandmarkFusionLogic.landmarks.device import choose_device

            device = str(choose_device(request.device))
        matched = match_volumes(
            request.landmarks,
            fixed,
            moving,
            fixed_mask,
            moving_mask,
            initial,
            request.region,
            part(report, 0.1, 1.0),
            device,
        )
        points = matched.pairs
        warnings += matched.warnings
    if request.region is not None:
        warnings.append("Outside the region of interest the transform is the affine part alone.")
    return Pair(fixed, moving, points, fixed_mask, moving_mask, initial, request.region), warnings


def _register(
    request: DeformRequest, pair: Pair, elastix: Elastix, folder: Path, log: Path, metric: Path, report: Report
) -> tuple[Deformation, Prepared, dict[str, float]]:
    """The transform, what was given to elastix, and the weights that were chosen, if any."""
    from LandmarkFusionLogic.deformable.registration import prepare, register
    from LandmarkFusionLogic.deformable.runner import Watch
    from LandmarkFusionLogic.deformable.weights import choose_weights

    work = folder / "elastix"
    _check_space(folder, pair)
    work.mkdir()
    prepared = prepare(pair, work)
    chosen, weights, start = {}, None, 0.3
    if request.choose_weights:
        watch = Watch(part(report, 0.3, 0.75), log)
        weights, _ = choose_weights(prepared, elastix, watch, request.preset)
        chosen = {name: value for name, value in asdict(weights).items() if value is not None}
        start = 0.75
    watch = Watch(part(report, start, 0.9), log, metric)
    deformation = register(prepared, elastix, watch, request.preset, weights)
    shutil.rmtree(work)
    return deformation, prepared, chosen


def _check_space(folder: Path, pair: Pair) -> None:
    """Raise InputError where the disk has no room for what is going to be written, four bytes a voxel."""
    needed = 4 * (4 * pair.fixed.array.size + 2 * pair.moving.array.size) + 20_000_000
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"The disk is full: the registration needs {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; free "
            "some space or choose a folder on another disk."
        )


def _correspondences(pairs: list[PointPair]) -> Correspondences | None:
    from LandmarkFusionLogic.deformable.correspondences import Correspondences

    if not pairs:
        return None
    if any(len(point) != 3 for pair in pairs for point in (pair.fixed, pair.moving)):
        raise InputError("Each of the corresponding points needs three coordinates (R, A, S).")
    return Correspondences(
        np.array([pair.fixed for pair in pairs], dtype=np.float64),
        np.array([pair.moving for pair in pairs], dtype=np.float64),
        np.array([pair.confidence for pair in pairs], dtype=np.float64),
    )


def _pairs(points: Correspondences | None, request: DeformRequest) -> list[PointPair]:
    """The pairs that guided the registration, with the names of the request's where they are those."""
    if points is None:
        return []
    names = {tuple(pair.fixed): pair.name for pair in request.pairs}
    return [
        PointPair(fixed, moving, confidence, names.get(tuple(fixed), ""))
        for fixed, moving, confidence in zip(
            points.fixed.tolist(), points.moving.tolist(), points.confidence.tolist(), strict=True
        )
    ]


def _write(
    folder: Path,
    deformation: Deformation,
    found: Assessment,
    result: DeformResult,
    request: DeformRequest,
    origin: str,
) -> None:
    """Write the files of ``result`` into ``folder``. The report names none: names may be a patient's."""
    from LandmarkFusionLogic.imageio import write_volume
    from LandmarkFusionLogic.markupsfile import write_points

    deformation.write(folder / "transform.h5")
    write_volume(folder / "warped.nrrd", found.warped)
    write_volume(folder / "jacobian.nrrd", found.jacobian)
    if result.pairs:
        labels = [pair.name or f"L{number}" for number, pair in enumerate(result.pairs, start=1)]
        for side in ("fixed", "moving"):
            places = [np.array(getattr(pair, side)) for pair in result.pairs]
            notes = [f"confidence {pair.confidence:.3f}" for pair in result.pairs]
            write_points(folder / f"{side}-points.mrk.json", zip(labels, places, notes, strict=True))
    told = {
        "notice": NOTICE,
        "version": __version__,
        "elastix": origin,
        "preset": request.preset,
        # The folder of a network of one's own could tell more than its name should.
        "landmarks": Path(request.landmarks).name,
        "pairs": len(result.pairs),
        "pairs_before_mm": _mean(found.guiding_before_mm),
        "pairs_after_mm": _mean(found.guiding_after_mm),
        "weights": result.weights,
        "similarity_before": result.similarity_before,
        "similarity_after": result.similarity_after,
        "jacobian_min": result.jacobian_min,
        "jacobian_max": result.jacobian_max,
        "folded": result.folded,
        "targets": [asdict(target) for target in result.targets],
        "warnings": result.warnings,
        "seconds": result.seconds,
    }
    text = json.dumps(told, indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None


def _keep_log(out: Path, text: str) -> None:
    """Leave elastix's log of a failure in ``out``, unless the log of an earlier result is there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / "elastix.log").exists():
            (out / "elastix.log").write_text(text, encoding="utf-8")
    except OSError:
        return
