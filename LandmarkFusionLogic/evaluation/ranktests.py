"""Friedman's test and Dunn's pairwise comparisons with Bonferroni's correction (Grewal 2023, section 2.8)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats


class Friedman(NamedTuple):
    """The statistic with its degrees of freedom, and the p value."""

    chi_square: float
    freedom: int
    p: float


def friedman(values: npt.ArrayLike) -> Friedman:
    """Friedman's two-way analysis of variance by ranks of ``values`` (N, k): N blocks, k related samples.

    Corrected for ties. Rows with NaN are left out; NaN without any row or with one sample only.
    """
    ranks = _ranks(values)
    count, samples = ranks.shape
    if count == 0 or samples < 2:
        return Friedman(float("nan"), max(samples - 1, 0), float("nan"))
    # The variance of the ranks within the blocks that really occurred, so that ties are taken care of.
    spread = float(((ranks - (samples + 1) / 2) ** 2).sum()) / (count * (samples - 1))
    between = float(((ranks.mean(axis=0) - (samples + 1) / 2) ** 2).sum())
    chi_square = count * between / spread if spread > 0 else 0.0
    return Friedman(chi_square, samples - 1, float(stats.chi2.sf(chi_square, samples - 1)))


def dunn_bonferroni(values: npt.ArrayLike, names: Sequence[str]) -> dict[tuple[str, str], float]:
    """Adjusted p value of each pair of the k samples ``names`` in ``values`` (N, k), from their mean ranks.

    As SPSS does after Friedman's test: z is the difference of mean ranks over √(k (k + 1) / 6 N).
    """
    ranks = _ranks(values)
    count, samples = ranks.shape
    pairs = list(itertools.combinations(range(samples), 2))
    if count == 0:
        return {(names[a], names[b]): float("nan") for a, b in pairs}
    error = np.sqrt(samples * (samples + 1) / (6 * count))
    means = ranks.mean(axis=0)
    return {
        (names[a], names[b]): min(1.0, len(pairs) * 2 * float(stats.norm.sf(abs(means[a] - means[b]) / error)))
        for a, b in pairs
    }


def _ranks(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    rows = np.asarray(values, dtype=np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    return np.asarray(stats.rankdata(rows, axis=1), dtype=np.float64).reshape(rows.shape)
