"""The figures of the tables against values worked out by hand or known in closed form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from LandmarkFusionLogic.evaluation.statistics import (
    auroc,
    bootstrap_interval,
    mean_sd_text,
    paired_interval,
    wilcoxon,
)


def test_bootstrap_of_the_mean_agrees_with_the_normal_interval():
    values = np.random.default_rng(1).normal(5.0, 2.0, size=400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_bootstrap_is_repeatable_leaves_unknown_values_out_and_takes_any_statistic():
    values = np.array([1.0, 2.0, np.nan, 4.0, 8.0])
    assert bootstrap_interval(values) == bootstrap_interval(values[np.isfinite(values)])
    assert bootstrap_interval(values, np.max) == (2.0, 8.0)
    assert np.all(np.isnan(bootstrap_interval([np.nan])))


def test_a_narrower_level_gives_a_narrower_interval():
    values = np.arange(50.0)
    wide, narrow = bootstrap_interval(values), bootstrap_interval(values, level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_values_of_one_case_are_drawn_together():
    # Three equal values a case carry the information of one: the interval is as wide as that of the cases alone.
    cases = np.random.default_rng(2).normal(size=60)
    copied, names = np.repeat(cases, 3), np.repeat(np.arange(60), 3)
    alone, together = bootstrap_interval(cases), bootstrap_interval(copied, groups=names)
    apart = bootstrap_interval(copied)
    assert together == pytest.approx(alone)
    assert apart[1] - apart[0] < 0.7 * (together[1] - together[0])


def test_paired_interval_is_of_the_differences():
    generator = np.random.default_rng(3)
    hard = generator.normal(10.0, 5.0, size=100)  # cases differ far more than the methods do
    better = hard - 0.5 + generator.normal(0.0, 0.1, size=100)
    low, high = paired_interval(better, hard)
    assert -0.6 < low < -0.5 < high < -0.4
    assert paired_interval([1.0, 5.0, np.nan], [1.0, 5.0, 2.0]) == (0.0, 0.0)
    by_case = paired_interval(np.repeat(better, 2), np.repeat(hard, 2), groups=np.repeat(np.arange(100), 2))
    assert by_case == pytest.approx((low, high))


def test_wilcoxon_counts_signs_exactly_in_small_samples():
    # All ranks of five pairs on one side: 2 of the 32 patterns of signs are as extreme.
    differences = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert wilcoxon(differences, np.zeros(5)) == pytest.approx(2 / 32)
    # The largest rank on the other side: count the patterns whose smaller rank sum is no larger.
    differences[-1] = -5.0
    sums = [
        sum(rank for rank, sign in zip(range(1, 6), signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=5)
    ]
    expected = sum(min(total, 15 - total) <= 5 for total in sums) / 32
    assert wilcoxon(differences, np.zeros(5)) == pytest.approx(expected)


def test_wilcoxon_without_difference_or_pair():
    assert wilcoxon([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert np.isnan(wilcoxon([np.nan], [1.0]))


def test_auroc_counts_pairs():
    assert auroc([1, 2, 3, 4], [False, False, True, True]) == 1.0
    assert auroc([1, 2, 3, 4], [True, True, False, False]) == 0.0
    # Pairs (positive, negative): 3>1, 3>2, 2=2, 2>1: three and a half of four.
    assert auroc([1, 2, 2, 3], [False, False, True, True]) == 3.5 / 4
    assert auroc([1, np.nan, 3], [False, False, True]) == 1.0
    assert np.isnan(auroc([1.0, 2.0], [True, True]))


def test_mean_and_deviation_as_text():
    assert mean_sd_text([4.0, 6.0, np.nan]) == "5.00 ± 1.41"
    assert mean_sd_text([4.0, 6.0], digits=1) == "5.0 ± 1.4"
    assert mean_sd_text([3.0]) == "3.00 ± 0.00"
    assert mean_sd_text([np.nan]) == "-"
