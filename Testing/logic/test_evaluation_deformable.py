"""The evaluation of correspondences and registration: its cases, its tests, its tables, going on with a run."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage, stats

from LandmarkFusionLogic import cli
from LandmarkFusionLogic.deformable import weights
from LandmarkFusionLogic.deformable.registration import Weights
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation import deformable, deformablepairs
from LandmarkFusionLogic.evaluation.deformable import Task, identity, measure, rows
from LandmarkFusionLogic.evaluation.deformablechecks import generalization, must_hold, networks_of, weights_lines
from LandmarkFusionLogic.evaluation.deformableoutcome import Matching, Outcome, Planted, Registration
from LandmarkFusionLogic.evaluation.deformableplots import plot
from LandmarkFusionLogic.evaluation.deformabletable import describe, matching_by_motion, tre_by_motion
from LandmarkFusionLogic.evaluation.ranktests import dunn_bonferroni, friedman
from LandmarkFusionLogic.imageio import write_volume
from LandmarkFusionLogic.simulation.seeds import TEST, TRAINING, VALIDATION
from LandmarkFusionLogic.volume import Volume


def test_friedman_is_scipys_and_dunn_is_worked_out_by_hand():
    values = np.random.default_rng(0).integers(0, 6, (40, 4)) + np.array([0, 0, 1, 2])
    expected = stats.friedmanchisquare(*values.T)
    found = friedman(values)
    assert found.chi_square == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.freedom == 3
    # Three samples always in the same order: mean ranks 1, 2, 3; z = 1 / sqrt(3 · 4 / (6 · 8)) = 2 and 4.
    ordered = np.arange(3.0) + np.zeros((8, 1))
    found = dunn_bonferroni(ordered, ["a", "b", "c"])
    assert found["a", "b"] == pytest.approx(3 * 2 * stats.norm.sf(2))
    assert found["a", "c"] == pytest.approx(3 * 2 * stats.norm.sf(4))


def test_equal_and_missing_values_do_no_harm():
    assert friedman(np.ones((5, 3))).p == 1.0
    values = np.random.default_rng(0).normal(size=(10, 3))
    values[3, 1] = np.nan
    assert friedman(values) == friedman(np.delete(values, 3, axis=0))
    assert np.isnan(friedman(np.full((2, 3), np.nan)).p)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    shape = (36, 44, 48)
    body = np.zeros(shape)
    body[4:-4, 5:-5, 5:-5] = 1
    texture = sum(ndimage.gaussian_filter(random.normal(size=shape), s) * s**1.5 for s in (1.2, 3))
    array = -1000 + ndimage.gaussian_filter(body, 1) * (1050 + 150 * texture)
    (folder / "ct-lung").mkdir()
    write_volume(folder / "ct-lung" / "3DCT_lung.mha", Volume(array.astype(np.float32), np.diag([-3.0, -3.0, 3.0, 1])))
    return folder


@pytest.fixture
def small(monkeypatch):
    make_pair = deformablepairs.make_pair
    monkeypatch.setattr(
        deformable, "make_pair", lambda dataset, seed, data: make_pair(dataset, seed, data, (44, 52, 56))
    )


def test_a_pair_is_what_its_truth_says(data):
    pair = deformablepairs.make_pair("ct-lung", 3, data, (44, 52, 56))
    assert pair.fixed.array.shape == pair.moving.array.shape == pair.body.shape == (44, 52, 56)
    assert pair.fixed.spacing == pytest.approx(2.0)
    assert 50 < len(pair.points) <= deformablepairs.POINTS
    assert pair.deformation.to_fixed(pair.partners) == pytest.approx(pair.points, abs=1e-3)
    assert np.linalg.norm(pair.partners - pair.points, axis=1).mean() > 2

    def values(volume, points):
        back = np.linalg.inv(volume.ijk_to_ras)
        index = (points @ back[:3, :3].T + back[:3, 3]).T[::-1]
        return ndimage.map_coordinates(volume.array, index, order=1)

    there = values(pair.moving, pair.partners)
    assert np.corrcoef(values(pair.fixed, pair.points), there)[0, 1] > 0.8
    assert np.corrcoef(values(pair.fixed, pair.points), values(pair.moving, pair.points))[0, 1] < 0.6
    again = deformablepairs.make_pair("ct-lung", 3, data, (44, 52, 56))
    assert np.array_equal(again.moving.array, pair.moving.array)


def test_seeds_of_tests_are_nobody_elses():
    assert deformablepairs.seeds_of("ct-pelvis", 3) == list(TEST[:3])
    assert deformablepairs.seeds_of("ct-lung", 3) == list(VALIDATION[:3])
    assert not set(TEST) & set(VALIDATION)
    assert TEST[-1] not in TRAINING
    with pytest.raises(InputError, match="number of cases"):
        deformablepairs.seeds_of("simulated", 0)


def test_matching_is_measured_kept_and_not_measured_again(data, small, tmp_path, monkeypatch):
    task = Task("ct-lung", VALIDATION[0], ("mind",), str(data), register=False, outliers=True, folder=str(tmp_path))
    outcome = measure(task)
    found = outcome.matching["mind"]
    assert len(found.errors) == len(found.motion) > 50
    assert np.mean(np.array(found.errors) < 4) > 0.95
    assert len(found.unchecked) >= len(found.errors)
    assert sum(outcome.voxels) > 10_000
    thirty = outcome.planted[-1]
    assert thirty.share == 0.3
    assert thirty.found > 0.7  # Of hardly more than a hundred pairs in this little volume.
    assert thirty.lost < 0.1
    monkeypatch.setattr(deformable, "make_pair", None)
    assert str(dataclasses.asdict(measure(task))) == str(dataclasses.asdict(outcome))  # NaN is not itself.
    next(tmp_path.glob("*.json")).write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        measure(task)


def test_pairs_that_were_kept_are_not_looked_for_again(data, small, tmp_path, monkeypatch):
    task = Task("ct-lung", VALIDATION[0], ("mind",), str(data), register=False, folder=str(tmp_path))
    outcome = measure(task)
    monkeypatch.setattr(deformable, "find_pairs", None)
    (file,) = tmp_path.glob("*.json")
    kept = deformable.Case(task, outcome, tmp_path, file).pairs("mind")
    assert len(kept) == len(outcome.matching["mind"].errors)
    next(tmp_path.glob("*.npz")).write_bytes(b"PK half written")
    with pytest.raises(TypeError):  # Looked for again, with what has been taken away.
        deformable.Case(task, outcome, tmp_path, file).pairs("mind")


def test_a_network_that_was_trained_again_is_measured_again(tmp_path):
    task = Task("ct-lung", VALIDATION[0], ("none", "dcnn-ce"), register=False, folder=str(tmp_path), weights=True)
    done = Registration([1.0], 0.5, 0.0, 1.0)
    rows_of = dict.fromkeys(("none", "dcnn-ce", "dcnn-ce, own weights"), done)
    old = Outcome("ct-lung", 0, matching={"dcnn-ce": Matching([], [], [], 1.0, "other")}, registration=dict(rows_of))
    deformable._forget_replaced_networks(task, old)
    assert list(old.registration) == ["none"]
    assert old.matching == {}
    network, title, steps = identity("dcnn-ce")
    new = Outcome("ct-lung", 0, matching={"dcnn-ce": Matching([], [], [], 1.0, network)}, registration=dict(rows_of))
    deformable._forget_replaced_networks(task, new)
    assert list(new.registration) == list(rows_of)
    assert "CE, width" in title
    assert steps > 0


def test_the_papers_preset_and_chosen_weights_have_rows_of_their_own(data, small, tmp_path, monkeypatch):
    stages = deformable.stages

    def short(preset, weights, guided):
        return tuple(stage.changed({"MaximumNumberOfIterations": 8}) for stage in stages(preset, weights, guided))

    monkeypatch.setattr(deformable, "stages", short)
    monkeypatch.setattr("LandmarkFusionLogic.deformable.registration.stages", short)
    monkeypatch.setattr(weights.choose_weights, "__defaults__", ("fast", (Weights(0.1, 20.0),), 0, None))
    task = Task("ct-lung", VALIDATION[0], ("mind",), str(data), folder=str(tmp_path), paper=True, weights=True)
    assert [row.name for row in rows(task)] == ["mind", "mind, paper", "mind, own weights"]
    outcome = measure(task)
    assert list(outcome.registration) == ["mind", "mind, paper", "mind, own weights"]
    own = outcome.registration["mind, own weights"]
    assert own.weights == {"points": 0.1, "grid_mm": 20.0}
    assert own.seconds > 1.5 * outcome.registration["mind"].seconds  # A trial of both stages, then the last run.
    assert len({str(found.errors) for found in outcome.registration.values()}) == 3
    assert np.mean(outcome.affine.errors) < np.mean(outcome.before)
    assert np.shape(outcome.initial) == (4, 4)
    monkeypatch.setattr(deformable, "make_pair", None)
    assert measure(task) == outcome
    less = measure(dataclasses.replace(task, paper=False, weights=False))
    assert list(less.registration) == ["mind"]


def _outcomes():
    random = np.random.default_rng(0)
    outcomes = []
    for seed in range(6):
        motion = random.uniform(0, 30, 50)
        plain = random.gamma(2, 1.0, 50)
        outcomes.append(
            Outcome(
                "ct-pelvis",
                seed,
                motion.tolist(),
                motion.tolist(),
                Registration((plain + 2).tolist(), 0.9, 0.0, 4.0),
                [1000, 1000, 1000, 1000, 1000, 0],
                {"mind": Matching([0.5, 1.0, 5.0], [1.0, 2.0, 12.0], [0.5, 1.0, 5.0, 9.0], 7.0)},
                {
                    "none": Registration(plain.tolist(), 0.3, 0.0, 10.0),
                    "mind": Registration((plain - 0.1).tolist(), 0.2, 0.0, 11.0),
                },
                [Planted(0.0, float("nan"), 0.02, 0.0), Planted(0.3, 0.98, 0.01, 0.02)],
            )
        )
    return outcomes


def test_the_tables_say_what_was_measured():
    text = describe(_outcomes())
    assert "ct-pelvis: 6 deformed pairs, seeds 0 to 5" in text
    row = next(line for line in text.splitlines() if line.startswith("with mind"))
    assert "-0.100" in row
    assert "-0.100 to -0.100" in row
    row = next(line for line in text.splitlines() if line.startswith("mind  "))
    assert "3 ± 0" in row
    assert "25.0%" in row
    assert "66.7%" in row
    assert "98.0%" in text
    assert "none / mind p = " in text


def test_what_must_hold_is_told_with_its_figures():
    outcomes = _outcomes()
    text = "\n".join(must_hold(outcomes))
    assert "-0.100 mm (-0.100 to -0.100), 6 pairs: kept" in text
    assert "0 of 12 registrations fold, least Jacobian 0.20: kept" in text
    assert "without landmarks at most 14.0, kept; with mind at most 22.0, kept" in text
    assert text in describe(outcomes)
    worse = dataclasses.replace(outcomes[0].registration["none"], folded=0.01, least=-0.1, seconds=90.0)
    for outcome in outcomes:
        outcome.registration["mind"] = worse
    text = "\n".join(must_hold(outcomes))
    assert text.count("MISSED") == 4
    assert "without landmarks at most 14.0, kept; with mind at most 101.0, MISSED" in text
    assert "6 of 12 registrations fold" in text
    for outcome in outcomes:
        outcome.matching["dcnn-ce"] = outcome.matching["mind"]
        better = np.array(outcome.registration["mind"].errors) - 0.2
        outcome.registration["dcnn-ce"] = dataclasses.replace(worse, errors=better.tolist())
    assert "dcnn-ce beats mind, which needs no training: -0.200 mm (-0.200 to -0.200), 6 pairs: kept" in "\n".join(
        must_hold(outcomes)
    )
    for outcome in outcomes:
        outcome.shape = [30, 40, 50]
    assert "CPU seconds" not in "\n".join(must_hold(outcomes))


def test_chosen_weights_are_compared_with_fixed_ones_and_the_papers_with_the_papers():
    outcomes = _outcomes()
    for outcome in outcomes[:3]:
        mind = outcome.registration["mind"]
        shifted = (np.array(mind.errors) + 0.05).tolist()
        outcome.registration["mind, own weights"] = Registration(
            shifted, 0.2, 0.0, 80.0, {"points": 0.1, "grid_mm": 12}
        )
        outcome.registration["none, paper"] = mind
        outcome.registration["mind, paper"] = dataclasses.replace(mind, errors=(np.array(mind.errors) - 1).tolist())
    first, second = weights_lines(outcomes)
    assert "+0.050 mm (+0.050 to +0.050)" in first
    assert "3 pairs: it does harm" in first
    assert second.count("0.1, 12") == 3
    text = describe(outcomes)
    row = next(line for line in text.splitlines() if line.startswith("with mind, paper"))
    assert "-1.000 to -1.000" in row
    assert "without landmarks, paper" in text
    assert "paper / " not in text


def test_training_that_was_shorter_is_said():
    outcomes = _outcomes()
    assert networks_of(outcomes) == []
    empty = ([1.0], [1.0], [1.0], 2.0)
    outcomes[0].matching["dcnn-ce"] = Matching(*empty, "abc", "DCNN-Match CE, width 8", 5000)
    outcomes[1].matching["dcnn-hinge"] = Matching(*empty, "def", "DCNN-Match Hinge, width 8", 300)
    ce, hinge = networks_of(outcomes)
    assert "5000 steps" in ce
    assert "FEWER" not in ce
    assert "300 steps" in hinge
    assert "FEWER than another row's 5000" in hinge


def test_mr_is_told_beside_ct_by_density():
    ct, mr = _outcomes(), _outcomes()
    for outcome in mr:
        outcome.dataset, outcome.voxels = "prostate-mr", [500, 0, 0, 0, 0, 0]
    text = generalization(ct, mr)
    rows_of = [line.split() for line in text.splitlines() if line.startswith("mind")]
    assert [row[1] for row in rows_of] == ["CT", "MR"]
    assert "0.60" in rows_of[0]
    assert "6.00" in rows_of[1]
    assert "p = " in text


def test_bins_of_the_displacement():
    outcomes = _outcomes()
    share, density = matching_by_motion(outcomes, "mind")
    assert share[0] == 1.0
    assert share[2] == 0.0
    assert np.isnan(share[1])
    assert density[0] == pytest.approx(2.0)
    assert np.isnan(density[5])
    assert np.isnan(tre_by_motion(outcomes, "none")[5])


def test_the_figures_are_drawn(tmp_path):
    files = plot(_outcomes(), tmp_path / "figures")
    assert [file.name for file in files] == ["ct-pelvis-matching-errors.png", "ct-pelvis-by-displacement.png"]
    assert all(file.stat().st_size > 5000 for file in files)


def test_the_command_prints_them(data, small, tmp_path, capsys):
    words = ["evaluate", "deformable", "--on", "ct-lung", "--data", str(data), "--cases", "1", "--matching-only"]
    assert cli.main([*words, "--source", "mind", "--plots", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "Table 1" in printed
    assert "Table 2" not in printed
    assert (tmp_path / "ct-lung-matching-errors.png").exists()
    assert cli.main([*words, "--source", "no-such-network"]) == 2
    assert cli.main([*words[:3], "ct-pelvis", *words[4:], "--source", "mind"]) == 2
