"""X-rays, DRRs and results of CT and X-ray as nodes; no worker is needed here."""

import json

import host
import numpy as np
import pytest
import slicer
import xrays

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import (
    projectioncomparison,
    projectionplane,
    projectionresult,
    projectionviews,
    transforms,
    volumes,
)
from LandmarkFusionLogic.mrml.metricplot import SimilarityPlot
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.volume import Volume


@pytest.fixture
def scene(app):
    return slicer.mrmlScene


def image(rows=40, columns=60, seed=3):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def oblique(scene, array, name="Film"):
    """An X-ray that lies anywhere, as a file may say."""
    turn = np.array([[0.0, 0.6, 0.8], [0.0, -0.8, 0.6], [1.0, 0.0, 0.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn * (0.5, 0.7, 1.0)
    affine[:3, 3] = (5.0, -6.0, 7.0)
    return volumes.add_volume(scene, Volume(array[None], affine), name)


def test_what_is_no_xray_is_refused_in_one_sentence(scene):
    assert projectionplane.xray_problem(None) == "Choose or load the X-ray first."
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    assert "holds no image" in projectionplane.xray_problem(empty)
    thick = volumes.add_volume(scene, Volume(np.zeros((3, 4, 5), np.float32), np.eye(4)), "CT")
    assert "a volume of 3 slices" in projectionplane.xray_problem(thick)
    flat = volumes.add_volume(scene, Volume(np.zeros((1, 4, 5), np.float32), np.eye(4)), "flat")
    with pytest.raises(InputError, match="same value everywhere"):
        projectionplane.read_xray(flat)
    broken = image()
    broken[3, 4] = np.nan
    with pytest.raises(InputError, match="values that are no numbers"):
        projectionplane.read_xray(oblique(scene, broken))


def test_a_color_image_is_refused(scene):
    import vtk

    color = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    data = vtk.vtkImageData()
    data.SetDimensions(5, 4, 1)
    data.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    color.SetAndObserveImageData(data)
    assert "a color image" in projectionplane.xray_problem(color)


def test_a_drr_lies_on_its_xray_whatever_its_pixels(scene):
    node = oblique(scene, image(40, 60))
    full = Geometry(1000.0, 40, 60, (1.0, 1.0))
    assert np.allclose(projectionplane.plane(node, full), volumes.ijk_to_ras(node))
    coarse = projectionplane.plane(node, full.resized(20, 15))
    # Edges of the images, half a pixel outside of the first and last centers, coincide.
    for (row, column), (ownRow, ownColumn) in (((-0.5, -0.5), (-0.5, -0.5)), ((19.5, 14.5), (39.5, 59.5))):
        here = coarse @ [column, row, 0, 1]
        assert np.allclose(here, volumes.ijk_to_ras(node) @ [ownColumn, ownRow, 0, 1])


def test_points_in_the_plane_become_pixels(scene):
    node = oblique(scene, image())
    wanted = np.array([[0.0, 0.0], [12.0, 30.5], [39.0, 59.0]])
    places = [(volumes.ijk_to_ras(node) @ [column, row, 0, 1])[:3] for row, column in wanted]
    assert np.allclose(projectionplane.to_pixels(node, places), wanted)


def test_a_live_image_keeps_its_node_and_is_not_saved(scene, tmp_path):
    live = projectionplane.LiveImage(projectionplane.LIVE, "Live DRR")
    node = live.show(scene, image(20, 30), np.eye(4))
    data = node.GetImageData()
    assert live.show(scene, image(20, 30, seed=4), np.eye(4)) is node
    assert node.GetImageData() is data  # Drawn anew in place.
    assert np.array_equal(volumes.array_view(node)[0], image(20, 30, seed=4))
    live.show(scene, image(10, 10), np.eye(4))
    assert volumes.array_view(node).shape == (1, 10, 10)
    assert not node.GetSaveWithScene()
    live.remove()
    assert live.node is None
    assert scene.GetFirstNodeByName("Live DRR") is None


def test_the_views_show_the_image_upright_and_whole(scene):
    projectionviews.register(slicer.app.layoutManager().layoutLogic().GetLayoutNode())
    slicer.app.layoutManager().setLayout(projectionviews.LAYOUT_WITH_PLOT)
    host.process_events()
    node = oblique(scene, image(40, 60))
    parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "table")
    shift = np.eye(4)
    shift[:3, 3] = (20.0, 30.0, 40.0)
    parent.SetMatrixTransformToParent(transforms.to_matrix(shift))
    node.SetAndObserveTransformNodeID(parent.GetID())
    projectionviews.show(scene, projectionviews.XRAY, node)
    projectionviews.look(scene, node)
    view = slicer.app.layoutManager().sliceWidget(projectionviews.XRAY)
    assert view.mrmlSliceCompositeNode().GetBackgroundVolumeID() == node.GetID()
    inverse = np.linalg.inv(transforms.to_array(view.mrmlSliceNode().GetXYToRAS()))
    width, height = view.mrmlSliceNode().GetDimensions()[:2]
    corners = [shift @ volumes.ijk_to_ras(node) @ [c, r, 0, 1] for r, c in ((0, 0), (0, 59), (39, 0), (39, 59))]
    x, y = (inverse @ np.array(corners).T)[:2]
    assert np.all((x > 0) & (x < width) & (y > 0) & (y < height))
    assert x[1] > x[0]  # Columns to the right,
    assert y[2] < y[0]  # rows downwards.
    assert max(np.ptp(x) / width, np.ptp(y) / height) > 0.9
    # The views of the volumes keep what they show.
    assert slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID() is None


def test_other_panels_leave_the_xrays_views_alone(scene):
    from LandmarkFusionLogic.mrml import views

    projectionviews.register(slicer.app.layoutManager().layoutLogic().GetLayoutNode())
    slicer.app.layoutManager().setLayout(projectionviews.LAYOUT)
    host.process_events()
    film, other = oblique(scene, image()), oblique(scene, image(), "MR")
    projectionviews.show(scene, projectionviews.DRR, film)
    views.show(scene, other, None, 0.0)
    views.centre(scene, np.array([100.0, 0.0, 0.0]))
    manager = slicer.app.layoutManager()
    assert manager.sliceWidget(projectionviews.DRR).mrmlSliceCompositeNode().GetBackgroundVolumeID() == film.GetID()
    assert manager.sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID() == other.GetID()


def test_edges_follow_the_bones():
    case = xrays.case()
    found = projectioncomparison.edges(case.xray)
    assert 0.01 < found.mean() < 0.2
    assert not projectioncomparison.edges(np.zeros((30, 30), np.float32)).any()
    square = np.zeros((40, 40), np.float32)
    square[10:30, 10:30] = 1.0
    rows, columns = np.nonzero(projectioncomparison.edges(square))
    ring = np.maximum(abs(rows - 19.5), abs(columns - 19.5))
    assert len(rows) > 60
    assert np.all(abs(ring - 10) < 3)


def test_a_checkerboard_of_equal_images_is_the_image():
    shown = projectioncomparison.stretched(xrays.case().xray)
    assert np.array_equal(projectioncomparison.checkerboard(shown, shown), shown)
    board = projectioncomparison.checkerboard(np.zeros_like(shown), np.ones_like(shown))
    assert abs(board.mean() - 0.5) < 0.02
    assert np.allclose(projectioncomparison.stretched(-xrays.case().xray, True), shown, atol=1e-4)
    half = projectioncomparison.resized(shown, (48, 48))
    assert np.allclose(half, shown.reshape(48, 2, 48, 2).mean((1, 3)), atol=0.15)


def make_result(scene, ct, film, before=(0.0,) * 6, former=None):
    noted = {"before": list(before), "pose": list(xrays.TRUTH), "similarity": [0.2, 0.9], "seconds": 2.0}
    matrix = xrays.case().matrix
    return projectionresult.show(ct, film, matrix, xrays.TRUTH, image(), np.eye(4), noted, former)


def test_a_result_carries_everything_and_is_taken_back(scene, nodes, tmp_path):
    ct = volumes.add_volume(scene, xrays.case().ct, "CT")
    film = oblique(scene, image())
    before = nodes()
    first = make_result(scene, ct, film)
    assert np.allclose(transforms.matrix(first), xrays.case().matrix)
    assert projectionresult.ends(first) == (ct, film)
    assert projectionresult.find(ct, film) is first
    assert np.allclose(projectionresult.pose(first), xrays.TRUTH)
    second = make_result(scene, ct, film, xrays.TRUTH, first)
    assert projectionresult.find(ct, film) is second
    assert projectionresult.drr(second) is not projectionresult.drr(first)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    ct.SetAndObserveTransformNodeID(second.GetID())
    assert projectionresult.undo(second) is first
    assert ct.GetParentTransformNode() is None
    assert projectionresult.undo(first) is None
    left = nodes()
    left.pop("vtkMRMLVolumeArchetypeStorageNode")  # Those of the CT and the X-ray, from saving.
    assert left == before
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {"clear": False})
    again = projectionresult.find(scene.GetFirstNodeByName("CT"), scene.GetFirstNodeByName("Film"))
    assert np.allclose(projectionresult.pose(again), xrays.TRUTH)
    assert projectionresult.noted(again)["similarity"] == [0.2, 0.9]
    assert projectionresult.undo(again).GetName() == "CT to X-ray camera"


def test_a_result_that_was_edited_outside_is_read_as_far_as_it_goes(scene):
    ct, film = volumes.add_volume(scene, xrays.case().ct, "CT"), oblique(scene, image())
    node = make_result(scene, ct, film)
    node.SetAttribute(projectionresult.NOTED, "{")
    node.SetAttribute(projectionresult.POSE, "1 2 x")
    assert projectionresult.noted(node) == {}
    assert projectionresult.pose(node) is None
    node.SetAttribute(projectionresult.POSE, "1 2")
    assert projectionresult.pose(node) is None
    node.SetAttribute(projectionresult.NOTED, json.dumps([1]))
    assert projectionresult.noted(node) == {}


def test_a_drr_that_cannot_be_read(tmp_path):
    (tmp_path / "drr.nrrd").write_text("nothing")
    with pytest.raises(InputError, match="DRR that was made cannot be read"):
        projectionresult.read_drr(str(tmp_path / "drr.nrrd"))


def test_the_similarity_is_plotted_line_by_line(scene, nodes, tmp_path):
    before = nodes()
    file = tmp_path / "similarity.csv"
    plot = SimilarityPlot(scene, str(file))
    file.write_text("iteration,similarity\n0,0.5\n1,0.6\n2,0.")
    plot.update()
    series = plot.chart.GetNthPlotSeriesNode(0)
    table = series.GetTableNode().GetTable()
    assert series.GetYColumnName() == "Similarity"
    assert table.GetNumberOfRows() == 2
    with file.open("a") as stream:
        stream.write("7\n")
    plot.update()
    assert table.GetNumberOfRows() == 3
    assert plot.last == ("alignment", 0, 2, 0.7)
    plot.remove()
    assert nodes() == before
