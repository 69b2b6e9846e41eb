"""Detection on simulated cases that no network has been trained on: as they come, under conditions, turned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.errors import Finding, mean_position_errors, table
from LandmarkFusionLogic.evaluation.statistics import bootstrap_interval, paired_interval
from LandmarkFusionLogic.landmarks.detection import detect_landmarks
from LandmarkFusionLogic.landmarks.networks import network_folder, read_metadata
from LandmarkFusionLogic.points import FloatArray, Landmark
from LandmarkFusionLogic.simulation.case import MODALITIES, simulate_image
from LandmarkFusionLogic.simulation.conditions import CONDITIONS, title
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.seeds import TEST
from LandmarkFusionLogic.volume import Volume

SPACING_MM = 1.2
"""In-plane voxel size at which the cases are rendered: the network's grid is coarser, a finer one only costs time."""
TURNS_DEGREES = (15.0, 30.0, 45.0)
LARGE_MM = 10.0
"""An error above this should come with a warning."""

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Trial:
    """How the cases of one row are shown: under a ``condition``, ``turned`` by degrees about any axis."""

    condition: str | None = None
    turned: float = 0.0

    @property
    def title(self) -> str:
        """The row's name."""
        return f"turned by {self.turned:.0f}°" if self.turned else title(self.condition)


@dataclass(frozen=True)
class Outcome:
    """One detection: its ``findings``, a landmark each, and whether any warning came with it (``flagged``)."""

    trial: Trial
    seed: int
    modality: str
    findings: tuple[Finding, ...]
    flagged: bool

    @property
    def worst(self) -> float:
        """Largest error, mm."""
        return max(finding.error for finding in self.findings)


def trials(modality: str, conditions: bool, turns: bool) -> list[Trial]:
    """The rows of ``modality``: the cases as they come, each of its conditions, each turn."""
    rows = [Trial()]
    if conditions:
        rows += [Trial(name) for name, modalities in CONDITIONS.items() if modality in modalities]
    if turns:
        rows += [Trial(turned=degrees) for degrees in TURNS_DEGREES]
    return rows


def evaluate_simulated(
    cases: int,
    device: str,
    report: Report,
    modalities: tuple[str, ...] = MODALITIES,
    models: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Detect in the first ``cases`` cases of the test seeds, which training never draws from.

    ``models``: folder or name of the network by modality; the defaults for the others. Raises InputError for an
    impossible number of cases and for networks that cannot be used.
    """
    outcomes = evaluate_trials(cases, device, report, modalities, models=models)
    return [finding for outcome in outcomes for finding in outcome.findings]


def evaluate_trials(
    cases: int,
    device: str,
    report: Report,
    modalities: tuple[str, ...] = MODALITIES,
    conditions: bool = False,
    turns: bool = False,
    models: Mapping[str, str] | None = None,
    workers: int = 1,
    seeds: Sequence[int] = TEST,
) -> list[Outcome]:
    """Each trial of each modality on the first ``cases`` of ``seeds`` (default: test seeds), in ``workers`` processes.

    Raises InputError as `evaluate_simulated` does.
    """
    if not 2 <= cases <= len(seeds):
        raise InputError(f"The number of cases must lie between 2 and {len(seeds)}.")
    if workers < 1:
        raise InputError("At least one worker is needed.")
    chosen = {modality: str(network_folder(modality, (models or {}).get(modality))) for modality in modalities}
    tasks = [
        _Task(seed, modality, tuple(trials(modality, conditions, turns)), chosen[modality], device)
        for seed in seeds[:cases]
        for modality in modalities
    ]
    outcomes: list[Outcome] = []
    for number, part in enumerate(_each(tasks, workers)):
        report(number / len(tasks), f"Simulated case {tasks[number].seed}")
        outcomes += part
    report(1.0, "Done")
    return outcomes


def models_of(folders: Sequence[str]) -> dict[str, str]:
    """Networks by the modality that each says it is for. Raises InputError for two of one modality, and for none."""
    models: dict[str, str] = {}
    for folder in folders:
        # The folder says for which modality it is; the search by name is the same for both.
        modality = str(read_metadata(network_folder("mr", folder)).get("modality"))
        if modality not in MODALITIES:
            raise InputError(f"“{Path(folder).name}” is no landmark network.")
        if modality in models:
            raise InputError(f"Two networks are for {modality.upper()}; give one for each modality.")
        models[modality] = folder
    return models


def describe_simulated(findings: list[Finding]) -> str:
    """The errors by landmark as text."""
    seeds = sorted({int(finding.case) for finding in findings})
    return (
        f"{len(seeds)} simulated cases, seeds {seeds[0]} to {seeds[-1]}, never trained on; mean / median error, mm\n"
        f"{table(findings)}\n"
        "Mean position: leave-one-out over these cases, relative to the middle of the volume."
    )


def describe_trials(outcomes: Sequence[Outcome]) -> str:
    """A row for each modality and trial as text."""
    seeds = sorted({outcome.seed for outcome in outcomes})
    head = f"{'':<28}{'cases':>6}{'MRE, mm':>9}{'95 % interval':>15}{'median':>8}"
    lines = [
        f"{len(seeds)} simulated cases, seeds {seeds[0]} to {seeds[-1]}, never trained on; radial errors, mm",
        f"{head}{'mean position':>15}{'flagged':>9}{f'> {LARGE_MM:.0f} mm':>9}{'of these flagged':>18}",
    ]
    for modality, trial in dict.fromkeys((outcome.modality, outcome.trial) for outcome in outcomes):
        lines.append(_row([o for o in outcomes if (o.modality, o.trial) == (modality, trial)]))
    lines += [
        "MRE: mean over cases and the three landmarks; its interval by bootstrap over cases. Mean position: of always",
        "answering it, leave-one-out over the same row, relative to the middle of the volume. Flagged: share of cases",
        f"with a warning; > {LARGE_MM:.0f} mm: share of cases with a landmark that far off.",
    ]
    return "\n".join(lines)


def _row(rows: Sequence[Outcome]) -> str:
    findings = [finding for outcome in rows for finding in outcome.findings]
    errors = np.array([finding.error for finding in findings])
    low, high = bootstrap_interval(errors, groups=[finding.case for finding in findings])
    baseline = float(np.mean(mean_position_errors(findings)))
    large = [outcome for outcome in rows if outcome.worst > LARGE_MM]
    caught = f"{np.mean([outcome.flagged for outcome in large]):18.0%}" if large else f"{'-':>18}"
    label = f"{rows[0].modality.upper()} {rows[0].trial.title}"
    interval = f"{low:.1f} to {high:.1f}"
    flagged = float(np.mean([outcome.flagged for outcome in rows]))
    return (
        f"{label:<28}{len(rows):>6}{errors.mean():>9.2f}{interval:>15}{np.median(errors):>8.2f}{baseline:>15.1f}"
        f"{flagged:>9.0%}{len(large) / len(rows):>9.0%}{caught}"
    )


def describe_against(outcomes: Sequence[Outcome], others: Sequence[Outcome], name: str) -> str:
    """What network ``name`` loses or gains, case by case: its ``others`` against ``outcomes``, the same trials."""
    seeds = sorted({outcome.seed for outcome in outcomes})
    lines = [f"{name} against the network that is used, {len(seeds)} simulated cases, seeds {seeds[0]} to {seeds[-1]}"]
    for modality, trial in dict.fromkeys((outcome.modality, outcome.trial) for outcome in others):
        pairs = [
            [finding for o in rows if (o.modality, o.trial) == (modality, trial) for finding in o.findings]
            for rows in (outcomes, others)
        ]
        used, other = (np.array([finding.error for finding in findings]) for findings in pairs)
        low, high = paired_interval(other, used, groups=[finding.case for finding in pairs[0]])
        lines.append(
            f"{modality.upper()} {trial.title:<26}{used.mean():>7.2f} mm used {other.mean():>7.2f} mm  "
            f"difference {(other - used).mean():+.2f} ({low:+.2f} to {high:+.2f})"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class _Task:
    """All trials of one image; what a worker process is given."""

    seed: int
    modality: str
    trials: tuple[Trial, ...]
    model: str
    device: str


def _each(tasks: Sequence[_Task], workers: int) -> Iterator[list[Outcome]]:
    """The tasks' outcomes, in their order."""
    if workers == 1:
        yield from map(_run, tasks)
        return
    # Spawned, since torch's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        futures = [pool.submit(_run, task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    # Each process has a core; more threads would wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def _run(task: _Task) -> list[Outcome]:
    caution = str(read_metadata(task.model).get("caution", ""))
    outcomes = []
    for trial in task.trials:
        image, truth = show(task.seed, task.modality, trial)
        detection = detect_landmarks(image, task.modality, task.device, task.model)
        found = {point.name: point.position for point in detection.landmarks}
        findings = tuple(
            Finding(str(task.seed), task.modality, point.name, found[point.name], point.position, image.centre)
            for point in truth
        )
        # What is said with every result of a network warns of nothing.
        flagged = any(warning != caution for warning in detection.warnings)
        outcomes.append(Outcome(trial, task.seed, task.modality, findings, flagged))
    return outcomes


def show(seed: int, modality: str, trial: Trial) -> tuple[Volume, tuple[Landmark, ...]]:
    """The image of ``seed`` in a trial, and its true landmarks (RAS mm)."""
    simulated = simulate_image(seed, modality, SPACING_MM, condition=trial.condition)
    if not trial.turned:
        return simulated.image, simulated.landmarks
    draw = Draw(seed, f"start turned {trial.turned:.0f} {modality}")
    turn = Rotation.from_rotvec(np.radians(trial.turned) * draw.direction()).as_matrix()
    matrix = _about(simulated.image.centre, np.asarray(turn))
    image = Volume(simulated.image.array, matrix @ simulated.image.ijk_to_ras)
    return image, tuple(
        Landmark(point.name, matrix[:3, :3] @ point.position + matrix[:3, 3]) for point in simulated.landmarks
    )


def _about(centre: FloatArray, rotation: FloatArray) -> FloatArray:
    """(4, 4) turn about ``centre`` (3,), RAS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = centre - rotation @ centre
    return matrix
