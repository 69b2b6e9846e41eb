"""The evaluation of 2D/3D registration: its cases, its errors, its tables, going on with a run."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic import cli
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation import projection, projectioncases
from LandmarkFusionLogic.evaluation.projection import Found, Outcome, Task, measure
from LandmarkFusionLogic.evaluation.projectioncases import PERLOVE, draw_poses, lateral, make_case, seeds_of
from LandmarkFusionLogic.evaluation.projectionerrors import PoseErrors, compare
from LandmarkFusionLogic.evaluation.projectionplots import plot
from LandmarkFusionLogic.evaluation.projectiontable import capture, describe, methods_of
from LandmarkFusionLogic.imageio import write_volume
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.projection.projector import project
from LandmarkFusionLogic.simulation.seeds import TEST, TRAINING, VALIDATION
from LandmarkFusionLogic.volume import Volume

CENTER = np.array([10.0, -20.0, 30.0])
POINTS = CENTER + np.random.default_rng(0).uniform(-60, 60, (200, 3))
SMALL = PERLOVE.resized(48, 48)


def test_no_error_at_the_true_pose():
    truth = Pose((5.0, -8.0, 3.0), (4.0, -2.0, 25.0))
    errors = compare(truth, truth, CENTER, POINTS, PERLOVE)
    assert errors.mean_rotation == errors.mean_translation == errors.geodesic == errors.mtre == errors.detector == 0
    assert not errors.failed
    assert not errors.failed_strictly


def test_errors_of_a_shift_are_worked_out_by_hand():
    errors = compare(Pose((0, 0, 0), (3.0, 0.0, 4.0)), Pose(), CENTER, POINTS, PERLOVE)
    assert errors.translation == [3.0, 0.0, 4.0]
    assert errors.mean_translation == pytest.approx(7 / 3)
    assert errors.distance == pytest.approx(5)
    assert errors.mtre == pytest.approx(5)
    assert not errors.failed
    assert errors.failed_strictly
    # Along the depth a point moves in the image by its distance from the central ray, times 10 mm in the depth.
    deep = compare(Pose((0, 0, 0), (0.0, 0.0, 10.0)), Pose(), CENTER, CENTER[None] + [70.0, 0, 0], PERLOVE)
    depth = PERLOVE.isocenter_distance
    assert deep.detector == pytest.approx(PERLOVE.sdd * 70 * (1 / depth - 1 / (depth + 10)))
    assert deep.plane == pytest.approx(deep.detector * 0.7)


def test_errors_of_a_turn():
    found, truth = Pose((170.0, 5.0, 0.0), (0, 0, 0)), Pose((-170.0, 0.0, 0.0), (0, 0, 0))
    errors = compare(found, truth, CENTER, POINTS, PERLOVE)
    assert errors.rotation == pytest.approx([20.0, 5.0, 0.0])
    turn = Rotation.from_euler("XYZ", found.rotation, degrees=True)
    expected = (turn * Rotation.from_euler("XYZ", truth.rotation, degrees=True).inv()).magnitude()
    assert errors.geodesic == pytest.approx(np.degrees(expected))
    assert errors.failed
    assert compare(Pose((0, 0, 180.0), (0, 0, 0)), Pose(), CENTER, POINTS, PERLOVE).geodesic == pytest.approx(180)
    small = compare(Pose((0, 1e-4, 0), (0, 0, 0)), Pose(), CENTER, POINTS, PERLOVE)
    assert small.geodesic == pytest.approx(1e-4)


def test_starts_are_drawn_as_in_the_paper_and_know_nothing_of_the_truth():
    drawn = np.array([[pose.parameters for pose in draw_poses("ct-spine", seed)] for seed in VALIDATION])
    truth, start = drawn[:, 0], drawn[:, 1]
    deviations = [6, 6, 6, 9, 4.5, 30]
    assert truth.std(axis=0) == pytest.approx(deviations, rel=0.2)
    assert start.std(axis=0) == pytest.approx(deviations, rel=0.2)
    for axis in range(6):
        assert abs(np.corrcoef(truth[:, axis], start[:, axis])[0, 1]) < 0.2
    off = np.abs(truth - start)
    assert off[:, :3].mean() == pytest.approx(6.8, abs=0.5)
    assert off[:, 3:].mean() == pytest.approx(16.4, abs=1.5)


def test_seeds_of_tests_are_nobody_elses():
    assert seeds_of(3) == list(TEST[:3])
    assert seeds_of(3, development=True) == list(VALIDATION[:3])
    assert TEST[-1] not in TRAINING
    with pytest.raises(InputError, match="number of cases"):
        seeds_of(0)


def test_the_second_view_is_lateral_and_sees_the_same_isocenter():
    first = ct_to_camera(Pose(), CENTER, PERLOVE)
    second = lateral(PERLOVE) @ first
    assert np.linalg.det(second[:3, :3]) == pytest.approx(1)
    middle = [0, 0, PERLOVE.isocenter_distance]
    assert second[:3, :3] @ CENTER + second[:3, 3] == pytest.approx(middle)
    long = [0.0, 0.0, 1.0]
    assert second[:3, :3] @ long == pytest.approx(first[:3, :3] @ long)
    assert abs((second[:3, :3] @ [0, 1.0, 0])[2]) < 1e-9  # Anterior is in the image now.


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A little CT-like volume under the names of the real one: tissue, a column of blocks, some structure."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    shape = (40, 36, 44)
    bones = np.zeros(shape)
    for number, k in enumerate(range(3, 37, 7)):
        bones[k : k + 5, 14:22, 17 + number % 2 : 27 - number % 3] = 1
        bones[k + 2 : k + 4, 8:14, 20:23] = 1
    body = np.zeros(shape)
    body[:, 4:-4, 5:-5] = 1
    texture = sum(ndimage.gaussian_filter(random.normal(size=shape), s) * s**1.5 for s in (1.0, 2.5))
    ct = -1000 + ndimage.gaussian_filter(body, 0.7) * (1030 + 60 * texture) + ndimage.gaussian_filter(bones, 0.7) * 600
    affine = np.diag([4.0, 4.0, 4.0, 1])
    affine[:3, 3] = -70, 30, -200
    (folder / "ct-spine").mkdir()
    write_volume(folder / "ct-spine" / "spine-ct.nrrd", Volume(ct.astype(np.float32), affine))
    write_volume(folder / "ct-spine" / "vertebrae-mask.nrrd", Volume((bones > 0).astype(np.uint8), affine))
    return folder


@pytest.fixture
def small(monkeypatch):
    def make(dataset, seed, content, data=None, views=1):
        return make_case(dataset, seed, content, data, views, SMALL)

    monkeypatch.setattr(projection, "make_case", make)


def _alike(case):
    drr = project(case.moving, case.geometry, ct_to_camera(case.truth, case.moving.centre, case.geometry))
    return np.corrcoef(drr.ravel(), case.images[0].ravel())[0, 1]


def test_a_case_is_what_its_truth_says(data):
    case = make_case("ct-spine", 3, "full", data, 2, SMALL)
    assert [image.shape for image in case.images] == [(48, 48)] * 2
    drr = project(case.moving, case.geometry, ct_to_camera(case.truth, case.moving.centre, case.geometry))
    assert _alike(case) > 0.998
    assert np.abs(drr - case.images[0]).max() > 1e-3  # Not the projector's own image.
    away = project(case.moving, case.geometry, ct_to_camera(case.start, case.moving.centre, case.geometry))
    assert np.corrcoef(away.ravel(), case.images[0].ravel())[0, 1] < _alike(case) - 0.005
    side = case.cameras[1] @ ct_to_camera(case.truth, case.moving.centre, case.geometry)
    assert np.corrcoef(project(case.moving, case.geometry, side).ravel(), case.images[1].ravel())[0, 1] > 0.99
    assert 0 < len(case.points) <= projectioncases.POINTS
    again = make_case("ct-spine", 3, "full", data, 1, SMALL)
    assert np.array_equal(again.images[0], case.images[0])
    assert np.array_equal(again.start.parameters, case.start.parameters)


def test_the_hard_cases_show_what_they_say(data):
    full, spine, mismatch, degraded = (
        make_case("ct-spine", 3, content, data, 1, SMALL) for content in ("full", "spine", "mismatch", "degraded")
    )
    assert np.array_equal(mismatch.images[0], full.images[0])
    assert np.array_equal(mismatch.moving.array, spine.moving.array)
    assert not np.array_equal(degraded.images[0], full.images[0])
    # Only bone is left, and what lies within 2 mm of it: the next voxels are 4 mm away.
    assert np.array_equal(spine.moving.array > 0, full.vertebrae)
    assert spine.images[0].max() < full.images[0].max()
    assert _alike(spine) > 0.998
    assert _alike(mismatch) < 0.99


def test_unknown_cases_are_told(data):
    with pytest.raises(InputError, match="no cases"):
        make_case("ct-spine", 3, "nothing", data)
    with pytest.raises(InputError, match="no set of CTs"):
        make_case("ct-foot", 3, "full", data)
    with pytest.raises(InputError, match="--data"):
        make_case("ct-spine", 3, "full", None)


def test_ours_is_measured_kept_and_not_measured_again(data, small, tmp_path, monkeypatch):
    task = Task("ct-spine", VALIDATION[1], "full", ("ours", "ours, two views"), str(data), str(tmp_path))
    outcome = measure(task)
    assert list(outcome.found) == ["initial", "ours", "ours, two views"]
    start, ours = outcome.found["initial"], outcome.found["ours"]
    assert start.errors.mtre > 10
    assert ours.errors.mtre < start.errors.mtre / 4
    assert outcome.found["ours, two views"].errors.mtre < 1
    assert ours.similarity > start.similarity
    assert ours.seconds > 0
    monkeypatch.setattr(projection, "make_case", None)
    assert measure(task) == outcome
    next(tmp_path.glob("*.json")).write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        measure(task)


def test_a_method_without_an_answer_keeps_the_start_and_its_sentence(data, small, monkeypatch):
    def refuse(*arguments):
        raise InputError("The volume lies outside the beam.")

    monkeypatch.setattr(projection, "align", refuse)
    found = measure(Task("ct-spine", VALIDATION[1], "full", ("ours",), str(data))).found
    assert found["ours"].refused == "The volume lies outside the beam."
    assert found["ours"].errors == found["initial"].errors


def _errors(rotation, translation, mtre):
    return PoseErrors([rotation] * 3, [translation] * 3, 1.7 * rotation, 1.7 * translation, mtre, 0.5, 0.7)


def _outcomes(content="full"):
    outcomes = []
    for seed in range(8):
        start, good, bad = _errors(7.0, 15.0, 5.0 + 8 * seed), _errors(0.5, 1.0, 1.2), _errors(2.5, 2.0, 9.0)
        outcomes.append(
            Outcome(
                "ct-spine",
                seed,
                content,
                {
                    "initial": Found([0.0] * 6, start, 0.5, 0.0),
                    "sopi": Found([0.0] * 6, bad, 0.8, 4.0, [], "No network." if seed == 7 else None),
                    "ours": Found([0.0] * 6, bad if seed > 5 else good, 0.9, 2.0, ["flat"] if seed > 6 else []),
                },
            )
        )
    outcomes[0].found["rtpi"] = outcomes[0].found["ours"]
    return outcomes


def _row(text, name):
    return next(line for line in text.splitlines() if line.startswith(name))


def test_the_tables_say_what_was_measured():
    text = describe(_outcomes(), {"sopi": "1234 + 56"})
    assert "ct-spine, the whole CT in both: 8 cases, seeds 0 to 7" in text
    row = _row(text, "ours")
    assert "1.00 ± 0.93" in row  # 6 · 0.5, 2 · 2.5
    assert "0 = 0.0% (0%-32%)" in row  # By the means over the axes none fails,
    assert "2 = 25.0% (7%-59%)" in row  # by angle (4.25°) and distance (3.4 mm) two do.
    assert _row(text, "SOPI").rstrip().endswith("1234 + 56")
    assert "8 = 100.0%" in _row(text, "Initial")
    assert "RTPI            " not in text  # It was not used everywhere: no row of other cases.
    assert _row(text, "yes   yes   yes").split()[-2:] == ["1.89,", "4.41"]
    assert "not measured" in _row(text, "no    yes   yes")
    assert "ours: a warning with 1 of 2 failed cases and 0 of 6 others" in text
    assert "no pose in 1" in _row(text, "SOPI: ")


def test_the_third_table():
    text = describe(_outcomes("degraded"))
    assert "Table 3" in text
    row = _row(text, "ours")
    assert row.split()[1:3] == ["0.70", "0.900"]
    assert row.split()[3:9] == ["1.00"] * 3 + ["1.25"] * 3


def test_capture_range():
    outcomes = _outcomes()
    counts, share = capture(outcomes, "ours")
    assert counts == [1, 1, 2, 1, 2, 1]  # 5, 13, ..., 61 mm
    assert share.tolist() == [1, 1, 1, 1, 0.5, 0]
    assert np.isnan(capture(outcomes[:1], "ours")[1][1])
    assert methods_of(outcomes) == ["initial", "sopi", "ours"]


def test_the_figures_are_drawn(tmp_path):
    files = plot(_outcomes(), tmp_path / "figures")
    assert [file.name for file in files] == ["ct-spine-full-errors.png", "ct-spine-full-capture.png"]
    assert all(file.stat().st_size > 5000 for file in files)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        plot(_outcomes(), tmp_path / "file")


def test_the_command_prints_them(data, small, tmp_path, capsys):
    words = ["evaluate", "projection", "--on", "ct-spine", "--content", "spine", "--data", str(data), "--cases", "1"]
    assert cli.main([*words, "--methods", "initial", "--plots", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "the spine alone in both: 1 cases" in printed
    assert "Chen 2023" in printed
    assert (tmp_path / "ct-spine-spine-errors.png").exists()
    assert cli.main([*words, "--methods", "no-such-method"]) == 2
    assert "no-such-method" in capsys.readouterr().err


def test_outcomes_survive_the_file(tmp_path):
    outcome = _outcomes()[0]
    projection.write_outcome(tmp_path / "x.json", outcome)
    assert dataclasses.asdict(projection.read_outcome(tmp_path / "x.json")) == dataclasses.asdict(outcome)
