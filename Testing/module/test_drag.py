"""A landmark dragged in a slice view with the mouse: transform, table and overlay follow in the same event."""

import host
import numpy as np
import pytest
import slicer
from PySide6 import QtCore
from PySide6.QtTest import QTest

from LandmarkFusionLogic.mrml import landmarks
from LandmarkFusionLogic.rigid.fit import apply, invert


def _world(panel, modality, name="Posterior median"):
    node = panel.controller.landmarkList(modality)
    row = next(row for row in landmarks.rows(node) if row.name == name)
    return landmarks.world_position(node, row.point_id)


def _local(panel, modality, name="Posterior median"):
    return next(mark.position for mark in landmarks.read(panel.controller.landmarkList(modality)) if mark.name == name)


@pytest.fixture
def aligned(panel, shift):
    panel.choose_pair()
    panel.place_all(shift, state="detected")
    panel.controller.center()
    host.process_events()
    # One list at a time under the mouse: on a perfect fit both lie on one spot.
    panel.controller.landmarkList("mr").GetDisplayNode().SetVisibility(False)
    host.mouse.show_slice("Red", _world(panel, "us"))
    return panel


def test_us_landmark(aligned, shift):
    panel = aligned
    start = _world(panel, "us")
    end = start + [9.0, -6.0, 0.0]
    red = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    before = red.renderWindow()
    assert before is not None
    table, matrix = panel.table("us"), panel.matrix()
    assert table[2][3] == "detected"

    host.mouse.move("Red", start)
    begin, stop = host.mouse.pixel("Red", start), host.mouse.pixel("Red", end)
    QTest.mousePress(red, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, begin)
    QTest.mouseMove(red, stop)  # Delivered at once: no event loop turns between here and the checks.
    moved = _local(panel, "us")
    assert np.linalg.norm(moved - end) < 2 * host.mouse.pixel_size("Red")
    assert not np.allclose(panel.matrix(), matrix)
    assert np.allclose(panel.matrix(), panel.controller.live.fit.mr_to_us)
    row = panel.table("us")[2]
    assert row[1] == ", ".join(f"{value:.1f}" for value in moved)
    assert row[3] == "edited"
    assert row[2] == "–"  # The detector's spread says nothing about a point put elsewhere.
    assert panel.parameters.mr.GetParentTransformNode() is panel.parameters.mrToUs
    assert "FRE 0.00" not in panel.ui.fitLabel.text
    QTest.mouseRelease(red, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, stop)


def test_overlay_follows(aligned):
    panel = aligned
    panel.controller.setOpacity(1.0)
    host.process_events()
    panel.controller.landmarkList("us").GetDisplayNode().SetVisibility(True)
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()

    def picture():
        import vtk
        from vtk.util.numpy_support import vtk_to_numpy

        view.forceRender()
        grab = vtk.vtkUnsignedCharArray()
        width, height = view.renderWindow().GetSize()
        view.renderWindow().GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, grab)
        return vtk_to_numpy(grab).reshape(height, width, 4)[..., :3].astype(int)

    before = picture()
    start = _world(panel, "us")
    host.mouse.drag("Red", start, start + [12.0, 8.0, 0.0])
    changed = np.abs(picture() - before).max(axis=2) > 8
    assert changed.mean() > 0.1  # The MR itself has moved, not only the glyph and its label.


def test_mr_landmark_under_the_transform_does_not_run_away(aligned):
    panel = aligned
    panel.controller.landmarkList("us").GetDisplayNode().SetVisibility(False)
    panel.controller.landmarkList("mr").GetDisplayNode().SetVisibility(True)
    start, matrix = _world(panel, "mr"), panel.matrix()
    end = start + [10.0, 0.0, 0.0]  # Out of the plane of the three points, where the fit follows the point fully.
    host.mouse.drag("Red", start, end, steps=12)
    expected = apply(invert(matrix), end)
    assert np.linalg.norm(_local(panel, "mr") - expected) < 2 * host.mouse.pixel_size("Red")
    assert panel.table("mr")[2][3] == "edited"
    # What was under the mouse at the beginning now lies on the US landmark, as near as a rigid motion allows.
    fit = panel.controller.live.fit
    assert np.linalg.norm(_world(panel, "mr") - _world(panel, "us")) == pytest.approx(
        fit.errors["Posterior median"], abs=1e-6
    )


def test_drag_of_a_locked_landmark(aligned):
    panel = aligned
    panel.controller.editing.select("us", "Posterior median")
    panel.ui.usLockButton.click()
    assert panel.table("us")[2][4] == "locked"
    start, matrix = _world(panel, "us"), panel.matrix()
    host.mouse.drag("Red", start, start + [9.0, 9.0, 0.0])
    assert np.array_equal(_world(panel, "us"), start)
    assert np.array_equal(panel.matrix(), matrix)


def test_a_drag_is_one_step_to_undo_and_can_be_reset(aligned):
    panel = aligned
    start = _world(panel, "us")
    host.mouse.drag("Red", start, start + [9.0, -6.0, 0.0])
    assert panel.ui.undoButton.enabled
    panel.ui.undoButton.click()
    assert np.allclose(_world(panel, "us"), start)
    assert panel.table("us")[2][3] == "detected"
    host.mouse.drag("Red", start, start + [5.0, 4.0, 0.0])
    panel.controller.editing.select("us", "Posterior median")
    panel.ui.usResetButton.click()
    assert np.allclose(_world(panel, "us"), start)
    assert panel.table("us")[2][3] == "detected"


def test_place_by_hand(panel):
    panel.choose_pair()
    assert not panel.ui.usJumpButton.enabled
    assert "not placed" in panel.ui.usJumpButton.toolTip
    panel.controller.center()
    host.mouse.show_slice("Red", (0.0, 0.0, 0.0))
    for number, (name, position) in enumerate({"Bladder neck": (5.0, 5.0, 0.0), "Apex": (-20.0, 8.0, 0.0)}.items()):
        panel.ui.usTable.cellClicked.emit(1 - number, 0)
        panel.ui.usPlaceButton.click()
        assert name in panel.status
        host.mouse.click("Red", position)
        row = next(row for row in panel.table("us") if row[0] == name)
        assert row[3] == "placed"
        assert np.linalg.norm(_world(panel, "us", name) - position) < 2 * host.mouse.pixel_size("Red")
    assert panel.table("us")[2][3] == "not placed"
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert len(panel.table("us")) == 3


def test_placing_again_and_changing_ones_mind(aligned):
    panel = aligned
    start = _world(panel, "us")
    panel.controller.editing.select("us", "Posterior median")
    panel.ui.usPlaceButton.click()
    assert panel.table("us")[2][3] == "not placed"
    host.mouse.move("Red", start + [5.0, 5.0, 0.0])  # A preview of the point follows the mouse.
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    host.process_events()
    assert np.allclose(_world(panel, "us"), start)
    assert panel.table("us")[2][3] == "detected"
    assert "Nothing was placed" in panel.status

    panel.ui.usPlaceButton.click()
    host.mouse.click("Red", start + [7.0, 3.0, 0.0])
    assert panel.table("us")[2][3] == "edited"
    assert len(panel.table("us")) == 3
    panel.ui.usResetButton.click()
    assert np.allclose(_world(panel, "us"), start)


def test_following_a_landmark_is_quick(aligned):
    """Well within a frame of the processor's time; `Testing/benchmarks/bench_panel.py` has the figures."""
    import time

    us = aligned.controller.landmarkList("us")
    times = []
    for step in range(40):
        began = time.process_time()
        us.SetNthControlPointPosition(0, 0.5 * step, 1.0, -15.0)
        times.append(time.process_time() - began)
    assert np.median(times) < 0.020
