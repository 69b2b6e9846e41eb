"""The refinement after the rigid fit: motions, evidence, the most probable one, its transform, and the check."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.refinement import check, refine
from LandmarkFusionLogic.deformable.refinement.evidence import Pairs
from LandmarkFusionLogic.deformable.refinement.motion import Field, Motion
from LandmarkFusionLogic.deformable.refinement.refine import Pair
from LandmarkFusionLogic.deformable.refinement.solver import Prior, most_probable
from LandmarkFusionLogic.deformable.refinement.transform import deformation
from LandmarkFusionLogic.deformable.transforms import read_deformation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import Gland, gland_of_mask
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume


def rigid(degrees, shift):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


SHAPE, SPACING = (40, 44, 46), 2.0
START = rigid([10, -5, 8], [30.0, -20.0, 12.0])
MISSING = rigid([4, 3, -5], [2.0, -2.5, 1.5])
"""What the start lacks, in the frame of the fixed volume."""


def bend(points):
    """A squeeze of 2 mm from behind that fades towards the front, as a probe makes it."""
    return points + np.array([0.0, 2.0, 0.0]) * np.exp(-(((points[:, 1:2] + 18) / 20) ** 2))


def to_moving(points):
    return apply(np.linalg.inv(MISSING @ START), bend(points))


def gland_of(points):
    """How deep inside a gland of 40 x 30 x 44 mm with a lobe, 0 at its border; points of an anatomy (N, 3)."""
    body = 1 - np.linalg.norm(points / [20.0, 15.0, 22.0], axis=1)
    lobe = 1 - np.linalg.norm((points - [7.0, 9.0, 12.0]) / 9.0, axis=1)
    return np.maximum(body, lobe)


def texture(points):
    rng = np.random.default_rng(3)
    grid = gaussian_filter(rng.normal(size=(60, 60, 60)), 2.0)
    from scipy.ndimage import map_coordinates

    return map_coordinates(grid / grid.std(), ((points + 60) / 2.0).T, order=1, mode="wrap")


def grid(affine):
    return apply(affine, np.argwhere(np.ones(SHAPE))[:, ::-1])


@pytest.fixture(scope="module")
def pair():
    """A moving volume of the anatomy, and a fixed one of it bent, with other gray values; both glands known."""
    fixed_affine = np.diag([SPACING] * 3 + [1.0])
    fixed_affine[:3, 3] = -SPACING * (np.array(SHAPE[::-1]) - 1) / 2
    back = np.linalg.inv(MISSING @ START)
    moving_affine = back @ fixed_affine
    anatomy = np.linalg.inv(back)
    seen_fixed = apply(anatomy, to_moving(grid(fixed_affine)))
    seen_moving = apply(anatomy, grid(moving_affine))

    def volumes(points, affine, sign):
        inside = gland_of(points) > 0
        image = sign * (texture(points) + 2.0 * inside)
        return (
            Volume(image.reshape(SHAPE).astype(np.float32), affine),
            gland_of_mask(Volume(inside.reshape(SHAPE).astype(np.uint8), affine)),
        )

    fixed, fixed_gland = volumes(seen_fixed, fixed_affine, -1.0)
    moving, moving_gland = volumes(seen_moving, moving_affine, 1.0)
    return Pair(fixed, moving, START, fixed_gland, moving_gland)


@pytest.fixture(scope="module")
def inside(pair):
    """Points in the fixed gland, (N, 3)."""
    mask = pair.fixed_gland.mask()
    return apply(mask.ijk_to_ras, np.argwhere(mask.array > 0)[::7, ::-1])


def error(transform, points):
    return np.linalg.norm(transform.to_moving(points) - to_moving(points), axis=1).mean()


def motion():
    centers = np.array([[0.0, 0.0, 0.0], [20.0, 5.0, -10.0], [-15.0, 10.0, 5.0]])
    weights = np.array([[2.0, 0.0, 1.0], [0.0, -3.0, 0.5], [1.0, 1.0, -2.0]])
    field = Field(centers, weights, 60.0)
    return Motion(np.array([3.0, 2.0, 1.0]), np.radians([5.0, -4.0, 8.0]), np.array([1.0, 2.0, -3.0]), field)


def test_a_motion_and_its_inverse():
    points = np.random.default_rng(0).uniform(-40, 40, (50, 3))
    assert np.allclose(motion().back(motion().forward(points)), points, atol=0.02)
    far = np.full((1, 3), 200.0)
    assert np.array_equal(motion().field.at(far), np.zeros((1, 3)))
    assert np.linalg.norm(motion().field.at(points), axis=1).max() > 1.0


def test_the_transform_is_the_motion_and_survives_its_file(tmp_path):
    points = np.random.default_rng(1).uniform(-40, 40, (50, 3))
    expected = apply(np.linalg.inv(START), motion().forward(points))
    made = deformation(motion(), START)
    made.write(tmp_path / "transform.h5")
    for each in (made, read_deformation(tmp_path / "transform.h5")):
        # Linear between displacements 5 mm apart.
        assert np.abs(each.to_moving(points) - expected).max() < 0.1


def test_landmarks_alone_give_their_rigid_motion():
    points = np.random.default_rng(2).uniform(-20, 20, (30, 3))
    brought = apply(MISSING, points)
    sure = Pairs(points, brought, np.broadcast_to(0.01 * np.eye(3), (30, 3, 3)))
    found = most_probable([sure], np.zeros(3), Prior())
    assert sure.distances(found).max() < 0.1
    # A prior of no motion holds where the landmarks say little.
    unsure = replace(sure, covariances=np.broadcast_to(1e8 * np.eye(3), (30, 3, 3)))
    assert np.linalg.norm(most_probable([unsure], np.zeros(3), Prior()).forward(points) - points, axis=1).max() < 0.01


def test_one_misplaced_landmark_counts_little():
    points = np.random.default_rng(2).uniform(-20, 20, (6, 3))
    brought = points + np.array([3.0, 0.0, 0.0])
    brought[0] += [0.0, 40.0, 0.0]
    covariances = np.broadcast_to(np.eye(3), (6, 3, 3))
    trusting = most_probable([Pairs(points, brought, covariances)], np.zeros(3), Prior())
    wary = most_probable([Pairs(points, brought, covariances, 4.0)], np.zeros(3), Prior())
    others = slice(1, None)
    apart = [
        np.linalg.norm(found.forward(points[others]) - brought[others], axis=1).mean() for found in (trusting, wary)
    ]
    assert apart[1] < 1.0 < apart[0]


def test_drawn_glands_bring_the_inside_together(pair, inside):
    found = refine.refine(pair)
    before, after = error(found.start, inside), error(found.deformation, inside)
    assert before > 4.0
    assert after < 1.2
    assert found.recommended, found.doubts
    assert found.comparison.border_after < 0.4 * found.comparison.border_before
    assert found.comparison.change < 0
    assert found.comparison.folded == 0
    assert 0.6 < found.comparison.jacobian_min < found.comparison.jacobian_max < 1.6


def test_matches_guide_where_there_is_no_gland(pair, inside):
    found = refine.refine(replace(pair, fixed_gland=None, moving_gland=None))
    assert len(found.matches) >= 8
    assert np.median(np.linalg.norm(found.matches.moving - to_moving(found.matches.fixed), axis=1)) < 2.0
    assert error(found.deformation, inside) < 0.7 * error(found.start, inside)


def test_a_mask_of_something_else_is_not_followed_silently(pair, inside):
    # Somebody drew half of the gland: the borders can be brought together, the images then contradict.
    array = np.asarray(pair.moving_gland.mask().array).copy()
    array[: array.shape[0] // 2] = 0
    half = gland_of_mask(Volume(array, pair.moving_gland.probability.ijk_to_ras))
    found = refine.refine(replace(pair, moving_gland=half), use_matches=False)
    assert not found.recommended
    assert any("images" in doubt or "volume" in doubt for doubt in found.doubts)


def test_noise_gives_a_network_no_licence(pair):
    # Where the images agree no better, the border of a network is no reason to move anything.
    noise = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)
    found = refine.refine(replace(pair, moving=Volume(noise, pair.moving.ijk_to_ras), drawn=False))
    assert not found.recommended
    assert any("not more alike" in doubt for doubt in found.doubts)


def test_landmarks_with_covariances(pair, inside):
    places = inside[:: len(inside) // 5]
    marks = Correspondences(places, to_moving(places), np.ones(len(places)))
    covariances = np.broadcast_to(np.eye(3), (len(places), 3, 3))
    alone = replace(pair, fixed_gland=None, moving_gland=None, landmarks=marks, covariances=covariances)
    found = refine.refine(alone, use_matches=False)
    assert found.comparison.landmark_after < found.comparison.landmark_before
    assert error(found.deformation, inside) < 0.5 * error(found.start, inside)


FINE = check.Comparison(0.2, 0.19, 3.0, 1.0, 4.0, 3.0, 2.0, 4.0, 0.5, 0.9, 1.1, 0.0, 1.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"difference_after": 0.22}, "contradict"),
        ({"difference_after": float("nan")}, "too little"),
        ({"border_after": 3.5}, "borders come apart"),
        ({"landmark_after": 7.0}, "landmarks come apart"),
        ({"farthest_mm": 15.0}, "15 mm"),
        ({"folded": 0.01, "jacobian_min": -0.2}, "folds"),
        ({"jacobian_min": 0.4}, "presses or stretches"),
        ({"volume_ratio": 2.0}, "factor of 2.0"),
    ],
)
def test_what_speaks_against(change, words):
    assert check.doubts(FINE, drawn=True) == []
    assert check.doubts(FINE, drawn=False) == []
    told = check.doubts(replace(FINE, **change), drawn=True)
    assert len(told) == 1
    assert words in told[0]


def test_a_network_needs_the_images_to_agree():
    same = replace(FINE, difference_after=FINE.difference_before)
    assert check.doubts(same, drawn=True) == []
    assert "not more alike" in check.doubts(same, drawn=False)[0]


def test_nothing_to_go_by(pair):
    bare = Pair(pair.fixed, pair.moving, START)
    with pytest.raises(InputError, match="Nothing guides"):
        refine.refine(bare, use_matches=False)
    empty = Gland(Volume(np.zeros((20, 20, 20), dtype=np.float32), np.eye(4)))
    with pytest.raises(InputError, match="empty"):
        refine.refine(replace(pair, fixed_gland=empty))
    with pytest.raises(InputError, match="overlap"):
        refine.refine(replace(pair, initial=rigid([0, 0, 0], [500.0, 0, 0])))
