"""What the refinement gains, as text: means, paired differences with their intervals, and what the check lets pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from LandmarkFusionLogic.evaluation.cases import SOURCE
from LandmarkFusionLogic.evaluation.refinement import (
    DRAWN,
    DRAWN_BARE,
    DRAWN_CHECKED,
    DRAWN_RIGID,
    METHODS,
    NETWORK,
    NETWORK_BARE,
    NETWORK_CHECKED,
    RIGID,
    Measured,
    RefinedCase,
)
from LandmarkFusionLogic.evaluation.statistics import mean_sd_text, paired_interval
from LandmarkFusionLogic.points import FloatArray

WORSE_MM = 0.5
"""A pair is worse where its error, of points or else of the surfaces, has grown by more than this."""
COMPARISONS = (
    (NETWORK, RIGID),
    (NETWORK_CHECKED, RIGID),
    (NETWORK, NETWORK_BARE),
    (DRAWN, RIGID),
    (DRAWN_CHECKED, RIGID),
    (DRAWN, DRAWN_RIGID),
    (DRAWN, DRAWN_BARE),
)
NOTE = (
    "Every row starts from the first one and is guided by the networks' landmarks. Network masks: those that the\n"
    "networks see; true masks: the oracle, as if a person had drawn them. Checked: where anything speaks against the\n"
    "refinement the rigid alignment counts. TRE: mean distance of points that guided nothing. Dice and distance\n"
    "(symmetric mean distance of the surfaces) are of the true glands. Used: pairs whose refinement the\n"
    f"check recommends; worse: pairs whose points, or without any whose surfaces, it made worse by > {WORSE_MM:g} mm."
)


def describe_refinement(cases: Sequence[RefinedCase], title: str, real: bool) -> str:
    """The table of ``cases`` and the paired differences."""
    methods = [method for method in METHODS if any(method in case.found for case in cases)]
    head = (
        f"{'':<28}{'pairs':>6}{'TRE, mm':>15}{'Dice':>14}{'distance, mm':>15}{'used':>6}{'worse':>7}{'moved':>7}"
        f"{'least Jac.':>11}{'folding':>9}{'CPU s':>7}"
    )
    lines = [
        title,
        "",
        head,
        *(_row(cases, method) for method in methods),
        "",
        "Paired differences, mean (95 % bootstrap interval over pairs)",
        *(_difference(cases, *pair) for pair in COMPARISONS if pair[0] in methods and pair[1] in methods),
        "",
        NOTE,
    ]
    if real:
        lines.append(
            "Points: apex, base and targets, as far as the publishers labelled them in both images.\n" + SOURCE
        )
    return "\n".join(lines)


def values(cases: Sequence[RefinedCase], method: str, what: str) -> FloatArray:
    """(N,) one figure of `Measured` for every case; NaN where the method could not be used."""
    missing = Measured(*(float("nan"),) * 3)
    nothing = float("nan")
    return np.array(
        [float(getattr(case.found.get(method, missing), what)) if method in case.found else nothing for case in cases],
        dtype=np.float64,
    )


def worse(cases: Sequence[RefinedCase], method: str) -> int:
    """How many pairs ``method`` made worse than the rigid alignment was."""
    count = 0
    for what in ("tre", "distance"):
        grown = values(cases, method, what) - values(cases, RIGID, what)
        if what == "distance":
            grown = grown[~np.isfinite(values(cases, RIGID, "tre"))]
        count += int(np.count_nonzero(grown > WORSE_MM))
    return count


def _row(cases: Sequence[RefinedCase], method: str) -> str:
    tre, dice, distance = (values(cases, method, what) for what in ("tre", "dice", "distance"))
    known = np.isfinite(dice)
    text = (
        f"{method:<28}{int(known.sum()):>6}{mean_sd_text(tre):>15}{mean_sd_text(dice):>14}{mean_sd_text(distance):>15}"
    )
    if method == RIGID:
        return text
    used, moved, least, folded, seconds = (
        values(cases, method, what)[known] for what in ("used", "moved", "jacobian_min", "folded", "seconds")
    )
    return (
        f"{text}{int(used.sum()):>6}{worse(cases, method):>7}{moved.mean():>7.1f}{least.min():>11.2f}"
        f"{int(np.count_nonzero(folded)):>9}{seconds.mean():>7.1f}"
    )


def _difference(cases: Sequence[RefinedCase], method: str, other: str) -> str:
    cells = []
    for what, unit, digits in (("tre", " mm", 2), ("dice", "", 3), ("distance", " mm", 2)):
        a, b = values(cases, method, what), values(cases, other, what)
        if not np.isfinite(a - b).any():
            continue
        low, high = paired_interval(a, b)
        name = {"tre": "TRE", "dice": "Dice", "distance": "distance"}[what]
        cells.append(f"{name} {np.nanmean(a - b):+.{digits}f}{unit} ({low:+.{digits}f} to {high:+.{digits}f})")
    return f"  {method} - {other}: {', '.join(cells)}"
