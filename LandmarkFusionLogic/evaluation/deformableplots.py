"""Figures 7 and 10 of Grewal 2023 as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.deformableoutcome import BINS_MM, NONE, Outcome
from LandmarkFusionLogic.evaluation.deformabletable import (
    matching_by_motion,
    matchings,
    plain_rows,
    sources,
    tre_by_motion,
)


def plot(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw the figures of one data set into ``folder``, which is made, and return their files.

    Raises InputError if they cannot be written.
    """
    from matplotlib.figure import Figure

    name = outcomes[0].dataset
    figures = {}
    if sources(outcomes):
        figure = Figure(figsize=(5, 3.5), layout="constrained")
        axes = figure.subplots()
        for source in sources(outcomes):
            errors = np.sort(np.concatenate([each.errors for each in matchings(outcomes, source)]))
            axes.step(errors, np.arange(1, len(errors) + 1) / len(errors) * 100, label=source)
        axes.set(
            xlim=(0, 10),
            ylim=(0, 100),
            xlabel="spatial matching error, mm",
            ylabel="landmarks, %",
            title=f"{name}: {len(outcomes)} pairs",
        )
        axes.axvline(4, color="0.6", linewidth=0.8)
        axes.legend(loc="lower right")
        figures[f"{name}-matching-errors.png"] = figure
        figures[f"{name}-by-displacement.png"] = _by_motion(outcomes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, figure in figures.items():
            figure.savefig(folder / file, dpi=120)
    except OSError as error:
        raise InputError(f"The figures cannot be written to “{folder.name}”; choose another folder.") from error
    return [folder / file for file in figures]


def _by_motion(outcomes: Sequence[Outcome]):  # type: ignore[no-untyped-def]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.7), layout="constrained")
    share, density, error = figure.subplots(1, 3)
    places = np.arange(len(BINS_MM) - 1)
    labels = [f"{low:g}-{high:g}" for low, high in pairwise(BINS_MM)]
    # One color for a source in all three, gray for the registration without any.
    colors = {source: f"C{number}" for number, source in enumerate(sources(outcomes))} | {NONE: "0.5"}
    for source in sources(outcomes):
        near, dense = matching_by_motion(outcomes, source)
        share.plot(places, 100 * near, "o-", label=source, color=colors[source])
        density.plot(places, dense, "o-", label=source, color=colors[source])
    for name in plain_rows(outcomes):
        label = "without" if name == NONE else name
        error.plot(places, tre_by_motion(outcomes, name), "o-", label=label, color=colors.get(name))
    share.set(ylabel="landmarks within 4 mm, %", ylim=(0, 104))
    density.set(ylabel="landmarks per 1000 voxels")
    error.set(ylabel="TRE, mm")
    for axes in (share, density, error):
        if axes is not share:
            axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
        axes.set_xticks(places, labels)
        axes.set_xlabel("true displacement, mm")
    # One legend for all, below, where it covers no line.
    handles, names = (error if error.lines else share).get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=max(len(names), 1))
    figure.suptitle(f"{outcomes[0].dataset}: {len(outcomes)} pairs")
    return figure
