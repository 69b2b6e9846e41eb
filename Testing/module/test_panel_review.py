"""What the panel derives stays in line with edits that are made elsewhere, above all in the Segment Editor."""

import host
import numpy as np
import pytest
import slicer
import vtk
from test_panel_overlays import ball, show_gland
from test_panel_targets import arrived, choose, points, table

from LandmarkFusionLogic.landmarks import choices as networks
from LandmarkFusionLogic.mrml import glands, landmarks, volumes
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


def test_the_report_keeps_what_was_said_of_a_landmark_only_until_it_is_corrected(aligned, tmp_path):
    panel = aligned
    from LandmarkFusionLib import export

    node = panel.controller.landmarkList("us")
    names = [node.GetNthControlPointLabel(index) for index in range(3)]
    said = dict.fromkeys(names, 4.0)
    landmarks.remember_detection(node, "net", "CPU", 1.0, [], ask_first=names, disagreement_mm=said)
    node.SetNthControlPointPosition(0, *(np.array(node.GetNthControlPointPosition(0)) + [0.0, 0.0, 2.0]))
    landmarks.set_checked(node, node.GetNthControlPointID(1))
    side = export._side(export.Image(panel.parameters.us, node, None), "US volume")
    assert side.ask_first == (names[2],)
    assert side.disagreement_mm == dict.fromkeys(names[1:], 4.0)


def draw_cyst(node, centre=(12.0, 4.0, 0.0)) -> None:
    inner = node.GetSegmentation()
    own = inner.GetSegment(inner.AddEmptySegment("Cyst", "Cyst"))
    own.SetLabelValue(1)
    own.AddRepresentation("Binary labelmap", glands.oriented_image(ball(centre, radius=5.0)))


def segments(node) -> list[str]:
    inner = node.GetSegmentation()
    return [inner.GetNthSegmentID(index) for index in range(inner.GetNumberOfSegments())]


def test_what_the_user_has_drawn_beside_the_gland_survives_another_detection(aligned):
    panel = aligned
    node = show_gland(panel, "us")
    draw_cyst(node)
    drawn = glands.read(node, "Cyst")
    assert show_gland(panel, "us", (0.0, 0.0, 5.0)) is node
    assert segments(node) == ["Prostate", "Cyst"]
    assert panel.controller.overlays.knownGland("us").centroid == pytest.approx([0.0, 0.0, 5.0], abs=0.1)
    again = glands.read(node, "Cyst")
    assert np.array_equal(again.array, drawn.array)
    assert np.allclose(again.ijk_to_ras, drawn.ijk_to_ras)
    surface = vtk.vtkPolyData()
    assert node.GetClosedSurfaceRepresentation("Cyst", surface)
    assert surface.GetNumberOfPoints()


def test_a_layer_that_gland_and_cyst_share_loses_only_the_gland(aligned):
    panel = aligned
    node = show_gland(panel, "us")
    draw_cyst(node, (30.0, 4.0, 0.0))
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    voxels = glands.read(node, "Cyst").array.sum()
    show_gland(panel, "us", (0.0, 0.0, 5.0))
    assert glands.read(node, "Cyst").array.sum() == voxels
    assert glands.read(node).array.sum() == ball().array.sum()


def test_a_gland_that_is_found_no_more_takes_nothing_of_the_users_with_it(aligned):
    panel = aligned
    node, mr = show_gland(panel, "us"), show_gland(panel, "mr")
    draw_cyst(node)
    draw_cyst(mr)
    for modality in landmarks.MODALITIES:
        glands.remove(panel.controller.volume(modality), modality)
    host.process_events()
    assert segments(node) == ["Cyst"]
    assert panel.controller.overlays.knownGland("us") is None
    assert panel.controller.overlays.expectedError() is None
    panel.ui.flipLrButton.click()
    assert glands.read(node).array.any()
    show_gland(panel, "us")
    assert segments(node) == ["Prostate", "Cyst"]
    glands.remove(panel.parameters.us, "us")
    node.GetSegmentation().RemoveSegment("Cyst")
    glands.remove(panel.parameters.us, "us")
    assert glands.find(panel.parameters.us, "us") is None


def test_a_flip_after_the_gland_was_emptied_moves_everything_else(aligned):
    panel = aligned
    node = show_gland(panel, "us")
    draw_cyst(node)
    edit(node, Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4)))
    assert panel.controller.overlays.knownGland("us") is None
    before = volumes.ijk_to_ras(panel.parameters.us)
    middle = panel.parameters.us.GetImageData().GetDimensions()
    centre = (before @ [*((np.array(middle) - 1) / 2), 1.0])[:3]
    panel.ui.flipLrButton.click()
    assert not np.allclose(volumes.ijk_to_ras(panel.parameters.us), before)
    cyst = glands.read(node, "Cyst")
    index = np.argwhere(cyst.array)[:, ::-1].mean(axis=0)
    place = (cyst.ijk_to_ras @ [*index, 1.0])[:3]
    assert place == pytest.approx([2 * centre[0] - 12.0, 4.0, 0.0], abs=0.2)
    panel.ui.flipLrButton.click()
    assert np.allclose(volumes.ijk_to_ras(panel.parameters.us), before)


def test_a_gland_counts_as_edited_by_its_voxels_whatever_is_flipped_and_moved(aligned):
    panel = aligned
    node = show_gland(panel, "us")
    panel.ui.flipLrButton.click()
    assert not glands.edited(node)
    edit(node, ball(radius=15.0))
    assert glands.edited(node)
    panel.ui.flipLrButton.click()
    assert glands.edited(node)


def test_networks_of_two_kinds_are_described_each_by_its_own(panel):
    from LandmarkFusionLib.panels.inputs import _tip

    kinds = {"mr": networks.RESEARCH, "us": networks.SIMULATION}
    tip = _tip(networks.NetworkChoice("recommended", "both", networks.RESEARCH, {}, kinds)).split("\n")
    assert tip[0].startswith("MR: ")
    assert "real cases" in tip[0]
    assert tip[1] == "US: this network has learned from simulated images only."
