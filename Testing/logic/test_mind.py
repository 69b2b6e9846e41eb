"""MIND-SSC and the interest points."""

import numpy as np
import pytest
from scipy import ndimage

from LandmarkFusionLogic.deformable.corners import corner_strength, find_corners
from LandmarkFusionLogic.deformable.mind import CHANNELS, PAIRS, mind_ssc


def _image(shape=(20, 22, 24), seed=0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.0).astype(np.float32)


def test_twelve_pairs_of_neighbors_each_root_two_apart():
    assert CHANNELS == len(set(PAIRS)) == 12
    found = mind_ssc(_image())
    assert found.shape == (12, 20, 22, 24)
    assert found.min() >= 0
    assert found.max(axis=0) == pytest.approx(1.0)


def test_brightness_contrast_and_inversion_do_not_matter():
    image = _image()
    assert mind_ssc(3.0 - 40.0 * image) == pytest.approx(mind_ssc(image), abs=1e-3)


def test_it_moves_with_the_image():
    image = _image()
    moved = mind_ssc(np.roll(image, (2, -1, 3), axis=(0, 1, 2)))
    inner = (slice(None), slice(6, -6), slice(6, -6), slice(6, -6))
    assert np.roll(moved, (-2, 1, -3), axis=(1, 2, 3))[inner] == pytest.approx(mind_ssc(image)[inner], abs=1e-3)


def test_one_voxel_worked_out_by_hand():
    image = np.zeros((7, 7, 7), dtype=np.float32)
    image[3, 3, 4] = 1.0
    found = mind_ssc(image, patch=1)[:, 3, 3, 3]
    # Only the four pairs that hold the neighbor at i + 1 differ, by 1 squared; the mean of the twelve is a third.
    holds = [5 in pair for pair in PAIRS]
    assert np.count_nonzero(holds) == 4
    assert found[holds] == pytest.approx(np.exp(-3.0), rel=1e-4)
    assert found[~np.array(holds)] == pytest.approx(1.0)


def test_constant_images_have_finite_descriptors():
    assert np.all(np.isfinite(mind_ssc(np.full((8, 8, 8), 5.0))))


def test_the_corner_of_a_box_is_a_corner_and_its_faces_and_edges_are_not():
    image = np.zeros((40, 40, 40), dtype=np.float32)
    image[20:, 20:, 20:] = 1000.0
    strength = corner_strength(image)
    corner = strength[18:23, 18:23, 18:23].max()
    assert corner > 20 * strength[18:23, 18:23, 32].max()
    assert corner > 20 * strength[18:23, 32, 32].max()
    found = find_corners(image, np.ones(image.shape, dtype=bool), 1)
    assert np.abs(found[0] - 19.5).max() <= 2


def test_corners_are_spread_over_the_image_and_stay_inside_the_mask():
    image = _image((48, 48, 48), seed=2)
    image[:24] *= 20  # Strong structures on one side must not take all the places.
    inside = np.zeros(image.shape, dtype=bool)
    inside[4:44, 4:44, 4:44] = True
    found = find_corners(image, inside, 120)
    assert len(found) == 120
    assert np.all(inside[tuple(found.T)])
    assert 40 <= np.count_nonzero(found[:, 0] < 24) <= 80
    assert len(np.unique(found // 4, axis=0)) == len(found)


def test_no_corner_where_there_is_nothing():
    assert len(find_corners(np.zeros((10, 10, 10)), np.ones((10, 10, 10), dtype=bool), 5)) == 0
