"""The job "match": pairs of points that show the same anatomy in two volumes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.reading import load, load_mask
from LandmarkFusionLogic.jobs.records import Matrix, Report, VolumeSource, part
from LandmarkFusionLogic.points import FloatArray


@dataclass(frozen=True)
class PointPair:
    """A point of the fixed volume and the one in the moving volume that shows the same anatomy, RAS mm each."""

    fixed: list[float]
    moving: list[float]
    confidence: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class MatchRequest:
    """Find pairs of points. ``initial`` (4x4, row-major, RAS mm) maps points of the moving volume to the fixed one.

    ``method``: mind, or the name of a network. ``region`` bounds the fixed volume: [R0, R1, A0, A1, S0, S1], RAS mm.
    """

    fixed: VolumeSource
    moving: VolumeSource
    method: str = "mind"
    fixed_mask: VolumeSource | None = None
    moving_mask: VolumeSource | None = None
    initial: Matrix | None = None
    region: list[float] | None = None
    device: str = "auto"


@dataclass(frozen=True)
class MatchResult:
    """``pairs`` that passed the check of local consistency, ``removed`` that did not, by ``method``."""

    pairs: list[PointPair]
    removed: int
    method: str
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


def match(request: MatchRequest, report: Report) -> MatchResult:
    """Find the pairs, and remove those that contradict their neighbors.

    Raises InputError for volumes and masks that cannot be used or do not overlap, an initial transform that is none,
    a network that cannot be used, and where nothing is found.
    """
    from LandmarkFusionLogic.deformable.sources import CLASSICAL, match_volumes

    started = time.perf_counter()
    if request.method in ("", "none", "points"):
        raise InputError("Choose how points are to be found: mind, or the name of a network.")
    initial = initial_matrix(request.initial)
    device = "cpu"
    if request.method != CLASSICAL:
        from LandmarkFusionLogic.landmarks.device import choose_device

        device = str(choose_device(request.device))
    report(0.0, "Reading the volumes")
    fixed, moving = load(request.fixed, "fixed volume"), load(request.moving, "moving volume")
    fixed_mask, moving_mask = (
        load_mask(source, f"mask of the {what} volume")
        for source, what in ((request.fixed_mask, "fixed"), (request.moving_mask, "moving"))
    )
    found = match_volumes(
        request.method,
        fixed,
        moving,
        fixed_mask,
        moving_mask,
        initial,
        request.region,
        part(report, 0.05, 1.0),
        device,
    )
    pairs = [
        PointPair(a.tolist(), b.tolist(), float(confidence), f"{number}")
        for number, (a, b, confidence) in enumerate(
            zip(found.pairs.fixed, found.pairs.moving, found.pairs.confidence, strict=True), start=1
        )
    ]
    report(1.0, "Done")
    return MatchResult(pairs, found.removed, request.method, found.warnings, time.perf_counter() - started)


def initial_matrix(rows: Matrix | None) -> FloatArray | None:
    """The initial transform (4, 4), moving to fixed, RAS mm. Raises InputError where it is no invertible affine."""
    if rows is None:
        return None
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("The initial transform is no matrix of 4 × 4 numbers.") from error
    if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)) or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise InputError("The initial transform is no matrix of 4 × 4 numbers whose last row is 0 0 0 1.")
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-6:
        raise InputError("The initial transform flattens the volume; choose another one.")
    return matrix
