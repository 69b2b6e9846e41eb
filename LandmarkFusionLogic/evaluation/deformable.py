"""DCNN-Match's evaluation (Grewal 2023, sections 2.7 and 3): matching, registration with and without landmarks.

Every case is a pair whose deformation is known. Both volumes are aligned affinely first, once; then each source of
landmarks finds its pairs on the aligned volumes, and the deformable stage runs with them, or without any.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.deformable import consistency, preparation
from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.executables import find as find_elastix
from LandmarkFusionLogic.deformable.parameters import Parameters
from LandmarkFusionLogic.deformable.quality import folding
from LandmarkFusionLogic.deformable.registration import Pair, prepare, stages
from LandmarkFusionLogic.deformable.runner import Watch, run
from LandmarkFusionLogic.deformable.sources import find_pairs
from LandmarkFusionLogic.deformable.transforms import Deformation, read_deformation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.deformablepairs import DeformedPair, make_pair
from LandmarkFusionLogic.evaluation.parallel import each
from LandmarkFusionLogic.points import FloatArray

NONE = "none"
OUTLIERS = (0.0, 0.1, 0.2, 0.3)
"""Shares of pairs that are made wrong in the section on outliers."""
OUTLIER_MM = (5.0, 25.0)
BINS_MM = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0)
"""Sizes of the underlying deformation, limits of the bins."""

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Task:
    """One case: ``seed`` of ``dataset``, with ``sources`` of landmarks (none, mind, names of networks)."""

    dataset: str
    seed: int
    sources: tuple[str, ...]
    data: str | None = None
    preset: str = "fast"
    register: bool = True
    outliers: bool = False
    device: str = "cpu"
    folder: str | None = None


@dataclass(frozen=True)
class Matching:
    """What one source found: matching errors and true displacement of each pair (mm), the errors before any removal.

    ``seconds`` are CPU seconds of the search, without the affine alignment before it.
    """

    errors: list[float]
    motion: list[float]
    unchecked: list[float]
    seconds: float


@dataclass(frozen=True)
class Registration:
    """TRE of the validation landmarks (mm), least Jacobian and folded share of the body, CPU seconds of elastix."""

    errors: list[float]
    least: float
    folded: float
    seconds: float


@dataclass(frozen=True)
class Planted:
    """``share`` of the pairs made wrong: how many of these were removed, and how many right ones with them."""

    share: float
    found: float
    lost: float
    left: float


@dataclass
class Outcome:
    """All figures of one case. ``voxels`` counts the body's voxels in each bin of `BINS_MM`."""

    dataset: str
    seed: int
    motion: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    affine: Registration | None = None
    voxels: list[int] = field(default_factory=list)
    matching: dict[str, Matching] = field(default_factory=dict)
    registration: dict[str, Registration] = field(default_factory=dict)
    planted: list[Planted] = field(default_factory=list)


def evaluate(tasks: Sequence[Task], workers: int, report: Report) -> list[Outcome]:
    """All cases, by ``workers`` processes. What a task's ``folder`` holds already is not measured again.

    Raises InputError where elastix or a network is missing.
    """
    if any(task.register for task in tasks):
        find_elastix()
    outcomes = []
    for number, outcome in enumerate(each(measure, tasks, workers)):
        outcomes.append(outcome)
        report((number + 1) / len(tasks), f"{outcome.dataset}, case {outcome.seed}")
    return outcomes


def measure(task: Task) -> Outcome:
    """One case; kept in the task's folder after each source, so that a run can go on where it ended."""
    file = Path(task.folder) / f"{task.dataset}-{task.seed}-{task.preset}.json" if task.folder else None
    outcome = read_outcome(file) if file and file.exists() else Outcome(task.dataset, task.seed)
    if not _missing(task, outcome):
        return outcome
    pair = make_pair(task.dataset, task.seed, Path(task.data) if task.data else None)
    if not outcome.motion:
        outcome.before = outcome.motion = np.linalg.norm(pair.partners - pair.points, axis=1).tolist()
        outcome.voxels = _body_voxels(pair)
    with tempfile.TemporaryDirectory(prefix="landmarkfusion-") as folder:
        initial = _align(task, pair, outcome, Path(folder))
        for source in task.sources:
            if source in outcome.registration or (not task.register and source in outcome.matching):
                continue
            points = None if source == NONE else _match(task, pair, source, initial, outcome)
            if task.register:
                outcome.registration[source] = _register(task, pair, points, initial, Path(folder))
            if file:
                write_outcome(file, outcome)
    if file:
        write_outcome(file, outcome)
    return outcome


def _missing(task: Task, outcome: Outcome) -> bool:
    done = outcome.registration if task.register else outcome.matching
    return any(source not in done for source in task.sources if task.register or source != NONE)


def write_outcome(file: Path, outcome: Outcome) -> None:
    """Write ``outcome`` as JSON, in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(outcome)), encoding="ascii")
    part.replace(file)


def read_outcome(file: Path) -> Outcome:
    """Raises InputError where ``file`` is no outcome."""
    try:
        data = json.loads(file.read_text(encoding="ascii"))
        data["affine"] = Registration(**data["affine"]) if data["affine"] else None
        data["matching"] = {name: Matching(**values) for name, values in data["matching"].items()}
        data["registration"] = {name: Registration(**values) for name, values in data["registration"].items()}
        data["planted"] = [Planted(**values) for values in data["planted"]]
        return Outcome(**data)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"“{file.name}” in the run's folder is damaged; delete it.") from error


def _align(task: Task, pair: DeformedPair, outcome: Outcome, folder: Path) -> FloatArray:
    """The affine map (4, 4) moving to fixed, by elastix; without registration the volumes are taken as they lie."""
    if not task.register:
        return np.eye(4)
    affine, _ = stages(task.preset, None, guided=False)
    found, seconds = _elastix(Pair(pair.fixed, pair.moving), [affine], folder / "affine")
    outcome.affine = _assess(pair, found, seconds)
    corners = np.vstack([np.zeros(3), 100 * np.eye(3)])
    moved = found.to_moving(corners)
    to_moving = np.eye(4)
    to_moving[:3, :3] = (moved[1:] - moved[0]).T / 100
    to_moving[:3, 3] = moved[0]
    return np.asarray(np.linalg.inv(to_moving), dtype=np.float64)


def _match(task: Task, pair: DeformedPair, source: str, initial: FloatArray, outcome: Outcome) -> Correspondences:
    started = time.process_time()
    found = find_pairs(source, pair.fixed, pair.moving, initial=initial, device=task.device)
    kept = consistency.remove_wrong(found)
    seconds = time.process_time() - started
    errors, unchecked = (_matching_errors(pair, points) for points in (kept, found))
    motion = np.linalg.norm(pair.deformation.to_moving(kept.fixed) - kept.fixed, axis=1)
    outcome.matching[source] = Matching(_short(errors), _short(motion), _short(unchecked), seconds)
    if task.outliers and not outcome.planted:
        outcome.planted = [_plant(task, pair, found, share) for share in OUTLIERS]
    return kept


def _matching_errors(pair: DeformedPair, points: Correspondences) -> FloatArray:
    """Section 2.7.1: the moving landmarks, projected on the fixed volume by the known deformation."""
    return np.asarray(np.linalg.norm(pair.deformation.to_fixed(points.moving) - points.fixed, axis=1))


def _plant(task: Task, pair: DeformedPair, found: Correspondences, share: float) -> Planted:
    random = np.random.default_rng([task.seed, zlib.crc32(b"outliers")])
    wrong = random.random(len(found)) < share
    direction = random.normal(size=(len(found), 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    shift = direction * random.uniform(*OUTLIER_MM, (len(found), 1)) * wrong[:, None]
    planted = Correspondences(found.fixed, found.moving + shift, found.confidence)
    kept = consistency.consistent(planted)
    errors = _matching_errors(pair, planted)
    right = errors < 4

    def part(of: npt.NDArray[np.bool_]) -> float:
        return float(np.mean(of)) if len(of) else float("nan")

    return Planted(share, part(~kept[wrong]), part(~kept[right]), part(errors[kept] >= 4))


def _register(
    task: Task, pair: DeformedPair, points: Correspondences | None, initial: FloatArray, folder: Path
) -> Registration:
    _, bspline = stages(task.preset, None, guided=points is not None)
    work = folder / f"deformable-{time.monotonic_ns()}"
    found, seconds = _elastix(Pair(pair.fixed, pair.moving, points, initial=initial), [bspline], work)
    return _assess(pair, found, seconds)


def _elastix(pair: Pair, parameters: Sequence[Parameters], folder: Path) -> tuple[Deformation, float]:
    folder.mkdir()
    prepared = prepare(pair, folder)
    arguments = [*prepared.arguments, "-threads", "1"]
    if prepared.points is not None:
        preparation.write_points(folder / "fixed-points.txt", prepared.points.fixed)
        preparation.write_points(folder / "moving-points.txt", prepared.points.moving)
        arguments += ["-fp", "fixed-points.txt", "-mp", "moving-points.txt"]
    before = os.times()
    watch = Watch(lambda fraction, text: None, folder / "elastix.log")
    file = run(find_elastix(), folder, parameters, arguments, watch)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return read_deformation(file), seconds


def _assess(pair: DeformedPair, found: Deformation, seconds: float) -> Registration:
    errors = np.linalg.norm(found.to_moving(pair.points) - pair.partners, axis=1)
    least, _, folded = folding(found.jacobian(pair.fixed), pair.body)
    return Registration(_short(errors), least, folded, seconds)


def _body_voxels(pair: DeformedPair, step: int = 3) -> list[int]:
    """How many voxels of the body were displaced by how much, estimated from every ``step``-th along each axis."""
    places = np.argwhere(pair.body[::step, ::step, ::step]) * step
    points = places[:, ::-1] @ pair.fixed.ijk_to_ras[:3, :3].T + pair.fixed.ijk_to_ras[:3, 3]
    motion = np.linalg.norm(pair.deformation.to_moving(points) - points, axis=1)
    return [int(count) * step**3 for count in np.histogram(motion, BINS_MM)[0]]


def _short(values: FloatArray) -> list[float]:
    return [round(float(value), 3) for value in values]
