"""Cross-validation on the 27 real pairs of mrus-27: each case is seen by a network that was not trained on its fold.

Beside it the network trained on simulation alone and the mean position; and the click, the way out of a failed search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.datasets import mrus27
from LandmarkFusionLogic.datasets.cases import ImageCase
from LandmarkFusionLogic.evaluation.cases import SOURCE
from LandmarkFusionLogic.evaluation.statistics import bootstrap_interval, paired_interval
from LandmarkFusionLogic.landmarks.augmentation import gland_centre
from LandmarkFusionLogic.landmarks.detection import Detection, detect_landmarks
from LandmarkFusionLogic.landmarks.finetuning import gland_dice
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, LANDMARK_NAMES, FloatArray

CLICK_MM = 10.0
"""A click lies within this of the gland's centre."""
CLICK_SEED = 2023
FAR_MM = 20.0
SIMULATION, FOLD, CLICKED, CLICKED_SIMULATION = (
    "simulation only",
    "fine-tuned, by fold",
    "fold + click",
    "simulation + click",
)
MEAN, CLICK_MEAN = "mean position", "click + mean offset"
METHODS = (MEAN, SIMULATION, FOLD, CLICK_MEAN, CLICKED_SIMULATION, CLICKED)


@dataclass(frozen=True)
class FoldCase:
    """One image: errors in mm by method and landmark, Dice of the found gland by method, and who was warned of."""

    case: str
    modality: str
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    dice: dict[str, float] = field(default_factory=dict)
    flagged: dict[str, list[str]] = field(default_factory=dict)


def evaluate_folds(
    data: Path,
    report: Callable[[float, str], None],
    models: Path | None = None,
    modalities: Sequence[str] = ("mr", "us"),
    methods: Sequence[str] = METHODS,
) -> list[FoldCase]:
    """Detect in every image of ``data``/mrus-27 with the network of the other folds, in the folder ``models``.

    ``models`` holds the folders mr-0 … us-2; by default the ones that ship with the sources. Of the networks' looks
    only those in ``methods`` are taken.
    Raises InputError where images or networks are missing.
    """
    folder = assets.path("models", "folds") if models is None else models
    found: list[FoldCase] = []
    for number, modality in enumerate(modalities):
        cases = mrus27.image_cases(data, modality)
        clicks = {case.name: _click(case) for case in cases}
        for index, case in enumerate(cases):
            report((number + index / len(cases)) / len(modalities), f"Detecting in {case.name} ({modality.upper()})")
            result = FoldCase(case.name, modality)
            fold = folder / f"{modality}-{mrus27.fold_of(Path(case.name))}"
            click = clicks[case.name]
            simulation = assets.path("models", f"{modality}-landmarks")
            for method, model, place in (
                (SIMULATION, simulation, None),
                (FOLD, fold, None),
                (CLICKED_SIMULATION, simulation, click),
                (CLICKED, fold, click),
            ):
                if method in methods:
                    _add(result, method, case, detect_landmarks(case.image, modality, "cpu", model, click=place))
            result.errors[MEAN] = _mean_offset(case, cases, {other.name: other.image.centre for other in cases})
            result.errors[CLICK_MEAN] = _mean_offset(case, cases, clicks)
            found.append(result)
    report(1.0, "Done")
    return found


def describe_folds(found: Sequence[FoldCase], cases: Callable[[FoldCase], bool] = lambda case: True) -> str:
    """The tables as text, of the images that ``cases`` keeps."""
    lines = []
    for modality in dict.fromkeys(case.modality for case in found):
        part = [case for case in found if case.modality == modality and cases(case)]
        lines += [
            (
                f"{modality.upper()}: {len(part)} real images, radial error in mm, mean / median; "
                "far: above 20 mm, in brackets those without a warning"
            ),
            (
                f"{'':<22}{'Apex':>14}{'Bladder neck':>14}{'both':>14}{'95 % interval':>16}{'post. median':>14}"
                f"{'far':>9}{'Dice':>7}"
            ),
        ]
        lines += [_row(method, part) for method in METHODS if any(method in case.errors for case in part)]
        lines += _comparisons(part)
        lines.append("")
    lines.append(
        "Differences: paired, apex and bladder neck together, 95 % bootstrap interval over images. Mean position and\n"
        "mean offset: leave-one-out. Clicks: within 10 mm of the true gland's centre, at random. “fold” networks\n"
        "were never trained on the case they are shown. After-fit distances are not here: see evaluate rigid.\n"
        + SOURCE
    )
    return "\n".join(lines)


def apex_and_neck(part: Sequence[FoldCase], method: str) -> tuple[FloatArray, list[str]]:
    """Errors (N,) in mm of both landmarks, NaN where the truth is unknown, and the case of each."""
    values, names = [], []
    for case in part:
        for name in (APEX, BLADDER_NECK):
            values.append(case.errors.get(method, {}).get(name, float("nan")))
            names.append(case.case)
    return np.array(values), names


def mean_dice(part: Sequence[FoldCase], method: str) -> float:
    """Mean Dice of the found gland; NaN where the method finds none."""
    known = [case.dice[method] for case in part if method in case.dice]
    return float(np.mean(known)) if known else float("nan")


def _add(result: FoldCase, method: str, case: ImageCase, detection: Detection) -> None:
    positions = {point.name: point.position for point in detection.landmarks}
    result.errors[method] = {
        name: float(np.linalg.norm(positions[name] - true)) for name, true in case.positions.items()
    }
    if case.gland is not None:
        found = detection.gland
        result.dice[method] = 0.0 if found is None else gland_dice(found.mask(), case.gland)
    result.flagged[method] = list(detection.ask_first)


def _click(case: ImageCase) -> FloatArray:
    """(3,) RAS mm: within `CLICK_MM` of the true gland's centre, uniform in the ball, the same for the same case."""
    seed = [CLICK_SEED, int(case.name.removeprefix("case")), case.modality == "us"]
    generator = np.random.default_rng(seed)
    direction = generator.normal(size=3)
    radius = CLICK_MM * float(generator.random()) ** (1 / 3)
    return np.asarray(gland_centre(case) + radius * direction / np.linalg.norm(direction))


def _mean_offset(case: ImageCase, cases: Sequence[ImageCase], start: dict[str, FloatArray]) -> dict[str, float]:
    """Errors of answering each landmark with its mean offset from ``start`` in the other cases."""
    errors = {}
    for name, true in case.positions.items():
        others = [
            other.positions[name] - start[other.name]
            for other in cases
            if other.name != case.name and name in other.positions
        ]
        errors[name] = float(np.linalg.norm(start[case.name] + np.mean(others, axis=0) - true))
    return errors


def _row(method: str, part: Sequence[FoldCase]) -> str:
    cells = [_pair([case.errors[method].get(name, np.nan) for case in part]) for name in LANDMARK_NAMES]
    both, names = apex_and_neck(part, method)
    low, high = bootstrap_interval(both, groups=names)
    far = [(case, name) for case in part for name, error in case.errors[method].items() if error > FAR_MM]
    silent = sum(method in case.flagged and name not in case.flagged[method] for case, name in far)
    dice = mean_dice(part, method)
    return (
        f"{method:<22}{cells[0]:>14}{cells[1]:>14}{_pair(both):>14}{f'{low:.1f} to {high:.1f}':>16}{cells[2]:>14}"
        f"{f'{len(far)} ({silent})':>9}{'-' if np.isnan(dice) else f'{dice:.2f}':>7}"
    )


def _comparisons(part: Sequence[FoldCase]) -> list[str]:
    lines = []
    for method, other in (
        (SIMULATION, MEAN),
        (FOLD, MEAN),
        (FOLD, SIMULATION),
        (CLICKED_SIMULATION, CLICK_MEAN),
        (CLICKED, CLICK_MEAN),
    ):
        if not part or method not in part[0].errors:
            continue
        (a, names), (b, _) = apex_and_neck(part, method), apex_and_neck(part, other)
        low, high = paired_interval(a, b, groups=names)
        lines.append(f"  {method} - {other}: {np.nanmean(a - b):+.2f} mm ({low:+.2f} to {high:+.2f})")
    return lines


def _pair(errors: Sequence[float] | FloatArray) -> str:
    return f"{np.nanmean(errors):.1f} / {np.nanmedian(errors):.1f}"
