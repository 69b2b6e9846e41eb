"""The C-arm's geometry, poses and attenuation, and how each refuses what cannot be."""

from __future__ import annotations

import json

import numpy as np
import pytest

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.attenuation import attenuation, check_ct
from LandmarkFusionLogic.projection.geometry import Geometry, read_geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera, pose_from_matrix, step_matrix, steps_of_parameters
from LandmarkFusionLogic.volume import Volume

GEOMETRY = Geometry(1011.7, 256, 200, (0.8, 0.7), principal_point=(100.0, 90.0), source_to_isocenter=700.0)
ISOCENTER = np.array([12.0, -30.0, 400.0])


def test_a_pose_of_zeros_is_an_ap_view_with_the_patients_left_on_the_right():
    matrix = ct_to_camera(Pose(), ISOCENTER, GEOMETRY)
    offsets = np.array([[0, 0, 0], [-10, 0, 0], [0, 0, -10], [0, -10, 0]])  # RAS: left, inferior, posterior
    places = (ISOCENTER + offsets) @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(places, [[0, 0, 700], [10, 0, 700], [0, 10, 700], [0, 0, 710]], atol=1e-9)
    pixels = GEOMETRY.to_pixels(places)
    np.testing.assert_allclose(pixels[0], [100, 90])
    assert pixels[1][1] > 90
    assert pixels[2][0] > 100


def test_a_pose_is_what_its_matrix_says():
    pose = Pose((20.0, -35.0, 61.0), (5.0, -6.0, 70.0))
    found = pose_from_matrix(ct_to_camera(pose, ISOCENTER, GEOMETRY), ISOCENTER, GEOMETRY)
    np.testing.assert_allclose(found.parameters, pose.parameters, atol=1e-9)
    whole = Pose((1, 2, 3), (10, 5, -20))  # numbers without a fraction
    found = pose_from_matrix(ct_to_camera(whole, ISOCENTER, GEOMETRY), ISOCENTER, GEOMETRY)
    np.testing.assert_allclose(found.parameters, whole.parameters, atol=1e-9)


@pytest.mark.filterwarnings("error")
def test_a_lateral_view_has_a_pose_too():
    matrix = ct_to_camera(Pose((10.0, 90.0, 20.0)), ISOCENTER, GEOMETRY)
    found = pose_from_matrix(matrix, ISOCENTER, GEOMETRY)
    np.testing.assert_allclose(ct_to_camera(found, ISOCENTER, GEOMETRY), matrix, atol=1e-6)


def test_rotations_are_applied_about_z_first_and_x_last():
    """Eq. 2 of the paper: T · Rx · Ry · Rz."""
    pose = Pose((90.0, 0.0, 90.0))
    matrix = ct_to_camera(pose, ISOCENTER, GEOMETRY)
    # The patient's left is camera x; z turns it to y, then x turns it to z.
    np.testing.assert_allclose(matrix[:3, :3] @ [-1, 0, 0], [0, 0, 1], atol=1e-12)


def test_small_changes_of_a_pose_are_steps_about_the_isocenter():
    pose = Pose((20.0, -35.0, 61.0), (5.0, -6.0, 70.0))
    change = np.array([1, -2, 3, 4, 5, -6]) * 1e-4
    before = ct_to_camera(pose, ISOCENTER, GEOMETRY)
    after = ct_to_camera(Pose.of(pose.parameters + change), ISOCENTER, GEOMETRY)
    center = before[:3, :3] @ ISOCENTER + before[:3, 3]
    np.testing.assert_allclose(step_matrix(steps_of_parameters(pose) @ change, center) @ before, after, atol=1e-7)


@pytest.mark.parametrize("mirrored", [False, True])
def test_pixels_and_rays_are_each_others_inverse(mirrored):
    geometry = Geometry(1011.7, 256, 200, (0.8, 0.7), principal_point=(100.0, 90.0), mirrored=mirrored)
    pixels = np.array([[0.0, 0.0], [255.0, 10.5], [100.0, 90.0]])
    detector = geometry.on_detector(pixels)
    assert (detector[0, 0] > 0) == mirrored
    np.testing.assert_allclose(geometry.to_pixels(detector * 0.4), pixels, atol=1e-9)
    assert np.isnan(geometry.to_pixels([[1.0, 2.0, -5.0]])).all()


def test_a_detector_read_out_coarser_covers_the_same_field():
    small = GEOMETRY.resized(64, 50)
    np.testing.assert_allclose(small.spacing, (3.2, 2.8))
    # The corner of the field is half a pixel before the first pixel's center.
    np.testing.assert_allclose(small.on_detector([[-0.5, -0.5]]), GEOMETRY.on_detector([[-0.5, -0.5]]))
    np.testing.assert_allclose(small.on_detector([[63.5, 49.5]]), GEOMETRY.on_detector([[255.5, 199.5]]))
    assert small.isocenter_distance == 700.0


def test_a_geometry_is_read_and_written(tmp_path):
    path = tmp_path / "G.json"
    path.write_text(json.dumps({"sdd": 1000, "rows": 10, "columns": 12, "spacing": [1, 2]}), encoding="utf-8")
    read = read_geometry(path)
    assert read == Geometry(1000.0, 10, 12, (1.0, 2.0))
    assert read.center == (4.5, 5.5)
    assert read.isocenter_distance == pytest.approx(700)
    assert Geometry.from_json(json.loads(json.dumps(GEOMETRY.to_json()))) == GEOMETRY


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("not json", "is not JSON"),
        ("[]", "must be an object"),
        ('{"sdd": 1000, "rows": 10, "columns": 12}', "needs the field “spacing”"),
        ('{"sdd": 1000, "rows": 10, "columns": 12, "spacing": [1, 1], "pp": 1}', "no field “pp”"),
        ('{"sdd": 1000, "rows": 10, "columns": 12, "spacing": [1]}', "2 values"),
        ('{"sdd": 10, "rows": 10, "columns": 12, "spacing": [1, 1]}', "distance from source to detector is 10 mm"),
        ('{"sdd": NaN, "rows": 10, "columns": 12, "spacing": [1, 1]}', "distance from source to detector"),
        ('{"sdd": 1000, "rows": 0, "columns": 12, "spacing": [1, 1]}', "0 × 12 pixels"),
        ('{"sdd": 1000, "rows": 10, "columns": 12, "spacing": [1, 0]}', "spacing of the detector"),
        (
            '{"sdd": 1000, "rows": 10, "columns": 12, "spacing": [1, 1], "principal_point": [1, NaN]}',
            "principal point",
        ),
        ('{"sdd": 1000, "rows": 10, "columns": 12, "spacing": [1, 1], "source_to_isocenter": 1200}', "isocenter must"),
    ],
)
def test_geometries_that_cannot_be_are_refused(tmp_path, text, sentence):
    path = tmp_path / "G.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_geometry(path)


def test_a_missing_geometry_and_poses_that_are_none():
    with pytest.raises(InputError, match="cannot be opened"):
        read_geometry("nowhere/G.json")
    with pytest.raises(InputError, match="six finite numbers"):
        Pose((np.nan, 0.0, 0.0))
    with pytest.raises(InputError, match="not a rotation"):
        pose_from_matrix(np.diag([1.0, 1, -1, 1]), ISOCENTER, GEOMETRY)
    with pytest.raises(InputError, match="not a rotation"):
        pose_from_matrix(np.diag([2.0, 2, 2, 1]), ISOCENTER, GEOMETRY)


def test_hounsfield_units_become_attenuation():
    array = np.array([-1024, -950, -900, 0, 1000, 3000], dtype=np.int16).reshape(1, 2, 3)
    mu = attenuation(Volume(array, np.eye(4))).array
    assert mu.dtype == np.float32
    np.testing.assert_allclose(mu.ravel(), [0, 0, 0.002, 0.02, 0.04, 0.08], rtol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "good"),
    [(-1024, 1500, True), (-800, 900, True), (0, 4095, False), (0, 255, False), (-1, 1, False), (-1000, 60, False)],
)
def test_a_ct_is_told_by_its_values(low, high, good):
    array = np.linspace(low, high, 8000, dtype=np.float32).reshape(20, 20, 20)
    volume = Volume(array, np.diag([2.0, 2, 2, 1]))
    if good:
        assert check_ct(volume).array is array
        return
    with pytest.raises(InputError, match="not Hounsfield units"):
        check_ct(volume)
