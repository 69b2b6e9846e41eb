"""Deformations with a known truth: the paper's ranges, invertible, nothing folds, the image agrees with the points."""

import numpy as np
import pytest
from scipy import ndimage

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.simulation.deformations import (
    KINDS,
    ROTATION_DEGREES,
    SCALE,
    STEEPEST,
    TRANSLATION_MM,
    deform,
    draw_deformation,
    jacobian_determinants,
)
from LandmarkFusionLogic.volume import Volume


def _volume(shape=(30, 40, 44), spacing=4.0, turned=False):
    affine = np.diag([-spacing, -spacing, spacing, 1.0]) if turned else np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = (50.0, -20.0, 300.0)
    noise = np.random.default_rng(0).normal(size=shape)
    return Volume(ndimage.gaussian_filter(noise, 2).astype(np.float32) * 1000, affine)


def _points(volume, count=200):
    index = np.random.default_rng(1).uniform(4, np.array(volume.shape_ijk) - 5, (count, 3))
    return index @ volume.ijk_to_ras[:3, :3].T + volume.ijk_to_ras[:3, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_is_where_it_began(kind):
    volume = _volume(turned=True)
    found = draw_deformation(3, volume, kind)
    points = _points(volume)
    moved = found.to_moving(points)
    assert np.abs(moved - points).max() > 0.5
    assert found.to_fixed(moved) == pytest.approx(points, abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_elastic_deformations_do_not_fold_and_stay_in_the_papers_range(seed):
    volume = _volume()
    found = draw_deformation(seed, volume)
    points = _points(volume, 3000)
    assert jacobian_determinants(found, points).min() > (1 - STEEPEST) ** 3
    assert np.all((np.abs(found.vector) >= 2) & (np.abs(found.vector) <= 24))
    assert 64 <= found.sigma <= 128
    assert np.abs(found.displacement(points)).max() < 24 + 12 + 2


def test_affine_kinds_have_the_papers_ranges_about_the_center():
    volume = _volume()
    for seed in range(20):
        shift = draw_deformation(seed, volume, "translation").matrix
        assert shift[:3, :3] == pytest.approx(np.eye(3))
        assert np.abs(shift[:3, 3]).max() <= TRANSLATION_MM
        turn = draw_deformation(seed, volume, "rotation")
        assert turn.matrix[:3, :3] @ turn.matrix[:3, :3].T == pytest.approx(np.eye(3))
        assert np.degrees(np.arccos((np.trace(turn.matrix[:3, :3]) - 1) / 2)) < 2 * ROTATION_DEGREES
        scale = draw_deformation(seed, volume, "scale")
        assert np.all((np.diag(scale.matrix)[:3] >= SCALE[0]) & (np.diag(scale.matrix)[:3] <= SCALE[1]))
        for found in (turn, scale):
            assert found.to_fixed(volume.centre[None])[0] == pytest.approx(volume.centre)


def test_the_image_agrees_with_the_points():
    volume = _volume(turned=True)
    found = draw_deformation(5, volume)
    moving = deform(volume, found)
    points = _points(volume)

    def values(image, places):
        back = np.linalg.inv(image.ijk_to_ras)
        index = (places @ back[:3, :3].T + back[:3, 3]).T[::-1]
        return ndimage.map_coordinates(image.array, index, order=3), np.all(
            (index > 1) & (index < np.array(image.array.shape)[:, None] - 2), axis=0
        )

    ours, _ = values(volume, points)
    theirs, inside = values(moving, found.to_moving(points))
    assert inside.sum() > 100
    contrast = volume.array.std()
    assert np.abs(ours - theirs)[inside].mean() < 0.03 * contrast
    assert np.abs(ours - values(moving, points)[0])[inside].mean() > 0.3 * contrast


def test_the_same_seed_is_the_same_deformation_and_another_one_is_not():
    volume, points = _volume(), _points(_volume())
    first, again, other = (draw_deformation(seed, volume).to_fixed(points) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1


def test_outside_of_the_volume_is_its_smallest_value():
    volume = _volume()
    far = draw_deformation(0, volume, "translation")
    far.matrix[:3, 3] += 1000
    assert np.all(deform(volume, far).array == volume.array.min())


def test_an_unknown_kind_is_said():
    with pytest.raises(InputError, match="There is no deformation “shear”"):
        draw_deformation(0, _volume(), "shear")
