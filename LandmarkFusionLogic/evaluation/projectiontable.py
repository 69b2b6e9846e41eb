"""Tables 1 to 3 of Chen 2023 as text, with mTRE and intervals added and the paper's own figures beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from scipy import stats

from LandmarkFusionLogic.evaluation.projection import INITIAL, METHODS, Found, Outcome
from LandmarkFusionLogic.evaluation.projectioncases import (
    CONTENTS,
    DEGRADED,
    FINER,
    PHOTONS,
    ROTATION_DEGREES,
    TRANSLATION_MM,
)
from LandmarkFusionLogic.evaluation.projectionerrors import LIMIT_DEGREES, LIMIT_MM, PoseErrors
from LandmarkFusionLogic.evaluation.statistics import bootstrap_interval, mean_sd_text
from LandmarkFusionLogic.points import FloatArray

CAPTURE_MM = (0.0, 10.0, 20.0, 30.0, 40.0, 60.0, np.inf)
"""Bins of how far the start is off."""
AXES = ("rx, °", "ry, °", "rz, °", "tx, mm", "ty, mm", "tz, mm")

ABLATION = (
    ("yes", "no", "yes", "sopi-without-ce", "5.42, 12.06"),
    ("no", "yes", "yes", "sopi-without-rtpi", "5.67, 11.00"),
    ("yes", "no", "no", "sopi-without-ce-el", ""),
    ("yes", "-", "-", "rtpi", "3.42, 6.68"),
    ("yes", "yes", "no", "sopi-without-el", "2.09, 4.53"),
    ("yes", "yes", "yes", "sopi", "1.89, 4.41"),
)
"""Rows of Table 2: whether RTPI, the composite encoder (CE) and the embedded loss (EL) are used, the method, and the
paper's degrees and mm. The paper's third row is taken for RTPI alone, of which its text speaks; the same with the
fine stage of plain encoders stands beside it."""

NOTE = (
    f"True pose and start: each drawn from N(0, {ROTATION_DEGREES[0]:g}°) about every axis and from N(0, "
    f"{TRANSLATION_MM[0]:g}), N(0, {TRANSLATION_MM[1]:g}), N(0, {TRANSLATION_MM[2]:g}) mm\nalong columns, rows and "
    "depth, about the AP view and without looking at each other; every method begins at the\nsame start. X-ray: 256², "
    f"0.798 mm, 1011.7 mm from the source (Perlove PLX118F), of rays and samples {FINER} times as dense\nalong every "
    f"axis as the DRR's, with the noise of {PHOTONS:,.0f} quanta a pixel. Rotation and translation: mean over the\n"
    "three axes, as in the paper; angle: of R_found R_trueᵀ; distance: of the isocenter. mTRE: points of vertebrae\n"
    f"in view; in plane: their projections, scaled to the isocenter. Failed: not below {LIMIT_DEGREES:g}° and "
    f"{LIMIT_MM:g} mm, first by the\nmeans over the axes, then by angle and distance. Intervals: 95 %, bootstrap over "
    "cases (failures: Wilson).\nCPU: seconds of all threads together, without compilation."
)
PAPER = (
    "Chen 2023, Table 1 (spine alone in both images; 10 validation CTs): Initial 6.40°, 15.08 mm, 95.2 % failed;\n"
    "Opt-NCCL 3.68, 5.79, 38.2 %, 19 s; Opt-NGI 3.84, 5.92, 50.6 %, 30 s; Opt-GC 3.73, 7.80, 43.6 %, 19 s; Deep-reg\n"
    "5.54, 13.21, 74.0 %, 20 s; SOPI 1.89, 4.53, 22.4 %, 4.6 s. Other CTs than ours: to be compared in kind only."
)
PAPER_3 = (
    "DisErr: mean distance on the detector of the projected points of the vertebrae (the paper's is of corner points\n"
    "found by SURF and ORB, and of a size that no distance on this detector has). ImgSim: NCC of X-ray and DRR. No\n"
    "real X-ray with a known pose was at hand: noise, scatter, gamma, collimation, saturation and instruments are\n"
    "simulated on the CT."
)


def describe(outcomes: Sequence[Outcome], steps: Mapping[str, str] | None = None) -> str:
    """All tables of the ``outcomes`` of one data set and one content; ``steps``: training steps of learned methods.

    Cases in which a method is missing are left out for all methods, so that every row is of the same cases.
    """
    methods = methods_of(outcomes)
    seeds = [outcome.seed for outcome in outcomes]
    title = (
        f"{outcomes[0].dataset}, {CONTENTS[outcomes[0].content]}: {len(outcomes)} cases, seeds {min(seeds)} to "
        f"{max(seeds)}"
    )
    if outcomes[0].content == DEGRADED:
        return "\n".join([title, "", *_third(outcomes, methods), "", *_first(outcomes, methods, steps or {}), PAPER_3])
    parts = [[title], _first(outcomes, methods, steps or {}), _second(outcomes), _capture(outcomes, methods)]
    parts += [_warned(outcomes, methods)]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def methods_of(outcomes: Sequence[Outcome]) -> list[str]:
    """The methods that were used on every one of the ``outcomes``, in the order of the tables."""
    names = list(dict.fromkeys([*METHODS, *(name for outcome in outcomes for name in outcome.found)]))
    return [name for name in names if all(name in outcome.found for outcome in outcomes)]


def values(outcomes: Sequence[Outcome], method: str, figure: Callable[[PoseErrors], float]) -> FloatArray:
    """(N,) one figure of every case."""
    return np.array([figure(outcome.found[method].errors) for outcome in outcomes], dtype=np.float64)


def capture(outcomes: Sequence[Outcome], method: str) -> tuple[list[int], FloatArray]:
    """For each bin of `CAPTURE_MM`: how many starts were that far off, and which share of them succeeded (or NaN)."""
    place = np.digitize([outcome.start for outcome in outcomes], CAPTURE_MM) - 1
    right = 1 - values(outcomes, method, lambda errors: errors.failed_strictly)
    counts = [int(np.sum(place == number)) for number in range(len(CAPTURE_MM) - 1)]
    shares = [right[place == number].mean() if count else np.nan for number, count in enumerate(counts)]
    return counts, np.array(shares, dtype=np.float64)


def labels(bins: Sequence[float]) -> list[str]:
    """Names of the bins between the limits ``bins``."""
    return [f"{low:g}-{high:g}" if np.isfinite(high) else f"> {low:g}" for low, high in pairwise(bins)]


def _first(outcomes: Sequence[Outcome], methods: Sequence[str], steps: Mapping[str, str]) -> list[str]:
    lines = [
        "Table 1. mean ± SD (95 % interval of the mean)"
        if outcomes[0].content != DEGRADED
        else "The same, as Table 1",
        (
            f"{'':<16}{'rotation, °':>28}{'translation, mm':>31}{'failed':>24}{'angle, °':>15}{'distance, mm':>16}"
            f"{'failed':>24}{'mTRE, mm':>16}{'median':>8}{'in plane, median':>18}{'CPU, s':>14}{'training steps':>16}"
        ),
    ]
    return lines + [_row(outcomes, method, steps.get(method, "")) for method in methods]


def _row(outcomes: Sequence[Outcome], method: str, steps: str) -> str:
    def of(figure: Callable[[PoseErrors], float]) -> FloatArray:
        return values(outcomes, method, figure)

    mtre = of(lambda errors: errors.mtre)
    seconds = [outcome.found[method].seconds for outcome in outcomes]
    return (
        f"{METHODS.get(method, method):<16}{_with_interval(of(lambda e: e.mean_rotation)):>28}"
        f"{_with_interval(of(lambda e: e.mean_translation)):>31}{_failures(of(lambda e: e.failed)):>24}"
        f"{mean_sd_text(of(lambda e: e.geodesic)):>15}{mean_sd_text(of(lambda e: e.distance)):>16}"
        f"{_failures(of(lambda e: e.failed_strictly)):>24}{mean_sd_text(mtre):>16}{np.median(mtre):>8.2f}"
        f"{np.median(of(lambda e: e.plane)):>18.2f}"
        f"{'' if method == INITIAL else mean_sd_text(seconds, 1):>14}{steps:>16}"
    ).rstrip()


def _with_interval(numbers: FloatArray) -> str:
    low, high = bootstrap_interval(numbers)
    return f"{mean_sd_text(numbers)} ({low:.2f}-{high:.2f})"


def _failures(failed: FloatArray) -> str:
    count, total = int(failed.sum()), len(failed)
    interval = stats.binomtest(count, total).proportion_ci(method="wilson")
    return f"{count} = {count / total:.1%} ({interval.low:.0%}-{interval.high:.0%})"


def _second(outcomes: Sequence[Outcome]) -> list[str]:
    methods = methods_of(outcomes)
    if not any(method in methods for *_, method, _ in ABLATION):
        return []
    head = f"{'RTPI':<6}{'CE':<6}{'EL':<6}{'rotation, °':>16}{'translation, mm':>18}{'paper':>14}"
    lines = ["Table 2. Ablation", head]
    for *parts, method, paper in ABLATION:
        marks = "".join(f"{part:<6}" for part in parts)
        cells = f"{'not measured':>34}"
        if method in methods:
            rotation = mean_sd_text(values(outcomes, method, lambda errors: errors.mean_rotation))
            translation = mean_sd_text(values(outcomes, method, lambda errors: errors.mean_translation))
            cells = f"{rotation:>16}{translation:>18}"
        lines.append(f"{marks}{cells}{paper:>14}".rstrip())
    return lines


def _third(outcomes: Sequence[Outcome], methods: Sequence[str]) -> list[str]:
    lines = [
        "Table 3. Means",
        f"{'':<16}{'DisErr, mm':>12}{'ImgSim':>8}" + "".join(f"{axis:>8}" for axis in AXES) + f"{'CPU, s':>8}",
    ]
    for method in methods:
        found: list[Found] = [outcome.found[method] for outcome in outcomes]
        off = np.mean([[*each.errors.rotation, *each.errors.translation] for each in found], axis=0)
        seconds = "" if method == INITIAL else f"{np.mean([each.seconds for each in found]):.1f}"
        lines.append(
            f"{METHODS.get(method, method):<16}{np.mean([each.errors.detector for each in found]):>12.2f}"
            f"{np.mean([each.similarity for each in found]):>8.3f}"
            + "".join(f"{value:>8.2f}" for value in off)
            + f"{seconds:>8}".rstrip()
        )
    return lines


def _capture(outcomes: Sequence[Outcome], methods: Sequence[str]) -> list[str]:
    bins = labels(CAPTURE_MM)
    counts, _ = capture(outcomes, INITIAL)
    lines = [
        "Succeeded (by angle and distance) by how far the start was off at the vertebrae, mm",
        f"{'':<16}" + "".join(f"{name:>10}" for name in bins),
        f"{'cases':<16}" + "".join(f"{count:>10}" for count in counts),
    ]
    for method in methods:
        cells = ["-" if np.isnan(share) else f"{share:.0%}" for share in capture(outcomes, method)[1]]
        lines.append(f"{METHODS.get(method, method):<16}" + "".join(f"{cell:>10}" for cell in cells))
    return lines


def _warned(outcomes: Sequence[Outcome], methods: Sequence[str]) -> list[str]:
    lines = []
    for method in methods:
        found = [outcome.found[method] for outcome in outcomes]
        warned = np.array([bool(each.warnings or each.refused) for each in found])
        if not warned.any():
            continue
        failed = values(outcomes, method, lambda errors: errors.failed_strictly) > 0
        refused = sum(each.refused is not None for each in found)
        lines.append(
            f"{METHODS.get(method, method)}: a warning with {int(np.sum(warned & failed))} of {int(failed.sum())} "
            f"failed cases and {int(np.sum(warned & ~failed))} of {int(np.sum(~failed))} others"
            + (f"; no pose in {refused}, the start counts there" if refused else "")
        )
    return lines
