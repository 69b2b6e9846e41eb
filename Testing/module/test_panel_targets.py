"""Targets marked in the MR arrive in the ultrasound, with every fit."""

import host
import numpy as np
import pytest
import samples
import slicer

from LandmarkFusionLogic.mrml import glands, landmarks, volumes
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

LESION = np.array([4.0, -3.0, 5.0])


def points(name="Lesions", positions=(LESION,)):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    for number, position in enumerate(positions, start=1):
        node.AddControlPoint(*position, f"Lesion {number}")
    return node


def table(panel):
    widget = panel.ui.targetsTable
    return [[widget.item(row, column).text() for column in range(3)] for row in range(widget.rowCount)]


def choose(panel, node):
    panel.ui.targetsSelector.setCurrentNode(node)
    host.process_events()


@pytest.fixture
def aligned(panel, shift):
    panel.choose_pair()
    panel.place_all(shift, state="detected")
    return panel


def arrived(panel):
    node = panel.parameters.targetsInUs
    return [np.array(node.GetNthControlPointPosition(i)) for i in range(node.GetNumberOfControlPoints())]


def test_points_are_carried_listed_and_follow_every_landmark(aligned, shift):
    panel = aligned
    lesions = points()
    choose(panel, lesions)
    assert lesions.GetParentTransformNode() is panel.parameters.mrToUs  # It lies on the MR.
    assert np.allclose(arrived(panel), [apply(shift, LESION)], atol=1e-3)
    node = panel.parameters.targetsInUs
    assert node.GetName() == "Targets in US"
    assert node.GetLocked()
    assert node.GetParentTransformNode() is None
    [[name, place, error]] = table(panel)
    assert name == "Lesion 1"
    assert place == ", ".join(f"{value:.1f}" for value in apply(shift, LESION))
    expected = panel.controller.live.fit.expected_error([LESION])[0]
    assert error == f"±{expected:.1f} mm"
    us = panel.controller.landmarkList("us")
    us.SetNthControlPointPosition(0, *(np.array(us.GetNthControlPointPosition(0)) + [0.0, 9.0, 0.0]))
    assert np.allclose(arrived(panel), [apply(panel.matrix(), LESION)], atol=1e-3)
    assert not np.allclose(arrived(panel), [apply(shift, LESION)], atol=0.1)
    lesions.SetNthControlPointPosition(0, 0.0, 0.0, 0.0)
    lesions.AddControlPoint(1.0, 1.0, 1.0, "Second")
    assert np.allclose(arrived(panel)[0], panel.matrix()[:3, 3], atol=1e-3)
    assert [row[0] for row in table(panel)] == ["Lesion 1", "Second"]
    lesions.RemoveNthControlPoint(0)
    assert [row[0] for row in table(panel)] == ["Second"]
    panel.ui.appliedCheckBox.click()
    assert lesions.GetParentTransformNode() is None
    assert np.allclose(arrived(panel), [apply(panel.matrix(), [1.0, 1.0, 1.0])], atol=1e-3)


def test_segments_and_models_are_targets_too(aligned):
    panel = aligned
    affine = samples.affine((1.0, 1.0, 1.0), origin=LESION - 4.5)
    k, j, i = np.indices((10, 10, 10))
    ball = ((i - 4.5) ** 2 + (j - 4.5) ** 2 + (k - 4.5) ** 2 < 16).astype(np.uint8)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmented")
    segmentation.CreateDefaultDisplayNodes()
    inner = segmentation.GetSegmentation()
    identifier = inner.AddEmptySegment("PIRADS 4", "PIRADS 4")
    inner.AddEmptySegment("empty", "empty")
    inner.GetSegment(identifier).AddRepresentation("Binary labelmap", glands.oriented_image(Volume(ball, affine)))
    choose(panel, segmentation)
    assert [row[0] for row in table(panel)] == ["PIRADS 4"]
    assert np.allclose(arrived(panel), [apply(panel.matrix(), LESION)], atol=0.1)

    import vtk

    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(*LESION)
    sphere.SetRadius(5.0)
    sphere.Update()
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "From STL")
    model.CreateDefaultDisplayNodes()
    model.SetAndObservePolyData(sphere.GetOutput())
    choose(panel, model)
    assert [row[0] for row in table(panel)] == ["Target"]  # A name from a file may name a patient.
    assert np.allclose(arrived(panel), [apply(panel.matrix(), LESION)], atol=0.1)


def test_what_cannot_be_targets_is_refused(aligned):
    panel = aligned
    own = panel.controller.landmarkList("us")
    choose(panel, own)
    assert "belongs to the alignment itself" in panel.ui.targetsLabel.text
    assert own.GetParentTransformNode() is None
    assert not table(panel)
    choose(panel, None)
    assert "Choose the lesions" in panel.ui.targetsLabel.text


def test_without_a_fit_they_wait(panel, shift):
    panel.choose_pair()
    choose(panel, points())
    assert panel.parameters.targetsInUs is None
    assert "as soon as there is a fit" in panel.ui.targetsLabel.text
    panel.place_all(shift)
    assert np.allclose(arrived(panel), [apply(shift, LESION)], atol=1e-3)
    slicer.mrmlScene.RemoveNode(panel.parameters.targets)
    host.process_events()
    assert not table(panel)
    assert panel.parameters.targetsInUs.GetNumberOfControlPoints() == 0


def test_they_come_back_with_the_scene(aligned, tmp_path):
    panel = aligned
    choose(panel, points())
    before = arrived(panel)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    host.process_events()
    assert not panel.controller.targets.carried
    slicer.util.loadScene(path)
    host.process_events()
    assert panel.parameters.targets.GetName() == "Lesions"
    assert np.allclose(arrived(panel), before)
    assert len(table(panel)) == 1
    us = panel.controller.landmarkList("us")
    us.SetNthControlPointPosition(0, *(np.array(us.GetNthControlPointPosition(0)) + [0.0, 9.0, 0.0]))
    assert not np.allclose(arrived(panel), before, atol=0.1)
    assert slicer.util.getNodes("Targets in US*", useLists=True).keys() == {"Targets in US"}


def test_export_writes_them(aligned, tmp_path):
    import csv
    import json

    panel = aligned
    choose(panel, points())
    panel.ui.exportPath.setCurrentPath(str(tmp_path / "out"))
    panel.ui.exportButton.click()
    assert panel.status.startswith("✓ Wrote")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"targets.mrk.json", "targets.csv"} <= files
    markup = json.loads((tmp_path / "out" / "targets.mrk.json").read_text())["markups"][0]
    lps = np.array(markup["controlPoints"][0]["position"])
    assert np.allclose(lps * [-1, -1, 1], arrived(panel)[0], atol=1e-3)
    with open(tmp_path / "out" / "targets.csv", newline="") as file:
        assert any("Lesion 1" in row for row in csv.reader(file))


def test_export_after_a_flip_writes_the_ultrasound_as_it_lies(aligned, tmp_path):
    from LandmarkFusionLogic.imageio import read_volume

    panel = aligned
    panel.ui.exportPath.setCurrentPath(str(tmp_path / "out"))
    panel.ui.exportButton.click()
    assert not (tmp_path / "out" / "us-flipped.nrrd").exists()
    panel.ui.flipLrButton.click()
    panel.ui.exportButton.click()
    written = read_volume(tmp_path / "out" / "us-flipped.nrrd")
    assert np.allclose(written.ijk_to_ras, volumes.ijk_to_ras(panel.parameters.us))
    assert np.array_equal(written.array, volumes.array_view(panel.parameters.us))


def test_lists_from_files_may_write_the_names_in_another_case(panel):
    panel.choose_pair()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "from a file")
    for number, name in enumerate(("apex", "BLADDER NECK ", "Posterior Median")):
        node.AddControlPoint(1.0, 2.0, float(number), name)
    panel.parameters.usLandmarks = node
    assert [row[0] for row in panel.table("us")] == ["Apex", "Bladder neck", "Posterior median"]
    assert len(landmarks.read(node)) == 3
