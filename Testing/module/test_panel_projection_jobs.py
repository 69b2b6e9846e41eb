"""CT and X-ray in the panel, with the real worker."""

import os
import tempfile

import host
import numpy as np
import projectionsamples
import pytest
import slicer
import xrays
from test_panel_projection import mark, pose, set_pose

from LandmarkFusionLogic.mrml import projectionplane, projectionresult, projectionviews, transforms, volumes
from LandmarkFusionLogic.volume import Volume

NEAR = (2.0, -3.0, 5.0, 10.0, 0.0, 20.0)
"""A pose to begin with, a few degrees and mm from `xrays.TRUTH`."""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Everything temporary in one place, to see what is left behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def chosen(panel):
    """A CT and its X-ray; the views, and with them the live DRRs, stay closed."""
    panel.case = xrays.case(64)
    panel.ui.projectionButton.collapsed = False
    panel.ct = volumes.add_volume(slicer.mrmlScene, panel.case.ct, "Spine")
    panel.film = projectionplane.add_xray(slicer.mrmlScene, panel.case.xray, panel.case.geometry.spacing, "Film")
    panel.ui.projectionCtSelector.setCurrentNode(panel.ct)
    panel.ui.projectionXraySelector.setCurrentNode(panel.film)
    if panel.parameters.projection.shown:
        panel.ui.projectionViewsButton.click()
    host.process_events()
    return panel


def finish(panel, timeout=240):
    host.process_events(until=lambda: not panel.controller.isBusy(), timeout=timeout)
    host.process_events()


def test_drr_and_alignment(chosen, nodes, temporary):
    """The live DRR follows the sliders; aligning finds the pose of the X-ray, shows it, and is taken back."""
    panel, ui, own = chosen, chosen.ui, chosen.controller.projection
    panel.parameters.projection.sdd = 1000.0
    ui.projectionViewsButton.click()
    host.process_events(until=lambda: own.live.count > 0 and not own.live.isBusy(), timeout=120)
    set_pose(panel, xrays.TRUTH)
    host.process_events(until=lambda: not own.live.isBusy(), timeout=30)
    drawn = volumes.array_view(own.views.drr)[0]
    assert np.corrcoef(drawn.ravel(), panel.case.xray.ravel())[0, 1] > 0.9999
    set_pose(panel, NEAR)
    host.process_events(until=lambda: not own.live.isBusy(), timeout=30)
    before = nodes()

    seen = []
    panel.controller.addListener(lambda: seen.append((own.views.canPlot(), own.alignment.good)))
    ui.projectionAlignButton.click()
    assert not ui.projectionAlignButton.enabled
    assert ui.projectionProgressRow.visible
    finish(panel)
    assert panel.status.startswith("✓ Aligned in"), panel.status
    assert any(plotted for plotted, _good in seen)
    assert any(good is not None for _plotted, good in seen)
    found = np.array(pose(panel))
    assert np.all(np.abs(found - xrays.TRUTH) < (1, 1, 1, 2, 2, 8)), found
    node = panel.parameters.projectionResult
    assert np.allclose(transforms.matrix(node)[:3, :3], panel.case.matrix[:3, :3], atol=0.03)
    assert projectionresult.drr(node) is not None
    before_after = projectionresult.noted(node)["similarity"]
    assert before_after[1] > before_after[0]
    ui.projectionPlotButton.click()
    assert slicer.app.layoutManager().layout == projectionviews.LAYOUT_WITH_PLOT
    ui.projectionUndoButton.click()
    ui.projectionPlotButton.click()
    assert pose(panel) == list(NEAR)
    own.views.removePlot()
    host.process_events(until=lambda: not own.live.isBusy(), timeout=30)
    left = nodes()
    for each in (left, before):
        each.pop("vtkMRMLPlotViewNode", None)  # Views stay when another layout is shown.
    assert left == before
    ui.projectionViewsButton.click()
    assert not [name for name in os.listdir(temporary) if name.startswith("landmarkfusion-")]


def test_cancel_keeps_the_best_pose(chosen, nodes, temporary):
    panel, ui, own = chosen, chosen.ui, chosen.controller.projection
    set_pose(panel, NEAR)
    before = nodes()

    def far(values):
        return values is not None and np.linalg.norm(np.subtract(values, NEAR)) > 0.5

    ui.projectionAlignButton.click()
    ui.projectionCancelButton.click()  # While CT and X-ray are handed over.
    finish(panel)
    assert panel.status == "Cancelled; nothing was changed."
    clicked = []

    def cancelled():
        if far(own.alignment.good) and not clicked:
            clicked.append(True)
            ui.projectionCancelButton.click()

    panel.controller.addListener(cancelled)
    ui.projectionAlignButton.click()
    finish(panel)
    assert panel.status.startswith("Cancelled; the best pose so far is kept.")
    assert far(pose(panel))
    own.views.removePlot()
    assert nodes() == before
    assert panel.parameters.projectionResult is None
    assert not list(temporary.glob("landmarkfusion-*"))
    ui.projectionUndoButton.click()
    assert pose(panel) == list(NEAR)


def test_a_dicom_xray_brings_its_geometry(panel, temporary, tmp_path):
    pytest.importorskip("pydicom", reason="pydicom is not installed")
    case = xrays.case(64)
    file = projectionsamples.write_dicom_xray(tmp_path / "SECRET-4711.dcm", projectionsamples.as_counts(case.xray))
    host.dialogs.choose(str(file))
    panel.ui.projectionLoadButton.click()
    assert not panel.ui.projectionLoadButton.enabled
    finish(panel)
    assert panel.status.startswith("✓ Read the X-ray: 64 × 64 pixels, bone dark"), panel.status
    node = panel.parameters.projectionXray
    assert "4711" not in node.GetName()
    assert panel.ui.projectionSourceLabel.text == "From the tags of the DICOM file"
    assert "DistanceSourceToDetector" in panel.ui.projectionSourceLabel.toolTip
    assert panel.parameters.projection.sdd == 1000.0
    assert np.corrcoef(volumes.array_view(node).ravel(), case.xray.ravel())[0, 1] > 0.95
    assert not list(temporary.glob("landmarkfusion-*"))


def test_files_that_are_no_xray(panel, nodes, temporary, tmp_path):
    import SimpleITK as sitk

    (tmp_path / "text.png").write_text("nothing")
    color = np.zeros((20, 20, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(color, isVector=True), str(tmp_path / "color.png"))
    before = nodes()
    for name, said in (("text", "X-ray"), ("color", "color"), ("nothing", "X-ray")):
        host.dialogs.choose(str(tmp_path / f"{name}.png"))
        panel.ui.projectionLoadButton.click()
        finish(panel)
        assert panel.status.startswith("Error: ")
        assert said in panel.status
        assert panel.ui.projectionStatusLabel.text == panel.status
        assert nodes() == before
        assert not list(temporary.glob("landmarkfusion-*"))


def no_hounsfield(panel):
    node = volumes.add_volume(slicer.mrmlScene, Volume(panel.case.ct.array + 2000, panel.case.ct.ijk_to_ras), "gray")
    panel.ui.projectionCtSelector.setCurrentNode(node)


def outside(panel):
    panel.ui.projectionTXSlider.setValue(300.0)
    panel.ui.projectionTYSlider.setValue(300.0)


def inside(panel):
    panel.ui.projectionIsocenterBox.setValue(10.0)


def flat(panel):
    film = np.full((64, 64), 3.0, np.float32)
    panel.ui.projectionXraySelector.setCurrentNode(
        projectionplane.add_xray(slicer.mrmlScene, film, (3.2, 3.2), "flat")
    )


def well(panel):
    """As it was before."""
    panel.ui.projectionCtSelector.setCurrentNode(panel.ct)
    panel.ui.projectionXraySelector.setCurrentNode(panel.film)
    panel.ui.projectionIsocenterBox.setValue(0.0)
    panel.ui.projectionResetButton.click()


BAD = {
    "not Hounsfield units": no_hounsfield,
    "beam": outside,
    "source": inside,
    "same value everywhere": flat,
}


def test_input_that_cannot_be_used(chosen, nodes, temporary):
    for sentence, spoil in BAD.items():
        spoil(chosen)
        if chosen.parameters.projection.shown:
            chosen.ui.projectionViewsButton.click()
        host.process_events()
        before, start = nodes(), pose(chosen)
        chosen.ui.projectionAlignButton.click()
        finish(chosen)
        assert chosen.status.startswith("Error: "), chosen.status
        assert sentence in chosen.status
        assert chosen.ui.projectionStatusLabel.text == chosen.status
        assert nodes() == before
        assert pose(chosen) == start
        assert chosen.parameters.projectionResult is None
        assert not list(temporary.glob("landmarkfusion-*"))
        well(chosen)
    assert not host.dialogs.messages


def test_a_network_estimates_the_pose(chosen, nodes):
    pytest.importorskip("torch", reason="torch is not installed")
    panel, ui = chosen, chosen.ui
    before = nodes()
    ui.projectionEstimateButton.click()
    finish(panel)
    assert panel.parameters.projectionResult is None
    if panel.status.startswith("✓ Pose estimated in"):
        assert pose(panel) != [0.0] * 6
        ui.projectionUndoButton.click()
    else:  # No such network here, or a CT that is too small for it.
        assert panel.status.startswith("Error: "), panel.status
        assert "network" in panel.status
    assert pose(panel) == [0.0] * 6
    panel.controller.projection.views.removePlot()
    assert nodes() == before


# Points


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


def test_named_points_give_the_pose(chosen):
    matched(chosen)
    chosen.ui.projectionMatchButton.click()
    assert chosen.status.startswith("✓ Pose from 7 pairs of points; 0.0 mm")
    assert chosen.ui.projectionStatusLabel.text == chosen.status
    assert np.allclose(pose(chosen), xrays.TRUTH, atol=0.01)
    assert chosen.ui.projectionUndoButton.toolTip == "Back to the pose that there was before."
    chosen.ui.projectionUndoButton.click()
    assert pose(chosen) == [0.0] * 6


@pytest.mark.parametrize("spoil", ["names", "few", "line"])
def test_points_that_leave_the_pose_open(chosen, spoil):
    matched(chosen)
    if spoil == "names":
        for index in range(7):
            chosen.ctPoints.SetNthControlPointLabel(index, f"W{index}")
    else:
        for index in reversed(range(2 if spoil == "few" else 5, 7)):
            chosen.ctPoints.RemoveNthControlPoint(index)
    if spoil == "line":
        for index in range(5):
            chosen.ctPoints.SetNthControlPointPosition(index, 10.0 * index, 0.0, 0.0)
    chosen.ui.projectionMatchButton.click()
    assert chosen.status.startswith("Error: ")
    assert pose(chosen) == [0.0] * 6
    assert not chosen.ui.projectionUndoButton.enabled
