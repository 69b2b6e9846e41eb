"""CT and X-ray brought together: the default method and the classical ones, one and two views, what they refuse."""

from __future__ import annotations

import numpy as np
import projectionsamples
import pytest
from scipy import ndimage

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection import doubts
from LandmarkFusionLogic.projection.alignment import check_views
from LandmarkFusionLogic.projection.attenuation import attenuation
from LandmarkFusionLogic.projection.edges import EdgeScale
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.leastsquares import Level, climb
from LandmarkFusionLogic.projection.multistart import around, distinct, within_reach
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera, step_matrix
from LandmarkFusionLogic.projection.projector import project
from LandmarkFusionLogic.projection.registration import View, align, check_method, methods
from LandmarkFusionLogic.volume import Volume

GEOMETRY = Geometry(1000.0, 64, 64, (3.2, 3.2))
TRUTH = Pose((4.0, -7.0, 5.0), (6.0, -8.0, 25.0))
START = Pose((-4.0, 3.0, -2.0), (-7.0, 2.0, -30.0))
SIDEWAYS = np.eye(4)
SIDEWAYS[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
SIDEWAYS[:3, 3] = [-700, 0, 700]
"""The second camera, a quarter turn about the patient's long axis through the isocenter."""


@pytest.fixture(scope="module")
def mu():
    return attenuation(projectionsamples.ct())


def view(mu, pose=TRUTH, geometry=GEOMETRY, from_first=None, noise=0.01):
    camera = np.eye(4) if from_first is None else from_first
    image = project(mu, geometry, camera @ ct_to_camera(pose, mu.centre, geometry))
    noisy = image + np.random.default_rng(0).normal(0, noise, image.shape)
    return View(noisy.astype(np.float32), geometry, camera)


def off(pose, truth=TRUTH):
    """Degrees and mm by which a pose is off, at most."""
    difference = np.abs(pose.parameters - truth.parameters)
    return difference[:3].max(), difference[3:].max()


def test_the_default_method_finds_the_pose_and_tells_how_it_went(mu):
    reports, poses = [], []
    found = align(
        mu,
        [view(mu)],
        [START],
        report=lambda share, text: reports.append((share, text)),
        watch=lambda iteration, similarity, pose: poses.append((iteration, similarity, pose)),
    )
    degrees, mm = off(found.pose)
    assert degrees < 0.3
    assert mm < 2.5
    np.testing.assert_allclose(found.ct_to_camera, ct_to_camera(found.pose, mu.centre, GEOMETRY), atol=1e-6)
    assert found.similarity_after > 0.9 > found.similarity_before
    assert not found.warnings
    shares = [share for share, _ in reports]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    # The last pose told is what a cancelled run keeps: each is better than the one before.
    assert [iteration for iteration, _, _ in poses] == list(range(len(poses)))
    similarities = [similarity for _, similarity, _ in poses]
    assert similarities == sorted(similarities)
    assert off(poses[-1][2])[0] < 0.5
    assert [value for _, value in found.curve][: len(poses)] == similarities


def test_two_views_settle_the_depth(mu):
    side = view(mu, from_first=SIDEWAYS)
    found = align(mu, [view(mu), side], [START])
    degrees, mm = off(found.pose)
    assert degrees < 0.2
    assert mm < 0.4


def test_of_two_sides_of_the_patient_the_right_one_is_taken(mu):
    behind = Pose((START.rotation[0], 180.0 + START.rotation[1], START.rotation[2]), START.translation)
    found = align(mu, [view(mu)], [behind, START])
    assert off(found.pose)[0] < 0.3
    assert not any("Different starts" in warning for warning in found.warnings)


def test_shutters_and_bent_gray_levels_do_not_matter(mu):
    image = view(mu).image
    bent = np.sign(image) * np.abs(image) ** 1.3
    bent[:7] = bent[:, -5:] = bent.min()
    found = align(mu, [View(bent, GEOMETRY)], [START])
    degrees, mm = off(found.pose)
    assert degrees < 0.6
    assert mm < 10  # of depth, mostly


def test_a_spine_without_its_soft_tissue_is_found_by_its_bone(mu):
    bone = np.asarray(projectionsamples.ct().array) > 250
    spine = Volume(np.where(ndimage.binary_dilation(bone), mu.array, 0).astype(np.float32), mu.ijk_to_ras)
    found = align(spine, [view(mu)], [START])
    degrees, mm = off(found.pose)
    assert degrees < 2
    assert mm < 15  # of depth, mostly
    assert max(abs(np.array(found.pose.translation) - TRUTH.translation)[:2]) < 2
    assert found.similarity_after > found.similarity_before


@pytest.mark.parametrize("method", ["opt-nccl", "opt-ngi", "opt-gc"])
def test_classical_methods_climb_from_near(mu, method):
    near = Pose.of(TRUTH.parameters + [1.5, -1.5, 1.5, 2, -2, 12])
    found = align(mu, [view(mu, noise=0.003)], [near], method)
    before, after = off(near), off(found.pose)
    assert after[0] < 0.4 * before[0]
    assert after[1] < 0.4 * before[1]
    assert found.similarity_after > found.similarity_before
    assert len(found.curve) > 3


def test_a_report_that_raises_ends_the_work(mu):
    class Cancelled(Exception):
        pass

    poses = []

    def report(share, text):
        if share > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        align(mu, [view(mu)], [START], report=report, watch=lambda *told: poses.append(told))
    assert poses  # what was found until then is known


def test_an_xray_of_something_else_is_doubted(mu):
    other = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(64, 64)), 2).astype(np.float32)
    found = align(mu, [View(other, GEOMETRY)], [START])
    assert any("hardly agree" in warning or "Different starts" in warning for warning in found.warnings)


def test_a_flat_similarity_and_a_bound_are_told(mu):
    level = Level(mu, [view(mu)], 64, EdgeScale(0.7, 0.0))
    true = ct_to_camera(TRUTH, mu.centre, GEOMETRY)
    assert doubts.of_pose(level, true, [true], mu.centre) == []
    far = ct_to_camera(Pose(translation=(0.0, 0.0, -225.0)), mu.centre, GEOMETRY)
    assert any("bound of the search" in text for text in doubts.of_pose(level, true, [far], mu.centre))
    ball = np.zeros((40, 40, 40), dtype=np.float32)
    ball[((np.indices(ball.shape) - 19.5) ** 2).sum(axis=0) < 100] = 0.03
    round_one = Volume(ball, np.diag([4.0, 4, 4, 1]))
    straight = ct_to_camera(Pose(), round_one.centre, GEOMETRY)
    image = project(round_one, GEOMETRY, straight)
    texts = doubts.of_pose(
        Level(round_one, [View(image, GEOMETRY)], 64, EdgeScale(1.0, 0.0)), straight, [straight], round_one.centre
    )
    assert any("the rotation of the CT is uncertain" in text for text in texts)


def test_a_climb_stays_inside_and_can_hold_parts_of_the_pose(mu):
    level = Level(mu, [view(mu)], 64, EdgeScale(0.7, 0.0))
    start = ct_to_camera(Pose.of(TRUTH.parameters + [2, 0, 0, 3, 0, 20]), mu.centre, GEOMETRY)
    visited = []
    end, similarity = climb(level, start, 15, lambda matrix: True, lambda matrix, value: visited.append(value))
    assert similarity == visited[-1] > level.similarity(start)
    assert visited == sorted(visited)
    held, _ = climb(
        level, start, 5, lambda matrix: True, lambda matrix, value: None, free=np.array([1, 1, 1, 1, 1, 0.0])
    )
    depth = [(matrix[:3, :3] @ mu.centre + matrix[:3, 3])[2] for matrix in (start, held, end)]
    assert depth[1] == pytest.approx(depth[0])
    assert abs(depth[2] - depth[0]) > 10
    stuck, _ = climb(level, start, 5, lambda matrix: False, lambda matrix, value: None)
    np.testing.assert_array_equal(stuck, start)


def test_the_slope_of_the_similarity_is_that_of_finite_steps(mu):
    for views in ([view(mu)], [view(mu), view(mu, from_first=SIDEWAYS)]):
        level = Level(mu, views, 64, EdgeScale(1.0, 0.0))
        matrix = ct_to_camera(START, mu.centre, GEOMETRY)
        system = level.system(matrix)
        slopes = []
        for number, size in enumerate([2e-3] * 3 + [0.2] * 3):
            step = np.eye(6)[number] * size
            ahead, behind = (level.similarity(step_matrix(sign * step, system.center) @ matrix) for sign in (1, -1))
            slopes.append(len(views) * (ahead - behind) / (2 * size))
        for part in (slice(0, 3), slice(3, 6)):
            found, wanted = system.slope[part], np.array(slopes[part])
            assert found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted) > 0.98
            assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(wanted), rel=0.2)


def test_starts_are_spread_and_equal_ones_are_one(mu):
    start = ct_to_camera(START, mu.centre, GEOMETRY)
    poses = around([start], mu.centre, 32)
    assert len(poses) == 32
    np.testing.assert_array_equal(poses[0], start)
    assert all(within_reach(pose, start, mu.centre) for pose in poses)
    from LandmarkFusionLogic.projection.multistart import Found

    found = [Found(poses[0], 0.5), Found(poses[0].copy(), 0.6), Found(poses[5], 0.4)]
    assert [one.similarity for one in distinct(found, mu.centre, 3)] == [0.6, 0.4]


def test_what_cannot_be_registered_is_told(mu):
    good = view(mu)
    for views, sentence in (
        ([], "There is no X-ray"),
        ([View(good.image[0], GEOMETRY)], "2D gray-level"),
        ([View(good.image[:-1], GEOMETRY)], "63 × 64 pixels and its geometry 64 × 64"),
        ([View(good.image[:8, :8], Geometry(1000.0, 8, 8, (20.0, 20.0)))], "at least 16"),
        ([View(np.where(good.image > 2, np.nan, good.image), GEOMETRY)], "NaN"),
        ([View(np.zeros_like(good.image), GEOMETRY)], "shows nothing"),
        ([View(good.image, GEOMETRY, mask=np.ones((3, 3), dtype=bool))], "mask of the X-ray"),
    ):
        with pytest.raises(InputError, match=sentence):
            check_views(views)
    with pytest.raises(InputError, match="no pose to start from"):
        align(mu, [good], [])
    with pytest.raises(InputError, match="no method “guess”"):
        align(mu, [good], [START], "guess")
    with pytest.raises(InputError, match="source lies inside"):
        align(mu, [good], [Pose(translation=(0.0, 0.0, -700.0))])
    with pytest.raises(InputError, match="outside the beam"):
        align(mu, [good], [Pose(translation=(900.0, 0.0, 0.0))])
    assert methods()[0] == "ours"
    for name in methods():
        check_method(name)
