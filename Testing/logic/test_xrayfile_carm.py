"""Geometry files, presets, positioner angles, and where a second camera stands."""

import json

import numpy as np
import projectionsamples
import pytest

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.carm import (
    CArm,
    between,
    between_poses,
    carm,
    facing,
    is_opposite,
    presets,
    read_geometry_data,
    starts,
    to_json,
)
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import REFERENCE, Pose, ct_to_camera

GOOD = projectionsamples.GEOMETRY


def test_the_papers_c_arm_comes_along():
    arm = carm(read_geometry_data("perlove-plx118f"))
    assert (arm.geometry.sdd, arm.geometry.rows, arm.geometry.columns) == (1011.7, 256, 256)
    assert arm.geometry.spacing == pytest.approx((4 * 0.19959, 4 * 0.19959))
    fine = carm(read_geometry_data("perlove-plx118f-1024")).geometry
    assert fine.spacing == (0.19959, 0.19959)
    assert fine.resized(256, 256) == arm.geometry
    assert all(preset["name"] and carm(preset) for preset in presets().values())


def test_a_geometry_goes_to_json_and_back():
    data = {**GOOD, "principal_point": [30.0, 33.5], "mirrored": True, "primary_angle": -10, "secondary_angle": 5.5}
    arm = carm({**data, "name": "ours"})
    assert arm.angles == (-10.0, 5.5)
    assert carm(json.loads(json.dumps(to_json(arm)))) == arm
    assert carm({**GOOD, "rows": 64.0}).geometry.rows == 64


def _without(key):
    return {name: value for name, value in GOOD.items() if name != key}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([1, 2], "no JSON object"),
        (_without("sdd"), "has no “sdd”"),
        (_without("spacing"), "has no “spacing”"),
        ({**GOOD, "pixel": 1}, "no field “pixel”"),
        ({**GOOD, "sdd": -1.0}, "source to detector"),
        ({**GOOD, "sdd": float("nan")}, "source to detector"),
        ({**GOOD, "sdd": "1000"}, "“sdd” of the geometry has a value of the wrong type"),
        ({**GOOD, "rows": 0}, "pixels"),
        ({**GOOD, "rows": 64.5}, "“rows” of the geometry has a value of the wrong type"),
        ({**GOOD, "spacing": [1.0]}, "spacing"),
        ({**GOOD, "spacing": [0.0, 1.0]}, "spacing"),
        ({**GOOD, "principal_point": [float("inf"), 0.0]}, "principal point"),
        ({**GOOD, "source_to_isocenter": 2000.0}, "isocenter"),
        ({**GOOD, "primary_angle": 5.0}, "one of primary_angle and secondary_angle"),
        ({**GOOD, "primary_angle": float("nan"), "secondary_angle": 0.0}, "finite"),
        ({**GOOD, "primary_angle": "left", "secondary_angle": 0.0}, "finite"),
    ],
)
def test_a_geometry_that_cannot_be_is_told_in_one_sentence(data, said):
    with pytest.raises(InputError, match=said):
        carm(data)


def test_geometry_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"no C-arm of that name; those known are perlove-plx118f"):
        read_geometry_data("nobodys-arm")
    with pytest.raises(InputError, match="cannot be opened"):
        read_geometry_data(tmp_path / "none" / "g.json")
    broken = tmp_path / "g.json"
    for text, said in (("{", "is no JSON file"), ("[1]", "is no JSON object")):
        broken.write_text(text)
        with pytest.raises(InputError, match=said):
            read_geometry_data(broken)


LEFT, FRONT, HEAD = np.array([-1.0, 0, 0]), np.array([0.0, 1, 0]), np.array([0.0, 0, 1])


@pytest.mark.parametrize(
    ("angles", "detector"),
    [
        ((0, 0), FRONT),
        ((90, 0), LEFT),
        ((-90, 0), -LEFT),
        ((180, 0), -FRONT),
        ((0, 90), HEAD),
        ((30, 0), np.cos(np.pi / 6) * FRONT + np.sin(np.pi / 6) * LEFT),
        ((0, -20), np.cos(np.pi / 9) * FRONT - np.sin(np.pi / 9) * HEAD),
    ],
)
def test_where_the_detector_stands_at_positioner_angles(angles, detector):
    """As DICOM has it: positive angles take it to the patient's left and to the head."""
    turn = facing(*angles)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(turn[2], detector, atol=1e-12)
    if abs(angles[1]) < 90:
        assert turn[1] @ HEAD < -0.3


def test_two_views_of_one_arm_see_one_patient():
    """The isocenter stays on both central rays, and the second camera sees the CT as its own angles say."""
    geometry = Geometry.from_json({**GOOD, "source_to_isocenter": 650.0})
    other = Geometry.from_json({**GOOD, "source_to_isocenter": 700.0})
    first, second = CArm(geometry, (0.0, 0.0)), CArm(other, (90.0, 10.0))
    there = between(first, second)
    np.testing.assert_allclose(there @ [0, 0, 650, 1], [0, 0, 700, 1], atol=1e-9)
    ct = np.eye(4)
    ct[:3, :3], ct[2, 3] = facing(0, 0), 650
    np.testing.assert_allclose((there @ ct)[:3, :3], facing(90, 10), atol=1e-12)
    assert between(first, CArm(other)) is None
    # With source and detector swapped, both cameras look from the other side, and their images agree but for that.
    turned = np.diag([-1.0, 1.0, -1.0])
    np.testing.assert_allclose(
        between(first, second, opposite=True)[:3, :3], turned @ there[:3, :3] @ turned, atol=1e-12
    )


def test_two_nominal_poses_say_where_the_second_camera_stands():
    arm = carm(GOOD)
    center = np.array([10.0, -20.0, 300.0])
    one, two = Pose((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), Pose((0.0, -88.0, 0.0), (0.0, 7.0, 0.0))
    there = between_poses(arm, arm, one, two, center)
    np.testing.assert_allclose(
        there @ ct_to_camera(one, center, arm.geometry), ct_to_camera(two, center, arm.geometry), atol=1e-9
    )


def test_where_to_start_when_nobody_says():
    center = np.array([10.0, -20.0, 300.0])

    def turns(arm):
        return [ct_to_camera(pose, center, arm.geometry)[:3, :3] for pose in starts(arm)]

    (plain,) = turns(carm(GOOD))
    np.testing.assert_allclose(plain, REFERENCE, atol=1e-12)
    angles = {"primary_angle": 25.0, "secondary_angle": -15.0}
    opposite, told = turns(carm({**GOOD, **angles}))
    np.testing.assert_allclose(told, facing(25, -15), atol=1e-12)
    # From the other side, what lies left and right in the image and up and down stays; only depth turns round.
    np.testing.assert_allclose(opposite, np.diag([-1.0, 1.0, -1.0]) @ told, atol=1e-12)
    np.testing.assert_allclose(turns(carm({**GOOD, **angles, "mirrored": True}))[0], told, atol=1e-12)
    poses = starts(carm({**GOOD, **angles}))
    assert all(pose.translation == pytest.approx((0, 0, 0)) for pose in poses)
    assert [is_opposite(carm({**GOOD, **angles}), pose) for pose in poses] == [True, False]
    assert is_opposite(carm(GOOD), Pose((30.0, 40.0, 10.0)))
