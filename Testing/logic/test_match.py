"""Correspondences without a network, and the removal of wrong ones, on volumes whose deformation is known."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.deformable.classical import find
from LandmarkFusionLogic.deformable.consistency import FEWEST, consistent, remove_wrong
from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.lattice import make_lattice
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.simulation.deformations import deform, draw_deformation
from LandmarkFusionLogic.volume import Volume

COUNT = 300


def _volume(seed=0, shape=(40, 48, 52), spacing=2.0):
    random = np.random.default_rng(seed)
    array = sum(
        weight * ndimage.gaussian_filter(random.normal(size=shape), sigma) * sigma**1.5
        for weight, sigma in ((1, 1.5), (2, 4))
    )
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[:3, 3] = (60.0, 40.0, -30.0)
    return Volume((100 * array).astype(np.float32), affine)


@pytest.fixture(scope="module")
def pair():
    fixed = _volume()
    deformation = draw_deformation(4, fixed)
    return fixed, deform(fixed, deformation), deformation


def _errors(found, deformation):
    return np.linalg.norm(deformation.to_fixed(found.moving) - found.fixed, axis=1)


def test_pairs_show_the_same_place(pair):
    fixed, moving, deformation = pair
    steps = []
    found = find(fixed, moving, report=lambda fraction, text: steps.append(fraction), count=COUNT)
    error = _errors(found, deformation)
    before = np.linalg.norm(deformation.to_fixed(found.fixed) - found.fixed, axis=1)
    assert len(found) > COUNT / 4
    assert np.median(before) > 5
    assert np.median(error) < 1.0
    assert np.mean(error < 4) > 0.9
    assert np.all((found.confidence >= 0) & (found.confidence <= 1))
    assert steps == sorted(steps)
    assert steps[-1] == 1.0


def test_an_initial_transform_and_another_world_and_contrast_change_nothing(pair):
    fixed, moving, deformation = pair
    world = np.eye(4)
    world[:3, :3] = Rotation.from_euler("xyz", (20, -35, 70), degrees=True).as_matrix()
    world[:3, 3] = (100.0, -300.0, 50.0)
    other = Volume(500 - 3 * moving.array, world @ moving.ijk_to_ras)
    found = find(fixed, other, initial=np.linalg.inv(world), count=COUNT)
    back = (found.moving - world[:3, 3]) @ world[:3, :3]
    error = np.linalg.norm(deformation.to_fixed(back) - found.fixed, axis=1)
    assert len(found) > COUNT / 5
    assert np.median(error) < 1.0


def test_points_stay_in_masks_and_region(pair):
    fixed, moving, _ = pair
    inside = np.zeros(fixed.array.shape, dtype=np.uint8)
    inside[8:32, 10:38, 12:30] = 1
    mask = Volume(inside, fixed.ijk_to_ras)
    middle = fixed.centre
    region = [middle[0] - 30, middle[0] + 30, middle[1] - 35, middle[1] + 20, middle[2] - 25, middle[2] + 25]
    found = find(fixed, moving, mask, mask, region=region, count=COUNT)
    for points in (found.fixed, found.moving):
        back = np.linalg.inv(fixed.ijk_to_ras)
        index = np.rint(points @ back[:3, :3].T + back[:3, 3]).astype(int)
        assert np.all(inside[tuple(index.T[::-1])])
    bounds = np.reshape(region, (3, 2))
    assert np.all((found.fixed >= bounds[:, 0] - 2) & (found.fixed <= bounds[:, 1] + 8))


def test_the_grid_keeps_voxels_that_fit_and_large_volumes_get_larger_voxels():
    fixed = _volume()
    same = make_lattice(fixed)
    assert same.spacing == pytest.approx(2.0)
    assert same.ijk_to_ras == pytest.approx(fixed.ijk_to_ras)
    large = Volume(np.broadcast_to(np.float32(0), (700, 700, 700)), np.eye(4))
    assert np.prod(make_lattice(large).shape) < 4.2e6


def _plant(share, seed=0, count=800):
    random = np.random.default_rng(seed)
    volume = _volume(shape=(60, 80, 80))
    deformation = draw_deformation(seed, volume)
    fixed = random.uniform((-90, -110, -25), (50, 30, 80), (count, 3))
    moving = deformation.to_moving(fixed) + random.normal(0, 0.5, fixed.shape)
    wrong = random.random(count) < share
    direction = random.normal(size=fixed.shape)
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    moving[wrong] += (direction * random.uniform(5, 25, (count, 1)))[wrong]
    return Correspondences(fixed, moving, np.ones(count)), wrong


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3])
def test_planted_wrong_pairs_are_removed_and_right_ones_stay(share):
    planted, wrong = _plant(share)
    kept = consistent(planted)
    assert np.mean(kept[~wrong]) > 0.95
    if share:
        assert np.mean(~kept[wrong]) > 0.95


def test_removal_keeps_what_is_consistent_and_lowers_the_confidence_of_what_is_barely_so():
    planted, _ = _plant(0.2)
    kept = consistent(planted)
    found = remove_wrong(planted)
    assert np.array_equal(found.fixed, planted.fixed[kept])
    assert np.all((found.confidence > 0.6) & (found.confidence <= 1.0))


def test_a_handful_of_pairs_is_left_alone_and_equal_points_do_no_harm():
    few = Correspondences(*(np.random.default_rng(0).normal(0, 50, (FEWEST - 1, 3)) for _ in range(2)), np.ones(7))
    assert consistent(few).all()
    same = Correspondences(np.zeros((30, 3)), np.zeros((30, 3)), np.ones(30))
    assert consistent(same).all()


def test_volumes_without_overlap_are_said(pair):
    fixed, moving, _ = pair
    away = moving.ijk_to_ras.copy()
    away[:3, 3] += 1000
    with pytest.raises(InputError, match="do not overlap"):
        find(fixed, Volume(moving.array, away))


def test_a_mask_that_holds_nothing_is_said(pair):
    fixed, moving, _ = pair
    empty = Volume(np.zeros(fixed.array.shape, dtype=np.uint8), fixed.ijk_to_ras)
    with pytest.raises(InputError, match="mask of the fixed volume holds nothing"):
        find(fixed, moving, fixed_mask=empty)
    with pytest.raises(InputError, match="mask of the moving volume holds nothing"):
        find(fixed, moving, moving_mask=empty)


@pytest.mark.parametrize("region", [[0, 1, 0, 1], [10, 0, 0, 10, 0, 10], [0, np.nan, 0, 1, 0, 1]])
def test_a_region_that_is_none_is_said(pair, region):
    with pytest.raises(InputError, match="six finite numbers"):
        find(pair[0], pair[1], region=region)


def test_a_region_beside_the_volume_and_unrelated_volumes_are_said(pair):
    with pytest.raises(InputError, match="outside the fixed volume"):
        find(pair[0], pair[1], region=[900, 950, 900, 950, 900, 950])
    blank = Volume(np.zeros_like(pair[0].array), pair[0].ijk_to_ras)
    with pytest.raises(InputError, match="No corresponding points"):
        find(blank, blank)
