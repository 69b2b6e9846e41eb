"""Left is left: marks, flips, and what can and cannot be found out from the landmarks."""

import numpy as np
import pytest
import samples

from LandmarkFusionLogic import orientation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.fusion import Side, fuse_sides
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.report import report_data
from LandmarkFusionLogic.rigid.fit import apply


@pytest.mark.parametrize(
    ("direction", "letters"),
    [
        ((1, 0, 0), "R"),
        ((-3, 0, 0), "L"),
        ((0, 1, 0), "A"),
        ((0, -1, 0), "P"),
        ((0, 0, 1), "S"),
        ((0, 0, -1), "I"),
        ((0.5, 0, 0.8), "SR"),
        ((-1, 0.1, 0.1), "L"),
    ],
)
def test_marks_name_where_a_direction_points(direction, letters):
    assert orientation.marks(direction) == letters
    assert orientation.marks(-np.array(direction, dtype=float)) == orientation.opposite(letters)


def test_the_axes_of_an_lps_image_point_to_left_posterior_and_superior():
    matrix = samples.affine((0.5, 0.5, 3.0), np.diag([-1.0, -1.0, 1.0]))
    assert orientation.axis_marks(matrix) == ["L", "P", "S"]


@pytest.mark.parametrize(("flip", "axis"), [("lr", 0), ("ap", 1), ("si", 2)])
def test_a_flip_turns_one_axis_about_the_centre_and_twice_is_nothing(flip, axis):
    volume = samples.volume(directions=samples.OBLIQUE)
    turned = orientation.flipped(volume, [flip])
    np.testing.assert_allclose(turned.centre, volume.centre)
    assert np.shares_memory(turned.array, volume.array)
    corner = apply(turned.ijk_to_ras, [0, 0, 0]) - volume.centre
    wanted = apply(volume.ijk_to_ras, [0, 0, 0]) - volume.centre
    wanted[axis] *= -1
    np.testing.assert_allclose(corner, wanted, atol=1e-9)
    np.testing.assert_allclose(orientation.flipped(turned, [flip]).ijk_to_ras, volume.ijk_to_ras, atol=1e-9)
    np.testing.assert_allclose(orientation.flipped(volume, [flip, flip]).ijk_to_ras, volume.ijk_to_ras, atol=1e-9)


def test_an_unknown_flip_is_refused():
    with pytest.raises(InputError, match="no flip “up”"):
        orientation.flip_matrix(np.zeros(3), ["up"])


def test_ordinary_landmarks_raise_no_doubt_and_turned_ones_do():
    points = samples.prostate_points((3.0, 4.0, 5.0))
    assert orientation.implausible(points, "US") == []
    assert orientation.implausible(points[:2], "US") == []
    for flip, says in (("si", "upside down"), ("ap", "front and back")):
        turn = orientation.flip_matrix((3.0, 4.0, 5.0), [flip])
        warnings = orientation.implausible([Landmark(p.name, apply(turn, p.position)) for p in points], "US")
        assert len(warnings) == 1
        assert says in warnings[0]
        assert warnings[0].startswith("In the US")


def test_only_the_confirmation_can_tell_a_mirrored_ultrasound():
    """The danger itself: everything computable looks perfect, and the needle would go to the wrong side."""
    mr, us = samples.volume(), samples.volume(seed=1)
    points = samples.prostate_points(mr.centre)
    middle = [Landmark(p.name, p.position * [0, 1, 1] + mr.centre * [1, 0, 0]) for p in points]
    mirrored = orientation.flipped(us, ["lr"])
    turn = orientation.flip_matrix(us.centre, ["lr"])
    us_points = [Landmark(p.name, p.position - mr.centre + us.centre) for p in middle]
    mirrored_points = [Landmark(p.name, apply(turn, p.position)) for p in us_points]
    right = fuse_sides(Side(mr, middle), Side(us, us_points), us_confirmed=True)
    wrong = fuse_sides(Side(mr, middle), Side(mirrored, mirrored_points), us_confirmed=False)
    assert np.linalg.det(wrong.fit.mr_to_us[:3, :3]) == pytest.approx(1.0)
    assert wrong.fit.rms == pytest.approx(right.fit.rms, abs=1e-9)
    assert right.warnings == ()
    assert wrong.warnings == (orientation.UNCONFIRMED,)
    report = report_data(wrong, 1.0)
    assert report["images"]["us"]["left_right_confirmed"] is False
    assert orientation.UNCONFIRMED in report["warnings"]
    assert report["images"]["us"]["axes_point_to"][0] == "L"
    assert report["images"]["mr"]["axes_point_to"][0] == "R"
