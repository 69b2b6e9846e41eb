"""The closed-form rigid fit and what is said about it."""

import numpy as np
import pytest
import samples
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, POSTERIOR_MEDIAN, Landmark
from LandmarkFusionLogic.rigid.fit import apply, extents, fit_rigid, invert
from LandmarkFusionLogic.rigid.landmarks import fit_landmarks


def _proper(matrix):
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-10)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_array_equal(matrix[3], (0, 0, 0, 1))


@pytest.mark.parametrize("seed", range(200))
def test_an_exact_motion_is_found_whatever_it_is(seed):
    rng = np.random.default_rng(seed)
    truth = samples.random_rigid(rng, 500)
    points = rng.normal(scale=rng.uniform(5, 50), size=(rng.integers(3, 12), 3)) + rng.uniform(-300, 300, 3)
    weights = rng.uniform(0.1, 3, len(points))
    matrix = fit_rigid(points, apply(truth, points), weights)
    _proper(matrix)
    np.testing.assert_allclose(matrix, truth, atol=1e-7)


@pytest.mark.parametrize("seed", range(50))
def test_noise_scale_and_mirroring_never_leave_the_proper_rotations(seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=20, size=(rng.integers(3, 8), 3))
    worse = points * rng.choice([-1, 1], 3) * rng.uniform(0.5, 2) + rng.normal(scale=5, size=points.shape)
    _proper(fit_rigid(points, worse))


@pytest.mark.parametrize("seed", range(10))
def test_no_other_motion_leaves_a_smaller_weighted_error(seed):
    rng = np.random.default_rng(seed)
    moving = rng.normal(scale=20, size=(5, 3))
    fixed = moving * [1, 1, -1] + rng.normal(scale=3, size=(5, 3))  # mirrored: the hard case
    weights = rng.uniform(0.2, 2, 5)
    best = fit_rigid(moving, fixed, weights)

    def cost(x):
        moved = moving @ Rotation.from_rotvec(x[:3]).as_matrix().T + x[3:]
        return float(weights @ ((moved - fixed) ** 2).sum(axis=1))

    found = cost(np.r_[Rotation.from_matrix(best[:3, :3]).as_rotvec(), best[:3, 3]])
    starts = [np.r_[Rotation.random(random_state=n).as_rotvec(), np.zeros(3)] for n in range(8)]
    assert found <= min(minimize(cost, start).fun for start in starts) + 1e-6


def test_the_identity_is_not_disturbed_and_the_order_of_points_does_not_matter():
    rng = np.random.default_rng(0)
    points, fixed = rng.normal(size=(4, 3)) * 20, rng.normal(size=(4, 3)) * 20
    np.testing.assert_allclose(fit_rigid(points, points), np.eye(4), atol=1e-12)
    shuffled = rng.permutation(4)
    np.testing.assert_allclose(fit_rigid(points[shuffled], fixed[shuffled]), fit_rigid(points, fixed), atol=1e-9)


def test_a_pair_of_weight_zero_does_not_pull():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(4, 3)) * 20
    truth = samples.random_rigid(rng)
    fixed = apply(truth, points)
    fixed[3] += 30
    np.testing.assert_allclose(fit_rigid(points, fixed, [1, 1, 1, 0]), truth, atol=1e-9)


def test_the_inverse_undoes_exactly():
    matrix = samples.random_rigid(np.random.default_rng(2))
    points = np.random.default_rng(3).normal(size=(2, 5, 3))
    np.testing.assert_allclose(apply(invert(matrix), apply(matrix, points)), points, atol=1e-12)


@pytest.mark.parametrize(
    ("moving", "weights"),
    [
        (np.eye(3)[:2], None),
        (np.eye(3), [1, 1, 0]),
        (np.eye(3), [1, 1, -1]),
        (np.outer(np.arange(4), [1.0, 2, 3]), None),
        (np.ones((3, 3)), None),
        (np.full((3, 3), np.nan), None),
    ],
)
def test_what_allows_no_fit_is_refused(moving, weights):
    with pytest.raises(InputError):
        fit_rigid(moving, moving, weights)


def test_extents_are_those_of_the_usual_prostate():
    first, second, third = extents([point.position for point in samples.prostate_points()])
    assert first > second > 5
    assert third == pytest.approx(0, abs=1e-9)


def _moved(points, matrix):
    return [Landmark(point.name, apply(matrix, point.position)) for point in points]


def test_landmarks_are_matched_by_name_and_not_by_order():
    mr = samples.prostate_points()
    truth = samples.random_rigid(np.random.default_rng(4))
    fit = fit_landmarks(mr, list(reversed(_moved(mr, truth))), "svd")
    np.testing.assert_allclose(fit.mr_to_us, truth, atol=1e-9)
    assert set(fit.errors) == {APEX, BLADDER_NECK, POSTERIOR_MEDIAN}
    assert fit.rms == pytest.approx(0, abs=1e-9)
    assert fit.warnings == ()


def test_the_errors_are_the_distances_that_remain():
    mr = samples.prostate_points()
    us = [Landmark(point.name, point.position + [0, 0, 3.0 * (point.name == APEX)]) for point in mr]
    fit = fit_landmarks(mr, us)
    left = {p.name: np.linalg.norm(apply(fit.mr_to_us, p.position) - q.position) for p, q in zip(mr, us, strict=True)}
    assert fit.errors == pytest.approx(left)
    assert fit.rms == pytest.approx(np.sqrt(np.mean(np.square(list(left.values())))))
    assert 0 < fit.rms < 3


def test_extra_pairs_count_and_points_without_partner_do_not():
    mr = [*samples.prostate_points(), Landmark("Cyst", np.array([8.0, -3.0, 4.0])), Landmark("Alone", np.zeros(3))]
    us = _moved(mr[:4], samples.random_rigid(np.random.default_rng(5)))
    fit = fit_landmarks(mr, us)
    assert "Cyst" in fit.errors
    assert fit.unmatched == ("Alone",)


def test_unplaced_points_are_left_out_and_named_when_too_few_remain():
    mr = samples.prostate_points()
    us = [Landmark(APEX, np.full(3, np.nan)), *mr[1:]]
    with pytest.raises(InputError, match=r"has 2; missing: Apex in the US\.$"):
        fit_landmarks(mr, us)
    with pytest.raises(InputError, match=r"missing: Apex in the MR and the US\.$"):
        fit_landmarks(mr[1:], mr[1:])
    extra = Landmark("Cyst", np.array([8.0, -3.0, 4.0]))
    assert len(fit_landmarks([*mr, extra], [*us, extra]).errors) == 3


def test_two_points_of_one_name_are_refused():
    mr = samples.prostate_points()
    with pytest.raises(InputError, match="Two landmarks are named “Apex”"):
        fit_landmarks([*mr, mr[0]], mr)


def test_weights_by_name_shift_the_fit_towards_the_heavy():
    mr = samples.prostate_points()
    us = [Landmark(point.name, point.position + [0, 0, 3.0 * (point.name == APEX)]) for point in mr]
    assert (
        fit_landmarks(mr, us, "svd", weights={APEX: 10}).errors[APEX] < fit_landmarks(mr, us, "svd").errors[APEX] / 2
    )


def test_a_flat_triangle_is_warned_of_and_a_normal_one_is_not():
    mr = samples.prostate_points()
    flat = [*mr[:2], Landmark(POSTERIOR_MEDIAN, np.array([0.0, 1.5, 0.0]))]
    assert any("nearly on one line" in text for text in fit_landmarks(flat, mr).warnings)
    on_line = [*mr[:2], Landmark(POSTERIOR_MEDIAN, (mr[0].position + mr[1].position) / 2)]
    with pytest.raises(InputError, match="on one line"):
        fit_landmarks(on_line, mr)


def test_landmarks_that_disagree_are_warned_of():
    mr = samples.prostate_points()
    us = [*mr[:2], Landmark(POSTERIOR_MEDIAN, np.array([0.0, -70.0, 0.0]))]
    assert any("probably misplaced" in text for text in fit_landmarks(mr, us).warnings)


def test_three_landmarks_fit_their_mirror_image_and_a_fourth_gives_it_away():
    mr = [*samples.prostate_points(), Landmark("Cyst", np.array([14.0, -3.0, 4.0]))]
    mirrored = [Landmark(point.name, point.position * [-1, 1, 1]) for point in mr]
    three = fit_landmarks(mr[:3], mirrored[:3])
    assert three.rms < 0.5
    assert three.warnings == ()
    assert any("mirrored" in text for text in fit_landmarks(mr, mirrored).warnings)
    assert not any("mirrored" in text for text in fit_landmarks(mr, mr).warnings)
