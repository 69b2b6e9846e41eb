"""Which looks at a volume pay: the mirrored one, the jittered ones, the second stage, and the mean of both stages.

All rows come from the same detections, taken apart: with fewer looks in the first stage the crop of the second would
lie a little differently, which is not shown. On validation seeds or the folds of mrus-27, never on test cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.datasets import mrus27
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.simulated import SPACING_MM
from LandmarkFusionLogic.evaluation.statistics import bootstrap_interval, paired_interval
from LandmarkFusionLogic.landmarks.bundle import Bundle, load_bundle
from LandmarkFusionLogic.landmarks.device import choose_device
from LandmarkFusionLogic.landmarks.looking import median_positions
from LandmarkFusionLogic.landmarks.networks import network_folder
from LandmarkFusionLogic.landmarks.search import Search, search
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.simulation.case import simulate_image
from LandmarkFusionLogic.simulation.seeds import VALIDATION
from LandmarkFusionLogic.volume import Volume

Report = Callable[[float, str], None]
Errors = dict[str, list[FloatArray]]
"""By row, the (L,) errors of each case in mm; NaN where the truth is unknown."""

STAGES = ("first stage", "second stage", "mean of both")
LOOKS = {"one look": 1, "+ mirrored": 2, "+ jittered": None}
"""How many of a stage's looks count: as the volume is, mirrored too, all."""
USED = "mean of both, + jittered"


def evaluate_looks(
    cases: int,
    device: str,
    report: Report,
    modalities: Sequence[str] = ("mr", "us"),
    models: Mapping[str, str] | None = None,
) -> str:
    """The rows of each modality's network on the first ``cases`` validation seeds, as text.

    Raises InputError for an impossible number of cases and for networks that cannot be used.
    """
    if not 2 <= cases <= len(VALIDATION):
        raise InputError(f"The number of cases must lie between 2 and {len(VALIDATION)}.")
    texts = []
    for number, modality in enumerate(modalities):
        bundle = load_bundle(network_folder(modality, (models or {}).get(modality)))
        errors: Errors = {}
        for index, seed in enumerate(VALIDATION[:cases]):
            report((number + index / cases) / len(modalities), f"Simulated case {seed} ({modality.upper()})")
            simulated = simulate_image(seed, modality, SPACING_MM)
            true = {point.name: point.position for point in simulated.landmarks}
            found = _search(simulated.image, bundle, device)
            _add(errors, found, np.stack([true[name] for name in bundle.landmarks]))
        where = f"{cases} simulated validation cases, seeds {VALIDATION[0]} to {VALIDATION[cases - 1]}"
        texts.append(_describe(f"{modality.upper()}, {bundle.title}: {where}", errors))
    report(1.0, "Done")
    return "\n\n".join(texts)


def evaluate_real_looks(
    data: Path, device: str, report: Report, modalities: Sequence[str] = ("mr", "us"), folds: Path | None = None
) -> str:
    """The same rows on mrus-27 in ``data``, each case with the network of its fold in ``folds``, as text.

    Raises InputError where images or networks are missing.
    """
    folder = assets.path("models", "folds") if folds is None else folds
    texts = []
    for number, modality in enumerate(modalities):
        cases = mrus27.image_cases(data, modality)
        errors: Errors = {}
        for index, case in enumerate(cases):
            report((number + index / len(cases)) / len(modalities), f"{case.name} ({modality.upper()})")
            bundle = load_bundle(folder / f"{modality}-{mrus27.fold_of(Path(case.name))}")
            unknown = np.full(3, np.nan)
            truth = np.stack([case.positions.get(name, unknown) for name in bundle.landmarks])
            _add(errors, _search(case.image, bundle, device), truth)
        title = f"{modality.upper()}, {len(cases)} real images (mrus-27), each by the network of its fold"
        texts.append(_describe(title, errors))
    report(1.0, "Done")
    return "\n\n".join(texts)


def _search(volume: Volume, bundle: Bundle, device: str) -> Search:
    return search(volume, bundle, choose_device(device), lambda fraction, text: None)


def _add(errors: Errors, found: Search, truth: FloatArray) -> None:
    for row, positions in positions_by_row(found).items():
        errors.setdefault(row, []).append(np.linalg.norm(positions - truth, axis=1))


def positions_by_row(found: Search) -> dict[str, FloatArray]:
    """(L, 3) RAS mm for each stage, or the mean of both, with each number of looks."""
    rows = {}
    for title, count in LOOKS.items():
        second = median_positions(found.views[:count])
        # One stage alone is both: the crop showed nothing, or the network has no second stage.
        first = median_positions(found.coarse[:count]) if found.coarse else second
        for stage, positions in zip(STAGES, (first, second, (first + second) / 2), strict=True):
            rows[f"{stage}, {title}"] = positions
    return rows


def _describe(title: str, errors: Errors) -> str:
    used = np.concatenate(errors[USED])
    groups = np.repeat(np.arange(len(errors[USED])), [len(case) for case in errors[USED]])
    lines = [title, f"{'':<28}{'MRE, mm':>9}{'95 % interval':>15}{'median':>8}{'against what is used':>24}"]
    for row in sorted(errors, key=lambda name: [*STAGES].index(name.split(",")[0])):
        values = np.concatenate(errors[row])
        low, high = bootstrap_interval(values, groups=groups)
        interval = f"{low:.2f} to {high:.2f}"
        if row == USED:
            against = "(used)"
        else:
            near, far = paired_interval(values, used, groups=groups)
            against = f"{np.nanmean(values - used):+.2f} ({near:+.2f} to {far:+.2f})"
        lines.append(f"{row:<28}{np.nanmean(values):>9.2f}{interval:>15}{np.nanmedian(values):>8.2f}{against:>24}")
    return "\n".join(lines)
