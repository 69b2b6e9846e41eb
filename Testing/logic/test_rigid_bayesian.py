"""The most probable fit: what it does with uncertain points, with its prior, and what it says of itself."""

import time

import numpy as np
import pytest
import samples
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import Gland, gland_of_mask
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, DETECTED, EDITED, Landmark
from LandmarkFusionLogic.rigid.bayesian import Model, most_probable, rotation_matrices, starting_motions
from LandmarkFusionLogic.rigid.errormap import expected_error_map
from LandmarkFusionLogic.rigid.fit import apply, fit_rigid
from LandmarkFusionLogic.rigid.landmarks import Pair, fit_landmarks, gland_pair
from LandmarkFusionLogic.rigid.masks import MaskTerm, border_of
from LandmarkFusionLogic.rigid.metrics import residual_rotation
from LandmarkFusionLogic.volume import Volume


def _covariances(rng, count, scale=4.0):
    roots = rng.normal(scale=scale, size=(count, 3, 3))
    return roots @ roots.transpose(0, 2, 1) / 3 + np.eye(3)


def _motion(degrees, shift=(0.0, 0.0, 0.0)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = Rotation.from_rotvec(degrees, degrees=True).as_matrix(), shift
    return matrix


def _noisy(points, matrix, rng, sigma, state=DETECTED):
    covariance = sigma**2 * np.eye(3)
    return [
        Landmark(p.name, apply(matrix, p.position) + rng.normal(scale=sigma, size=3), covariance, state)
        for p in points
    ]


@pytest.mark.parametrize("seed", range(6))
def test_it_ends_where_a_general_optimiser_does(seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(scale=18, size=(4, 3)) + [10, 200, -50]
    turn = _motion([12, -5, 8], (30, 20, -10))
    b = apply(turn, a) + rng.normal(scale=3, size=(4, 3))
    ca, cb = _covariances(rng, 4), _covariances(rng, 4)
    model = Model()
    found = most_probable(a, b, ca, cb, model, starting_motions(a, b, fit_rigid(a, b)))
    middle = (lambda w: w / w.sum())(1 / np.trace(ca + cb, axis1=1, axis2=2))

    def cost(x, rotation_of_covariances):
        r = Rotation.from_rotvec(x[:3]).as_matrix()
        left = b - ((a - middle @ a) @ r.T + middle @ b + x[3:])
        turned = rotation_of_covariances @ ca @ rotation_of_covariances.T
        total = cb + turned + model.deformation_mm**2 * np.eye(3)
        m = np.einsum("ni,nij,nj->n", left, np.linalg.inv(total), left)
        shares = np.array([1 - model.wide_share, model.wide_share])
        scales = np.radians([model.rotation_degrees, (model.wide_degrees,) * 3])
        density = shares @ (np.exp(-0.5 * np.sum((x[:3] / scales) ** 2, axis=1)) / scales.prod(axis=1))
        return (
            (model.point_dof + 3) / 2 * np.log1p(m / model.point_dof).sum()
            - np.log(density)
            + np.sum(x[3:] ** 2) / model.translation_mm**2 / 2
        )

    # The covariances turn with the motion; where it ends they are those of the end.
    end = found.matrix[:3, :3]
    start = np.r_[Rotation.from_matrix(end).as_rotvec(), apply(found.matrix, middle @ a) - middle @ b]
    best = minimize(cost, start, args=(end,), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(best.x[:3], start[:3], atol=1e-3)
    np.testing.assert_allclose(best.x[3:], start[3:], atol=1e-2)


def test_rotation_matrices_are_those_of_scipy():
    vectors = np.array([[0, 0, 0], [1e-9, 0, 0], [0.3, -0.2, 0.1], [2.0, 1.0, -1.5]])
    np.testing.assert_allclose(rotation_matrices(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)


def test_noise_turns_the_gland_less_than_least_squares_do_where_scans_are_parallel():
    mr = samples.prostate_points()
    best, plain = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        a, b = _noisy(mr, np.eye(4), rng, 4), _noisy(mr, _motion([0, 0, 0], (15, 0, -8)), rng, 4)
        best.append(residual_rotation(np.eye(4), fit_landmarks(a, b).mr_to_us))
        plain.append(residual_rotation(np.eye(4), fit_landmarks(a, b, "svd").mr_to_us))
    assert np.mean(best) < 0.75 * np.mean(plain)


@pytest.mark.parametrize("degrees", [45, 90, 150])
def test_the_prior_lets_go_where_scans_start_far_from_parallel(degrees):
    mr = samples.prostate_points(covariance=np.eye(3), state=DETECTED)
    truth = _motion(np.array([0.7, -0.5, 0.51]) * degrees, (5, -40, 20))
    us = [Landmark(p.name, apply(truth, p.position), np.eye(3), DETECTED) for p in mr]
    assert residual_rotation(truth, fit_landmarks(mr, us).mr_to_us) < 5


def test_a_landmark_of_which_the_detector_is_unsure_counts_little():
    mr = samples.prostate_points(covariance=np.eye(3), state=DETECTED)
    extra = Landmark("Cyst", np.array([10.0, 0.0, 5.0]), np.eye(3), DETECTED)
    us = [*mr, extra]
    wrong = mr[0].position + [9, 0, 0]
    sure = fit_landmarks([*mr, extra], [Landmark(APEX, wrong, np.eye(3), DETECTED), *us[1:]])
    unsure = fit_landmarks([*mr, extra], [Landmark(APEX, wrong, 100 * np.eye(3), DETECTED), *us[1:]])
    # A person who has put it there is taken at his word, whatever the detector said before.
    edited = fit_landmarks([*mr, extra], [Landmark(APEX, wrong, 100 * np.eye(3), EDITED), *us[1:]])
    assert unsure.errors[BLADDER_NECK] < 0.4 * sure.errors[BLADDER_NECK]
    assert edited.errors[APEX] < unsure.errors[APEX] - 1


def test_covariances_turn_with_their_image():
    # Well known along x only; seen from the US, after a quarter turn about z, that is along y.
    mr = [
        Landmark(p.name, p.position, np.diag([0.01, 400.0, 400.0]), DETECTED)
        for p in samples.prostate_points(centre=(1.0, 2.0, 3.0))
    ]
    turn = _motion([0, 0, 90])
    pin = 1e-4 * np.eye(3)
    moved = [Landmark(p.name, apply(turn, p.position), pin, DETECTED) for p in mr]
    fit = fit_landmarks(mr, moved, model=Model(deformation_mm=0.01))
    along = fit.covariance[3:, 3:]
    assert along[1, 1] < 0.05 * min(along[0, 0], along[2, 2])


def test_the_gland_centroid_carries_the_shift():
    mr = samples.prostate_points(covariance=64 * np.eye(3), state=DETECTED)
    us = [Landmark(p.name, p.position + [6, 6, 0], 64 * np.eye(3), DETECTED) for p in mr]
    pair = Pair("Gland centre", np.zeros(3), np.zeros(3), 1.0 * np.eye(3))
    with_pair, without = fit_landmarks(mr, us, extra=[pair]), fit_landmarks(mr, us)
    middle = np.zeros((1, 3))
    assert np.linalg.norm(apply(with_pair.mr_to_us, middle)) < 0.5 * np.linalg.norm(apply(without.mr_to_us, middle))
    assert with_pair.expected_error(middle) < without.expected_error(middle)
    assert set(with_pair.errors) == set(without.errors)  # FRE is the landmarks' own


def test_glands_make_a_pair_and_empty_ones_make_none():
    box = np.zeros((12, 12, 12), np.uint8)
    box[2:9, 3:9, 4:9] = 1
    mr = gland_of_mask(Volume(box, samples.affine((2.0, 2.0, 2.0))))
    pair = gland_pair(mr, mr)
    np.testing.assert_allclose(pair.mr, [12, 11, 10])
    assert np.all(np.linalg.eigvalsh(pair.covariance + pair.mr_covariance) > 2)
    assert gland_pair(mr, Gland(Volume(np.zeros((5, 5, 5), np.float32), np.eye(4)))) is None


def test_what_is_vague_of_the_gland_in_the_mr_is_vague_along_the_same_anatomy_in_the_us():
    """A centroid known badly along one axis of a turned MR says nothing along that axis, wherever it points now."""
    turn = _motion([0, 0, 90], (0, 0, 0))  # along x in the MR is along y in the US
    vague = np.diag([400.0, 1.0, 1.0])
    mask = np.zeros((12, 12, 12), np.float32)
    mask[3:9, 3:9, 3:9] = 1
    grid = samples.affine((2.0, 2.0, 2.0), origin=(-11.0, -11.0, -11.0))
    mr, us = Gland(Volume(mask, grid), spread=vague), Gland(Volume(mask, turn @ grid), spread=np.eye(3))
    pair = gland_pair(mr, us)
    np.testing.assert_allclose(pair.mr_covariance[0, 0] - pair.mr_covariance[1, 1], 399)
    loose = samples.prostate_points(covariance=16 * np.eye(3), state=DETECTED)
    moved = [Landmark(p.name, apply(turn, p.position), p.covariance, DETECTED) for p in loose]
    wide = Model(rotation_degrees=(200.0, 200.0, 200.0))
    with_pair, without = (fit_landmarks(loose, moved, extra=extra, model=wide) for extra in ([pair], []))
    assert residual_rotation(turn, with_pair.mr_to_us) < 15
    sharper = np.diag(without.covariance[3:, 3:]) / np.diag(with_pair.covariance[3:, 3:])
    assert sharper[1] < 1.2 < sharper[0]


def test_the_expected_error_is_the_error_that_is_made():
    """Noise and motions drawn as the model says: mean squares of expected and of true errors agree."""
    mr = samples.prostate_points()
    model = Model(deformation_mm=0.001, point_dof=200, rotation_degrees=(15.0, 15.0, 15.0), wide_share=0.0)
    places = np.array([[0, 0, 0], [20, 5, 10], [0, -10, -15.0]])
    for method in ("best", "svd"):
        made, expected = [], []
        for seed in range(300):
            rng = np.random.default_rng(seed)
            truth = _motion(rng.normal(scale=15, size=3), rng.uniform(-30, 30, 3))
            a, b = _noisy(mr, np.eye(4), rng, 1.5), _noisy(mr, truth, rng, 2.0)
            fit = fit_landmarks(a, b, method, model=model)
            made.append(np.sum((apply(fit.mr_to_us, places) - apply(truth, places)) ** 2, axis=1))
            expected.append(fit.expected_error(places) ** 2)
        np.testing.assert_allclose(np.mean(expected, axis=0), np.mean(made, axis=0), rtol=0.25)


def test_the_expected_error_grows_away_from_the_landmarks_and_its_map_shows_it():
    mr = samples.prostate_points(covariance=9 * np.eye(3), state=DETECTED)
    fit = fit_landmarks(mr, mr)
    near, far = fit.expected_error([fit.pivot, fit.pivot + [60, 0, 0]])
    assert fit.deformation_mm * np.sqrt(3) < near < far
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[3:7, 3:7, 3:7] = 1
    volume = Volume(mask, samples.affine((5.0, 5.0, 5.0), samples.OBLIQUE, (-20, -20, -20)))
    shown = expected_error_map(fit, volume)
    assert np.all((shown.array > 0) == (mask > 0))
    place = apply(volume.ijk_to_ras, [[3, 4, 5]])
    assert shown.array[5, 4, 3] == pytest.approx(fit.expected_error(place)[0], rel=1e-5)
    with pytest.raises(InputError, match="empty"):
        expected_error_map(fit, Volume(np.zeros_like(mask), np.eye(4)))


def test_weighted_least_squares_follow_the_sure_points():
    mr = samples.prostate_points(covariance=np.eye(3), state=DETECTED)
    us = [Landmark(APEX, mr[0].position + [0, 0, 6], 50 * np.eye(3), DETECTED), *mr[1:]]
    assert fit_landmarks(mr, us, "weighted").errors[APEX] > fit_landmarks(mr, us, "svd").errors[APEX] + 1
    assert fit_landmarks(mr, us, "weighted").errors[BLADDER_NECK] < fit_landmarks(mr, us, "svd").errors[BLADDER_NECK]


def test_an_unknown_fit_is_refused():
    mr = samples.prostate_points()
    with pytest.raises(InputError, match="“affine” is not known"):
        fit_landmarks(mr, mr, "affine")


def test_a_drag_hardly_waits_for_the_fit():
    rng = np.random.default_rng(0)
    mr = samples.prostate_points()
    a, b = _noisy(mr, np.eye(4), rng, 4), _noisy(mr, _motion([10, 5, 0], (100, 0, -8)), rng, 4)
    pair = Pair("Gland centre", np.zeros(3), np.array([100.0, 0, -8]), np.eye(3))
    took = []
    for _ in range(30):
        start = time.process_time()
        fit_landmarks(a, b, extra=[pair])
        took.append(time.process_time() - start)
    # The best of many: what else runs on the machine is not the fit's. It takes under 3 ms, twice that while the
    # test's coverage is traced, and again where the core is shared.
    assert min(took) < 0.015


def _gland(motion):
    k, j, i = np.meshgrid(*(np.arange(34),) * 3, indexing="ij")
    affine = motion @ samples.affine((2.5, 2.5, 2.5), origin=(-41.0, -41.0, -41.0))
    local = np.stack([i, j, k], axis=-1) * 2.5 - 41.0
    level = 1 - np.sqrt(((local / [24, 16, 20]) ** 2).sum(-1))
    bump = 1 - np.linalg.norm(local - [8, 6, 14], axis=-1) / 13
    return Gland(Volume((1 / (1 + np.exp(-12 * np.maximum(level, bump)))).astype(np.float32), affine))


def test_masks_turn_the_gland_where_landmarks_are_vague():
    truth = _motion([14, -6, 9], (40, -10, 25))
    mr, us = _gland(np.eye(4)), _gland(truth)
    rng = np.random.default_rng(2)
    a = _noisy(samples.prostate_points(), np.eye(4), rng, 6)
    b = _noisy(samples.prostate_points(), truth, rng, 6)
    pair = gland_pair(mr, us)
    vague = fit_landmarks(a, b, extra=[pair])
    term = MaskTerm(border_of(mr), border_of(us), sigma_mm=1.0, independent=200)
    sharp = fit_landmarks(a, b, extra=[pair], term=term)
    assert residual_rotation(truth, sharp.mr_to_us) < 2.5
    assert residual_rotation(truth, sharp.mr_to_us) < 0.5 * residual_rotation(truth, vague.mr_to_us)
    assert np.all(sharp.expected_error(np.zeros((1, 3))) < vague.expected_error(np.zeros((1, 3))))
