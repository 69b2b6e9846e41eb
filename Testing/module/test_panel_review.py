"""What the panel derives stays in line with edits that are made elsewhere, above all in the Segment Editor."""

import host
import numpy as np
import pytest
import slicer
import vtk
from test_panel_overlays import ball, show_gland
from test_panel_targets import arrived, choose, points, table

from LandmarkFusionLogic.mrml import glands
from LandmarkFusionLogic.volume import Volume


@pytest.fixture
def aligned(panel, shift):
    panel.choose_pair()
    panel.place_all(shift, state="detected")
    return panel


def edit(node, mask: Volume) -> None:
    """Replace the first segment as the Segment Editor does."""
    identifier = node.GetSegmentation().GetNthSegmentID(0)
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        glands.oriented_image(mask), node, identifier, 0
    )
    host.process_events()


def test_an_edited_gland_is_followed_by_gland_error_and_targets(aligned):
    panel = aligned
    node = show_gland(panel, "mr")
    panel.parameters.targets = node
    host.process_events()
    before = panel.controller.overlays.knownGland("mr").millilitres
    error = panel.controller.overlays.expectedError()
    place = arrived(panel)[0]
    edit(node, ball((0.0, 0.0, 25.0), radius=8.0))
    assert panel.controller.overlays.knownGland("mr").millilitres < before / 4
    assert panel.controller.overlays.expectedError() > error + 0.1
    assert arrived(panel)[0] - place == pytest.approx([0.0, 0.0, 25.0], abs=0.5)


def test_deleted_targets_and_those_of_a_lost_fit_do_not_stay_in_the_ultrasound(aligned):
    panel = aligned
    lesions = points()
    choose(panel, lesions)
    assert len(arrived(panel)) == 1
    lesions.RemoveNthControlPoint(0)
    assert not arrived(panel)
    lesions.AddControlPoint(1.0, 2.0, 3.0, "Lesion 1")
    assert len(arrived(panel)) == 1
    panel.ui.usSelector.setCurrentNode(panel.add_volume("US 2", 3))
    host.process_events()
    assert not arrived(panel)


def test_the_gland_of_the_ultrasound_is_no_target_of_the_mr(aligned):
    panel = aligned
    node = show_gland(panel, "us")
    choose(panel, node)
    assert "gland of another image" in panel.ui.targetsLabel.text
    assert not table(panel)
    assert node.GetParentTransformNode() is None


def test_names_of_targets_do_not_tell_those_of_files(aligned):
    panel = aligned
    choose(panel, points("Doe-John-0126", (np.zeros(3), np.ones(3))))
    panel.parameters.targets.SetNthControlPointLabel(0, "Doe-John-0126-1")
    host.process_events()
    assert [row[0] for row in table(panel)] == ["Target 1", "Lesion 2"]
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "Doe-John-0126-Target2-seriesUID-1")
    model.CreateDefaultDisplayNodes()
    model.SetAndObservePolyData(sphere.GetOutput())
    choose(panel, model)
    assert [row[0] for row in table(panel)] == ["Target2"]
