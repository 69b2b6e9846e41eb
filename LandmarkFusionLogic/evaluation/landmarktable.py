"""Table 1 of Fang 2023, measured: the five methods trained alike, the networks that ship, and the mean position."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.datasets.mrus27 import case_folders, is_development, true_landmarks
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.statistics import bootstrap_interval, mean_sd_text, paired_interval, wilcoxon
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.landmarks.bundle import load_bundle as load_landmarks
from LandmarkFusionLogic.landmarks.comparison.bundle import load_bundle, predict
from LandmarkFusionLogic.landmarks.comparison.methods import METHODS
from LandmarkFusionLogic.landmarks.detection import detect_with_bundle
from LandmarkFusionLogic.landmarks.device import choose_device
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, LANDMARK_NAMES, FloatArray
from LandmarkFusionLogic.simulation.case import simulate_image
from LandmarkFusionLogic.simulation.seeds import TEST
from LandmarkFusionLogic.volume import Volume

MODALITIES = ("us", "mr")
SPACING_MM = 1.2
"""In-plane voxel size at which the simulated cases are rendered: no network here sees a grid finer than 2 mm."""
MEAN_POSITION = "mean position"
BASELINE, VARIANCE = "baseline", "variance"
LEVEL = 0.05

LEGEND = """\
MRE: mean ± SD over the cases, of each case's mean over its landmarks; a single landmark: mean ± SD over the cases.
[95 %]: bootstrap over the cases. Wilcoxon's signed-rank test of the cases' means, p < 0.05: * differs from the
baseline model, † from the variance model. Mean position: leave-one-out, relative to the middle of the volume.
Shipped networks: the complete detection, in several poses and in two stages where there are two; the five methods: one
look. The five methods add instance normalization to the paper's network. Coordinates enter their losses in mm; λ1 is 1
and λ2 as published. Heatmap matching answers with the largest voxel, refined by a parabola through its neighbours."""

PUBLISHED = """\
Published by Fang 2023 (Table 1: 263 clinical pairs, 900 training cases): other images; not reproduced, not comparable
Direct regression coordinate         US 11.43 ± 3.82    MR 13.83 ± 7.25
Heatmap matching                     US  6.91 ± 5.12    MR  6.93 ± 7.57
Baseline (no regularization)         US  5.90 ± 2.91    MR  6.24 ± 2.79
Variance regularization              US  5.53 ± 2.85*   MR  6.05 ± 2.97*
Distance map regularization          US  5.55 ± 2.63*   MR  5.77 ± 2.67*†"""


@dataclass(frozen=True)
class Row:
    """A line of the table: a network in ``folder`` below models/, of the comparison or a complete detection."""

    key: str
    title: str
    folder: tuple[str, ...]
    complete: bool = False


@dataclass(frozen=True)
class Measured:
    """One image: the truth (L, 3) RAS mm in the order of `LANDMARK_NAMES`, NaN where unknown, the middle of the volume
    and, per row, what was found (L, 3).
    """

    case: str
    modality: str
    true: FloatArray
    centre: FloatArray
    found: dict[str, FloatArray]


def rows(modality: str, research: bool = True) -> list[Row]:
    """What the table compares for ``modality``: the five methods, then the networks that ship, where present.

    ``research``: with those that were trained on real cases too.
    """
    listed = [Row(key, method.title, ("comparison", f"{modality}-{key}")) for key, method in METHODS.items()]
    listed.append(Row("simulation", "Shipped, simulation only", (f"{modality}-landmarks",), complete=True))
    if research:
        listed.append(Row("research", "Shipped, research weights", (f"{modality}-landmarks-research",), complete=True))
    return [row for row in listed if _there(row)]


def _there(row: Row) -> bool:
    try:
        assets.path("models", *row.folder)
    except InputError:
        return False
    return True


def measure_simulated(
    cases: int, device: str, report: Callable[[float, str], None], workers: int = 0, complete: bool = True
) -> list[Measured]:
    """Ask every network about both images of the first ``cases`` test seeds.

    ``workers`` processes share the work; the figures do not depend on them. Without ``complete`` only the five
    methods are asked, which takes a tenth of the time.
    Raises InputError for an impossible number of cases or workers.
    """
    if not 2 <= cases <= len(TEST):
        raise InputError(f"The number of cases must lie between 2 and {len(TEST)}.")
    if workers < 0:
        raise InputError("The number of workers must not be negative.")
    measured: list[Measured] = []
    for number, both in enumerate(
        _mapped(partial(_measure_seed, device=device, complete=complete), TEST[:cases], workers)
    ):
        measured += both
        report((number + 1) / cases, "Simulating cases and asking the networks")
    return measured


def measure_cases(data: Path, device: str, report: Callable[[float, str], None]) -> list[Measured]:
    """Ask every network that has seen no real image about the pairs of ``data``/mrus-27.

    Raises InputError where the folder is not there.
    """
    folders = case_folders(data)
    measured = []
    for number, folder in enumerate(folders):
        report(number / len(folders), "Asking the networks about mrus-27")
        for modality in MODALITIES:
            volume = read_volume(folder / f"{modality}.nrrd")
            true = true_landmarks(folder, modality)
            # The posterior median of these pairs is derived from the others and a mask, not placed by anyone.
            known = {name: true[name] for name in (APEX, BLADDER_NECK) if name in true}
            if known:
                listed = rows(modality, research=False)
                measured.append(_measure(folder.name, modality, volume, known, listed, device))
    report(1.0, "Done")
    return measured


def _mapped(function: Callable[[int], list[Measured]], seeds: Iterable[int], workers: int) -> Iterator[list[Measured]]:
    if not workers:
        yield from map(function, seeds)
        return
    # Spawned, since torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(function, seeds)


def _measure_seed(seed: int, device: str, complete: bool = True) -> list[Measured]:
    both = []
    for modality in MODALITIES:
        case = simulate_image(seed, modality, SPACING_MM)
        true = {point.name: point.position for point in case.landmarks}
        listed = [row for row in rows(modality) if complete or not row.complete]
        both.append(_measure(str(seed), modality, case.image, true, listed, device))
    return both


def _measure(
    case: str, modality: str, volume: Volume, true: dict[str, FloatArray], listed: Sequence[Row], device: str
) -> Measured:
    unknown = np.full(3, np.nan)
    found = {}
    for row in listed:
        folder = assets.path("models", *row.folder)
        if row.complete:
            # Without the second network, which only warns.
            detection = detect_with_bundle(volume, load_landmarks(folder), choose_device(device), _silent)
            points = {point.name: point.position for point in detection.landmarks}
            found[row.key] = np.stack([points[name] for name in LANDMARK_NAMES])
        else:
            found[row.key] = predict(volume, load_bundle(folder))
    return Measured(
        case, modality, np.stack([true.get(name, unknown) for name in LANDMARK_NAMES]), volume.centre, found
    )


def _silent(fraction: float, text: str) -> None:
    """One case of many: no report of its own."""


def radial_errors(measured: Sequence[Measured], modality: str) -> dict[str, FloatArray]:
    """Errors (N, L) in mm of each row, and of always the mean position; NaN where a truth is unknown.

    The mean position is relative to the middle of the volume and learned, leave-one-out, from the other cases.
    """
    images = [image for image in measured if image.modality == modality]
    true = np.stack([image.true for image in images])
    relative = true - np.stack([image.centre for image in images])[:, None]
    known = np.isfinite(relative)
    others = known.sum(axis=0) - known
    total = np.where(known, relative, 0.0)
    mean = (total.sum(axis=0) - total) / np.where(others > 0, others, np.nan)
    errors = {MEAN_POSITION: np.linalg.norm(relative - mean, axis=-1)}
    for key in images[0].found:
        errors[key] = np.linalg.norm(np.stack([image.found[key] for image in images]) - true, axis=-1)
    return errors


def marks(errors: dict[str, FloatArray], key: str) -> str:
    """“*” where the row ``key`` differs from the baseline model, “†” where from the variance model (p < 0.05).

    Wilcoxon's signed-rank test over the cases' mean errors; ``errors`` as `radial_errors` gives them.
    """
    signs = ""
    for other, sign in ((BASELINE, "*"), (VARIANCE, "†")):
        if other in errors and other != key and wilcoxon(_by_case(errors[key]), _by_case(errors[other])) < LEVEL:
            signs += sign
    return signs


def _by_case(errors: FloatArray) -> FloatArray:
    """(N,) mean over the known landmarks of each case, mm; NaN where none is known."""
    known = np.isfinite(errors)
    count = known.sum(axis=1)
    total: FloatArray = np.where(known, errors, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def describe_landmarks(simulated: Sequence[Measured], real: Sequence[Measured] = ()) -> str:
    """All tables as text; ``real`` are the pairs of mrus-27, where they were measured."""
    seeds = sorted({int(image.case) for image in simulated})
    parts = [
        f"Table 1, mean radial error (MRE), mm: {len(seeds)} simulated pairs, unseen: seeds {seeds[0]} to {seeds[-1]}",
        _tables(simulated, simulated, LANDMARK_NAMES),
    ]
    final = [image for image in real if not is_development(Path(image.case))]
    development = [image for image in real if is_development(Path(image.case))]
    for title, shown in (("final", final), ("development (number divisible by 3)", development)):
        if shown:
            count = len({image.case for image in shown})
            parts += [
                f"mrus-27, the {count} {title} pairs: apex and bladder neck where the publishers set them, MRE in mm.",
                _tables(real, shown, (APEX, BLADDER_NECK)),
            ]
    if real:
        parts.append("Research weights have been trained on mrus-27: their figures come from cross-validation alone.")
    return "\n\n".join([*parts, LEGEND, budget_table(), PUBLISHED])


def _tables(measured: Sequence[Measured], shown: Sequence[Measured], names: Sequence[str]) -> str:
    return "\n\n".join(table(measured, shown, modality, names) for modality in MODALITIES)


def table(
    measured: Sequence[Measured],
    shown: Sequence[Measured],
    modality: str,
    names: Sequence[str] = LANDMARK_NAMES,
) -> str:
    """One modality: a line a row, of the cases in ``shown``; the mean position is learned from all ``measured``."""
    picked = {image.case for image in shown}
    keep = [image.case in picked for image in measured if image.modality == modality]
    errors = {key: values[keep] for key, values in radial_errors(measured, modality).items()}
    columns = [LANDMARK_NAMES.index(name) for name in names]
    titles = {MEAN_POSITION: "Always the mean position", **{row.key: row.title for row in rows(modality)}}
    header = f"{modality.upper() + ', ' + str(sum(keep)) + ' cases':<33}{'MRE':>16}{'[95 %]':>16}"
    header += "".join(f"{name:>20}" for name in names) + f"{'minus mean pos. [95 %]':>26}"
    lines = [header]
    for key, values in errors.items():
        case = _by_case(values)
        low, high = bootstrap_interval(case)
        line = f"{titles[key]:<33}{mean_sd_text(case) + marks(errors, key):>16}{f'[{low:.2f}, {high:.2f}]':>16}"
        line += "".join(f"{mean_sd_text(values[:, column]):>20}" for column in columns)
        if key != MEAN_POSITION:
            rule = _by_case(errors[MEAN_POSITION])
            low, high = paired_interval(case, rule)
            line += f"{f'{np.nanmean(case - rule):+.2f} [{low:+.2f}, {high:+.2f}]':>26}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def budget_table() -> str:
    """What each network was given, from its metadata: cases, steps, processor minutes, grid."""
    lines = [f"{'Budget':<37}{'cases':>9}{'steps':>9}{'batch':>7}{'core-min':>10}{'best at':>9}   grid"]
    for modality in MODALITIES:
        for row in rows(modality):
            path = assets.path("models", *row.folder) / "configs" / "metadata.json"
            metadata = json.loads(path.read_text(encoding="utf-8"))
            training, grid = metadata.get("training", {}), metadata["grid"]
            cells = "".join(
                f"{value if value is not None else '-':>{width}}"
                for value, width in (
                    (training.get("cases"), 9),
                    (training.get("steps"), 9),
                    (training.get("batch"), 7),
                    (training.get("core_minutes"), 10),
                    (metadata.get("evaluation", {}).get("best_step"), 9),
                )
            )
            shape = "×".join(str(side) for side in grid["shape"])
            lines.append(f"{modality.upper() + ' ' + row.title:<37}{cells}   {shape} at {grid['spacing_mm']:g} mm")
    return "\n".join(lines)
