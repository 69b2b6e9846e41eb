"""2D/3D registration measured (Chen 2023, section 3): every method on the same X-rays, from the same starts.

A method is given the X-ray, its geometry, the moving volume and a start that was drawn without looking at the truth.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.parallel import each
from LandmarkFusionLogic.evaluation.projectioncases import CONTENTS, Case, make_case
from LandmarkFusionLogic.evaluation.projectionerrors import PoseErrors, compare
from LandmarkFusionLogic.projection.learned import networks as learned
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.projection.projector import project, project_with_jacobian
from LandmarkFusionLogic.projection.registration import Alignment, View, align

Report = Callable[[float, str], None]

INITIAL = "initial"
OURS, OURS_TWO_VIEWS = "ours", "ours, two views"
METHODS = {
    INITIAL: "Initial",
    "opt-nccl": "Opt-NCCL",
    "opt-ngi": "Opt-NGI",
    "opt-gc": "Opt-GC",
    "deep-reg": "Deep-reg",
    "rtpi": "RTPI",
    "sopi": "SOPI",
    "sopi+opt": "SOPI+opt",
    OURS: "ours",
    OURS_TWO_VIEWS: "ours, two views",
}
"""Methods in the order of the tables, and what they are called there."""
PARTS_OF_SOPI = ("sopi-without-rtpi", "sopi-without-ce", "sopi-without-el", "sopi-without-ce-el")
"""Further methods, for Table 2."""


@dataclass(frozen=True)
class Task:
    """The case ``seed`` of ``dataset`` with one of `CONTENTS`, for ``methods``."""

    dataset: str
    seed: int
    content: str
    methods: tuple[str, ...]
    data: str | None = None
    folder: str | None = None


@dataclass(frozen=True)
class Found:
    """What one method found: its pose (6,), the pose's errors, NCC of DRR and X-ray, CPU seconds, warnings.

    ``refused`` is the sentence of a method that gave no pose; the start counts as its pose then.
    """

    pose: list[float]
    errors: PoseErrors
    similarity: float
    seconds: float
    warnings: list[str] = field(default_factory=list)
    refused: str | None = None


@dataclass
class Outcome:
    """All figures of one case."""

    dataset: str
    seed: int
    content: str
    found: dict[str, Found] = field(default_factory=dict)

    @property
    def start(self) -> float:
        """Mean distance by which the start is off at the points in the vertebrae, mm."""
        return self.found[INITIAL].errors.mtre


def evaluate(tasks: Sequence[Task], workers: int, report: Report) -> list[Outcome]:
    """All cases, by ``workers`` processes. What a task's ``folder`` holds already is not measured again.

    Raises InputError where a CT or a network is missing.
    """
    outcomes = []
    for number, outcome in enumerate(each(measure, tasks, workers)):
        outcomes.append(outcome)
        report((number + 1) / len(tasks), f"{outcome.dataset}, {CONTENTS[outcome.content]}, case {outcome.seed}")
    return outcomes


def check_method(method: str) -> None:
    """Raise InputError for a method that there is not, or whose networks are missing."""
    if method not in (*METHODS, *PARTS_OF_SOPI):
        raise InputError(f"There is no method “{method}”; choose from {'; '.join((*METHODS, *PARTS_OF_SOPI))}.")
    if method in learned.METHODS:
        learned.check_model(method, None)


def training_steps(method: str) -> str:
    """With how many steps the networks of ``method`` were trained, joined by “+”; empty for a method without any."""
    counts = []
    for stage in learned.METHODS.get(method, ()):
        metadata = learned.network_folder(stage) / learned.METADATA
        counts.append(str(json.loads(metadata.read_text(encoding="utf-8"))["training"]["steps"]))
    return " + ".join(counts)


def measure(task: Task) -> Outcome:
    """One case; kept in the task's folder after each method, so that a run can go on where it ended."""
    name = f"{task.dataset}-{task.content}-{task.seed}.json"
    file = Path(task.folder) / name if task.folder else None
    outcome = read_outcome(file) if file and file.exists() else Outcome(task.dataset, task.seed, task.content)
    missing = [method for method in (INITIAL, *task.methods) if method not in outcome.found]
    if not missing:
        return outcome
    views = 2 if OURS_TWO_VIEWS in missing else 1
    case = make_case(task.dataset, task.seed, task.content, Path(task.data) if task.data else None, views)
    _compile()
    for method in missing:
        outcome.found[method] = _try(case, method)
        if file:
            write_outcome(file, outcome)
    return outcome


def _try(case: Case, method: str) -> Found:
    """One method on one case; CPU seconds of this process, all its threads together."""
    if method == INITIAL:
        return _assess(case, case.start, 0.0)
    started = time.process_time()
    try:
        alignment = _align(case, method)
    except InputError as error:
        return _assess(case, case.start, time.process_time() - started, refused=str(error))
    return _assess(case, alignment.pose, time.process_time() - started, alignment.warnings)


def _align(case: Case, method: str) -> Alignment:
    count = 2 if method == OURS_TWO_VIEWS else 1
    views = [
        View(image, case.geometry, camera)
        for image, camera in zip(case.images[:count], case.cameras[:count], strict=True)
    ]
    return align(case.moving, views, [case.start], OURS if count == 2 else method)


def _assess(case: Case, pose: Pose, seconds: float, warnings: Sequence[str] = (), refused: str | None = None) -> Found:
    center = case.moving.centre
    errors = compare(pose, case.truth, center, case.points, case.geometry)
    drr = project(case.moving, case.geometry, ct_to_camera(pose, center, case.geometry))
    return Found(
        pose.parameters.round(4).tolist(), errors, _ncc(drr, case.images[0]), seconds, list(warnings), refused
    )


def _ncc(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    a, b = (image.astype(np.float64) - image.mean() for image in (a, b))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.sum(a * b) / size) if size > 0 else 0.0


@lru_cache(maxsize=1)
def _compile() -> None:
    """Use the projector once, so that its compilation is no method's time."""
    from LandmarkFusionLogic.projection.geometry import Geometry
    from LandmarkFusionLogic.volume import Volume

    box = Volume(np.full((8, 8, 8), 0.02, dtype=np.float32), np.diag([10.0, 10.0, 10.0, 1.0]))
    geometry = Geometry(sdd=1000.0, rows=8, columns=8, spacing=(10.0, 10.0))
    to_camera = ct_to_camera(Pose(), box.centre, geometry)
    project(box, geometry, to_camera)
    project_with_jacobian(box, geometry, to_camera, np.array([0.0, 0.0, geometry.isocenter_distance]))


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
        found = {
            name: Found(**{**values, "errors": PoseErrors(**values["errors"])})
            for name, values in data.pop("found").items()
        }
        return Outcome(**data, found=found)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"“{file.name}” in the run's folder is damaged; delete it.") from error
