"""The panel and the scene: saved and loaded, two pairs, nodes that go away."""

import host
import numpy as np
import pytest
import slicer

from LandmarkFusionLogic.mrml import landmarks, scene, transforms, volumes
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.rigid.fit import apply


@pytest.fixture
def worked(panel, shift):
    """A pair with landmarks detected, edited, locked and added, a flipped and confirmed US, settings of its own."""
    panel.choose_pair()
    panel.ui.flipLrButton.click()
    panel.ui.confirmButton.click()
    panel.place_all(shift, state="detected")
    us = panel.controller.landmarkList("us")
    us.SetNthControlPointPosition(us.GetControlPointIndexByLabel("Apex"), 7.0, -3.0, -12.0)
    panel.ui.addPairButton.click()
    for modality in ("mr", "us"):
        node = panel.controller.landmarkList(modality)
        landmarks.write(node, [Landmark("Pair 1", np.array([12.0, 3.0, 4.0]))])
    panel.ui.mrTable.cellClicked.emit(1, 0)
    panel.ui.mrLockButton.click()
    panel.controller.setOpacity(0.3)
    host.process_events()
    return panel


def _shown(panel):
    return {
        "mr": panel.parameters.mr.GetName(),
        "us": panel.parameters.us.GetName(),
        "mr table": panel.table("mr"),
        "us table": panel.table("us"),
        "fre": panel.ui.fitLabel.text,
        "warnings": panel.ui.warningsLabel.text,
        "orientation": panel.ui.orientationLabel.text,
        "device": panel.ui.deviceSelector.currentText,
        "opacity": panel.ui.opacitySlider.value,
        "applied": panel.ui.appliedCheckBox.checked,
        "points": (panel.parameters.mrPoint, panel.parameters.usPoint),
    }


@pytest.mark.parametrize("opened_before", [True, False], ids=["opened before the load", "opened after the load"])
@pytest.mark.parametrize("distraction", [False, True], ids=["empty scene", "other volumes open"])
def test_save_clear_load(worked, tmp_path, opened_before, distraction):
    panel = worked
    shown, matrix = _shown(panel), panel.matrix()
    assert shown["us table"][0][3] == "edited"
    assert shown["mr table"][1][3:] == ["detected", "locked"]
    assert len(shown["us table"]) == 4
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))

    slicer.mrmlScene.Clear(0)
    assert panel.parameters.mr is None
    assert [row[3] for row in panel.table("mr")] == ["not placed"] * 3
    if distraction:
        # Volumes whose names the module would choose, and did choose, before the scene is loaded.
        panel.add_volume("A MR"), panel.add_volume("A TRUS")
        panel.widget.enter()
        assert panel.parameters.mr.GetName() == "A MR"
    if not opened_before:
        host.unload_module("LandmarkFusion")
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {"clear": False})
    if not opened_before:
        panel.module, panel.widget = host.load_module(panel.module.__file__)
    host.process_events()

    assert _shown(panel) == shown
    assert np.allclose(panel.matrix(), matrix, atol=1e-9)
    assert panel.parameters.mr.GetParentTransformNode() is panel.parameters.mrToUs
    us = panel.controller.landmarkList("us")
    assert us.GetNodeReference(landmarks.VOLUME_ROLE) is panel.parameters.us
    assert volumes.flips(panel.parameters.us) == ["lr"]
    # And it goes on working: back to where it was detected, before the scene was saved.
    panel.controller.editing.select("us", "Apex")
    panel.ui.usResetButton.click()
    assert panel.table("us")[0][3] == "detected"


def test_scene_of_the_command_line_opens_ready(panel, tmp_path):
    import samples

    mr, us = samples.volume(seed=3), samples.volume(seed=4)
    points = samples.prostate_points((5.0, 30.0, 30.0), "detected", np.eye(3))
    mr_to_us = np.eye(4)
    mr_to_us[:3, 3] = (4.0, -3.0, 2.0)
    moved = [Landmark(point.name, apply(mr_to_us, point.position), point.covariance, point.state) for point in points]
    scene.write_scene(tmp_path / "scene.mrb", mr, us, points, moved, mr_to_us, ["ap"], True)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {"clear": False})
    host.process_events()

    assert (panel.parameters.mr.GetName(), panel.parameters.us.GetName()) == ("MR", "US")
    assert [row[3] for row in panel.table("us")] == ["detected"] * 3
    assert np.allclose(panel.matrix(), mr_to_us)
    assert "confirmed" in panel.ui.orientationLabel.text
    assert "front-back" in panel.ui.orientationLabel.text
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetForegroundVolumeID() == panel.parameters.mr.GetID()
    assert composite.GetBackgroundVolumeID() == panel.parameters.us.GetID()
    middle = np.mean([point.position for point in moved], axis=0)
    for name in ("Red", "Green", "Yellow"):
        plane = slicer.util.arrayFromVTKMatrix(
            slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode().GetSliceToRAS()
        )
        assert abs((middle - plane[:3, 3]) @ plane[:3, 2]) < 1.0
    world = landmarks.world_position(panel.parameters.mrLandmarks, "1")
    assert np.allclose(world, moved[0].position, atol=1e-6)


def test_a_second_pair_does_not_disturb_the_first(panel, shift):
    first = panel.choose_pair("MR 1", "US 1")
    panel.place_all(shift)
    first_lists = [panel.controller.landmarkList(modality) for modality in ("mr", "us")]
    first_transform = panel.parameters.mrToUs
    positions = [[mark.position for mark in landmarks.read(node)] for node in first_lists]

    panel.choose_pair("MR 2", "US 2")
    assert panel.controller.landmarkList("mr") is None
    assert [row[3] for row in panel.table("mr")] == ["not placed"] * 3
    assert "needs at least three" in panel.ui.fitLabel.text
    other = shift.copy()
    other[:3, 3] = (-9.0, 1.0, 2.0)
    panel.place_all(other)
    assert panel.parameters.mrToUs is not first_transform
    assert np.allclose(panel.matrix(), other)
    assert np.allclose(transforms.matrix(first_transform), shift)
    assert first.mr.GetParentTransformNode() is first_transform
    for node, before in zip(first_lists, positions, strict=True):
        assert np.allclose([mark.position for mark in landmarks.read(node)], before)

    panel.ui.mrSelector.setCurrentNode(first.mr)
    panel.ui.usSelector.setCurrentNode(first.us)
    host.process_events()
    assert [panel.controller.landmarkList(modality) for modality in ("mr", "us")] == first_lists
    assert panel.parameters.mrToUs is first_transform
    assert np.allclose(panel.matrix(), shift)


def test_a_new_sweep_keeps_the_mr_landmarks(panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    mr_list = panel.controller.landmarkList("mr")
    sweep = panel.add_volume("US sweep 2", 5)
    panel.ui.usSelector.setCurrentNode(sweep)
    host.process_events()
    assert panel.controller.landmarkList("mr") is mr_list
    assert [row[3] for row in panel.table("mr")] == ["placed"] * 3
    assert [row[3] for row in panel.table("us")] == ["not placed"] * 3


def test_deleting_and_adding_points_in_another_order(panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    matrix = panel.matrix()
    us = panel.controller.landmarkList("us")
    positions = {mark.name: mark.position for mark in landmarks.read(us)}
    us.RemoveAllControlPoints()
    host.process_events()
    assert "missing" in panel.ui.fitLabel.text
    assert "kept as it was" in panel.ui.fitLabel.text
    assert np.allclose(panel.matrix(), matrix)
    for name in ("Posterior median", "Apex", "Bladder neck"):
        us.AddControlPoint(*positions[name], name)
    assert np.allclose(panel.matrix(), matrix)
    assert [row[0] for row in panel.table("us")] == ["Posterior median", "Apex", "Bladder neck"]
    assert "FRE 0.00" in panel.ui.fitLabel.text


def test_a_removed_point_leaves_nothing_behind(panel, shift):
    """Control point IDs are used again after all points were removed: a new point must not inherit a state."""
    panel.choose_pair()
    panel.place_all(shift, state="detected")
    us = panel.controller.landmarkList("us")
    us.RemoveAllControlPoints()
    us.SetLastUsedControlPointNumber(0)
    us.AddControlPoint(1.0, 2.0, 3.0, "Apex")
    assert us.GetNthControlPointID(0) == "1"
    assert panel.table("us")[0][3] == "placed"


def test_removing_nodes(panel, shift):
    pair = panel.choose_pair()
    panel.place_all(shift)
    slicer.mrmlScene.RemoveNode(panel.parameters.mrToUs)
    host.process_events(until=lambda: panel.parameters.mrToUs is not None)
    assert np.allclose(panel.matrix(), shift)
    assert pair.mr.GetParentTransformNode() is panel.parameters.mrToUs

    slicer.mrmlScene.RemoveNode(panel.controller.landmarkList("us"))
    host.process_events(until=lambda: panel.table("us")[0][3] == "not placed")
    assert panel.controller.live.fit is None

    slicer.mrmlScene.RemoveNode(pair.us)
    host.process_events(until=lambda: panel.parameters.us is None)
    assert not panel.ui.detectUsButton.enabled
    assert "US" in panel.ui.detectUsButton.toolTip
    slicer.mrmlScene.RemoveNode(pair.mr)
    host.process_events(until=lambda: panel.parameters.mr is None)
    assert panel.table("mr")[0][3] == "not placed"


def test_two_points_of_one_name(panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    matrix = panel.matrix()
    us = panel.controller.landmarkList("us")
    us.AddControlPoint(1.0, 2.0, 3.0, "Apex")
    assert "Two landmarks are named" in panel.ui.fitLabel.text
    assert np.allclose(panel.matrix(), matrix)
    us.SetNthControlPointLabel(3, "Cyst")
    assert "FRE 0.00" in panel.ui.fitLabel.text
    assert "left out: Cyst" in panel.ui.fitLabel.text
