"""CT and X-ray in the panel: choices, geometry, pose, live DRRs and results; the jobs themselves are not run here."""

import dataclasses
import json

import host
import numpy as np
import pytest
import slicer
import xrays
from conftest import cells

from LandmarkFusionLogic.jobs import AlignResult, to_json
from LandmarkFusionLogic.mrml import (
    deformable,
    projectionplane,
    projectionresult,
    projectionviews,
    transforms,
    volumes,
)
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.volume import Volume

SLIDERS = ("RX", "RY", "RZ", "TX", "TY", "TZ")


class Answering:
    """Stands in for the engine of the live DRRs: keeps what it is asked, answers when it is told to."""

    def __init__(self):
        self.requests = []
        self._waiting = None

    def run(self, name, request, onProgress, onResult, onFailure):
        assert name == "drr"
        assert self._waiting is None, "two requests at once"
        self.requests.append(request)
        self._waiting = onResult, onFailure

    def isWaiting(self):
        return self._waiting is not None

    def answer(self, value=1.0):
        """Write an image that runs from 0 to ``value``."""
        (done, _failed), self._waiting = self._waiting, None
        geometry = self.requests[-1]["geometry"]
        ramp = np.linspace(0.0, value, geometry["rows"] * geometry["columns"], dtype="<f4")
        ramp.tofile(self.requests[-1]["live"])
        done({})

    def fail(self, kind="input", message="No."):
        (_done, failed), self._waiting = self._waiting, None
        failed(kind, message)

    def stop(self):
        pass


@pytest.fixture
def open(panel):
    """The panel with its section open and live DRRs that are answered by hand."""
    panel.engine = panel.controller.projection.live.engine = Answering()
    panel.ui.projectionButton.collapsed = False
    panel.case = xrays.case()
    return panel


@pytest.fixture
def chosen(open):
    """A CT and its X-ray, with the right geometry."""
    panel = open
    panel.ct = volumes.add_volume(slicer.mrmlScene, panel.case.ct, "Spine")
    panel.film = projectionplane.add_xray(slicer.mrmlScene, panel.case.xray, panel.case.geometry.spacing, "Film")
    panel.ui.projectionCtSelector.setCurrentNode(panel.ct)
    panel.ui.projectionXraySelector.setCurrentNode(panel.film)
    host.process_events(until=lambda: panel.engine.isWaiting(), timeout=20)
    return panel


def pose(panel):
    return panel.controller.projection.pose()


def set_pose(panel, values):
    for name, value in zip(SLIDERS, values, strict=True):
        getattr(panel.ui, f"projection{name}Slider").setValue(value)


def given(panel, folder, found=xrays.TRUTH, estimating=False, **more):
    """A result as the worker would send it, without a worker."""
    import SimpleITK as sitk

    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(panel.case.xray), str(folder / "drr.nrrd"))

    class Run:
        def out(self):
            return str(folder)

    own = panel.controller.projection.alignment
    own._run, own._stamps, own._estimating = Run(), own._stamp(), estimating
    matrix = ct_to_camera(Pose.of(found), panel.case.ct.centre, panel.case.geometry)
    paths = dict.fromkeys(("transform", "xray", "overlay", "report", "similarity"), "")
    result = AlignResult(
        pose=list(found),
        ct_to_camera=matrix.tolist(),
        start=[0.0] * 6,
        method="ours",
        similarity_before=0.25,
        similarity_after=0.75,
        curve=[],
        geometry=panel.case.geometry.to_json(),
        drr=str(folder / "drr.nrrd"),
        seconds=3.0,
        **paths,
    )
    own._onAligned(to_json(dataclasses.replace(result, **more)))
    host.process_events()


# Choices


def test_what_is_missing_is_said(open):
    ui = open.ui
    assert ui.projectionAlignButton.toolTip == "Choose the CT first."
    ct = volumes.add_volume(slicer.mrmlScene, open.case.ct, "Spine")
    ui.projectionCtSelector.setCurrentNode(ct)
    assert ui.projectionAlignButton.toolTip == "Choose or load the X-ray first."
    ui.projectionXraySelector.setCurrentNode(ct)
    assert "a volume of 40 slices" in ui.projectionAlignButton.toolTip
    film = projectionplane.add_xray(slicer.mrmlScene, open.case.xray, (2.1, 2.1), "Film")
    ui.projectionXraySelector.setCurrentNode(film)
    assert ui.projectionAlignButton.enabled
    assert "Choose your point lists" in ui.projectionMatchButton.toolTip
    ui.projectionRowsBox.setValue(100)
    assert "100 × 96 pixels, the X-ray 96 × 96" in ui.projectionAlignButton.toolTip
    ui.projectionRowsBox.setValue(96)
    ui.projectionIsocenterBox.setValue(2000)
    assert "between source and detector" in ui.projectionAlignButton.toolTip
    ui.projectionIsocenterBox.setValue(0)
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "table")
    ct.SetAndObserveTransformNodeID(parent.GetID())
    open.controller.refresh()
    assert "under the transform “table”" in ui.projectionAlignButton.toolTip
    assert ui.projectionUndoButton.toolTip == "Nothing to take back."


def test_what_is_not_there_is_not_shown(chosen):
    for name in ("ProgressRow", "ResultLabel", "WarningsLabel", "Table"):
        assert not getattr(chosen.ui, f"projection{name}").visible
    assert chosen.ui.projectionAlignButton.visible


# Geometry


def test_a_preset_fills_the_form_at_the_size_of_the_xray(chosen):
    ui = chosen.ui
    assert "Size and spacing of the image" in ui.projectionSourceLabel.text
    assert ui.projectionRowSpacingBox.value == pytest.approx(204.8 / 96, abs=1e-5)
    ui.projectionPresetSelector.activated.emit(1)
    assert ui.projectionSourceLabel.text.startswith("Preset: Perlove PLX118F")
    assert ui.projectionSddBox.value == 1011.7
    assert (ui.projectionRowsBox.value, ui.projectionColumnsBox.value) == (96, 96)
    p = chosen.parameters.projection
    assert p.rowSpacing * p.rows == pytest.approx(0.19959 * 1024)
    ui.projectionSddBox.setValue(1100.0)
    assert ui.projectionSourceLabel.text.startswith("Edited. It was: Preset: Perlove")
    ui.projectionSddBox.setValue(1011.7)
    assert ui.projectionSourceLabel.text.startswith("Preset: ")


def test_the_central_ray_may_be_elsewhere(chosen):
    from LandmarkFusionLib import projectiongeometry

    ui = chosen.ui
    assert not ui.projectionPrincipalRowBox.enabled
    ui.projectionRowsBox.setValue(64)
    assert ui.projectionPrincipalRowBox.value == 31.5
    ui.projectionRowsBox.setValue(96)
    ui.projectionCenteredCheckBox.click()
    assert ui.projectionPrincipalRowBox.enabled
    ui.projectionPrincipalRowBox.setValue(40.0)
    ui.projectionPrincipalColumnBox.setValue(50.5)
    ui.projectionMirroredCheckBox.click()
    found = projectiongeometry.read(chosen.parameters)
    assert found.principal_point == (40.0, 50.5)
    assert found.mirrored


def test_an_xray_that_knows_its_carm_brings_it_along(chosen):
    from LandmarkFusionLib import projectiongeometry

    arm = {**chosen.case.geometry.to_json(), "sdd": 1234.0, "primary_angle": 30.0, "secondary_angle": -10.0}
    node = projectionplane.add_xray(slicer.mrmlScene, chosen.case.xray, (1.0, 1.0), "Second")
    node.SetAttribute(projectiongeometry.CARM, json.dumps(arm))
    chosen.ui.projectionXraySelector.setCurrentNode(node)
    assert chosen.ui.projectionSourceLabel.text == "From the tags of the DICOM file"
    assert chosen.ui.projectionSddBox.value == 1234.0
    assert chosen.ui.projectionPrimaryBox.value == 30.0
    chosen.ui.projectionResetButton.click()
    assert pose(chosen)[1] != 0.0  # Straight through the C-arm as it stood.
    node.SetAttribute(projectiongeometry.CARM, "{")  # Edited outside.
    assert projectiongeometry.ofNode(node) is None


def test_what_the_job_is_asked(chosen):
    from LandmarkFusionLib import projectionasking, projectiongeometry

    own = chosen.controller.projection
    chosen.ui.projectionBonesSelector.setCurrentIndex(2)
    set_pose(chosen, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    request, inputs = projectionasking.alignment(own, chosen.parameters.projection.method)
    assert request["pose"] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert request["xray"] == {"bones": "dark", "intensity": "auto"}
    assert set(inputs) == {"ct", "xray"}
    assert "primary_angle" not in request["geometry"]
    # A second view, with other pixels, from the patient's left.
    second = projectionplane.add_xray(slicer.mrmlScene, chosen.case.xray[::2, ::2], (4.0, 4.0), "Lateral")
    second.SetAttribute(projectionasking.BONES, "bright")
    second.SetAttribute(projectionasking.INTENSITY, "log")
    chosen.ui.projectionXray2Selector.setCurrentNode(second)
    chosen.ui.projectionBonesSelector.setCurrentIndex(0)
    request, inputs = projectionasking.alignment(own, chosen.parameters.projection.method)
    assert request["xray2"] == {"bones": "bright", "intensity": "log"}
    assert request["geometry2"]["rows"] == 48
    assert inputs["xray2"].array.shape == (1, 48, 48)
    turn = np.array(request["from_first"])
    assert np.trace(turn[:3, :3]) == pytest.approx(1.0)  # By 90 degrees,
    middle = [0.0, 0.0, projectiongeometry.read(chosen.parameters).isocenter_distance, 1.0]
    assert np.allclose(turn @ middle, middle)  # about the isocenter.


def test_where_the_arm_stood_there_are_two_poses_to_begin_with(chosen):
    from LandmarkFusionLib import projectionasking

    chosen.ui.projectionPrimaryBox.setValue(60.0)
    chosen.ui.projectionResetButton.click()
    method = chosen.parameters.projection.method
    assert projectionasking.alignment(chosen.controller.projection, method)[0]["pose"] is None
    chosen.ui.projectionTXSlider.setValue(3.0)
    assert projectionasking.alignment(chosen.controller.projection, method)[0]["pose"] is not None


# Live DRRs


def test_the_newest_pose_wins_and_only_one_is_asked_for(chosen):
    panel = chosen
    assert len(panel.engine.requests) == 1
    for value in (1.0, 2.0, 3.0, 4.0):
        panel.ui.projectionRXSlider.setValue(value)
    assert len(panel.engine.requests) == 1
    panel.engine.answer()
    assert [request["pose"][0] for request in panel.engine.requests] == [0.0, 4.0]
    panel.engine.answer()
    assert not panel.engine.isWaiting()
    assert panel.controller.projection.live.count == 2
    geometry = panel.engine.requests[-1]["geometry"]
    assert (geometry["rows"], geometry["columns"]) == (96, 96)


def test_the_drr_is_drawn_into_the_plane_of_the_xray(chosen):
    panel = chosen
    panel.engine.answer(5.0)
    host.process_events()
    drr = panel.controller.projection.views.drr
    assert np.allclose(volumes.ijk_to_ras(drr), volumes.ijk_to_ras(panel.film))
    assert volumes.array_view(drr).max() == 5.0
    manager = slicer.app.layoutManager()
    assert manager.layout == projectionviews.LAYOUT
    shown = {
        name: manager.sliceWidget(name).mrmlSliceCompositeNode()
        for name in (projectionviews.XRAY, projectionviews.DRR, projectionviews.COMPARISON)
    }
    assert shown[projectionviews.XRAY].GetBackgroundVolumeID() == panel.film.GetID()
    assert shown[projectionviews.DRR].GetBackgroundVolumeID() == drr.GetID()
    both = shown[projectionviews.COMPARISON]
    assert (both.GetBackgroundVolumeID(), both.GetForegroundVolumeID()) == (panel.film.GetID(), drr.GetID())
    panel.ui.projectionOpacitySlider.setValue(0.8)
    assert both.GetForegroundOpacity() == 0.8
    for index in (1, 2):  # Checkerboard, edges.
        panel.ui.projectionShowSelector.setCurrentIndex(index)
        made = [slicer.mrmlScene.GetNodeByID(both.GetBackgroundVolumeID()).GetName()]
        if both.GetForegroundVolumeID():
            made.append(slicer.mrmlScene.GetNodeByID(both.GetForegroundVolumeID()).GetName())
        assert made[-1] == "X-ray and DRR"
    before = volumes.array_view(slicer.mrmlScene.GetFirstNodeByName("X-ray and DRR")).copy()
    panel.ui.projectionShowSelector.setCurrentIndex(1)
    panel.ui.projectionTXSlider.setValue(20.0)
    panel.engine.answer(9.0)
    after = volumes.array_view(slicer.mrmlScene.GetFirstNodeByName("X-ray and DRR"))
    assert not np.array_equal(before, after)


def test_a_large_detector_is_read_out_coarsely(chosen):
    chosen.engine.answer()
    chosen.ui.projectionRowsBox.setValue(1024)
    chosen.ui.projectionColumnsBox.setValue(768)
    while chosen.engine.isWaiting():
        chosen.engine.answer()
    geometry = chosen.engine.requests[-1]["geometry"]
    assert (geometry["rows"], geometry["columns"]) == (256, 192)


def test_views_are_closed_and_bring_back_the_layout(open, nodes):
    panel = open
    before = nodes()
    layout = slicer.app.layoutManager().layout
    ct = volumes.add_volume(slicer.mrmlScene, panel.case.ct, "Spine")
    panel.ui.projectionCtSelector.setCurrentNode(ct)
    assert slicer.app.layoutManager().layout == layout  # Nothing to compare with yet.
    panel.ui.projectionViewsButton.click()
    assert panel.ui.projectionViewsButton.text == "Hide views"
    host.process_events(until=panel.engine.isWaiting, timeout=20)
    panel.engine.answer()
    assert slicer.app.layoutManager().layout == projectionviews.LAYOUT
    panel.ui.projectionViewsButton.click()
    assert slicer.app.layoutManager().layout == layout
    assert panel.controller.projection.views.drr is None
    deformable.remove(ct)
    host.process_events()
    left = {name: count for name, count in nodes().items() if "Slice" not in name}  # Views stay with their layout.
    assert left == {name: count for name, count in before.items() if "Slice" not in name}


def test_a_drr_that_cannot_be_made_is_told_of(chosen):
    chosen.engine.fail("input", "The source lies inside the volume.")
    assert chosen.ui.projectionStatusLabel.text == "No live DRR: The source lies inside the volume."
    assert chosen.ui.projectionStatusLabel.visible
    chosen.ui.projectionTZSlider.setValue(10.0)
    chosen.engine.answer()
    assert not chosen.ui.projectionStatusLabel.visible


def test_without_anything_to_project_with_it_is_said(chosen, monkeypatch):
    from LandmarkFusionLib import projectionasking

    monkeypatch.setattr(projectionasking, "canProject", lambda: False)
    chosen.controller.refresh()
    assert "Live DRRs need PyTorch, or numba" in chosen.ui.projectionStatusLabel.text


def test_another_ct_forgets_the_drr_of_the_first(chosen):
    panel = chosen
    other = volumes.add_volume(slicer.mrmlScene, Volume(panel.case.ct.array + 1, panel.case.ct.ijk_to_ras), "CT 2")
    panel.ui.projectionCtSelector.setCurrentNode(other)
    host.process_events(0.3)
    assert len(panel.engine.requests) == 1  # The first is still on its way.
    panel.engine.answer()
    assert panel.controller.projection.live.count == 0  # Nobody wants that any more.
    host.process_events(until=panel.engine.isWaiting, timeout=20)
    assert panel.engine.requests[1]["ct"]["path"] != panel.engine.requests[0]["ct"]["path"]
    panel.engine.answer()
    assert panel.controller.projection.live.count == 1


# Initial pose


def mark(name, places):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    for label, place in places.items():
        node.AddControlPoint(*[float(value) for value in place], label)
    return node


def matched(panel, count=7, seed=1):
    """Named points of the CT, and where the X-ray shows them."""
    case = panel.case
    points = case.ct.centre + np.random.default_rng(seed).uniform(-50.0, 50.0, (count, 3))
    pixels = case.geometry.to_pixels(points @ case.matrix[:3, :3].T + case.matrix[:3, 3])
    plane = volumes.ijk_to_ras(panel.film)
    shown = {f"V{n}": (plane @ [column, row, 0, 1])[:3] for n, (row, column) in enumerate(pixels)}
    panel.ctPoints = mark("In CT", {f"V{n}": point for n, point in enumerate(points)})
    panel.xrayPoints = mark("In X-ray", dict(reversed(shown.items())))
    panel.ui.projectionCtPointsSelector.setCurrentNode(panel.ctPoints)
    panel.ui.projectionXrayPointsSelector.setCurrentNode(panel.xrayPoints)


def test_an_estimated_pose_goes_to_the_sliders_only(chosen, nodes, tmp_path):
    chosen.engine.answer()
    before = nodes()
    given(chosen, tmp_path, (-170.0, 190.0, 0.0, 900.0, 0.0, 0.0), estimating=True, warnings=["Doubtful."])
    assert pose(chosen) == [-170.0, -170.0, 0.0, 300.0, 0.0, 0.0]  # As far as the sliders reach.
    assert "Doubtful." in chosen.ui.projectionStatusLabel.text
    assert nodes() == before
    chosen.ui.projectionUndoButton.click()
    assert pose(chosen) == [0.0] * 6


# Results


def test_a_result_is_shown_and_taken_back(chosen, nodes, tmp_path):
    panel, ui = chosen, chosen.ui
    panel.engine.answer()
    set_pose(panel, (1.0, 2.0, 0.0, 0.0, 0.0, 0.0))
    panel.engine.answer()
    before = nodes()
    given(panel, tmp_path, warnings=["The similarity is flat."])
    assert panel.status.startswith("✓ Aligned in 3.0 s; similarity 0.250 before, 0.750 after. Read the warnings")
    node = panel.parameters.projectionResult
    assert node.GetName() == "CT to X-ray camera"
    assert np.allclose(transforms.matrix(node), panel.case.matrix)
    assert "⚠ The similarity is flat." in ui.projectionWarningsLabel.text
    assert "0.250 before, 0.750 after" in ui.projectionResultLabel.text
    assert cells(ui.projectionTable)[1] == ["Rotation y (°)", "2.00", "-5.00", "-7.00"]
    assert np.allclose(pose(panel), xrays.TRUTH)
    drr = projectionresult.drr(node)
    assert drr.GetName() == "DRR of Spine"
    assert np.allclose(volumes.array_view(drr)[0], panel.case.xray)
    assert np.allclose(volumes.ijk_to_ras(drr), volumes.ijk_to_ras(panel.film))
    ui.projectionRXSlider.setValue(50.0)  # The result stays what it was found to be.
    assert np.allclose(transforms.matrix(node), panel.case.matrix)
    ui.projectionUndoButton.click()
    host.process_events()
    assert nodes() == before
    assert pose(panel) == [1.0, 2.0, 0.0, 0.0, 0.0, 0.0]
    assert panel.parameters.projectionResult is None
    assert not ui.projectionResultLabel.visible
    assert not ui.projectionUndoButton.enabled


def test_nodes_removed_by_hand(chosen, tmp_path):
    panel = chosen
    panel.engine.answer()
    given(panel, tmp_path)
    slicer.mrmlScene.RemoveNode(panel.parameters.projectionResult)
    host.process_events()
    assert not panel.ui.projectionResultLabel.visible
    slicer.mrmlScene.RemoveNode(panel.film)
    host.process_events()
    assert panel.ui.projectionAlignButton.toolTip == "Choose or load the X-ray first."
    assert panel.controller.projection.views.drr is not None  # The CT is still projected.
    panel.ui.projectionTXSlider.setValue(30.0)
    while panel.engine.isWaiting():
        panel.engine.answer()
    slicer.mrmlScene.RemoveNode(panel.ct)
    host.process_events()
    assert panel.controller.projection.views.drr is None
    assert panel.ui.projectionAlignButton.toolTip == "Choose the CT first."


def test_a_result_that_is_no_better_is_doubtful(chosen, tmp_path):
    given(chosen, tmp_path, similarity_after=0.2)
    assert "not more similar than before" in chosen.ui.projectionWarningsLabel.text


def test_a_changed_xray_gets_no_result(chosen, nodes, tmp_path):
    own = chosen.controller.projection.alignment
    before = nodes()
    own._stamp = iter([[1], [2]]).__next__
    given(chosen, tmp_path)
    del own._stamp
    assert chosen.status.startswith("Error: CT or X-ray was changed")
    assert nodes() == before
    assert pose(chosen) == [0.0] * 6


def test_state_comes_back_with_the_scene(chosen, tmp_path):
    panel = chosen
    panel.engine.answer()
    matched(panel)
    panel.ui.projectionPresetSelector.activated.emit(1)
    panel.ui.projectionMethodSelector.setCurrentIndex(6)
    panel.ui.projectionShowSelector.setCurrentIndex(2)
    panel.ui.projectionBonesSelector.setCurrentIndex(2)
    given(panel, tmp_path / "result", warnings=["Take care."])
    shown = [getattr(panel.ui, f"projection{name}Label").text for name in ("Source", "Result", "Warnings")]
    while panel.engine.isWaiting():
        panel.engine.answer()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    host.process_events()
    assert panel.parameters.projectionCt is None
    assert not projectionviews.is_ours(slicer.app.layoutManager().layout)
    assert not panel.ui.projectionResultLabel.visible
    del panel.engine.requests[:]
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {"clear": False})
    host.process_events(until=panel.engine.isWaiting, timeout=20)
    parameters = panel.parameters
    assert (parameters.projectionCt.GetName(), parameters.projectionXray.GetName()) == ("Spine", "Film")
    assert parameters.projectionCtPoints.GetName() == "In CT"
    p = parameters.projection
    assert (p.method.value, p.show.value, p.bones.value) == ("opt-ngi", "edges", "dark")
    assert np.allclose(panel.engine.requests[0]["pose"], xrays.TRUTH)
    assert [getattr(panel.ui, f"projection{name}Label").text for name in ("Source", "Result", "Warnings")] == shown
    assert projectionviews.is_ours(slicer.app.layoutManager().layout)
    assert slicer.mrmlScene.GetFirstNodeByName("Live DRR") is None  # Not saved.
    panel.ui.projectionUndoButton.click()
    assert pose(panel) == [0.0] * 6
    assert parameters.projectionResult is None
