"""The refinement after the rigid fit in the panel, with the real worker."""

import host
import numpy as np
import pytest
import refined
import slicer
from test_panel_deformable import finish

from LandmarkFusionLogic.mrml import deformable, glands, landmarks, transforms, volumes
from LandmarkFusionLogic.points import Landmark


@pytest.fixture(scope="module")
def pair():
    return refined.pair()


def label_map(mask, name):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    node.SetAndObserveImageData(volumes.image(mask.array))
    volumes.set_ijk_to_ras(node, mask.ijk_to_ras)
    return node


def choose_preset(panel, value):
    kind = type(panel.parameters.deformPreset)
    panel.parameters.deformPreset = kind(value)


@pytest.fixture
def chosen(panel, pair):
    """US and MR, the rigid fit to start from, and the preset of the refinement."""
    panel.fixed = volumes.add_volume(slicer.mrmlScene, pair.us, "US")
    panel.moving = volumes.add_volume(slicer.mrmlScene, pair.mr, "MR")
    panel.start = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "rigid fit")
    panel.start.SetMatrixTransformToParent(transforms.to_matrix(refined.START))
    panel.moving.SetAndObserveTransformNodeID(panel.start.GetID())
    panel.ui.deformFixedSelector.setCurrentNode(panel.fixed)
    panel.ui.deformMovingSelector.setCurrentNode(panel.moving)
    panel.ui.deformButton.collapsed = False
    choose_preset(panel, "mr-us")
    host.process_events()
    return panel


def masks(panel, us, mr):
    panel.ui.deformFixedMaskSelector.setCurrentNode(label_map(us, "gland in US"))
    there = label_map(mr, "gland in MR")
    there.SetAndObserveTransformNodeID(panel.start.GetID())  # It lies on its volume.
    panel.ui.deformMovingMaskSelector.setCurrentNode(there)
    host.process_events()


def point(panel, place):
    """A fiducial in the MR, under the same transform as the volume."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "target")
    node.CreateDefaultDisplayNodes()
    node.AddControlPoint(*place)
    node.SetAndObserveTransformNodeID(panel.start.GetID())
    return node


def test_refine_and_take_it_back(chosen, pair, nodes):
    panel, ui = chosen, chosen.ui
    masks(panel, pair.us_gland, pair.mr_gland)
    place = np.array([6.0, -5.0, 4.0])
    target = point(panel, refined.to_mr(place))
    before = nodes()
    assert panel.parameters.deformInitial is panel.start
    assert ui.deformRegisterButton.enabled
    assert "drawn gland masks" in ui.deformPointsHint.text
    assert not ui.deformFindButton.enabled
    assert np.linalg.norm(np.subtract(target.GetNthControlPointPositionWorld(0), place)) > 4.0
    ui.deformRegisterButton.click()
    finish(panel)
    assert panel.status.startswith("✓ Registered in"), panel.status
    node = panel.parameters.deformResult
    assert deformable.is_ours(node)
    assert panel.moving.GetParentTransformNode() is target.GetParentTransformNode() is node
    assert np.linalg.norm(np.subtract(target.GetNthControlPointPositionWorld(0), place)) < 0.8
    assert "MR–US" in ui.deformResultLabel.text
    assert not ui.deformWarningsLabel.text
    ui.deformUndoButton.click()
    host.process_events()
    assert nodes() == before
    assert panel.moving.GetParentTransformNode() is target.GetParentTransformNode() is panel.start


def test_a_doubtful_refinement_leaves_the_scene_alone(chosen, pair, nodes):
    panel = chosen
    masks(panel, refined.half(pair.us_gland), pair.mr_gland)
    before = nodes()
    panel.ui.deformRegisterButton.click()
    finish(panel)
    assert "doubtful" in panel.status
    assert "the rigid alignment is kept" in panel.status
    assert nodes() == before
    assert panel.moving.GetParentTransformNode() is panel.start
    assert panel.parameters.deformResult is None

    panel.ui.deformDoubtfulCheckBox.click()
    assert panel.parameters.deformDoubtful
    panel.ui.deformRegisterButton.click()
    finish(panel)
    assert panel.moving.GetParentTransformNode() is panel.parameters.deformResult
    assert "used all the same, as you asked" in panel.ui.deformWarningsLabel.text


def test_what_is_missing_is_said(chosen):
    panel = chosen
    panel.moving.SetAndObserveTransformNodeID(None)
    panel.parameters.deformInitial = None
    host.process_events()
    assert not panel.ui.deformRegisterButton.enabled
    assert "starts from the rigid fit" in panel.ui.deformRegisterButton.toolTip
    choose_preset(panel, "fast")
    host.process_events()
    assert panel.ui.deformRegisterButton.enabled


def test_glands_and_landmarks_of_the_detection_guide(chosen, pair):
    """What the networks found is taken without being chosen, and is told from what a person has corrected."""
    from LandmarkFusionLib import refining

    panel = chosen
    said = glands.Prediction(np.zeros(3), np.eye(3), 30.0)
    drawn = {
        modality: glands.write(volume, modality, getattr(pair, f"{modality}_gland"), said)
        for modality, volume in (("us", panel.fixed), ("mr", panel.moving))
    }
    names = ("Apex", "Bladder neck", "Posterior median")
    places = np.array([[0.0, -8.0, -10.0], [0.0, 2.0, 14.0], [0.0, -9.0, 3.0]])
    for modality, volume, found in (("us", panel.fixed, places), ("mr", panel.moving, refined.to_mr(places))):
        node = landmarks.create(volume, modality)
        landmarks.write(node, [Landmark(name, each) for name, each in zip(names, found, strict=True)])
    panel.controller.refresh()
    host.process_events()
    own = panel.controller.deformable
    asked, inputs = refining.request(own)
    assert not asked["drawn"]
    assert set(inputs) == {"fixed", "moving", "fixed_mask", "moving_mask"}
    assert np.array_equal(inputs["moving_mask"].array, pair.mr_gland.array)
    assert [mark["name"] for mark in asked["moving_landmarks"]] == list(names)
    assert np.allclose([mark["position"] for mark in asked["moving_landmarks"]], refined.to_mr(places))
    assert asked["targets"] == []
    assert "the gland masks of the network, the landmarks of the rigid fit" in panel.ui.deformPointsHint.text
    # Corrected in both images they are a person's.
    masks(panel, pair.us_gland, pair.mr_gland)
    assert drawn["us"].GetScene() is not None
    assert refining.request(own)[0]["drawn"]
