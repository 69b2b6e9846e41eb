"""The rows of the table on simulated cases: what is shown in each, and what is counted."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.errors import Finding
from LandmarkFusionLogic.evaluation.simulated import (
    Outcome,
    Trial,
    describe_against,
    describe_trials,
    evaluate_trials,
    models_of,
    show,
    trials,
)
from LandmarkFusionLogic.points import LANDMARK_NAMES


def _outcome(trial, seed, errors, flagged=False, modality="us", offset=0.0):
    true = np.array([offset, 0.0, 0.0])
    findings = [
        Finding(str(seed), modality, name, true + [0, error, 0], true, np.zeros(3))
        for name, error in zip(LANDMARK_NAMES, errors, strict=True)
    ]
    return Outcome(trial, seed, modality, tuple(findings), flagged)


def test_each_modality_has_its_rows():
    assert trials("mr", conditions=False, turns=False) == [Trial()]
    names = [row.title for row in trials("us", conditions=True, turns=True)]
    assert names[0] == "as they come"
    assert {"sharp TRUS", "blurred TRUS", "partial view", "turned by 45°"} < set(names)
    assert "hip metal" not in names
    assert "hip metal" in [row.title for row in trials("mr", conditions=True, turns=False)]


def test_a_turned_case_is_the_same_case_turned_about_its_middle():
    image, truth = show(5, "us", Trial())
    turned, moved = show(5, "us", Trial(turned=30.0))
    assert turned.array is not image.array
    assert np.array_equal(turned.array, image.array)
    assert turned.centre == pytest.approx(image.centre, abs=1e-6)
    matrix = turned.ijk_to_ras @ np.linalg.inv(image.ijk_to_ras)
    assert np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude()) == pytest.approx(30.0)
    for before, after in zip(truth, moved, strict=True):
        assert matrix[:3, :3] @ before.position + matrix[:3, 3] == pytest.approx(after.position)


def test_a_row_counts_errors_warnings_and_large_errors_that_came_with_one():
    outcomes = [
        _outcome(Trial(), 1, (1.0, 2.0, 3.0)),
        _outcome(Trial(), 2, (1.0, 2.0, 15.0), flagged=True, offset=4.0),
        _outcome(Trial(), 3, (1.0, 2.0, 12.0), offset=8.0),
        _outcome(Trial("turp"), 1, (0.0, 0.0, 0.0), flagged=True),
        _outcome(Trial("turp"), 2, (0.0, 0.0, 6.0)),
    ]
    text = describe_trials(outcomes)
    plain = next(line for line in text.splitlines() if line.startswith("US as they come"))
    assert plain.split()[4:] == ["3", "4.33", *plain.split()[6:9], "2.00", "4.0", "33%", "67%", "50%"]
    turp = next(line for line in text.splitlines() if line.startswith("US TURP cavity"))
    assert turp.split()[-4:] == ["0.0", "50%", "0%", "-"]
    assert "seeds 1 to 3" in text


def test_another_network_is_compared_case_by_case():
    used = [_outcome(Trial(), seed, (1.0, 2.0, 3.0)) for seed in range(5)]
    other = [_outcome(Trial(), seed, (1.0, 2.0, 4.5)) for seed in range(5)]
    text = describe_against(used, other, "mine")
    assert "mine against" in text
    assert text.endswith("2.00 mm used    2.50 mm  difference +0.50 (+0.50 to +0.50)")


def test_networks_are_sorted_by_what_they_are_for():
    folder = str(assets.path("models", "us-landmarks"))
    assert models_of([folder, "mr-landmarks"]) == {"us": folder, "mr": "mr-landmarks"}
    with pytest.raises(InputError, match="Two networks are for US"):
        models_of([folder, "us-landmarks"])
    with pytest.raises(InputError, match="no network"):
        models_of(["nothing-here"])


def test_a_number_of_workers_that_cannot_be():
    with pytest.raises(InputError, match="worker"):
        evaluate_trials(2, "cpu", lambda *_: None, workers=0)


def test_processes_find_what_one_process_finds():
    alone = evaluate_trials(2, "cpu", lambda *_: None, ("us",))
    shared = evaluate_trials(2, "cpu", lambda *_: None, ("us",), workers=2)
    assert [(o.trial, o.seed, o.modality, o.flagged) for o in alone] == [
        (o.trial, o.seed, o.modality, o.flagged) for o in shared
    ]
    for a, b in zip(alone, shared, strict=True):
        assert np.array([f.error for f in a.findings]) == pytest.approx([f.error for f in b.findings], abs=0.05)
