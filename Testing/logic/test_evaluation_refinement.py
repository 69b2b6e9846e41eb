"""The table of the refinement: what is measured on a pair, and how it is told."""

from dataclasses import replace

import numpy as np
import pytest

from LandmarkFusionLogic.cli import main
from LandmarkFusionLogic.datasets.mrus27 import labelled_points
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation import refinement, refinementtable
from LandmarkFusionLogic.evaluation.pairs import Networks
from LandmarkFusionLogic.evaluation.refinement import (
    DRAWN,
    NETWORK,
    NETWORK_CHECKED,
    RIGID,
    Measured,
    RefinedCase,
)
from LandmarkFusionLogic.simulation.case import simulate_case
from LandmarkFusionLogic.simulation.seeds import DEMO


def test_the_whole_motion_of_a_simulated_pair():
    case = simulate_case(DEMO[3], mr_spacing_mm=2.5, us_spacing_mm=2.5)
    us = {point.name: point.position for point in case.us_landmarks}
    places = np.array([point.position for point in case.mr_landmarks])
    true = np.array([us[point.name] for point in case.mr_landmarks])
    assert np.allclose(case.motion.to_us(places), true, atol=1e-3)
    rigid = places @ case.mr_to_us[:3, :3].T + case.mr_to_us[:3, 3]
    assert np.linalg.norm(rigid - true, axis=1).max() > 0.3  # There is a deformation besides.


def test_true_masks_bring_the_gland_together(monkeypatch):
    monkeypatch.setattr(refinement, "SPACING_MM", 2.5)
    known = refinement.simulated_pair(DEMO[3])
    found = refinement.measure(known, Networks("mr-landmarks", "us-landmarks"), "cpu", bare=False).found
    assert {RIGID, NETWORK, NETWORK_CHECKED, DRAWN} <= set(found)
    assert found[DRAWN].tre < found[RIGID].tre
    assert found[DRAWN].dice > found[RIGID].dice
    assert found[DRAWN].distance < found[RIGID].distance
    assert found[DRAWN].folded == 0
    assert found[DRAWN].seconds > 0


def case(name, rigid, network, used):
    found = {RIGID: Measured(rigid, 0.8, 2.0), NETWORK: replace(Measured(network, 0.85, 1.5), moved=2.0, used=used)}
    found[NETWORK_CHECKED] = found[NETWORK] if used else replace(found[RIGID], used=False)
    return RefinedCase(name, found)


def test_the_table():
    cases = [case("a", 4.0, 3.0, True), case("b", 3.0, 4.0, False), case("c", 5.0, 3.0, True)]
    assert refinementtable.worse(cases, NETWORK) == 1
    assert refinementtable.worse(cases, NETWORK_CHECKED) == 0
    text = refinementtable.describe_refinement(cases, "Three pairs", real=True)
    assert "network masks, checked - rigid: networks + our fit: TRE -1.00 mm" in text
    row = next(line for line in text.splitlines() if line.startswith("network masks   "))
    assert row.split()[2:6] == ["3", "3.33", "±", "0.58"]
    assert row.split()[-6:] == ["2", "1", "2.0", "1.00", "0", "0.0"]


def test_pairs_without_points_are_judged_by_their_surfaces():
    nothing = float("nan")
    found = {RIGID: Measured(nothing, 0.8, 2.0), NETWORK: Measured(nothing, 0.7, 3.0)}
    assert refinementtable.worse([RefinedCase("a", found)], NETWORK) == 1


def test_labelled_points(data_dir):
    folder = data_dir / "mrus-27" / "case000000"
    mr, us = labelled_points(folder)
    assert mr.shape == us.shape == (2, 3)  # Apex and one target.


@pytest.mark.parametrize("cases", [1, 100_000])
def test_impossible_numbers(cases):
    with pytest.raises(InputError, match="number of cases"):
        refinement.evaluate_simulated(cases, Networks(), "cpu", 1, lambda fraction, text: None)


def test_the_command_refuses_a_folder_without_pairs(tmp_path, capsys):
    assert main(["evaluate", "refinement", "--data", str(tmp_path)]) == 2
    assert "mrus-27" in capsys.readouterr().err
