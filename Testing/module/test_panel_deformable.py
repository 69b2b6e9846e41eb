"""The deformable registration in the panel: choices, results, pairs and undo; the jobs themselves are not run here."""

from types import SimpleNamespace

import deformed
import host
import numpy as np
import pytest
import slicer
from conftest import cells
from test_panel_deformable_nodes import segmentation

from LandmarkFusionLogic.mrml import correspondences, deformable, volumes


@pytest.fixture(scope="module")
def case():
    return deformed.pair()


@pytest.fixture
def chosen(panel, case):
    """Two volumes of which one is deformed, chosen in the panel; guided by nothing."""
    panel.fixed = volumes.add_volume(slicer.mrmlScene, case.fixed, "CT 1")
    panel.moving = volumes.add_volume(slicer.mrmlScene, case.moving, "CT 2")
    panel.ui.deformFixedSelector.setCurrentNode(panel.fixed)
    panel.ui.deformMovingSelector.setCurrentNode(panel.moving)
    panel.ui.deformButton.collapsed = False
    choose_source(panel, "none")
    host.process_events()
    return panel


def choose_source(panel, name):
    names = [source.name for source in panel.controller.deformable.sources]
    panel.ui.deformLandmarksSelector.activated.emit(names.index(name))


def finish(panel, timeout=240):
    host.process_events(until=lambda: not panel.controller.isBusy(), timeout=timeout)
    host.process_events()


def points(name, positions):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    for number, position in enumerate(positions, start=1):
        node.AddControlPoint(*[float(value) for value in position], f"P{number}")
    return node


def own_points(panel, case, count=8, seed=5):
    places = np.random.default_rng(seed).uniform(-22.0, 22.0, (count, 3))
    panel.here = points("Here", places)
    panel.there = points("There", [case.to_moving(place) for place in places])
    panel.ui.deformFixedPointsSelector.setCurrentNode(panel.here)
    panel.ui.deformMovingPointsSelector.setCurrentNode(panel.there)
    host.process_events()


def texts(panel):
    return [getattr(panel.ui, f"deform{name}Label").text for name in ("Result", "Warnings", "Pairs")]


def given(panel, case, folder, **more):
    """A result as the worker would send it, without a worker."""
    from LandmarkFusionLogic.jobs import to_json

    class Run:
        job = "deform"

        def out(self):
            return str(folder)

    own = panel.controller.deformable
    own._run, own._stamps = Run(), own._stamp()
    own._onDeformed(to_json(deformed.result(case, folder, **more)))
    host.process_events()


# Choices


def test_what_is_missing_is_said(panel, case):
    ui = panel.ui
    assert not ui.deformRegisterButton.enabled
    assert ui.deformRegisterButton.toolTip == "Choose the fixed volume first."
    fixed = volumes.add_volume(slicer.mrmlScene, case.fixed, "CT 1")
    ui.deformFixedSelector.setCurrentNode(fixed)
    assert ui.deformRegisterButton.toolTip == "Choose the moving volume first."
    ui.deformMovingSelector.setCurrentNode(fixed)
    assert "the same volume" in ui.deformRegisterButton.toolTip
    moving = volumes.add_volume(slicer.mrmlScene, case.moving, "CT 2")
    ui.deformMovingSelector.setCurrentNode(moving)
    assert ui.deformRegisterButton.enabled
    assert ui.deformFindButton.enabled
    assert ui.deformUndoButton.toolTip == "Nothing to take back."
    assert ui.deformLogButton.toolTip == "elastix has not run yet."
    choose_source(panel, "none")
    assert ui.deformFindButton.toolTip == "Choose a source that finds landmarks."
    choose_source(panel, "points")
    assert "Choose your point lists" in ui.deformRegisterButton.toolTip
    panel.parameters.deformLandmarks = "dcnn-of-somebody"
    assert "not on this computer" in ui.deformRegisterButton.toolTip
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "table")
    fixed.SetAndObserveTransformNodeID(parent.GetID())
    panel.controller.refresh()
    assert "under the transform “table”" in ui.deformRegisterButton.toolTip


def test_the_pair_of_the_rigid_fit_and_the_fit_are_offered(panel, shift):
    pair = panel.choose_pair()
    assert (panel.parameters.deformFixed, panel.parameters.deformMoving) == (pair.us, pair.mr)
    panel.place_all(shift)
    panel.controller.refresh()
    assert panel.parameters.deformInitial is panel.parameters.mrToUs
    assert panel.parameters.deformFixedPoints is panel.controller.landmarkList("us")
    assert panel.parameters.deformMovingPoints is panel.controller.landmarkList("mr")
    panel.ui.deformInitialSelector.setCurrentNode(None)
    panel.controller.refresh()
    assert panel.parameters.deformInitial is None  # Offered once; the user has refused it.
    assert panel.ui.deformRegisterButton.enabled  # The MR lies under its rigid transform, which is ours.


def test_what_is_not_there_is_not_shown_when_the_section_is_opened_again(chosen):
    ui = chosen.ui
    ui.deformButton.collapsed = True
    chosen.controller.refresh()
    ui.deformButton.collapsed = False
    host.process_events()
    assert ui.deformRegisterButton.visible
    for widget in (ui.deformProgressRow, ui.deformPairsRow, ui.deformTable, ui.deformLogText, ui.deformResultLabel):
        assert not widget.visible


def test_a_region_begins_around_the_fixed_volume(chosen):
    roi = chosen.ui.deformRegionSelector.addNode("vtkMRMLMarkupsROINode")
    host.process_events()
    assert chosen.parameters.deformRegion is roi
    assert np.allclose(roi.GetSize(), (96.0, 96.0, 80.0))


# Results


def test_a_result_is_shown_compared_and_taken_back(chosen, case, nodes, tmp_path):
    panel, ui = chosen, chosen.ui
    own_points(panel, case)
    before = nodes()
    given(panel, case, tmp_path, folded=0.02, similarity_after=0.4, warnings=["The mask was resampled."])
    assert panel.status.startswith("✓ Registered in 3 s.")
    node = panel.parameters.deformResult
    assert panel.moving.GetParentTransformNode() is panel.there.GetParentTransformNode() is node
    assert "folds in 2.00%" in ui.deformWarningsLabel.text
    assert "not more similar" in ui.deformWarningsLabel.text
    assert "The mask was resampled." in ui.deformWarningsLabel.text
    assert "Similarity of the images 0.500 before, 0.400 after" in ui.deformResultLabel.text
    assert cells(ui.deformTable) == [["Apex", "6.00", "1.00"]]
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetForegroundVolumeID() == deformable.part(node, deformable.WARPED).GetID()
    for index, kind in ((1, deformable.COMPARISON), (2, deformable.COMPARISON), (0, deformable.WARPED)):
        ui.deformShowSelector.setCurrentIndex(index)
        shown = {composite.GetForegroundVolumeID(), composite.GetBackgroundVolumeID()}
        assert deformable.part(node, kind).GetID() in shown
    ui.deformShowSelector.setCurrentIndex(3)
    assert composite.GetForegroundVolumeID() == deformable.part(node, deformable.JACOBIAN).GetID()
    ui.deformLogButton.click()
    assert ui.deformLogText.plainText == "elastix says hello\n"
    ui.deformUndoButton.click()
    host.process_events()
    assert nodes() == before
    assert panel.moving.GetParentTransformNode() is None
    assert panel.parameters.deformResult is None
    assert not ui.deformResultLabel.visible
    assert not ui.deformUndoButton.enabled


def test_pairs_are_drawn_filtered_and_deleted(chosen, case, tmp_path):
    from LandmarkFusionLib import asking

    panel = chosen
    choose_source(panel, "mind")
    given(panel, case, tmp_path, found=deformed.pairs(case))
    lists = correspondences.find(panel.fixed, panel.moving)
    assert panel.ui.deformPairsRow.visible
    assert panel.ui.deformPairsLabel.text.startswith("12 of 12 pairs")
    panel.ui.deformConfidenceSlider.setValue(0.5)
    assert panel.ui.deformPairsLabel.text.startswith("7 of 12 pairs")
    lists[0].RemoveNthControlPoint(0)
    host.process_events()
    assert panel.ui.deformPairsLabel.text.startswith("6 of 11 pairs")
    assert lists[1].GetNumberOfControlPoints() == 11
    assert correspondences.find_lines(lists[0]).GetPolyData().GetNumberOfLines() == 6
    assert panel.controller.deformable.hasFound()
    assert len(asking.guides(panel.controller.deformable)) == 6
    choose_source(panel, "none")
    assert not asking.guides(panel.controller.deformable)


def test_own_pairs_that_guide_are_not_drawn_twice(chosen, case, nodes, tmp_path):
    from LandmarkFusionLib import asking

    own_points(chosen, case)
    assert len(asking.targets(chosen.controller.deformable)) == 8
    choose_source(chosen, "points")
    assert len(asking.guides(chosen.controller.deformable)) == 8
    assert not asking.targets(chosen.controller.deformable)  # What guides cannot judge.
    before = nodes()["vtkMRMLMarkupsFiducialNode"]
    given(chosen, case, tmp_path, found=deformed.pairs(case))
    assert nodes()["vtkMRMLMarkupsFiducialNode"] == before


def test_state_comes_back_with_the_scene(chosen, case, tmp_path):
    panel = chosen
    own_points(panel, case)
    initial = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "start")
    panel.ui.deformInitialSelector.setCurrentNode(initial)
    panel.ui.deformRegionSelector.addNode("vtkMRMLMarkupsROINode").SetName("box")
    panel.ui.deformFixedMaskSelector.setCurrentNode(segmentation(SimpleNamespace(scene=slicer.mrmlScene), panel.fixed))
    panel.ui.deformPresetSelector.setCurrentIndex(1)
    panel.ui.deformConfidenceSlider.setValue(0.25)
    given(panel, case, tmp_path / "result", found=deformed.pairs(case), folded=0.02)
    shown = texts(panel)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    host.process_events()
    assert panel.parameters.deformFixed is None
    assert not panel.ui.deformResultLabel.visible
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {"clear": False})
    host.process_events()
    parameters = panel.parameters
    assert (parameters.deformFixed.GetName(), parameters.deformMoving.GetName()) == ("CT 1", "CT 2")
    assert parameters.deformInitial.GetName() == "start"
    assert parameters.deformFixedPoints.GetName() == "Here"
    assert parameters.deformRegion.GetName() == "box"
    assert parameters.deformFixedMask.GetName() == "Organ"
    assert parameters.deformMovingMask is None
    assert panel.ui.deformFixedMaskSelector.currentNode() is parameters.deformFixedMask
    assert (parameters.deformLandmarks, parameters.deformPreset.value) == ("none", "paper")
    assert texts(panel) == shown
    there = parameters.deformMovingPoints
    here = parameters.deformFixedPoints
    for index in range(here.GetNumberOfControlPoints()):
        gap = np.subtract(here.GetNthControlPointPositionWorld(index), there.GetNthControlPointPositionWorld(index))
        assert np.linalg.norm(gap) < 0.05
    panel.ui.deformUndoButton.click()
    assert parameters.deformMoving.GetParentTransformNode() is None
    assert correspondences.find(parameters.deformFixed, parameters.deformMoving) is None


def test_removing_the_result_by_hand(chosen, case, tmp_path):
    given(chosen, case, tmp_path)
    slicer.mrmlScene.RemoveNode(chosen.parameters.deformResult)
    host.process_events()
    assert not chosen.ui.deformResultLabel.visible
    assert not chosen.ui.deformUndoButton.enabled


def test_a_changed_volume_is_not_deformed(chosen, case, nodes, tmp_path):
    before = nodes()
    own = chosen.controller.deformable
    stamp = own._stamp
    own._stamp = list
    given(chosen, case, tmp_path)
    own._stamp = stamp
    assert nodes() != before  # The stand-in of a stamp never changes.
    chosen.ui.deformUndoButton.click()
    own._stamp = iter([[1], [2]]).__next__
    given(chosen, case, tmp_path)
    own._stamp = stamp
    assert chosen.status.startswith("Error: A volume was changed")
    assert nodes() == before
