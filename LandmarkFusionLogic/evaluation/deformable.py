"""DCNN-Match's evaluation (Grewal 2023, sections 2.7 and 3): matching, registration with and without landmarks.

Every case is a pair whose deformation is known. Both volumes are aligned affinely first, once; then each source of
landmarks finds its pairs on the aligned volumes, and the deformable stage runs with them, or without any.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from LandmarkFusionLogic.deformable import consistency, preparation
from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.executables import find as find_elastix
from LandmarkFusionLogic.deformable.parameters import Parameters
from LandmarkFusionLogic.deformable.quality import folding
from LandmarkFusionLogic.deformable.registration import Pair, Weights, prepare, stages
from LandmarkFusionLogic.deformable.runner import Watch, run
from LandmarkFusionLogic.deformable.sources import CLASSICAL, find_pairs
from LandmarkFusionLogic.deformable.transforms import Deformation, read_deformation
from LandmarkFusionLogic.deformable.weights import choose_weights
from LandmarkFusionLogic.evaluation.deformableoutcome import (
    BINS_MM,
    NONE,
    Matching,
    Outcome,
    Registration,
    file_of,
    read_outcome,
    read_pairs,
    write_outcome,
    write_pairs,
)
from LandmarkFusionLogic.evaluation.deformableoutliers import OUTLIERS, matching_errors, plant
from LandmarkFusionLogic.evaluation.deformablepairs import DeformedPair, make_pair
from LandmarkFusionLogic.evaluation.parallel import each
from LandmarkFusionLogic.points import FloatArray

PAPER = "paper"

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Task:
    """One case: ``seed`` of ``dataset``, with ``sources`` of landmarks (none, mind, names of networks).

    ``paper``: the deformable stage of the paper's preset has its rows too; ``weights``: so have weights that are
    chosen for the pair.
    """

    dataset: str
    seed: int
    sources: tuple[str, ...]
    data: str | None = None
    preset: str = "fast"
    register: bool = True
    outliers: bool = False
    device: str = "cpu"
    folder: str | None = None
    paper: bool = False
    weights: bool = False


class Row(NamedTuple):
    """One row of Table 2: landmarks of ``source``, elastix's ``preset``, its weights or ``chosen`` ones."""

    name: str
    source: str
    preset: str
    chosen: bool = False


def rows(task: Task) -> list[Row]:
    """What is registered how in ``task``, in the order of the table."""
    guided = [source for source in task.sources if source != NONE]
    found = [Row(source, source, task.preset) for source in task.sources]
    if task.paper and task.preset != PAPER:
        found += [Row(f"{source}, {PAPER}", source, PAPER) for source in task.sources]
    if task.weights:
        found += [Row(f"{source}, own weights", source, task.preset, True) for source in guided]
    return found


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
    """One case; kept in the task's folder after each step, so that a run can go on where it ended."""
    file = file_of(task.folder, task.dataset, task.seed, task.preset)
    outcome = read_outcome(file) if file and file.exists() else Outcome(task.dataset, task.seed)
    _forget_replaced_networks(task, outcome)
    with tempfile.TemporaryDirectory(prefix="landmarkfusion-") as folder:
        case = Case(task, outcome, Path(folder), file)
        for source in task.sources:
            if source != NONE and source not in outcome.matching:
                case.pairs(source)
        for row in rows(task) if task.register else []:
            if row.name not in outcome.registration:
                outcome.registration[row.name] = case.register(row)
                case.keep()
    return _asked(task, outcome)


def _asked(task: Task, outcome: Outcome) -> Outcome:
    """``outcome`` without what other tasks have left in the same folder."""
    names = [row.name for row in rows(task)]
    return replace(
        outcome,
        matching={name: found for name, found in outcome.matching.items() if name in task.sources},
        registration={name: outcome.registration[name] for name in names if name in outcome.registration},
        planted=outcome.planted if task.outliers else [],
    )


def identity(source: str) -> tuple[str, str, int]:
    """Of a network: the beginning of its SHA-256, its title, its steps of training; nothing for other sources.

    Raises InputError for a network that cannot be used.
    """
    if source in (NONE, CLASSICAL):
        return "", "", 0
    from LandmarkFusionLogic.deformable.dcnn.bundle import load_bundle
    from LandmarkFusionLogic.deformable.dcnn.networks import network_folder

    metadata = load_bundle(network_folder(source)).metadata
    steps = int(metadata.get("training", {}).get("steps", 0))
    title = f"{metadata.get('title', source)}, width {metadata['network']['width']}"
    return str(metadata["sha256"])[:12], title, steps


def _forget_replaced_networks(task: Task, outcome: Outcome) -> None:
    """What a network of the same name found that has been trained again since counts no more."""
    for source in task.sources:
        if source in outcome.matching and outcome.matching[source].network != identity(source)[0]:
            del outcome.matching[source]
            for row in rows(task):
                if row.source == source:
                    outcome.registration.pop(row.name, None)


class Case:
    """A pair of volumes while it is measured; made, aligned and matched only when that is first asked for."""

    def __init__(self, task: Task, outcome: Outcome, folder: Path, file: Path | None) -> None:
        self._task, self._outcome, self._folder, self._file = task, outcome, folder, file
        self._pairs: dict[str, Correspondences] = {}

    def keep(self) -> None:
        """Write what is known by now."""
        if self._file:
            write_outcome(self._file, self._outcome)

    @cached_property
    def pair(self) -> DeformedPair:
        """The volumes and their truth."""
        pair = make_pair(self._task.dataset, self._task.seed, Path(self._task.data) if self._task.data else None)
        outcome = self._outcome
        outcome.shape = list(pair.fixed.array.shape)
        if not outcome.motion:
            outcome.before = outcome.motion = np.linalg.norm(pair.partners - pair.points, axis=1).tolist()
            outcome.voxels = _body_voxels(pair)
        return pair

    @cached_property
    def initial(self) -> FloatArray:
        """The affine map (4, 4) moving to fixed, by elastix; without registration the volumes stay as they lie."""
        if not self._task.register:
            return np.eye(4)
        if not self._outcome.initial:
            affine, _ = stages(self._task.preset, None, guided=False)
            pair = self.pair
            found, seconds = _elastix(Pair(pair.fixed, pair.moving), [affine], self._work("affine"))
            self._outcome.affine = assess(pair, found, seconds)
            self._outcome.initial = np.linalg.inv(_matrix(found)).tolist()
            self.keep()
        return np.array(self._outcome.initial, dtype=np.float64)

    def pairs(self, source: str) -> Correspondences:
        """The pairs of ``source``, wrong ones removed."""
        if source not in self._pairs:
            network = identity(source)
            # Without registration nothing is aligned first: such pairs are others.
            kind = f"{source}{network[0]}" if self._task.register else f"{source}{network[0]}-in-place"
            kept = read_pairs(self._file, kind) if self._file and source in self._outcome.matching else None
            self._pairs[source] = self._find(source, network) if kept is None else kept
            if self._file and kept is None:
                write_pairs(self._file, kind, self._pairs[source])
        return self._pairs[source]

    def _find(self, source: str, network: tuple[str, str, int]) -> Correspondences:
        pair, task, initial = self.pair, self._task, self.initial
        started = time.process_time()
        found = find_pairs(source, pair.fixed, pair.moving, initial=initial, device=task.device)
        kept = consistency.remove_wrong(found)
        seconds = time.process_time() - started
        errors, unchecked = (matching_errors(pair, points) for points in (kept, found))
        motion = np.linalg.norm(pair.deformation.to_moving(kept.fixed) - kept.fixed, axis=1)
        self._outcome.matching[source] = Matching(_short(errors), _short(motion), _short(unchecked), seconds, *network)
        if task.outliers and not self._outcome.planted:
            self._outcome.planted = [plant(task.seed, pair, found, share) for share in OUTLIERS]
        self.keep()
        return kept

    def register(self, row: Row) -> Registration:
        """The deformable stage of ``row`` after the affine map."""
        points = None if row.source == NONE else self.pairs(row.source)
        pair = Pair(self.pair.fixed, self.pair.moving, points, initial=self.initial)
        weights, spent = self._weights(pair, row.preset) if row.chosen else (None, 0.0)
        _, bspline = stages(row.preset, weights, guided=points is not None)
        found, seconds = _elastix(pair, [bspline], self._work("deformable"))
        chosen = {} if weights is None else {"points": weights.points or 0.0, "grid_mm": weights.grid_mm or 0.0}
        return assess(self.pair, found, seconds + spent, chosen)

    def _weights(self, pair: Pair, preset: str) -> tuple[Weights, float]:
        folder = self._work("weights")
        before = _children_seconds()
        watch = Watch(lambda fraction, text: None, folder / "elastix.log")
        weights, _ = choose_weights(prepare(pair, folder), find_elastix(), watch, preset, threads=1)
        return weights, _children_seconds() - before

    def _work(self, name: str) -> Path:
        folder = self._folder / f"{name}-{time.monotonic_ns()}"
        folder.mkdir()
        return folder


def assess(
    pair: DeformedPair, found: Deformation, seconds: float, weights: dict[str, float] | None = None
) -> Registration:
    """How far ``found`` is from the truth of ``pair``."""
    errors = np.linalg.norm(found.to_moving(pair.points) - pair.partners, axis=1)
    least, _, folded = folding(found.jacobian(pair.fixed), pair.body)
    return Registration(_short(errors), least, folded, seconds, weights or {})


def _elastix(pair: Pair, parameters: Sequence[Parameters], folder: Path) -> tuple[Deformation, float]:
    prepared = prepare(pair, folder)
    arguments = [*prepared.arguments, "-threads", "1"]
    if prepared.points is not None:
        preparation.write_points(folder / "fixed-points.txt", prepared.points.fixed)
        preparation.write_points(folder / "moving-points.txt", prepared.points.moving)
        arguments += ["-fp", "fixed-points.txt", "-mp", "moving-points.txt"]
    before = _children_seconds()
    watch = Watch(lambda fraction, text: None, folder / "elastix.log")
    file = run(find_elastix(), folder, parameters, arguments, watch)
    return read_deformation(file), _children_seconds() - before


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _matrix(found: Deformation) -> FloatArray:
    """The affine map (4, 4) that ``found`` is, fixed to moving."""
    moved = found.to_moving(np.vstack([np.zeros(3), 100 * np.eye(3)]))
    matrix = np.eye(4)
    matrix[:3, :3] = (moved[1:] - moved[0]).T / 100
    matrix[:3, 3] = moved[0]
    return matrix


def _body_voxels(pair: DeformedPair, step: int = 3) -> list[int]:
    """How many voxels of the body were displaced by how much, estimated from every ``step``-th along each axis."""
    places = np.argwhere(pair.body[::step, ::step, ::step]) * step
    points = places[:, ::-1] @ pair.fixed.ijk_to_ras[:3, :3].T + pair.fixed.ijk_to_ras[:3, 3]
    motion = np.linalg.norm(pair.deformation.to_moving(points) - points, axis=1)
    return [int(count) * step**3 for count in np.histogram(motion, BINS_MM)[0]]


def _short(values: FloatArray) -> list[float]:
    return [round(float(value), 3) for value in values]
