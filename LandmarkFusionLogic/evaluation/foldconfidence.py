"""The confidence of networks that were fine-tuned on mrus-27, over the folds: no case is judged by its own network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.datasets import mrus27
from LandmarkFusionLogic.datasets.cases import ImageCase
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
from LandmarkFusionLogic.evaluation.confidence import store
from LandmarkFusionLogic.evaluation.statistics import auroc
from LandmarkFusionLogic.gland import gland_of_mask
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.detection import Detection, detect_landmarks
from LandmarkFusionLogic.landmarks.networks import network_folder
from LandmarkFusionLogic.points import FloatArray

FOLDS = (0, 1, 2)
COMMAND = "landmarkfusion evaluate confidence --fit --data DIR"


def evaluate_fold_confidence(
    data: Path,
    device: str,
    report: Callable[[float, str], None],
    modalities: Sequence[str] = ("mr", "us"),
    folds: Path | None = None,
    models: dict[str, str] | None = None,
    fit: bool = False,
) -> str:
    """Detect in every image of ``data``/mrus-27 with the network of its fold in ``folds``; returns the table.

    Each fold's confidence is fitted on the two others. With ``fit`` it is written into the fold's metadata, and that
    of all three into the metadata of the network trained on all cases (``models`` by modality, default the research
    one).
    Raises InputError where images or networks are missing.
    """
    folder = assets.path("models", "folds") if folds is None else folds
    texts = []
    for number, modality in enumerate(modalities):
        cases = mrus27.image_cases(data, modality)
        samples: dict[str, Sample] = {}
        for index, case in enumerate(cases):
            report((number + index / len(cases)) / len(modalities), f"Detecting in {case.name} ({modality.upper()})")
            fold = mrus27.fold_of(Path(case.name))
            samples[case.name] = _sample(
                case, detect_landmarks(case.image, modality, device, folder / f"{modality}-{fold}")
            )
        target = network_folder(modality, (models or {}).get(modality, f"{modality}-landmarks-research"))
        texts.append(f"{_describe(modality, cases, samples)}\n{_describe_shipped(target, list(samples.values()))}")
        if fit:
            for fold in FOLDS:
                _store(folder / f"{modality}-{fold}", _others(cases, samples, fold), "the two other folds of mrus-27")
            _store(target, list(samples.values()), "the folds of mrus-27, each case seen by a network of the others")
    report(1.0, "Done")
    return "\n\n".join(texts)


def _describe(modality: str, cases: Sequence[ImageCase], samples: dict[str, Sample]) -> str:
    errors: list[FloatArray] = []
    scores: list[FloatArray] = []
    within: list[npt.NDArray[np.bool_]] = []
    for fold in FOLDS:
        part = [samples[case.name] for case in cases if mrus27.fold_of(Path(case.name)) == fold]
        calibration = fit_calibration(_others(cases, samples, fold), shared=True)
        errors.append(radial(part).ravel())
        scores.append(expected(part, calibration).ravel())
        within.append(inside(part, calibration).ravel())
    error, score, inner = np.concatenate(errors), np.concatenate(scores), np.concatenate(within)
    known = np.isfinite(error)
    error, score, inner = error[known], score[known], inner[known]
    wrong = error > RIGHT_MM
    area = f"{auroc(score, wrong):.3f}" if wrong.any() else "-"
    return (
        f"{modality.upper()}, {len(cases)} real images (mrus-27), each by network and calibration of other folds:\n"
        f"{len(error)} points, error {error.mean():.2f} mm, expected {score.mean():.2f} mm, in the 95 % "
        f"ellipsoid {inner.mean():.1%}, AUROC for errors above {RIGHT_MM:.0f} mm {area} ({int(wrong.sum())} such)."
    )


def _describe_shipped(folder: Path, samples: Sequence[Sample]) -> str:
    """The same detections, with the calibration that stands in the metadata of the network in ``folder``."""
    bundle = load_bundle(folder)
    error = radial(samples).ravel()
    known = np.isfinite(error)
    score = expected(samples, bundle.calibration).ravel()[known]
    share = inside(samples, bundle.calibration).ravel()[known].mean()
    wrong = error[known] > RIGHT_MM
    area = f"{auroc(score, wrong):.3f}" if wrong.any() else "-"
    return (
        f"With the calibration that ships with “{bundle.title}”: expected {score.mean():.2f} mm, in the 95 % "
        f"ellipsoid {share:.1%}, AUROC {area}."
    )


def _others(cases: Sequence[ImageCase], samples: dict[str, Sample], fold: int) -> list[Sample]:
    return [samples[case.name] for case in cases if mrus27.fold_of(Path(case.name)) != fold]


def _store(folder: Path, samples: Sequence[Sample], where: str) -> None:
    store(folder, fit_calibration(samples, shared=True), fit_discrepancy(samples), where, COMMAND)


def _sample(case: ImageCase, detection: Detection) -> Sample:
    if detection.evidence is None:
        raise InputError("The detection keeps no evidence; its confidence cannot be measured.")
    unknown = np.full(3, np.nan)
    errors = np.stack([case.positions.get(point.name, unknown) - point.position for point in detection.landmarks])
    middle = unknown if case.gland is None else gland_of_mask(case.gland).centroid
    found = unknown if detection.gland is None else detection.gland.centroid
    return Sample(
        case.name,
        case.modality,
        "mrus-27",
        True,
        detection.evidence,
        errors,
        found - middle,
        bool(detection.ask_first),
    )
