"""The picture: what lies right lies on the left, marks say so, and no landmark is told by color alone."""

import numpy as np
import pytest
import samples

from LandmarkFusionLogic import NOTICE
from LandmarkFusionLogic.fusion import Side, fuse_sides
from LandmarkFusionLogic.overlay import HALF_MM, PIXEL_MM, PLANES, SHAPES, _slice, draw_overlay, overlay_figure
from LandmarkFusionLogic.points import LANDMARK_NAMES, Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume


def _bead(place, directions=samples.OBLIQUE):
    affine = samples.affine((1.2, 1.2, 1.5), directions)
    volume = Volume(np.zeros((60, 80, 80), dtype=np.float32), affine)
    affine[:3, 3] = -volume.centre
    k, j, i = np.meshgrid(*(np.arange(n) for n in volume.array.shape), indexing="ij")
    world = apply(affine, np.stack([i, j, k], axis=-1))
    light = np.exp(-0.5 * ((world - place) ** 2).sum(-1) / 4)
    return Volume((1000 * light).astype(np.int16), affine)


@pytest.mark.parametrize("directions", [np.eye(3), samples.OBLIQUE, np.diag([1.0, -1.0, 1.0])])
@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
def test_a_place_appears_where_the_axes_of_the_picture_say(plane, directions):
    place = 12.0 * np.array(plane.right) + 7.0 * np.array(plane.up)
    picture = np.nan_to_num(_slice(_bead(place, directions), plane.grid(np.zeros(3)), (0.0, 1000.0)))
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    assert column * PIXEL_MM - HALF_MM == pytest.approx(12.0, abs=1)
    assert row * PIXEL_MM - HALF_MM == pytest.approx(7.0, abs=1)


def _fusion(confirmed, flips=()):
    mr, us = _bead([5.0, 0.0, 0.0]), _bead([-5.0, 0.0, 0.0], np.eye(3))
    cyst = Landmark("Cyst", np.array([10.0, 0.0, 5.0]))
    points = [*samples.prostate_points(), cyst]
    return fuse_sides(Side(mr, points), Side(us, points), us_flips=flips, us_confirmed=confirmed)


def test_marks_titles_and_the_notice_are_in_the_picture(tmp_path):
    figure = overlay_figure(_fusion(confirmed=False, flips=("lr",)))
    wanted = {"axial": ["R", "L", "A", "P"], "coronal": ["R", "L", "S", "I"], "sagittal": ["A", "P", "S", "I"]}
    assert len(figure.axes) == 12
    for axes in figure.axes:
        letters = wanted[axes.get_title().split(" · ")[1]]
        assert [text.get_text() for text in axes.texts] == letters
    assert [axes.get_title().split(" · ")[0] for axes in figure.axes[:2]] == ["MR", "US"]
    line = " ".join(text.get_text() for text in figure.texts)
    assert NOTICE in line
    assert "NOT confirmed" in line
    assert "US flipped left-right" in line
    draw_overlay(tmp_path / "overlay.png", _fusion(confirmed=True))
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")


def test_landmarks_differ_in_shape_and_images_in_size():
    assert len({SHAPES[name] for name in LANDMARK_NAMES} | {"P"}) == 4
    figure = overlay_figure(_fusion(confirmed=True))
    lines = figure.axes[2].lines
    assert {line.get_marker() for line in lines} == {*SHAPES.values(), "P"}
    assert len({line.get_markersize() for line in lines}) == 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:4] == [*LANDMARK_NAMES, "Cyst"]
