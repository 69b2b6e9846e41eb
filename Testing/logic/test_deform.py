"""Deformable registration by real elastix on a small pair with a known deformation."""

import deformsamples
import numpy as np
import pytest
import samples

from LandmarkFusionLogic.deformable import executables, quality, weights
from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.registration import Pair, prepare, register, stages
from LandmarkFusionLogic.deformable.runner import Watch
from LandmarkFusionLogic.deformable.transforms import linear_deformation, read_deformation

SHIFT = (30.0, -20.0, 15.0)
TURN = np.array([[0.98, -0.199, 0, 7], [0.199, 0.98, 0, -4], [0, 0, 1, 3], [0, 0, 0, 1]], dtype=np.float64)


def guided(pair, chosen=slice(0, 100)):
    fixed, moving = pair.fixed_points[chosen], pair.moving_points[chosen]
    return Correspondences(fixed, moving, np.ones(len(fixed)))


def run(pair, folder, points=None, initial=None, threads=2, **more):
    told = []
    watch = Watch(lambda fraction, text: told.append((fraction, text)), folder / "log.txt", folder / "metric.csv")
    prepared = prepare(Pair(pair.fixed, pair.moving, points, initial=initial, **more), folder)
    return prepared, register(prepared, executables.find(), watch, threads=threads), told


@pytest.fixture(scope="module")
def pair():
    return deformsamples.pair()


@pytest.fixture(scope="module")
def with_points(pair, tmp_path_factory):
    return run(pair, tmp_path_factory.mktemp("guided"), guided(pair))


def test_landmarks_bring_the_targets_closer_than_no_landmarks(pair, with_points, tmp_path):
    before = np.linalg.norm(pair.fixed_points - pair.moving_points, axis=1)[100:].mean()
    errors = quality.target_errors(with_points[1], pair.fixed_points, pair.moving_points)[100:]
    _, without, _ = run(pair, tmp_path)
    plain = quality.target_errors(without, pair.fixed_points, pair.moving_points)[100:]
    assert errors.mean() < plain.mean() < before
    assert errors.mean() < 1.5


def test_progress_is_told_by_stage_and_resolution(with_points):
    prepared, _, told = with_points
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    texts = " ".join(text for _, text in told)
    assert "Deformable registration, resolution 3 of 3" in texts
    assert "s left" in texts
    rows = (prepared.folder / "metric.csv").read_text().splitlines()
    assert rows[0] == "stage,resolution,iteration,metric,seconds"
    assert len(rows) == 1 + 3 * 250 + 3 * 250
    assert rows[1].startswith("affine,0,0,-")
    assert rows[-1].startswith("deformable,2,249,-")


def test_the_log_names_no_folder(with_points):
    prepared, _, _ = with_points
    assert str(prepared.folder) not in (prepared.folder / "log.txt").read_text()


def test_points_go_there_and_back(pair, with_points):
    deformation = with_points[1]
    there = deformation.to_moving(pair.fixed_points)
    np.testing.assert_allclose(deformation.to_fixed(there), pair.fixed_points, atol=2e-3)


def test_the_jacobian_is_positive_and_that_of_the_points(pair, with_points):
    deformation = with_points[1]
    jacobian = deformation.jacobian(pair.fixed)
    assert jacobian.array.shape == pair.fixed.array.shape
    k, j, i = 15, 17, 19
    place = pair.fixed.ijk_to_ras[:3] @ np.array([i, j, k, 1.0])
    step = deformsamples.SPACING
    ends = deformation.to_moving(np.vstack([place + step * np.eye(3), place - step * np.eye(3)]))
    expected = np.linalg.det((ends[:3] - ends[3:]) / (2 * step))
    assert jacobian.array[k, j, i] == pytest.approx(expected, abs=1e-4)


def test_the_assessment_finds_a_good_registration_good_and_a_bad_one_bad(pair, with_points):
    prepared, deformation, _ = with_points
    targets = guided(pair, slice(100, 200))
    good = quality.assess(prepared.fixed, pair.moving, deformation, None, targets, prepared.points)
    assert good.warnings == ()
    assert good.folded == 0
    assert good.jacobian_min > 0
    assert good.similarity_after > good.similarity_before
    assert good.after_mm.mean() < good.before_mm.mean()
    away = np.eye(4)
    away[:3, 3] = 25
    bad = quality.assess(prepared.fixed, pair.moving, linear_deformation(away), None, targets, prepared.points)
    assert len(bad.warnings) == 3
    assert "less alike" in bad.warnings[0]
    assert "target points worse" in bad.warnings[1]


def test_a_fold_is_told():
    volume = samples.volume()
    mirror = np.diag([-1.0, 1, 1, 1])
    found = quality.assess(volume, volume, linear_deformation(mirror))
    assert found.folded == 1
    assert "folds in 100" in found.warnings[0]


def test_an_initial_transform_on_oblique_volumes(tmp_path):
    """The volumes hardly overlap without it; points keep to their own worlds; the result holds it too."""
    pair = deformsamples.pair(directions=samples.OBLIQUE @ np.diag([1, 1, -1]), shift=SHIFT)
    turned = pair.moving.ijk_to_ras.copy()
    turned = TURN @ turned
    moving = type(pair.moving)(pair.moving.array, turned)
    points = pair.moving_points @ TURN[:3, :3].T + TURN[:3, 3]
    pair = deformsamples.DeformedPair(pair.fixed, moving, pair.fixed_points, points)
    back = np.eye(4)
    back[:3, 3] = -np.array(SHIFT)
    initial = back @ np.linalg.inv(TURN)
    prepared, deformation, _ = run(pair, tmp_path, guided(pair), initial)
    targets = guided(pair, slice(100, 200))
    found = quality.assess(prepared.fixed, pair.moving, deformation, initial, targets)
    assert found.after_mm.mean() < 1.5 < found.before_mm.mean() < 10
    deformation.write(tmp_path / "transform.h5")
    again = read_deformation(tmp_path / "transform.h5")
    np.testing.assert_allclose(again.to_moving(pair.fixed_points), deformation.to_moving(pair.fixed_points))


def test_region_and_masks(pair, tmp_path):
    """The region is what is registered; a mask on a coarser grid is resampled, and that is said."""
    coarse = pair.fixed.ijk_to_ras.copy()
    coarse[:3, :3] *= 2
    mask = type(pair.fixed)(np.ones((15, 17, 19), dtype=np.uint8), coarse)
    region = [-50, 50, -45, 45, -40, 45]
    prepared, deformation, _ = run(
        pair, tmp_path, guided(pair, slice(0, 200)), fixed_mask=mask, moving_mask=mask, region=region
    )
    assert prepared.fixed.shape_ijk == (26, 24, 23)
    assert sum("resampled" in text for text in prepared.warnings) == 2
    inside = np.all(np.abs(pair.fixed_points) < 35, axis=1)
    errors = quality.target_errors(deformation, pair.fixed_points[inside], pair.moving_points[inside])
    assert errors.mean() < 2


def test_weights_are_chosen_by_landmarks_held_out(pair, tmp_path):
    points = guided(pair)
    guiding, held_out = weights.hold_out(points)
    assert (len(guiding), len(held_out)) == (90, 10)
    choices = [weights.Weights(0.0001, 60.0), weights.Weights(0.05, 16.0)]
    prepared = prepare(Pair(pair.fixed, pair.moving, points), tmp_path)
    watch = Watch(lambda fraction, text: None, tmp_path / "log.txt")
    best, trials = weights.choose_weights(prepared, executables.find(), watch, choices=choices)
    assert best == choices[1]
    assert trials[1].held_out_mm < trials[0].held_out_mm


def test_weights_reach_elastix():
    affine, bspline = stages("fast", weights.Weights(0.2, 20.0), guided=True)
    assert (bspline.get("Metric2Weight"), bspline.get("FinalGridSpacingInPhysicalUnits")) == ("0.2", "20")
    assert affine.get("Transform") == "AffineTransform"
    assert len(stages("fast", None, guided=False)[1].values["Metric"]) == 2
