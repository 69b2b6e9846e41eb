"""Mask, centroid and volume of a gland whose shape is known."""

import numpy as np
import pytest
import samples

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import Gland, gland_of_mask
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume


def _ball(radius, soft=0.0, place=(3.0, -4.0, 5.0), spacing=(1.0, 1.2, 1.5)):
    affine = samples.affine(spacing, samples.OBLIQUE)
    array = np.zeros((60, 70, 80), dtype=np.float32)
    affine[:3, 3] -= Volume(array, affine).centre
    k, j, i = np.meshgrid(*(np.arange(n) for n in array.shape), indexing="ij")
    away = radius - np.linalg.norm(apply(affine, np.stack([i, j, k], axis=-1)) - place, axis=-1)
    return Volume((1 / (1 + np.exp(-away / soft)) if soft else away > 0).astype(np.float32), affine)


def test_a_ball_has_its_volume_and_its_middle():
    gland = gland_of_mask(_ball(20.0))
    assert gland.millilitres == pytest.approx(4 / 3 * np.pi * 8, rel=0.01)
    np.testing.assert_allclose(gland.centroid, (3.0, -4.0, 5.0), atol=0.1)
    assert gland.mask().array.dtype == np.uint8
    assert gland.mask().array.sum() == (gland.probability.array > 0).sum()


def test_only_the_largest_piece_is_the_gland():
    volume = _ball(20.0)
    clutter = volume.array.copy()
    clutter[:3, :3, :3] = 1
    gland = gland_of_mask(Volume(clutter, volume.ijk_to_ras))
    assert gland.mask().array[:3, :3, :3].sum() == 0
    np.testing.assert_allclose(gland.centroid, (3.0, -4.0, 5.0), atol=0.1)


def test_a_blurred_border_makes_the_middle_less_certain():
    sharp, soft, softer = (Gland(_ball(20.0, soft)).centroid_covariance for soft in (0.1, 2.0, 4.0))
    assert np.trace(sharp) < np.trace(soft) < np.trace(softer)
    assert np.linalg.eigvalsh(sharp).min() >= 1.0
    known = Gland(_ball(20.0), spread=np.diag([9.0, 4.0, 1.0]))
    np.testing.assert_allclose(known.centroid_covariance, np.diag([10.0, 5.0, 2.0]))


def test_an_empty_mask_is_told_and_an_empty_gland_has_no_place():
    nothing = Volume(np.zeros((4, 5, 6), dtype=np.float32), np.eye(4))
    with pytest.raises(InputError, match="The gland mask of the US is empty"):
        gland_of_mask(nothing, "gland mask of the US")
    gland = Gland(nothing)
    assert gland.empty
    assert gland.millilitres == 0
    assert np.isnan(gland.centroid).all()
    assert np.trace(gland.centroid_covariance) > 1000


def test_of_a_large_label_map_only_the_surroundings_of_the_gland_are_kept():
    array = np.zeros((120, 130, 140), dtype=np.uint8)
    array[60:70, 50:64, 80:90] = 3
    mask = Volume(array, np.diag([1.0, 1.0, 2.0, 1.0]))
    gland = gland_of_mask(mask)
    np.testing.assert_allclose(gland.centroid, [84.5, 56.5, 129.0])
    assert gland.millilitres == pytest.approx(10 * 14 * 10 * 2 / 1000)
    assert gland.mask().array.shape == (10 + 2 * 8, 14 + 2 * 15, 10 + 2 * 15)
