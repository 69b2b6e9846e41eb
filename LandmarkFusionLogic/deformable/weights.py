"""Weights for one pair of volumes, without truth: landmarks that do not guide a trial say how good it is.

The paper leaves open how its weights suit a pair. A tenth of the landmarks is held out; the deformable stage is tried
with each choice of point weight and grid spacing on the others, and the one that brings the held-out tenth nearest
together, by the median, is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.executables import Elastix
from LandmarkFusionLogic.deformable.quality import target_errors
from LandmarkFusionLogic.deformable.registration import Prepared, Weights, register
from LandmarkFusionLogic.deformable.runner import Watch
from LandmarkFusionLogic.errors import InputError

FEWEST = 40
"""With fewer landmarks a tenth of them says nothing."""
CHOICES = tuple(Weights(points, grid) for points in (0.01, 0.03, 0.1) for grid in (12.0, 20.0))


@dataclass(frozen=True)
class Trial:
    """One choice, and the median distance in mm of the held-out landmarks after it; infinite where elastix failed."""

    weights: Weights
    held_out_mm: float


def choose_weights(
    prepared: Prepared,
    elastix: Elastix,
    watch: Watch,
    preset_name: str = "fast",
    choices: Sequence[Weights] = CHOICES,
    seed: int = 0,
    threads: int | None = None,
) -> tuple[Weights, list[Trial]]:
    """The best of ``choices`` for ``prepared``, and how each of them did; ``threads`` as for `register`.

    Raises InputError where there are too few landmarks, or every trial fails.
    """
    if prepared.points is None or len(prepared.points) < FEWEST:
        raise InputError(
            f"The weights can be chosen from {FEWEST} pairs of points on; use more, or the weights of the preset."
        )
    guiding, held_out = hold_out(prepared.points, seed)
    trials = []
    for number, weights in enumerate(choices):
        start = number / len(choices)

        def report(fraction: float, text: str, start: float = start, number: int = number) -> None:
            watch.report(start + fraction / len(choices), f"Choosing weights, trial {number + 1}: {text}")

        trial = replace(watch, report=report, metric=None)
        try:
            deformation = register(replace(prepared, points=guiding), elastix, trial, preset_name, weights, threads)
        except InputError:
            trials.append(Trial(weights, float("inf")))
            continue
        errors = target_errors(deformation, held_out.fixed, held_out.moving)
        trials.append(Trial(weights, float(np.median(errors))))
    best = min(trials, key=lambda trial: trial.held_out_mm)
    if not np.isfinite(best.held_out_mm):
        raise InputError("The registration failed with every choice of weights; elastix's log tells why.")
    return best.weights, trials


def hold_out(points: Correspondences, seed: int = 0) -> tuple[Correspondences, Correspondences]:
    """Nine tenths of ``points`` that guide, and the tenth that does not, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(points))
    count = max(1, round(len(points) / 10))
    return _some(points, np.sort(order[count:])), _some(points, np.sort(order[:count]))


def _some(points: Correspondences, index: npt.NDArray[np.int_]) -> Correspondences:
    return Correspondences(points.fixed[index], points.moving[index], points.confidence[index])
