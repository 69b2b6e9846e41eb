"""Table 1: errors, marks and figures computed from findings made for the test, and the whole command on few cases."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from LandmarkFusionLogic.cli import main
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation import landmarktable
from LandmarkFusionLogic.evaluation.landmarktable import (
    MEAN_POSITION,
    Measured,
    budget_table,
    describe_landmarks,
    marks,
    measure_cases,
    measure_simulated,
    radial_errors,
    rows,
    table,
)
from LandmarkFusionLogic.landmarks.comparison.methods import METHODS
from LandmarkFusionLogic.points import APEX, BLADDER_NECK


def silent(fraction: float, text: str) -> None:
    """No report."""


def image(case: str, true, found, centre=(0.0, 0.0, 0.0), modality="mr") -> Measured:
    """``true`` and each of ``found``: one x for all three landmarks, or three of them."""

    def points(x):
        return np.stack([np.broadcast_to(x, 3), np.zeros(3), np.zeros(3)], axis=1) + centre

    return Measured(case, modality, points(true), np.array(centre), {key: points(x) for key, x in found.items()})


def test_errors_are_distances_and_unknown_truths_stay_unknown():
    measured = [
        image("0", (1.0, np.nan, 4.0), {"baseline": (2.0, 0.0, 0.0)}),
        image("1", (3.0, 5.0, 4.0), {"baseline": (3.0, 1.0, 4.5)}, centre=(10.0, 20.0, 30.0)),
        image("2", 99.0, {"baseline": 0.0}, modality="us"),
    ]
    errors = radial_errors(measured, "mr")
    np.testing.assert_allclose(errors["baseline"], [[1.0, np.nan, 4.0], [0.0, 4.0, 0.5]])
    # Leave-one-out, relative to the middles: each case is answered with the other's truth.
    np.testing.assert_allclose(errors[MEAN_POSITION], [[2.0, np.nan, 0.0], [2.0, np.nan, 0.0]])


def test_the_mean_position_never_sees_its_own_case():
    measured = [image(str(n), x, {"baseline": x}) for n, x in enumerate([0.0, 3.0, 9.0])]
    np.testing.assert_allclose(radial_errors(measured, "mr")[MEAN_POSITION][:, 0], [6.0, 1.5, 7.5])


def errors_of(generator: np.random.Generator, cases: int) -> dict[str, np.ndarray]:
    hard = generator.gamma(4.0, 1.5, size=(cases, 1))
    return {
        "baseline": hard + generator.normal(0, 0.3, size=(cases, 3)),
        "variance": hard - 0.4 + generator.normal(0, 0.3, size=(cases, 3)),
        "distance": hard - 0.5 + generator.normal(0, 0.9, size=(cases, 3)),
    }


def test_marks_follow_from_the_errors():
    errors = errors_of(np.random.default_rng(0), 100)
    assert marks(errors, "variance") == "*"
    assert marks(errors, "baseline") == "†"
    # The same test by hand, over the cases' means.
    for key in ("baseline", "variance", "distance"):
        expected = "".join(
            sign
            for other, sign in (("baseline", "*"), ("variance", "†"))
            if other != key and stats.wilcoxon(errors[key].mean(axis=1), errors[other].mean(axis=1)).pvalue < 0.05
        )
        assert marks(errors, key) == expected
    # What is the same is not different, and few cases show nothing.
    assert marks({**errors, "distance": errors["variance"]}, "distance") == "*"
    assert marks({key: values[:4] for key, values in errors.items()}, "variance") == ""


def test_marks_pair_cases_and_leave_unknown_ones_out():
    errors = errors_of(np.random.default_rng(1), 60)
    partly = {key: values.copy() for key, values in errors.items()}
    partly["baseline"][:5] = np.nan
    partly["baseline"][5, 1] = np.nan
    assert marks(partly, "variance") == "*"


def test_a_table_shows_part_of_the_cases_with_figures_that_can_be_checked():
    generator = np.random.default_rng(2)
    truths = generator.normal(0, 10, size=8)
    measured = [
        image(str(n), x, {"baseline": x + 2.0, "variance": (x + 1.0, x + 3.0, x)}) for n, x in enumerate(truths)
    ]
    text = table(measured, measured[:5], "mr", (APEX, BLADDER_NECK))
    header, mean_position, baseline, variance = text.splitlines()
    assert "MR, 5 cases" in header
    assert mean_position.startswith("Always the mean position")
    assert baseline.startswith(METHODS["baseline"].title)
    assert "2.00 ± 0.00" in baseline
    assert "[2.00, 2.00]" in baseline
    # Over all known landmarks (1 + 3 + 0) / 3; its columns apart: 1 and 3.
    assert re.search(r"1\.33 ± 0\.00.*1\.00 ± 0\.00 +3\.00 ± 0\.00", variance)
    others = (truths.sum() - truths) / 7
    rule = np.abs(truths - others)[:5].mean()
    assert f"{rule:.2f} ±" in mean_position
    assert f"{2.0 - rule:+.2f} [" in baseline


@pytest.mark.parametrize("cases", [0, 1, 10_000])
def test_an_impossible_number_of_cases_or_workers(cases):
    with pytest.raises(InputError, match="between 2 and"):
        measure_simulated(cases, "cpu", silent)
    with pytest.raises(InputError, match="workers"):
        measure_simulated(2, "cpu", silent, workers=-1)


def test_data_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="mrus-27"):
        measure_cases(tmp_path, "cpu", silent)


def test_the_table_has_a_row_for_each_method_and_shipped_network():
    for modality in ("mr", "us"):
        keys = [row.key for row in rows(modality)]
        assert keys[: len(METHODS) + 1] == [*METHODS, "simulation"]
        assert "research" not in [row.key for row in rows(modality, research=False)]


def test_the_ten_networks_had_equal_budgets_and_the_table_says_which():
    lines = [line for line in budget_table().splitlines() if any(m.title in line for m in METHODS.values())]
    assert len(lines) == 2 * len(METHODS)
    figures = [re.split(r"\s{2,}", line) for line in lines]
    assert len({(cases, steps, batch, grid) for _, cases, steps, batch, _, _, grid in figures}) == 1


def test_the_command_prints_every_row_and_the_work_may_be_shared(capsys):
    assert main(["evaluate", "landmarks", "--cases", "2", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    for title in [row.title for row in rows("mr")]:
        assert len(re.findall(rf"^{re.escape(title)} .* ± ", printed, re.MULTILINE)) >= 2
        assert len(re.findall(rf"^(?:MR|US) {re.escape(title)} ", printed, re.MULTILINE)) == 2
    assert "seeds 2000000 to 2000001" in printed
    assert "Published by Fang 2023" in printed
    one = measure_simulated(2, "cpu", silent)
    two = measure_simulated(2, "cpu", silent, workers=1)
    fewer = measure_simulated(2, "cpu", silent, complete=False)
    assert all(set(found.found) == set(METHODS) for found in fewer)
    np.testing.assert_array_equal(fewer[0].found["direct"], one[0].found["direct"])
    for alone, shared in zip(one, two, strict=True):
        assert (alone.case, alone.modality) == (shared.case, shared.modality)
        for key, found in alone.found.items():
            np.testing.assert_allclose(found, shared.found[key], atol=0.01)
    assert describe_landmarks(one) == printed.rstrip("\n")


@pytest.mark.data
def test_real_pairs_come_in_two_tables_without_the_networks_that_know_them(data_dir, monkeypatch):
    folders = landmarktable.case_folders(data_dir)[:3]
    monkeypatch.setattr(landmarktable, "case_folders", lambda data: folders)
    real = measure_cases(data_dir, "cpu", silent)
    assert real
    assert all(np.isnan(found.true[2]).all() and "research" not in found.found for found in real)
    development = {found.case for found in real if int(found.case.removeprefix("case")) % 3 == 0}
    text = describe_landmarks(
        [image(str(n), n, {"baseline": n + 1.0}, modality=m) for n in (1, 2) for m in ("mr", "us")], real
    )
    assert f"the {len(development)} development" in text
    assert "cross-validation alone" in text
