"""The pose from points that are named in CT and X-ray."""

from __future__ import annotations

import numpy as np
import pytest

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pnp import distances, solve
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera

GEOMETRY = Geometry(1011.7, 256, 256, (0.8, 0.8), principal_point=(120.0, 140.0))
MIRRORED = Geometry(1011.7, 256, 256, (0.8, 0.8), mirrored=True)
ISOCENTER = np.array([10.0, -120.0, 340.0])
SPINE = ISOCENTER + np.array(
    [[0, -40, 50], [2, 10, 52], [-25, -20, 20], [24, -22, 18], [1, -42, -10], [-2, 12, -12], [22, -18, -48]],
    dtype=float,
)


def seen(points, pose, geometry=GEOMETRY):
    matrix = ct_to_camera(pose, ISOCENTER, geometry)
    return geometry.to_pixels(points @ matrix[:3, :3].T + matrix[:3, 3])


@pytest.mark.parametrize("geometry", [GEOMETRY, MIRRORED])
@pytest.mark.parametrize(
    "pose",
    [
        Pose((5.0, -8.0, 12.0), (10.0, -6.0, 40.0)),
        Pose((-10.0, 85.0, 4.0), (3.0, 2.0, -60.0)),
        Pose((0.0, 170.0, 9.0)),
    ],
)
@pytest.mark.parametrize("count", [4, 5, 7])
def test_exact_points_give_the_exact_pose(pose, count, geometry):
    found = solve(SPINE[:count], seen(SPINE[:count], pose, geometry), geometry, ISOCENTER)
    np.testing.assert_allclose(
        ct_to_camera(found, ISOCENTER, geometry), ct_to_camera(pose, ISOCENTER, geometry), atol=1e-3
    )


def test_points_in_a_plane_are_enough():
    pose = Pose((8.0, 15.0, -5.0), (4.0, 5.0, -30.0))
    flat = ISOCENTER + np.array([[-40, 5, -45], [38, -12, -40], [35, 3, 44], [-36, -8, 41], [3, -4, 9]]) * [1, 0, 1]
    found = solve(flat, seen(flat, pose), GEOMETRY, ISOCENTER)
    np.testing.assert_allclose(found.parameters, pose.parameters, atol=1e-3)


def test_clicks_that_are_off_by_a_pixel_move_the_pose_little():
    pose = Pose((5.0, -8.0, 12.0), (10.0, -6.0, 40.0))
    pixels = seen(SPINE, pose) + np.random.default_rng(2).normal(0, 1, (len(SPINE), 2))
    found = solve(SPINE, pixels, GEOMETRY, ISOCENTER)
    assert np.abs(found.parameters - pose.parameters)[:3].max() < 3
    assert np.abs(found.parameters - pose.parameters)[3:5].max() < 3
    errors = distances(SPINE, pixels, GEOMETRY, ct_to_camera(found, ISOCENTER, GEOMETRY))
    assert errors.shape == (7,)
    assert 0.1 < errors.mean() < 1.5


@pytest.mark.parametrize(
    ("points", "pixels", "sentence"),
    [
        (SPINE[:3], np.zeros((3, 2)), "At least 4 points"),
        (SPINE[:5], np.zeros((4, 2)), "same number"),
        (SPINE[:5, :2], np.zeros((5, 2)), "three coordinates"),
        (np.where(np.eye(5, 3) > 0, np.nan, SPINE[:5]), np.zeros((5, 2)), "finite"),
        (
            ISOCENTER + np.outer(np.arange(5), [0, 1, 20.0]),
            np.random.default_rng(0).uniform(0, 255, (5, 2)),
            "on a line",
        ),
        (SPINE, np.random.default_rng(1).uniform(0, 255, (7, 2)), "No pose explains"),
        (SPINE[:5], np.outer(np.arange(5), [3.0, 4.0]), "on a line in the X-ray"),
    ],
)
def test_points_that_are_not_enough_are_told(points, pixels, sentence):
    with pytest.raises(InputError, match=sentence):
        solve(points, pixels, GEOMETRY, ISOCENTER)
