"""The shipped networks on simulated cases that training never draws from: what detection must be worth."""

import pytest

from LandmarkFusionLogic.evaluation.errors import mean_position_errors, summarize
from LandmarkFusionLogic.evaluation.simulated import describe_simulated, evaluate_simulated

CASES = 24
FACTOR = 3.0


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["mr", "us"])
def test_detection_beats_the_mean_position_by_a_factor_of_three_on_unseen_cases(modality, capsys):
    findings = evaluate_simulated(CASES, "cpu", lambda *_: None, (modality,))
    with capsys.disabled():
        print("\n" + describe_simulated(findings))
    summary = summarize((finding.error for finding in findings), mean_position_errors(findings))
    assert summary.count == 3 * CASES
    assert summary.baseline_mean >= FACTOR * summary.mean
