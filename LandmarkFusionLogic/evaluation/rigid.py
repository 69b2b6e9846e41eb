"""Fang 2023, Tables 2 to 4: how well landmarks align the gland, beside alignments that need none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.datasets.mrus27 import case_folders, is_development
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.observers import placed_by_hand
from LandmarkFusionLogic.evaluation.pairs import (
    DetectedPair,
    Networks,
    Side,
    fold_networks,
    real_pair,
    simulated_pair,
)
from LandmarkFusionLogic.evaluation.parallel import each
from LandmarkFusionLogic.points import FloatArray, Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.rigid.landmarks import LandmarkFit, fit_landmarks, gland_pair
from LandmarkFusionLogic.rigid.masks import MaskTerm, border_of
from LandmarkFusionLogic.rigid.metrics import (
    centroid,
    dice,
    residual_rotation,
    shift,
    surface_registration_error,
    true_motion,
)
from LandmarkFusionLogic.rigid.surfaces import SurfaceDistance, surface_of
from LandmarkFusionLogic.simulation.seeds import TEST

PAPER_CASES = 263
"""As many test pairs as Fang 2023 has."""

STORED, CENTRES = "none: as stored", "none: volumes' centres"
FOUND_SHIFT, TRUE_SHIFT = "shift of predicted glands", "shift of true glands (oracle)"
FANG, BEST, MASKS = "network + SVD (Fang)", "network + our best fit", "the same + gland masks"
MANUAL, MANUAL_BEST = "manual + SVD (Fang)", "manual + our best fit"
METHODS = (STORED, CENTRES, TRUE_SHIFT, FOUND_SHIFT, FANG, BEST, MASKS, MANUAL, MANUAL_BEST)

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Alignment:
    """How far an alignment is from T_gt: SRE (mm, eq. 6), Dice, symmetric surface distance (mm), residual rotation in
    degrees. ``fre`` (mm) is what is left between its own landmarks. ``made`` and ``expected`` (mm) are root mean
    squares of its error at the true landmarks and of what the fit expected there; NaN where either is unknown.
    """

    sre: float
    dice: float
    distance: float
    rotation: float
    fre: float = float("nan")
    made: float = float("nan")
    expected: float = float("nan")


@dataclass(frozen=True)
class RigidCase:
    """One pair: its alignments by method, of `METHODS`, those that are possible."""

    name: str
    alignments: dict[str, Alignment] = field(default_factory=dict)


def evaluate_simulated_pairs(
    cases: int, networks: Networks, device: str, workers: int, report: Report
) -> list[RigidCase]:
    """All methods on the first ``cases`` pairs of the test seeds. Raises InputError for an impossible number."""
    if not 2 <= cases <= len(TEST):
        raise InputError(f"The number of cases must lie between 2 and {len(TEST)}.")
    return _evaluate([_Task(networks, device, seed=seed) for seed in TEST[:cases]], workers, report)


def evaluate_real_pairs(
    data: Path, networks: Networks, device: str, workers: int, report: Report, folds: Path | None = None
) -> list[RigidCase]:
    """All methods on the pairs of mrus-27 below ``data``.

    With ``folds``, the folder of the networks mr-0 … us-2, each pair is seen by those that were not trained on it.
    Raises InputError where pairs or networks are missing.
    """
    folders = case_folders(data)
    tasks = [
        _Task(networks if folds is None else fold_networks(folds, folder), device, folder=folder) for folder in folders
    ]
    return _evaluate(tasks, workers, report)


def fold_folder() -> Path | None:
    """Where the networks of the cross-validation lie, or None: they are not installed everywhere."""
    try:
        return assets.path("models", "folds")
    except InputError:
        return None


@dataclass(frozen=True)
class _Task:
    networks: Networks
    device: str
    seed: int | None = None
    folder: Path | None = None


def _evaluate(tasks: Sequence[_Task], workers: int, report: Report) -> list[RigidCase]:
    found = []
    report(0.0, "Aligning")
    for number, case in enumerate(each(_run, tasks, workers), start=1):
        report(number / len(tasks), f"Aligned pair {number} of {len(tasks)} ({case.name})")
        found.append(case)
    return found


def _run(task: _Task) -> RigidCase:
    if task.folder is not None:
        return align(real_pair(task.folder, task.networks, task.device))
    assert task.seed is not None
    return align(simulated_pair(task.seed, task.networks, task.device))


def align(pair: DetectedPair) -> RigidCase:
    """Every method on one pair, measured against iterative closest points between the true glands' surfaces."""
    mr, us = surface_of(pair.mr.mask), surface_of(pair.us.mask)
    centres = shift(centroid(pair.mr.mask), centroid(pair.us.mask))
    truth = true_motion(mr, us, centres)
    motions: dict[str, FloatArray] = {
        STORED: np.eye(4),
        CENTRES: shift(pair.mr.centre, pair.us.centre),
        TRUE_SHIFT: centres,
    }
    fits = _fits(pair)
    if pair.mr.gland is not None and pair.us.gland is not None:
        motions[FOUND_SHIFT] = shift(pair.mr.gland.centroid, pair.us.gland.centroid)
    motions |= {method: fit.mr_to_us for method, fit in fits.items()}
    apart = SurfaceDistance(mr, us)
    alignments = {}
    for method in METHODS:
        if method not in motions:
            continue
        matrix = motions[method]
        fit = fits.get(method)
        # A person's landmarks are the true ones: what is left between them is FRE and no target error.
        made, expected = (np.nan, np.nan) if fit is None or "manual" in method else _at_true_landmarks(pair, fit)
        alignments[method] = Alignment(
            surface_registration_error(mr.points, truth, matrix),
            dice(pair.mr.mask, pair.us.mask, matrix),
            apart.mean(matrix),
            residual_rotation(truth, matrix),
            np.nan if fit is None else fit.rms,
            made,
            expected,
        )
    return RigidCase(pair.name, alignments)


def _fits(pair: DetectedPair) -> dict[str, LandmarkFit]:
    fits = {FANG: fit_landmarks(pair.mr.found, pair.us.found, "svd")}
    glands = None
    if pair.mr.gland is not None and pair.us.gland is not None:
        glands = gland_pair(pair.mr.gland, pair.us.gland)
        term = MaskTerm(border_of(pair.mr.gland), border_of(pair.us.gland))
    extra = () if glands is None else (glands,)
    fits[BEST] = fit_landmarks(pair.mr.found, pair.us.found, "best", extra)
    if glands is not None:
        fits[MASKS] = fit_landmarks(pair.mr.found, pair.us.found, "best", extra, term=term)
    by_hand = _manual(pair.mr, pair.name, "mr"), _manual(pair.us, pair.name, "us")
    if min(len(points) for points in by_hand) >= 3:
        fits[MANUAL] = fit_landmarks(*by_hand, "svd")
        fits[MANUAL_BEST] = fit_landmarks(*by_hand, "best")
    return fits


def _manual(side: Side, name: str, modality: str) -> list[Landmark]:
    return placed_by_hand(side.true, name, modality)


def _at_true_landmarks(pair: DetectedPair, fit: LandmarkFit) -> tuple[float, float]:
    us = {point.name: point.position for point in pair.us.true}
    both = [(point.position, us[point.name]) for point in pair.mr.true if point.name in us]
    if not both:
        return float("nan"), float("nan")
    places, goals = np.array([a for a, _ in both]), np.array([b for _, b in both])
    made = np.linalg.norm(apply(fit.mr_to_us, places) - goals, axis=1)
    return float(np.sqrt(np.mean(made**2))), float(np.sqrt(np.mean(fit.expected_error(places) ** 2)))


def is_final(case: RigidCase) -> bool:
    """Whether a pair of mrus-27 is kept for final figures, by its name (case000004)."""
    return not is_development(Path(case.name))
