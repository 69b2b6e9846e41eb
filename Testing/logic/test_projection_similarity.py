"""Similarities of X-ray and DRR, their derivatives, and the edges that the default method compares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from LandmarkFusionLogic.projection.alignment import View, trusted
from LandmarkFusionLogic.projection.edges import EdgeScale, edges
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pyramid import geometry_for, halved, image_for, volume_for
from LandmarkFusionLogic.projection.similarity import SIMILARITIES
from LandmarkFusionLogic.volume import Volume


def image(seed, shape=(30, 34), sigma=2.0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma) * 10


@pytest.mark.parametrize("name", SIMILARITIES)
def test_an_image_is_most_similar_to_itself(name):
    similarity = SIMILARITIES[name]
    fixed = image(1)
    own, slope = similarity(fixed, fixed)
    # Squares that hang over the image's border see nothing there, in both.
    assert own == pytest.approx(1.0, abs=1e-6)
    assert np.abs(slope).max() < 1e-6 or name == "ngi"  # the smaller of two lengths has a corner where they are equal
    assert similarity(fixed, fixed * 3)[0] == pytest.approx(own, abs=0.02)
    assert similarity(fixed, np.roll(fixed, 2, axis=1))[0] < 0.95
    assert abs(similarity(fixed, image(2))[0]) < 0.5
    if name != "nccl":  # there the border tells the offset
        assert similarity(fixed, fixed + 5)[0] == pytest.approx(own)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_derivatives_by_pixels_are_those_of_finite_steps(name):
    similarity = SIMILARITIES[name]
    fixed, moving = image(1), image(1) + 0.5 * image(2)
    _, slope = similarity(fixed, moving)
    random = np.random.default_rng(0)
    for _ in range(5):
        step = random.normal(size=moving.shape) * 1e-5
        difference = similarity(fixed, moving + step)[0] - similarity(fixed, moving - step)[0]
        assert difference / 2 == pytest.approx(float((slope * step).sum()), rel=2e-3, abs=1e-10)


def test_similarities_of_images_without_contrast_are_zero():
    for name, similarity in SIMILARITIES.items():
        value, slope = similarity(image(1), np.zeros((30, 34)))
        assert abs(value) < 1e-6, name
        assert np.all(np.isfinite(slope))


def test_edges_stand_out_against_those_around_them():
    picture = image(3).astype(np.float32)
    bent = np.where(np.arange(34) < 17, picture, 4 * picture)  # one half with four times the contrast
    mask = np.ones((28, 32), dtype=bool)
    plain, local = (
        [edges(each[None].astype(np.float32), mask, EdgeScale(0.7, window))[0] for each in (picture, bent)]
        for window in (0.0, 2.0)
    )
    assert plain[0].shape == (2, 28, 32)
    apart = [np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1] for pair in (plain, local)]
    assert apart[1] > apart[0] + 0.02
    hidden = mask.copy()
    hidden[:, :10] = False
    assert not edges(picture[None], hidden, EdgeScale(0.7, 2.0))[0][:, :, :10].any()


def test_derivatives_of_edges():
    picture, direction = image(3).astype(np.float32), image(4).astype(np.float32)
    mask = np.ones((28, 32), dtype=bool)
    found = edges(np.stack([picture, direction]), mask, EdgeScale(0.7, 0.0))
    step = edges((picture + 0.1 * direction)[None], mask, EdgeScale(0.7, 0.0))[0]
    np.testing.assert_allclose(found[0] + 0.1 * found[1], step, atol=1e-4)


def test_coarser_images_and_volumes_are_means_in_the_same_place():
    geometry = Geometry(1000.0, 96, 80, (2.0, 2.0), principal_point=(40.0, 50.0))
    picture = image(5, (96, 80), 4).astype(np.float32)
    coarse = geometry_for(geometry, 48)
    assert (coarse.rows, coarse.columns) == (48, 40)
    small, seen = image_for(View(picture, geometry), coarse)
    np.testing.assert_allclose(small, picture.reshape(48, 2, 40, 2).mean(axis=(1, 3)), atol=1e-5)
    assert seen.all()
    assert geometry_for(geometry, 200) is geometry

    volume = Volume(np.random.default_rng(0).random((9, 8, 10), dtype=np.float32), np.diag([1.0, 2, 3, 1]))
    half = halved(volume)
    assert half.array.shape == (4, 4, 5)
    assert half.array[0, 0, 0] == pytest.approx(volume.array[:2, :2, :2].mean(), rel=1e-5)
    np.testing.assert_allclose(half.ijk_to_ras @ [0, 0, 0, 1], volume.ijk_to_ras @ [0.5, 0.5, 0.5, 1])
    assert volume_for(Volume(np.zeros((64, 64, 64), np.float32), np.diag([1.0, 1, 1, 1])), coarse).array.shape[0] == 16


def test_shutters_are_not_trusted():
    picture = image(6, (40, 40)).astype(np.float32)
    picture[:5] = picture[:, -3:] = -20
    view = View(picture, Geometry(1000.0, 40, 40, (5.0, 5.0)))
    seen = trusted(view)
    assert not seen[:5].any()
    assert not seen[:, -3:].any()
    assert seen[5:, :-3].all()
    small, there = image_for(view, view.geometry.resized(20, 20))
    assert small.min() > -20
    assert not there[:3].any()
    own = np.zeros((40, 40), dtype=bool)
    own[10:30, 10:30] = True
    np.testing.assert_array_equal(trusted(View(picture, view.geometry, mask=own)), own)
