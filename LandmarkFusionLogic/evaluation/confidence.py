"""Does the confidence mean something? Ellipsoids against true points, spreads against errors, on unseen cases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.calibration import (
    RIGHT_MM,
    Sample,
    expected,
    fit_calibration,
    fit_discrepancy,
    inside,
    radial,
)
from LandmarkFusionLogic.evaluation.simulated import SPACING_MM, Trial, show, trials
from LandmarkFusionLogic.evaluation.statistics import auroc
from LandmarkFusionLogic.gland import gland_of_mask
from LandmarkFusionLogic.landmarks.bundle import METADATA, load_bundle
from LandmarkFusionLogic.landmarks.confidence import Calibration
from LandmarkFusionLogic.landmarks.detection import detect_landmarks
from LandmarkFusionLogic.landmarks.networks import network_folder, read_metadata
from LandmarkFusionLogic.points import LANDMARK_NAMES
from LandmarkFusionLogic.simulation.case import simulate_image
from LandmarkFusionLogic.simulation.seeds import TEST, VALIDATION

Report = Callable[[float, str], None]
Job = tuple[int, str, Trial, str, str]


def evaluate_confidence(
    cases: int,
    device: str,
    report: Report,
    modalities: Sequence[str] = ("mr", "us"),
    models: Mapping[str, str] | None = None,
    fit: bool = False,
    workers: int = 1,
    first: int = 0,
) -> str:
    """Measure the confidence of each modality's network on ``cases`` test seeds after ``first``; returns the table.

    Every seed is seen as it comes, and once more turned or under one of the conditions that clinics meet, in turn.
    With ``fit``, calibration and discrepancy threshold are fitted first, on as many validation seeds, and written into
    the network's metadata. Raises InputError for an impossible number of cases or a network that cannot be used.
    """
    if not 4 <= cases <= len(VALIDATION):
        raise InputError(f"The number of cases must lie between 4 and {len(VALIDATION)}.")
    if not 0 <= first <= len(TEST) - cases:
        raise InputError(f"The first case must lie between 0 and {len(TEST) - cases}, so that {cases} follow.")
    if workers < 1:
        raise InputError("At least one worker is needed.")
    texts = []
    for number, modality in enumerate(modalities):
        folder = network_folder(modality, (models or {}).get(modality))
        start, width = number / len(modalities), 1 / len(modalities) / (2 if fit else 1)
        if fit:
            seen = collect(VALIDATION[:cases], modality, folder, device, _part(report, start, start + width), workers)
            where = f"validation seeds {VALIDATION[0]} to {VALIDATION[cases - 1]}"
            command = f"landmarkfusion evaluate confidence --cases {cases} --fit"
            store(folder, fit_calibration(seen), fit_discrepancy(seen), where, command)
            start += width
        found = collect(
            TEST[first : first + cases], modality, folder, device, _part(report, start, start + width), workers
        )
        texts.append(describe(folder, found))
    report(1.0, "Done")
    return "\n\n".join([*texts, _NOTES])


def _part(report: Report, start: float, end: float) -> Report:
    return lambda fraction, text: report(start + fraction * (end - start), text)


def collect(
    seeds: Sequence[int], modality: str, folder: Path, device: str, report: Report, workers: int = 1
) -> list[Sample]:
    """Detect in each of ``seeds``, as it comes and made hard; with the truth beside it."""
    hard = trials(modality, conditions=True, turns=True)[1:]
    jobs = [
        (seed, modality, trial, str(folder), device)
        for number, seed in enumerate(seeds)
        for trial in (Trial(), hard[number % len(hard)])
    ]
    samples = []
    for number, sample in enumerate(_each(jobs, workers)):
        samples.append(sample)
        report((number + 1) / len(jobs), f"Detecting in simulated case {jobs[number][0]}")
    return samples


def store(folder: Path, calibration: Calibration, discrepancy_mm: float | None, where: str, command: str) -> None:
    """Write a calibration, fitted on ``where`` by ``command``, into the metadata of the network in ``folder``.

    Raises InputError where it cannot be written.
    """
    metadata = read_metadata(folder)
    metadata["calibration"] = {
        **calibration.to_metadata(),
        "fitted_on": where,
        "command": command,
    }
    if discrepancy_mm is not None:
        metadata["discrepancy_mm"] = round(discrepancy_mm, 2)
    try:
        (folder / METADATA).write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"The metadata of the network “{folder.name}” cannot be written.") from error


def describe(folder: Path, samples: Sequence[Sample]) -> str:
    """The table of one network as text, with the calibration that stands in its metadata now."""
    bundle = load_bundle(folder)
    plain = [sample for sample in samples if sample.plain]
    hard = [sample for sample in samples if not sample.plain]
    far_title = f"> {RIGHT_MM:.0f} mm"
    seeds = [int(sample.case) for sample in plain]
    where = f"{len(plain)} unseen simulated cases, seeds {min(seeds)} to {max(seeds)}, and as many made hard"
    lines = [
        f"{bundle.modality.upper()}, {bundle.title}: {where}",
        f"{'':<30}{'points':>7}{'MRE, mm':>9}{'expected':>10}{'in 95 % ellipsoid':>19}{'AUROC':>7}{far_title:>9}",
    ]
    for title, part in (("as they come", plain), ("turned or under a condition", hard), ("all", list(samples))):
        for index, name in enumerate([*LANDMARK_NAMES, None]):
            if name is None or part is plain:
                lines.append(_row(name or title, part, slice(index, index + 1) if name else slice(None), bundle))
    far = [sample for sample in samples if np.nanmax(radial([sample])) > 2 * RIGHT_MM]
    told = sum(sample.flagged for sample in far)
    lines.append(f"Cases with a landmark more than {2 * RIGHT_MM:.0f} mm off: {len(far)}, of these flagged: {told}.")
    if bundle.discrepancy_mm is not None:
        lines.append(_second(samples, bundle.discrepancy_mm))
    return "\n".join(lines)


_NOTES = (
    "Expected: mean of the expected (root mean square) errors. In 95 % ellipsoid: share of the true points inside.\n"
    f"AUROC: of the expected error, for errors above {RIGHT_MM:.0f} mm, whose number stands beside it (-: none)."
)


def _row(title: str, samples: Sequence[Sample], columns: slice, bundle: object) -> str:
    calibration = bundle.calibration  # type: ignore[attr-defined]
    errors = radial(samples)[:, columns]
    score = expected(samples, calibration)[:, columns]
    share = inside(samples, calibration)[:, columns].mean()
    wrong = errors > RIGHT_MM
    area = auroc(score.ravel(), wrong.ravel()) if wrong.any() else float("nan")
    shown = f"{area:7.3f}" if np.isfinite(area) else f"{'-':>7}"
    return (
        f"{title:<30}{errors.size:>7}{errors.mean():>9.2f}{score.mean():>10.2f}{share:>19.1%}{shown}"
        f"{int(wrong.sum()):>9}"
    )


def _second(samples: Sequence[Sample], limit: float) -> str:
    """How often the two networks are said to disagree, where the landmark is right and where it is wrong."""
    pairs = [
        (between, error)
        for sample in samples
        if "networks" in sample.evidence.checks
        for between, error in zip(
            sample.evidence.checks["networks"], np.linalg.norm(sample.errors, axis=-1), strict=True
        )
    ]
    if not pairs:
        return "No second network is installed."
    between, error = np.array(pairs).T
    right, wrong = between[error <= RIGHT_MM] > limit, between[error > RIGHT_MM] > limit
    caught = f"{wrong.mean():.0%} of the {len(wrong)} wrong" if len(wrong) else "there are no wrong"
    return (
        f"Two networks disagree by more than {limit:.1f} mm: {right.mean():.0%} of the right landmarks, {caught} ones."
    )


def _each(jobs: Sequence[Job], workers: int) -> Iterator[Sample]:
    if workers == 1:
        yield from map(_sample, jobs)
        return
    # Spawned, since torch's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_sample, jobs)


def _sample(job: Job) -> Sample:
    seed, modality, trial, folder, device = job
    plain = trial == Trial()
    middle = np.full(3, np.nan)
    if plain:
        simulated = simulate_image(seed, modality, SPACING_MM)
        image, truth = simulated.image, simulated.landmarks
        middle = gland_of_mask(simulated.gland).centroid
    else:
        image, truth = show(seed, modality, trial)
    detection = detect_landmarks(image, modality, device, folder)
    if detection.evidence is None:
        raise InputError("The detection keeps no evidence; its confidence cannot be measured.")
    true = {point.name: point.position for point in truth}
    errors = np.stack([true[point.name] - point.position for point in detection.landmarks])
    found = detection.gland.centroid if detection.gland is not None else np.full(3, np.nan)
    caution = str(read_metadata(folder).get("caution", ""))
    flagged = bool(detection.ask_first) or any(warning != caution for warning in detection.warnings)
    return Sample(str(seed), modality, trial.title, plain, detection.evidence, errors, found - middle, flagged)
