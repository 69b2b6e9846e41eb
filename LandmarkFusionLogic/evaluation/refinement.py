"""What the refinement after the rigid fit gains: on simulated pairs, whose whole motion is known, and on real ones.

Every refinement starts from the rigid fit of what the networks find. Points that are measured guide nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.datasets.mrus27 import case_folders, is_development, labelled_points
from LandmarkFusionLogic.deformable.refinement.landmarks import paired
from LandmarkFusionLogic.deformable.refinement.refine import Pair, Refinement, refine
from LandmarkFusionLogic.deformable.transforms import Deformation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.pairs import SPACING_MM, Networks, fold_networks
from LandmarkFusionLogic.evaluation.parallel import each
from LandmarkFusionLogic.gland import gland_of_mask
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.landmarks.detection import detect_landmarks
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.rigid.landmarks import fit_landmarks, gland_pair
from LandmarkFusionLogic.rigid.surfaces import SurfaceDistance, surface_of
from LandmarkFusionLogic.simulation.case import simulate_case
from LandmarkFusionLogic.simulation.seeds import TEST
from LandmarkFusionLogic.volume import Volume

RIGID = "rigid: networks + our fit"
NETWORK, NETWORK_CHECKED, NETWORK_BARE = "network masks", "network masks, checked", "network masks, no matches"
DRAWN, DRAWN_CHECKED = "true masks", "true masks, checked"
DRAWN_RIGID, DRAWN_BARE = "true masks, rigid only", "true masks, no matches"
METHODS = (RIGID, NETWORK, NETWORK_BARE, NETWORK_CHECKED, DRAWN_RIGID, DRAWN, DRAWN_BARE, DRAWN_CHECKED)
POINTS = 300
"""How many points in a simulated gland are measured."""

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Measured:
    """One alignment: ``tre`` mm, mean over the points (NaN without any), ``dice`` and mean surface ``distance`` (mm)
    of the true glands; ``folded`` share and ``jacobian_min`` in and around the gland; ``moved`` mm and the ``change``
    of the images' difference as the check sees them; ``matches`` that guided, whether it is ``used``, CPU ``seconds``.
    """

    tre: float
    dice: float
    distance: float
    folded: float = 0.0
    jacobian_min: float = 1.0
    moved: float = 0.0
    change: float = 0.0
    matches: int = 0
    used: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class RefinedCase:
    """One pair: what was measured, by method of `METHODS`."""

    name: str
    found: dict[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True)
class KnownPair:
    """Two images with their true glands and N points (N, 3), RAS mm, that show the same places."""

    name: str
    mr: Volume
    us: Volume
    mr_mask: Volume
    us_mask: Volume
    mr_points: FloatArray = field(compare=False)
    us_points: FloatArray = field(compare=False)


@dataclass(frozen=True)
class _Task:
    networks: Networks
    device: str
    seed: int | None = None
    folder: Path | None = None


def evaluate_simulated(
    cases: int, networks: Networks, device: str, workers: int, report: Report, seeds: Sequence[int] = TEST
) -> list[RefinedCase]:
    """All methods on the first ``cases`` pairs of ``seeds``. Raises InputError for an impossible number."""
    if not 2 <= cases <= len(seeds):
        raise InputError(f"The number of cases must lie between 2 and {len(seeds)}.")
    return _evaluate([_Task(networks, device, seed=seed) for seed in seeds[:cases]], workers, report)


def evaluate_real(
    data: Path, networks: Networks, device: str, workers: int, report: Report, folds: Path | None = None
) -> list[RefinedCase]:
    """All methods on the final pairs of mrus-27 below ``data``.

    With ``folds``, the folder of the networks mr-0 … us-2, each pair is seen by those that were not trained on it.
    Raises InputError where pairs or networks are missing.
    """
    folders = [folder for folder in case_folders(data) if not is_development(folder)]
    tasks = [
        _Task(networks if folds is None else fold_networks(folds, folder), device, folder=folder) for folder in folders
    ]
    return _evaluate(tasks, workers, report)


def _evaluate(tasks: Sequence[_Task], workers: int, report: Report) -> list[RefinedCase]:
    found = []
    report(0.0, "Refining")
    for number, case in enumerate(each(_run, tasks, workers), start=1):
        report(number / len(tasks), f"Refined pair {number} of {len(tasks)} ({case.name})")
        found.append(case)
    return found


def _run(task: _Task) -> RefinedCase:
    if task.folder is not None:
        return measure(real_pair(task.folder), task.networks, task.device, bare=False)
    assert task.seed is not None
    return measure(simulated_pair(task.seed), task.networks, task.device)


def simulated_pair(seed: int) -> KnownPair:
    """The pair of ``seed``, with points drawn all over its gland."""
    case = simulate_case(seed, mr_spacing_mm=SPACING_MM, us_spacing_mm=SPACING_MM)
    inside = apply(case.mr_gland.ijk_to_ras, np.argwhere(np.asarray(case.mr_gland.array) > 0)[:, ::-1])
    points = inside[np.random.default_rng(seed).permutation(len(inside))[:POINTS]]
    return KnownPair(str(seed), case.mr, case.us, case.mr_gland, case.us_gland, points, case.motion.to_us(points))


def real_pair(folder: Path) -> KnownPair:
    """The pair of mrus-27 in ``folder``, with the points that its publishers labelled."""
    mr, us = (read_volume(folder / f"{side}.nrrd") for side in ("mr", "us"))
    masks = [read_volume(folder / f"{side}-gland.nrrd", "gland mask") for side in ("mr", "us")]
    return KnownPair(folder.name, mr, us, masks[0], masks[1], *labelled_points(folder))


def measure(known: KnownPair, networks: Networks, device: str, bare: bool = True) -> RefinedCase:
    """Every method on one pair, those without matches only if ``bare``; what cannot be refined is left out."""
    seen = {side: detect_landmarks(getattr(known, side), side, device, networks.folder(side)) for side in ("mr", "us")}
    mr_gland, us_gland = seen["mr"].gland, seen["us"].gland
    centers = None if mr_gland is None or us_gland is None else gland_pair(mr_gland, us_gland)
    fit = fit_landmarks(seen["mr"].landmarks, seen["us"].landmarks, "best", () if centers is None else (centers,))
    marks, covariances, _ = paired(seen["us"].landmarks, seen["mr"].landmarks, fit.mr_to_us)
    network = Pair(known.us, known.mr, fit.mr_to_us, us_gland, mr_gland, marks, covariances, drawn=False)
    drawn = replace(
        network, fixed_gland=gland_of_mask(known.us_mask), moving_gland=gland_of_mask(known.mr_mask), drawn=True
    )
    ruler = _Ruler(known)
    found: dict[str, Measured] = {}
    for method, checked, pair, use_matches, bending in (
        (NETWORK, NETWORK_CHECKED, network, True, True),
        (NETWORK_BARE, None, network, False, True),
        (DRAWN, DRAWN_CHECKED, drawn, True, True),
        (DRAWN_BARE, None, drawn, False, True),
        (DRAWN_RIGID, None, drawn, False, False),
    ):
        if method in (NETWORK_BARE, DRAWN_BARE) and not bare:
            continue
        started = time.process_time()
        try:
            refined = refine(pair, use_matches=use_matches, bending=bending)
        except InputError:  # An empty gland, or too little of it in both images: there is nothing to refine by.
            continue
        seconds = time.process_time() - started
        found[method] = ruler.of(refined.deformation, refined, seconds)
        found.setdefault(RIGID, ruler.of(refined.start))
        if checked is not None:
            found[checked] = found[method] if refined.recommended else replace(found[RIGID], used=False)
    return RefinedCase(known.name, found)


class _Ruler:
    """Measures alignments of one pair."""

    def __init__(self, known: KnownPair) -> None:
        self._known = known
        self._apart = SurfaceDistance(surface_of(known.mr_mask), surface_of(known.us_mask))
        self._mask = Volume((np.asarray(known.mr_mask.array) > 0).astype(np.float32), known.mr_mask.ijk_to_ras)
        self._inside = np.asarray(known.us_mask.array) > 0

    def of(self, deformation: Deformation, refined: Refinement | None = None, seconds: float = 0.0) -> Measured:
        """The figures of ``deformation``, which is that of ``refined``, if any."""
        known = self._known
        moved = np.asarray(deformation.warp(self._mask, known.us_mask).array, dtype=np.float32) >= 0.5
        plain = Measured(
            tre=_target_error(deformation, known),
            dice=float(2 * np.count_nonzero(moved & self._inside) / (np.count_nonzero(moved) + self._inside.sum())),
            distance=self._apart.deformed(deformation.to_fixed, deformation.to_moving),
        )
        if refined is None:
            return plain
        compared = refined.comparison
        return replace(
            plain,
            folded=compared.folded,
            jacobian_min=compared.jacobian_min,
            moved=compared.moved_mm,
            change=compared.change,
            matches=len(refined.matches),
            used=refined.recommended,
            seconds=seconds,
        )


def _target_error(deformation: Deformation, known: KnownPair) -> float:
    """Mean distance in mm between where the MR's points come to in the US and where they truly are."""
    if len(known.mr_points) == 0:
        return float("nan")
    return float(np.linalg.norm(deformation.to_fixed(known.mr_points) - known.us_points, axis=1).mean())
