"""Tables 2 to 4 of Fang 2023 as text, with confidence intervals and the paper's own figures beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from LandmarkFusionLogic.evaluation.cases import SOURCE
from LandmarkFusionLogic.evaluation.observers import OBSERVER_MM
from LandmarkFusionLogic.evaluation.pairs import SPACING_MM
from LandmarkFusionLogic.evaluation.rigid import BEST, FANG, FOUND_SHIFT, MASKS, METHODS, Alignment, RigidCase
from LandmarkFusionLogic.evaluation.statistics import bootstrap_interval, mean_sd_text, paired_interval
from LandmarkFusionLogic.points import FloatArray

SRE_BINS = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 45.0)
"""Upper limits in mm, Table 3."""
ROTATION_BINS = (5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 70.0)
"""Upper limits in degrees, Table 4."""
PAPER = (
    "Fang 2023, 263 clinical pairs: network SRE 6.62 ± 3.97 mm, Dice 0.77 ± 0.11, 81 % of residual rotations below\n"
    "20°; manual SRE 5.80 ± 3.08 mm, Dice 0.82."
)
NOTE = (
    "SRE: mean distance of T_gt(S) and T_pred(S) over the points S of the MR gland's surface (Fang, eq. 6); T_gt by\n"
    "iterative closest points between the surfaces of the true masks, begun at the shift of their centroids. Dice:\n"
    "true MR mask, moved, with true US mask. Distance: symmetric mean distance of the surfaces. Rotation: angle of\n"
    "R_gt R_pred⁻¹. FRE: root-mean-square distance that is left between the landmarks the fit was made of; it is no\n"
    "target error. Intervals: 95 %, bootstrap over pairs. Manual: simulated observers, the true landmarks with noise\n"
    f"of {OBSERVER_MM:g} mm along each axis in each image, so that two observers differ by 2.5 mm in the mean."
)
SIMULATED = (
    f"The images are rendered at {SPACING_MM:g} mm in the slice: coarser than a clinic's, finer than the networks see."
)


def describe_rigid(cases: Sequence[RigidCase], title: str, simulated: bool) -> str:
    """The three tables of ``cases``, what our best fit gains, and whether it knows its error."""
    methods = [method for method in METHODS if any(method in case.alignments for case in cases)]
    lines = [title, "", "Table 2. Alignment, mean ± SD", _head(), *(_row(cases, method) for method in methods)]
    lines += ["", *_comparisons(cases)]
    lines += ["", "Table 3. Pairs by SRE, mm", *_histogram(cases, methods, SRE_BINS, "sre")]
    lines += [
        "",
        "Table 4. Pairs by residual rotation, degrees",
        *_histogram(cases, methods, ROTATION_BINS, "rotation"),
    ]
    expected = _expectation(cases)
    return "\n".join(
        [*lines, *(["", expected] if expected else []), "", NOTE, SIMULATED if simulated else SOURCE, PAPER]
    )


def values(cases: Sequence[RigidCase], method: str, what: str) -> FloatArray:
    """(N,) one figure of `Alignment` for every case; NaN where the method could not be used."""
    missing = Alignment(*(float("nan"),) * 4)
    return np.array([getattr(case.alignments.get(method, missing), what) for case in cases], dtype=np.float64)


def _head() -> str:
    return (
        f"{'':<30}{'pairs':>6}{'SRE, mm':>15}{'95 % interval':>16}{'Dice':>14}{'95 % interval':>16}"
        f"{'distance, mm':>15}{'rotation, °':>14}{'FRE, mm':>14}"
    )


def _row(cases: Sequence[RigidCase], method: str) -> str:
    sre, dice = values(cases, method, "sre"), values(cases, method, "dice")
    sre_low, sre_high = bootstrap_interval(sre)
    dice_low, dice_high = bootstrap_interval(dice)
    distance, rotation, fre = (values(cases, method, what) for what in ("distance", "rotation", "fre"))
    return (
        f"{method:<30}{int(np.isfinite(sre).sum()):>6}{mean_sd_text(sre):>15}{f'{sre_low:.2f} to {sre_high:.2f}':>16}"
        f"{mean_sd_text(dice):>14}{f'{dice_low:.3f} to {dice_high:.3f}':>16}"
        f"{mean_sd_text(distance):>15}{mean_sd_text(rotation, 1):>14}{mean_sd_text(fre):>14}"
    )


def _comparisons(cases: Sequence[RigidCase]) -> list[str]:
    lines = []
    for method, other in ((BEST, FANG), (BEST, FOUND_SHIFT), (MASKS, BEST)):
        cells = []
        for what, unit, digits in (("sre", " mm", 2), ("dice", "", 3)):
            a, b = values(cases, method, what), values(cases, other, what)
            if not np.isfinite(a - b).any():
                break
            low, high = paired_interval(a, b)
            cells.append(
                f"{what.upper() if what == 'sre' else 'Dice'} {np.nanmean(a - b):+.{digits}f}{unit} "
                f"({low:+.{digits}f} to {high:+.{digits}f})"
            )
        if len(cells) == 2:
            lines.append(f"{method} - {other}: {', '.join(cells)}")
    return ["Paired differences, mean (95 % interval)", *lines] if lines else []


def _histogram(cases: Sequence[RigidCase], methods: Sequence[str], bins: Sequence[float], what: str) -> list[str]:
    labels = [f"{low:g}-{high:g}" for low, high in zip((0.0, *bins[:-1]), bins, strict=True)] + [f"> {bins[-1]:g}"]
    lines = [f"{'':<30}" + "".join(f"{label:>12}" for label in labels)]
    for method in methods:
        counts = histogram(values(cases, method, what), bins)
        total = max(1, sum(counts))
        lines.append(f"{method:<30}" + "".join(f"{f'{n} ({n / total:.0%})':>12}" for n in counts))
    return lines


def histogram(found: FloatArray, bins: Sequence[float]) -> list[int]:
    """How many of ``found`` (N,) lie from one of the upper limits ``bins`` to the next, and above the last one.

    NaN is left out; a value on a limit belongs above it.
    """
    place = np.searchsorted(bins, found[np.isfinite(found)], side="right")
    return [int(np.count_nonzero(place == index)) for index in range(len(bins) + 1)]


def _expectation(cases: Sequence[RigidCase]) -> str:
    made, expected = values(cases, BEST, "made"), values(cases, BEST, "expected")
    known = np.isfinite(made) & np.isfinite(expected)
    if not known.any():
        return ""
    roots = [float(np.sqrt(np.mean(part[known] ** 2))) for part in (made, expected)]
    rank = np.corrcoef(_ranks(made[known]), _ranks(expected[known]))[0, 1] if known.sum() > 2 else float("nan")
    return (
        f"{BEST}, at the true landmarks of {int(known.sum())} pairs, which it has not seen: error {roots[0]:.1f} mm\n"
        f"rms, expected {roots[1]:.1f} mm rms; rank correlation over the pairs {rank:.2f}."
    )


def _ranks(numbers: FloatArray) -> FloatArray:
    return np.argsort(np.argsort(numbers)).astype(np.float64)
