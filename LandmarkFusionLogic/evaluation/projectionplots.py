"""Errors and capture range of 2D/3D registration as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.projection import INITIAL, METHODS, Outcome
from LandmarkFusionLogic.evaluation.projectiontable import CAPTURE_MM, capture, labels, methods_of, values

ERROR_BINS_MM = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, np.inf)


def plot(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw the figures of one data set and one content into ``folder``, which is made, and return their files.

    Raises InputError if they cannot be written.
    """
    name = f"{outcomes[0].dataset}-{outcomes[0].content}"
    figures = {f"{name}-errors.png": _histogram(outcomes), f"{name}-capture.png": _capture_range(outcomes)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, figure in figures.items():
            figure.savefig(folder / file, dpi=120)
    except OSError as error:
        raise InputError(f"The figures cannot be written to “{folder.name}”; choose another folder.") from error
    return [folder / file for file in figures]


def _histogram(outcomes: Sequence[Outcome]):  # type: ignore[no-untyped-def]
    """Cases by mTRE, one panel a method."""
    from matplotlib.figure import Figure

    methods = methods_of(outcomes)
    figure = Figure(figsize=(6.5, 1.1 * len(methods) + 0.8), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(methods), 1, sharex=True, sharey=True))
    places = np.arange(len(ERROR_BINS_MM) - 1)
    for axes, method in zip(panels, methods, strict=True):
        counts, _ = np.histogram(values(outcomes, method, lambda errors: errors.mtre), ERROR_BINS_MM)
        axes.bar(places, counts, width=0.9)
        axes.set_ylabel(METHODS.get(method, method), rotation=0, ha="right", va="center")
    panels[-1].set_xticks(places, labels(ERROR_BINS_MM))
    panels[-1].set_xlabel("mTRE at the vertebrae, mm")
    panels[0].set_title(f"{outcomes[0].dataset}, {outcomes[0].content}: {len(outcomes)} cases")
    return figure


def _capture_range(outcomes: Sequence[Outcome]):  # type: ignore[no-untyped-def]
    """Share of successes against how far the start was off."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.5), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(CAPTURE_MM) - 1)
    counts, _ = capture(outcomes, INITIAL)
    for method in methods_of(outcomes):
        if method != INITIAL:
            axes.plot(places, 100 * capture(outcomes, method)[1], "o-", label=METHODS.get(method, method))
    names = [f"{label}\n{count} cases" for label, count in zip(labels(CAPTURE_MM), counts, strict=True)]
    axes.set_xticks(places, names)
    axes.set(
        ylim=(-2, 102),
        xlabel="start off at the vertebrae, mm",
        ylabel="within 3° and 3 mm, %",
        title=f"{outcomes[0].dataset}, {outcomes[0].content}",
    )
    if axes.lines:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
