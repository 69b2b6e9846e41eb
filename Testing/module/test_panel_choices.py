"""Choices changed at awkward moments: no volume may get what belongs to another one."""

import host
import numpy as np

from LandmarkFusionLogic.mrml import landmarks, transforms, volumes
from LandmarkFusionLogic.points import Landmark


def _worlds(panel, modality):
    node = panel.controller.landmarkList(modality)
    return {row.name: landmarks.world_position(node, row.point_id) for row in landmarks.rows(node)}


def _wait(panel):
    host.process_events(until=lambda: not panel.controller.detection.isBusy(), timeout=60)


def test_a_swap_put_right_leaves_the_ultrasound_where_it_is(panel, shift):
    wrong = panel.choose_pair("TRUS", "T2 MR")
    panel.place_all(shift)
    panel.ui.mrSelector.setCurrentNode(wrong.us)
    panel.ui.usSelector.setCurrentNode(wrong.mr)
    panel.place_all(shift)
    assert panel.parameters.us.GetParentTransformNode() is None
    assert panel.parameters.mr.GetParentTransformNode() is panel.parameters.mrToUs
    mr, us = _worlds(panel, "mr"), _worlds(panel, "us")
    for name, position in mr.items():
        assert np.allclose(position, us[name], atol=1e-6)


def test_what_is_found_belongs_to_the_volume_it_was_found_in(panel):
    first = panel.choose_pair().us
    panel.controller.detect("us")
    second = panel.add_volume("US second", 5)
    panel.ui.usSelector.setCurrentNode(second)
    _wait(panel)
    assert len(landmarks.read(landmarks.find(first, "us"))) == 3
    assert landmarks.find(second, "us") is None
    panel.ui.usSelector.setCurrentNode(first)
    assert panel.table("us")[0][3] == "detected"


def test_no_volume_chosen_any_more_when_landmarks_are_found(panel):
    us = panel.choose_pair().us
    panel.controller.detect("us")
    panel.ui.usSelector.setCurrentNode(None)
    _wait(panel)
    assert len(landmarks.read(landmarks.find(us, "us"))) == 3


def test_undo_stays_with_the_pair_that_is_seen(panel, shift):
    panel.choose_pair("A", "B")
    panel.place_all(shift)
    panel.controller.editing.remember()
    node = panel.controller.landmarkList("us")
    node.SetNthControlPointPosition(0, 1.0, 2.0, 3.0)
    panel.choose_pair("C", "D")
    assert not panel.ui.undoButton.enabled
    panel.controller.editing.undo()
    assert np.allclose(node.GetNthControlPointPosition(0), [1, 2, 3])


def test_a_flip_takes_along_the_landmark_that_was_being_placed(panel, shift):
    pair = panel.choose_pair()
    panel.place_all(shift)
    before = {point.name: point.position for point in landmarks.read(panel.controller.landmarkList("us"))}
    middle = volumes.volume_from_node(pair.us, "US").centre[0]
    panel.controller.editing.select("us", "Apex")
    panel.ui.usPlaceButton.click()
    panel.ui.flipLrButton.click()
    after = {point.name: point.position for point in landmarks.read(panel.controller.landmarkList("us"))}
    assert after.keys() == before.keys()
    for name, position in after.items():
        assert np.isclose(position[0], 2 * middle - before[name][0])


def test_a_volume_without_image_is_not_flipped(panel):
    import slicer

    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "US empty")
    panel.ui.usSelector.setCurrentNode(empty)
    panel.controller.flip("lr")
    assert volumes.flips(empty) == []


def test_a_pair_locked_in_one_image_is_not_removed_from_the_other(panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    panel.ui.addPairButton.click()
    for modality in landmarks.MODALITIES:
        node = panel.controller.landmarkList(modality)
        node.SetNthControlPointPosition(node.GetControlPointIndexByLabel("Pair 1"), 1.0, 2.0, 3.0)
    us = panel.controller.landmarkList("us")
    us.SetNthControlPointLocked(us.GetControlPointIndexByLabel("Pair 1"), True)
    panel.controller.editing.select("mr", "Pair 1")
    panel.ui.mrRemoveButton.click()
    assert "locked" in panel.status
    assert us.GetControlPointIndexByLabel("Pair 1") >= 0


def test_points_all_placed_by_hand_owe_nothing_to_a_network(panel, shift):
    from LandmarkFusionLib import checks

    panel.choose_pair()
    panel.place_all(shift, state="detected")
    node = panel.controller.landmarkList("us")
    landmarks.remember_detection(node, "net 1", "CPU", 2.0, ["No prostate was recognized in the US volume."])
    assert landmarks.detection(node)["model"] == "net 1"
    landmarks.write(node, [Landmark(point.name, point.position) for point in landmarks.read(node)])
    assert landmarks.detection(node) == {}
    assert not any("prostate" in text for text in checks.warnings(panel.controller))


def test_the_transform_of_another_pair_stays(panel, shift):
    first = panel.choose_pair("A", "B")
    panel.place_all(shift)
    transform = panel.parameters.mrToUs
    panel.choose_pair("C", "D")
    assert first.mr.GetParentTransformNode() is transform
    assert np.allclose(transforms.matrix(transform), shift)
