"""Figures for tables: means with their spread, bootstrap intervals, Wilcoxon's test, the area under the ROC curve.

Values may be NaN where a truth is unknown; such values, or pairs of which one is NaN, are left out everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Callable[[FloatArray], Any] = np.mean,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of ``statistic`` of ``values`` (N,).

    ``groups`` (N,) names the case of each value: the values of one case depend on each other (three landmarks of one
    image), so whole cases are drawn then. The same seed gives the same interval. (NaN, NaN) without any value.
    """
    known = np.asarray(values, dtype=np.float64)
    kept = np.isfinite(known)
    known = known[kept]
    if known.size == 0:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    if groups is None:
        drawn = (known[generator.integers(known.size, size=known.size)] for _ in range(resamples))
    else:
        _, case = np.unique(np.asarray(groups)[kept], return_inverse=True)
        members = [np.flatnonzero(case == number) for number in range(int(case.max()) + 1)]
        drawn = (
            known[np.concatenate([members[pick] for pick in generator.integers(len(members), size=len(members))])]
            for _ in range(resamples)
        )
    outcomes = [float(statistic(sample)) for sample in drawn]
    low, high = np.quantile(outcomes, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_interval(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval (low, high) of the mean of ``a`` - ``b``, both (N,) and of the same cases in the same order.

    An interval below zero says that ``a`` is the smaller. ``groups`` as in `bootstrap_interval`.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return bootstrap_interval(difference, np.mean, level, resamples, seed, groups)


def wilcoxon(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of the pairs ``a``, ``b`` (N,).

    1 where no pair differs, NaN where there is no pair.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    difference = difference[np.isfinite(difference)]
    if difference.size == 0:
        return float("nan")
    if not np.any(difference):
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)


def auroc(score: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive's ``score`` (N,) exceeds a negative's, ties counting half.

    ``positive`` (N,) holds booleans. NaN where one of the two kinds is missing.
    """
    values, kind = np.asarray(score, dtype=np.float64), np.asarray(positive, dtype=bool)
    kept = np.isfinite(values)
    values, kind = values[kept], kind[kept]
    positives, negatives = int(kind.sum()), int((~kind).sum())
    if positives == 0 or negatives == 0:
        return float("nan")
    # The Mann-Whitney statistic, from ranks.
    above = float(stats.rankdata(values)[kind].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def mean_sd_text(values: npt.ArrayLike, digits: int = 2) -> str:
    """“5.55 ± 2.63”: mean and standard deviation (of a sample, ddof 1) of ``values`` (N,); “-” without any value."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if known.size == 0:
        return "-"
    deviation = float(known.std(ddof=1)) if known.size > 1 else 0.0
    return f"{known.mean():.{digits}f} ± {deviation:.{digits}f}"
