"""The tables' arithmetic, and the baseline that must not see its own truth."""

from pathlib import Path

import numpy as np
import pytest

from LandmarkFusionLogic.datasets.mrus27 import is_development
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.errors import Finding, listing, mean_position_errors, summarize, table
from LandmarkFusionLogic.evaluation.simulated import evaluate_simulated
from LandmarkFusionLogic.points import APEX, BLADDER_NECK


def _finding(case, offset, error=0.0, name=APEX, modality="mr", centre=(0.0, 0.0, 0.0)):
    true = np.array(centre) + [offset, 0, 0]
    return Finding(case, modality, name, true + [0, error, 0], true, np.array(centre))


def test_the_mean_position_is_that_of_the_other_cases_relative_to_their_volumes():
    findings = [_finding("a", 0), _finding("b", 4, centre=(100, 0, 0)), _finding("c", 8, centre=(0, 50, 0))]
    assert mean_position_errors(findings) == pytest.approx([6, 0, 6])


def test_landmarks_and_modalities_do_not_mix():
    findings = [
        _finding("a", 0),
        _finding("b", 2),
        _finding("a", 90, name=BLADDER_NECK),
        _finding("a", 50, modality="us"),
    ]
    errors = mean_position_errors(findings)
    assert errors[:2] == pytest.approx([2, 2])
    assert np.isnan(errors[2:]).all()


def test_a_summary_is_mean_and_median():
    summary = summarize([1.0, 2.0, 6.0], [10.0, np.nan, 20.0])
    assert (summary.count, summary.mean, summary.median) == (3, 3.0, 2.0)
    assert (summary.baseline_mean, summary.baseline_median) == (15.0, 15.0)


def test_tables_show_part_of_the_cases_with_the_baseline_of_all():
    findings = [_finding("a", 0, 1.0), _finding("b", 4, 3.0), _finding("c", 8, 5.0)]
    text = table(findings, findings[:1])
    row = next(line for line in text.splitlines() if line.startswith("MR Apex"))
    assert row.split() == ["MR", "Apex", "1", "1.0", "/", "1.0", "6.0", "/", "6.0", "6.0"]
    assert "5.0" in listing(findings).splitlines()[3]


def test_every_third_case_is_for_development():
    assert [is_development(Path(f"case{n:06d}")) for n in range(4)] == [True, False, False, True]


@pytest.mark.parametrize("cases", [0, 1, 10_000])
def test_an_impossible_number_of_simulated_cases(cases):
    with pytest.raises(InputError, match="between 2 and"):
        evaluate_simulated(cases, "cpu", lambda *_: None)
