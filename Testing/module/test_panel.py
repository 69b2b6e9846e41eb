"""The panel by hand: choices, tables, buttons, tool tips, orientation, export. No torch needed."""

import json

import host
import numpy as np
import pytest
import slicer

from LandmarkFusionLogic import markupsfile, transformfile
from LandmarkFusionLogic.mrml import landmarks, transforms, volumes
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.rigid.fit import apply


def test_it_opens_empty_and_says_what_is_missing(panel, nodes):
    ui = panel.ui
    for button in (ui.detectButton, ui.detectMrButton, ui.detectUsButton, ui.mrPlaceButton, ui.exportButton):
        assert not button.enabled
        assert button.toolTip.endswith(".")
    assert "Choose the MR volume first" in ui.detectButton.toolTip
    assert "Choose the MR volume first" in panel.status
    assert panel.table("mr") == [
        [name, "–", "–", "not placed", "–"] for name in ("Apex", "Bladder neck", "Posterior median")
    ]
    assert not ui.orientationFrame.visible
    assert not ui.progressRow.visible
    assert "research use; not a medical device" in ui.noticeLabel.text
    before = nodes()
    panel.widget.exit()
    panel.widget.enter()
    assert nodes() == before


def test_metadata(panel):
    module = slicer.modules.landmarkfusion
    assert module.title == "Landmark Fusion"
    assert module.categories == ["Registration"]
    for text in ("not a medical device", "Apex", "Bladder neck", "Posterior median", "landmarks.png", "CT and X-ray"):
        assert text in module.helpText
    assert "Arun" in module.acknowledgementText


def test_choosing_by_name_and_one_click_less(panel):
    panel.add_volume("USProstate", 1), panel.add_volume("MRProstate", 2)
    panel.widget.exit()
    panel.widget.enter()
    assert panel.parameters.mr.GetName() == "MRProstate"
    assert panel.parameters.us.GetName() == "USProstate"
    assert panel.ui.detectButton.enabled
    assert "i, j, k point to R, A, S" in panel.ui.mrAxesLabel.text
    panel.ui.mrSelector.setCurrentNode(None)
    panel.widget.enter()
    assert panel.parameters.mr is None  # The user's own choice stands.


def test_selecting_creates_no_nodes(panel, nodes):
    panel.add_volume("one", 1), panel.add_volume("two", 2)
    before = nodes()
    panel.ui.mrSelector.setCurrentNode(slicer.util.getNode("one"))
    panel.ui.usSelector.setCurrentNode(slicer.util.getNode("two"))
    host.process_events()
    assert nodes() == before
    assert panel.ui.detectButton.enabled


def test_fit_from_landmarks_by_hand(panel, shift):
    pair = panel.choose_pair()
    panel.place_all(shift)
    assert np.allclose(panel.matrix(), shift)
    assert pair.mr.GetParentTransformNode() is panel.parameters.mrToUs
    assert pair.us.GetParentTransformNode() is None
    assert "FRE 0.00 mm" in panel.ui.fitLabel.text
    assert "not how accurate" in panel.ui.fitLabel.text
    assert "accuracy" not in panel.ui.fitLabel.text
    node = panel.parameters.mrToUs
    assert node.GetNodeReference(node.GetMovingNodeReferenceRole()) is pair.mr
    assert node.GetNodeReference(node.GetFixedNodeReferenceRole()) is pair.us
    rows = [[panel.ui.freTable.item(row, column).text() for column in (0, 1)] for row in range(3)]
    assert rows == [["Apex", "0.00"], ["Bladder neck", "0.00"], ["Posterior median", "0.00"]]
    shown = np.array([[float(value) for value in line.split()] for line in panel.ui.matrixLabel.text.splitlines()])
    assert np.allclose(shown, shift, atol=1e-4)
    panel.ui.copyMatrixButton.click()
    assert panel.widget.ui.matrixLabel.text == _clipboard()


def _clipboard():
    import qt

    return qt.QApplication.clipboard().text()


def test_apply_on_and_off(panel, shift):
    pair = panel.choose_pair()
    assert not panel.ui.appliedCheckBox.enabled
    panel.place_all(shift)
    mr_list = panel.controller.landmarkList("mr")
    before = [landmarks.world_position(mr_list, row.point_id) for row in landmarks.rows(mr_list)]
    panel.ui.appliedCheckBox.click()
    assert pair.mr.GetParentTransformNode() is None
    assert mr_list.GetParentTransformNode() is None
    off = [landmarks.world_position(mr_list, row.point_id) for row in landmarks.rows(mr_list)]
    assert np.allclose(apply(shift, off), before)
    # Jumping to a landmark that is not where the other image lies shows its own image.
    panel.ui.mrTable.cellClicked.emit(1, 0)
    assert panel.parameters.opacity == 1.0
    panel.ui.usTable.cellClicked.emit(1, 0)
    assert panel.parameters.opacity == 0.0
    panel.ui.appliedCheckBox.click()
    assert pair.mr.GetParentTransformNode() is panel.parameters.mrToUs


def test_inverse(panel, shift):
    panel.choose_pair()
    assert not panel.ui.invertButton.enabled
    panel.place_all(shift)
    panel.ui.invertButton.click()
    node = slicer.util.getNode("US to MR")
    assert np.allclose(transforms.matrix(node) @ shift, np.eye(4))
    assert "US to MR" in panel.status


def test_near_collinear_and_disagreeing_landmarks_are_told(panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    assert "nearly on one line" not in panel.ui.warningsLabel.text
    for modality in ("mr", "us"):
        node = panel.controller.landmarkList(modality)
        position = np.array(node.GetNthControlPointPosition(2))
        node.SetNthControlPointPosition(2, *(position + [0.0, 17.0, 0.0]))
    assert "nearly on one line" in panel.ui.warningsLabel.text
    us = panel.controller.landmarkList("us")
    us.SetNthControlPointPosition(0, 40.0, 40.0, 40.0)
    assert "disagree by" in panel.ui.warningsLabel.text


def test_swapped_volumes_are_told(panel):
    panel.choose_pair("TRUS 3", "T2 axial")
    assert "by their names they are swapped" in panel.ui.warningsLabel.text
    assert panel.ui.warningsLabel.visible


def test_extra_pairs_and_removal(panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    panel.ui.addPairButton.click()
    panel.ui.addPairButton.click()
    assert [row[0] for row in panel.table("us")[3:]] == ["Pair 1", "Pair 2"]
    assert panel.parameters.mrPoint == "Pair 2"
    position = np.array([20.0, 10.0, 5.0])
    landmarks.write(panel.controller.landmarkList("mr"), [Landmark("Pair 1", position)])
    landmarks.write(panel.controller.landmarkList("us"), [Landmark("Pair 1", apply(shift, position) + [0, 0, 2.0])])
    assert "of 4 landmarks" in panel.ui.fitLabel.text
    panel.ui.usTable.cellClicked.emit(4, 0)
    panel.ui.usRemoveButton.click()
    assert len(panel.table("us")) == len(panel.table("mr")) == 4
    panel.ui.usTable.cellClicked.emit(0, 0)
    panel.ui.usRemoveButton.click()
    assert panel.table("us")[0][3] == "not placed"
    assert panel.table("mr")[0][3] == "placed"
    assert "of 3 landmarks" in panel.ui.fitLabel.text
    assert "left out: Apex" in panel.ui.fitLabel.text
    for _ in range(4):
        panel.ui.undoButton.click()
    assert len(panel.table("us")) == 3
    assert not panel.ui.undoButton.enabled
    assert panel.ui.undoButton.toolTip.startswith("No step")


def test_lock_of_the_whole_list_and_of_a_point(panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    panel.controller.landmarkList("mr").SetLocked(True)  # In the module Markups.
    assert [row[4] for row in panel.table("mr")] == ["locked"] * 3
    assert not panel.ui.mrPlaceButton.enabled
    assert "locked" in panel.ui.mrPlaceButton.toolTip
    assert panel.ui.mrLockButton.text == "Unlock"
    panel.ui.mrLockButton.click()
    assert [row[4] for row in panel.table("mr")] == ["–"] * 3
    panel.ui.mrLockButton.click()
    assert [row[4] for row in panel.table("mr")] == ["locked", "–", "–"]
    panel.controller.editing.place("mr")
    assert "locked; unlock it first" in panel.status


def test_orientation_is_asked_once_and_remembered_with_the_volume(panel, shift):
    pair = panel.choose_pair()
    assert panel.ui.orientationFrame.visible
    assert "Is left left" in panel.ui.orientationLabel.text
    panel.place_all(shift, state="detected")
    assert "not confirmed" in panel.ui.warningsLabel.text
    points = [mark.position for mark in landmarks.read(panel.controller.landmarkList("us"))]
    affine, center = volumes.ijk_to_ras(pair.us), volumes.world_center(pair.us)
    assert "i, j, k point to R, A, S" in panel.ui.usAxesLabel.text
    panel.ui.flipLrButton.click()
    assert "i, j, k point to L, A, S" in panel.ui.usAxesLabel.text
    mirror = volumes.ijk_to_ras(pair.us) @ np.linalg.inv(affine)
    assert np.allclose(mirror[:3, :3], np.diag([-1.0, 1.0, 1.0]))
    assert np.allclose(volumes.world_center(pair.us), center)
    moved = [mark.position for mark in landmarks.read(panel.controller.landmarkList("us"))]
    assert np.allclose(moved, apply(mirror, points))
    assert [row[3] for row in panel.table("us")] == ["detected"] * 3
    assert "Flipped: left-right" in panel.ui.orientationLabel.text
    assert np.isclose(np.linalg.det(panel.matrix()[:3, :3]), 1.0)  # A rotation still, never a reflection.
    panel.ui.flipApButton.click()
    panel.ui.flipSiButton.click()
    assert "i, j, k point to L, P, I" in panel.ui.usAxesLabel.text
    panel.ui.confirmButton.click()
    assert "is confirmed" in panel.ui.orientationLabel.text
    assert "not confirmed" not in panel.ui.warningsLabel.text
    assert not panel.ui.flipLrButton.visible

    panel.ui.usSelector.setCurrentNode(panel.add_volume("another US", 7))
    assert "Is left left" in panel.ui.orientationLabel.text
    panel.ui.usSelector.setCurrentNode(pair.us)
    assert "is confirmed" in panel.ui.orientationLabel.text
    panel.ui.confirmButton.click()
    assert "Is left left" in panel.ui.orientationLabel.text


def test_a_list_from_a_file_can_be_chosen(panel, shift, tmp_path):
    panel.choose_pair()
    import samples

    markupsfile.write_landmarks(tmp_path / "mine.mrk.json", samples.prostate_points(state="detected"))
    loaded = slicer.util.loadMarkups(str(tmp_path / "mine.mrk.json"))
    panel.ui.mrListSelector.setCurrentNode(loaded)
    host.process_events()
    assert [row[3] for row in panel.table("mr")] == ["detected"] * 3
    # It is the MR's now; the US cannot have it.
    panel.ui.usListSelector.setCurrentNode(loaded)
    host.process_events()
    assert "belong to the volume “MR”" in panel.status
    assert panel.parameters.usLandmarks is None
    # "None" means no other list, not that the volume loses its own.
    panel.ui.mrListSelector.setCurrentNode(None)
    host.process_events()
    assert panel.parameters.mrLandmarks is loaded
    panel.ui.mrSelector.setCurrentNode(None)
    panel.ui.mrListSelector.setCurrentNode(loaded)
    host.process_events()
    assert "Choose the MR volume first" in panel.status
    assert panel.parameters.mrLandmarks is None


def test_export(panel, shift, tmp_path):
    panel.choose_pair("Doe^John MR", "Doe^John US")
    assert "no fit" in panel.ui.exportButton.toolTip
    panel.place_all(shift, state="detected")
    assert "folder" in panel.ui.exportButton.toolTip
    folder = tmp_path / "out"
    panel.ui.exportPath.setCurrentPath(str(folder))
    panel.ui.flipLrButton.click()
    panel.ui.confirmButton.click()
    panel.ui.exportButton.click()
    assert panel.status.startswith("✓ Wrote mr-to-us.h5")
    assert sorted(path.name for path in folder.iterdir()) == [
        "mr-landmarks.mrk.json",
        "mr-to-us.h5",
        "report.json",
        "us-flipped.nrrd",
        "us-landmarks.mrk.json",
    ]
    assert np.allclose(transformfile.read_transform(folder / "mr-to-us.h5"), panel.matrix())
    text = (folder / "report.json").read_text()
    report = json.loads(text)
    assert "Doe" not in text
    assert str(tmp_path) not in text
    assert report["images"]["us"]["flips_applied"] == ["left-right"]
    assert report["images"]["us"]["left_right_confirmed"] is True
    assert report["fre_rms_mm"] == pytest.approx(panel.controller.live.fit.rms)
    # Loaded again, the transform lays the MR landmarks on those of the US.
    node = slicer.util.loadTransform(str(folder / "mr-to-us.h5"))
    points = {name: markupsfile.read_landmarks(folder / f"{name}-landmarks.mrk.json") for name in ("mr", "us")}
    moved = apply(slicer.util.arrayFromTransformMatrix(node), [point.position for point in points["mr"]])
    errors = np.linalg.norm(moved - [point.position for point in points["us"]], axis=1)
    assert np.allclose(errors, [report["fre_mm"][point.name] for point in points["mr"]], atol=1e-6)


def test_export_to_where_nothing_can_be_written(panel, shift, tmp_path):
    panel.choose_pair()
    panel.place_all(shift)
    (tmp_path / "file").write_text("mine")
    panel.ui.exportPath.setCurrentPath(str(tmp_path / "file"))
    panel.ui.exportButton.click()
    assert panel.status.startswith("Error: ")
    assert (tmp_path / "file").read_text() == "mine"
    panel.controller.export("")
    assert "Choose a folder" in panel.status


def test_views_show_and_say_what_they_show(panel, shift):
    pair = panel.choose_pair()
    view = slicer.app.layoutManager().sliceWidget("Red")

    def texts():
        actors = view.sliceView().renderWindow().GetRenderers().GetFirstRenderer().GetActors2D()
        found = [actors.GetItemAsObject(index) for index in range(actors.GetNumberOfItems())]
        return {actor.GetInput() for actor in found if actor.IsA("vtkTextActor") and actor.GetInput()}

    assert texts() >= {"US + MR 50 %", "R", "L", "A", "P"}
    panel.ui.usOnlyButton.click()
    assert "US" in texts()
    panel.ui.mrOnlyButton.click()
    assert "MR" in texts()
    panel.ui.bothButton.click()
    # What the user does to one view stays, whatever else is chosen in the panel.
    green = slicer.app.layoutManager().sliceWidget("Green").mrmlSliceCompositeNode()
    green.SetForegroundVolumeID(None)
    panel.ui.mrTable.cellClicked.emit(2, 0)
    panel.ui.opacitySlider.setValue(0.25)
    assert green.GetForegroundVolumeID() is None
    assert view.mrmlSliceCompositeNode().GetForegroundOpacity() == 0.25
    assert "US + MR 25 %" in texts()
    panel.ui.centerButton.click()
    center = volumes.world_center(pair.us)
    assert abs(view.sliceLogic().GetSliceOffset() - center[2]) < 0.1
    panel.place_all(shift)
    panel.ui.centerButton.click()
    middle = np.mean([mark.position for mark in landmarks.read(panel.controller.landmarkList("us"))], axis=0)
    assert abs(view.sliceLogic().GetSliceOffset() - middle[2]) < 0.1
    layout = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    slicer.app.layoutManager().setLayout(layout.SlicerLayoutOneUpRedSliceView)
    assert "US + MR 25 %" in texts()
    view.mrmlSliceNode().SetOrientation("Coronal")
    assert texts() >= {"R", "L", "S", "I"}
    panel.ui.usSelector.setCurrentNode(None)
    assert "MR" in texts()
    host.unload_module("LandmarkFusion")
    assert not texts() & {"MR", "R", "L"}


def test_undo_and_buttons_do_nothing_without_a_scene_to_work_on(panel):
    controller = panel.controller
    controller.editing.undo()
    controller.editing.reset("mr")
    controller.editing.jump("mr")
    controller.editing.remove("mr")
    controller.editing.toggleLock("mr")
    controller.flip("lr")
    controller.toggleOrientation()
    controller.makeInverse()
    controller.center()
    controller.editing.place("us")
    assert "Choose the US volume first" in panel.status
    controller.editing.addPair()
    assert "Choose the MR volume first" in panel.status
