"""Measures of a rigid alignment of two glands, on shapes whose answers are known."""

import numpy as np
import pytest
import samples
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.rigid.fit import apply, invert
from LandmarkFusionLogic.rigid.metrics import (
    centroid,
    dice,
    residual_rotation,
    shift,
    surface_registration_error,
    true_motion,
)
from LandmarkFusionLogic.rigid.surfaces import SurfaceDistance, surface_of
from LandmarkFusionLogic.volume import Volume

vtk = pytest.importorskip("vtkmodules")


def ellipsoid(half=(24.0, 16.0, 20.0), centre=(0.0, 0.0, 0.0), spacing=(1.2, 1.2, 1.2), turn=None) -> Volume:
    """A mask (uint8) of an ellipsoid with a bump, so that only one motion takes it onto itself."""
    directions = samples.OBLIQUE
    size = np.ceil(80 / np.asarray(spacing)).astype(int)
    matrix = samples.affine(spacing, directions)
    matrix[:3, 3] = np.asarray(centre) - matrix[:3, :3] @ ((size - 1) / 2)
    k, j, i = np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij")
    ras = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3] - centre
    ras = ras if turn is None else ras @ turn  # rows times R are the columns of R^-1 x
    inside = ((ras / half) ** 2).sum(-1) <= 1
    inside |= ((ras - [10, 4, 14]) ** 2).sum(-1) <= 12**2
    return Volume(inside.astype(np.uint8), matrix)


def test_the_surface_of_a_ball_lies_at_its_radius_whatever_the_grid():
    for spacing in ((1.0, 1.0, 1.0), (0.8, 0.8, 2.5)):
        size = np.ceil(60 / np.array(spacing)).astype(int)
        matrix = samples.affine(spacing, samples.OBLIQUE, (40.0, -300.0, 12.0))
        centre = apply(matrix, (size - 1) / 2)
        k, j, i = np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij")
        ras = apply(matrix, np.stack([i, j, k], axis=-1)) - centre
        surface = surface_of(Volume((np.linalg.norm(ras, axis=-1) < 20).astype(np.uint8), matrix))
        radii = np.linalg.norm(surface.points - centre, axis=1)
        assert radii.mean() == pytest.approx(20, abs=0.25)
        assert radii.std() < 0.4


def test_a_mask_that_touches_the_border_still_has_a_closed_surface():
    surface = surface_of(Volume(np.ones((12, 12, 12), np.uint8), np.eye(4)))
    edges = np.sort(surface.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts) == {2}
    np.testing.assert_allclose(surface.points.mean(axis=0), 5.5, atol=0.1)


@pytest.mark.parametrize("degrees", [0, 8, 20])
def test_closest_points_recover_a_known_motion_from_the_centroid_shift(degrees):
    turn = Rotation.from_rotvec(np.array([0.8, -0.3, 0.52]) * np.radians(degrees)).as_matrix()
    truth = np.eye(4)
    truth[:3, :3], truth[:3, 3] = turn, (120, -45, 31)
    mr = ellipsoid()
    us = ellipsoid(centre=truth[:3, 3], spacing=(1.0, 1.0, 1.3), turn=turn)
    a, b = surface_of(mr), surface_of(us)
    start = shift(centroid(mr), centroid(us))
    found = true_motion(a, b, start)
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-10)
    assert residual_rotation(truth, found) < 1.5
    assert surface_registration_error(a.points, truth, found) < 0.5
    assert SurfaceDistance(a, b).mean(found) < 0.3
    assert dice(mr, us, found) > 0.97
    np.testing.assert_array_equal(found, true_motion(a, b, start))


def test_closest_points_do_not_depend_on_where_the_scanners_origin_lies():
    mr, us = (
        ellipsoid(),
        ellipsoid(centre=(3.0, 2.0, -4.0), turn=Rotation.from_euler("x", 6, degrees=True).as_matrix()),
    )
    near = true_motion(surface_of(mr), surface_of(us), np.eye(4))
    far = np.eye(4)
    far[:3, 3] = (2500, -1800, 3100)
    moved = Volume(us.array, far @ us.ijk_to_ras)
    np.testing.assert_allclose(true_motion(surface_of(mr), surface_of(moved), far), far @ near, atol=2e-2)


def test_concentric_balls_are_as_far_apart_as_their_radii_wherever_they_lie():
    def ball(radius, origin):
        k, j, i = np.meshgrid(*(np.arange(50),) * 3, indexing="ij")
        inside = np.linalg.norm(np.stack([i, j, k], axis=-1) - 24.5, axis=-1) < radius
        return surface_of(Volume(inside.astype(np.uint8), samples.affine(origin=origin)))

    small, large = ball(15, (900.0, -400.0, 70.0)), ball(20, (-30.0, 0.0, 10.0))
    onto = shift((900.0, -400.0, 70.0), (-30.0, 0.0, 10.0))
    assert SurfaceDistance(small, large).mean(onto) == pytest.approx(5, abs=0.1)
    aside = shift((0, 0, 0), (12.0, 0, 0)) @ onto
    assert SurfaceDistance(small, large).mean(aside) > 6
    turned = onto.copy()
    turned[:3, :3] = samples.OBLIQUE
    turned[:3, 3] = apply(onto, small.points.mean(axis=0)) - samples.OBLIQUE @ small.points.mean(axis=0)
    assert SurfaceDistance(small, large).mean(turned) == pytest.approx(5, abs=0.1)


def test_sre_is_the_mean_displacement_between_two_motions():
    points = np.random.default_rng(0).normal(scale=20, size=(50, 3))
    truth = samples.random_rigid(np.random.default_rng(1))
    assert surface_registration_error(points, truth, truth) == 0
    moved = shift((0, 0, 0), (3, 4, 0)) @ truth
    assert surface_registration_error(points, truth, moved) == pytest.approx(5)
    turned = samples.random_rigid(np.random.default_rng(2))
    expected = np.mean([np.linalg.norm(apply(truth, p) - apply(turned, p)) for p in points])
    assert surface_registration_error(points, truth, turned) == pytest.approx(expected)


@pytest.mark.parametrize("degrees", [1e-6, 0.5, 30, 90, 179, 180])
def test_residual_rotation_is_the_angle_between_two_rotations(degrees):
    start = samples.random_rigid(np.random.default_rng(3))
    turned = start.copy()
    axis = np.array([1.0, 2.0, -2.0]) / 3
    turned[:3, :3] = Rotation.from_rotvec(axis * np.radians(degrees)).as_matrix() @ start[:3, :3]
    assert residual_rotation(start, turned) == pytest.approx(degrees, rel=1e-6, abs=1e-9)
    assert residual_rotation(turned, start) == pytest.approx(degrees, rel=1e-6, abs=1e-9)


def test_dice_of_boxes_that_overlap_by_half():
    box = np.zeros((30, 30, 30), np.uint8)
    box[5:25, 5:25, 5:25] = 1
    volume = Volume(box, samples.affine((1.5, 1.0, 1.0)))
    assert dice(volume, volume, np.eye(4)) == pytest.approx(1.0)
    assert dice(volume, volume, shift((0, 0, 0), (0, 10, 0))) == pytest.approx(0.5, abs=0.03)
    assert dice(volume, volume, shift((0, 0, 0), (0, 0, 300))) == 0
    # The same box in another grid, and the motion undone.
    motion = samples.random_rigid(np.random.default_rng(4))
    elsewhere = Volume(box, motion @ volume.ijk_to_ras)
    assert dice(volume, elsewhere, motion) == pytest.approx(1.0)
    assert dice(elsewhere, volume, invert(motion)) == pytest.approx(1.0)


def test_an_mr_gland_that_reaches_out_of_the_us_counts_in_full():
    box = np.zeros((30, 30, 30), np.uint8)
    box[5:25, 5:25, 5:25] = 1
    mr = Volume(box, np.eye(4))
    cut = Volume(box[:15], np.eye(4))  # the US shows the lower half only
    assert dice(mr, cut, np.eye(4)) == pytest.approx(2 * 4000 / (8000 + 4000))


def test_empty_masks_are_refused():
    empty, mask = Volume(np.zeros((9, 9, 9), np.uint8), np.eye(4)), ellipsoid()
    with pytest.raises(InputError, match="gland mask is empty"):
        surface_of(empty)
    with pytest.raises(InputError, match="gland mask is empty"):
        dice(mask, empty, np.eye(4))
    with pytest.raises(InputError, match="gland mask is empty"):
        centroid(empty)
