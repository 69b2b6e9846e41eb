"""What a deformable registration leaves in the scene: nodes, directions, lines, the plot; on slicer-core alone."""

import deformed
import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import vtk

from LandmarkFusionLogic import comparison
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import correspondences, deformable, deforminputs, scene, transforms, volumes
from LandmarkFusionLogic.mrml.metricplot import MetricPlot
from LandmarkFusionLogic.volume import Volume


@pytest.fixture(scope="module")
def case():
    return deformed.pair()


@pytest.fixture
def world(tmp_path):
    return scene.OwnScene(str(tmp_path / "cache"))


@pytest.fixture
def nodes(world, case):
    given = (case.fixed, "CT 1"), (case.moving, "CT 2")
    return [volumes.add_volume(world.scene, each, name) for each, name in given]


def points(world, name, *positions):
    node = world.scene.AddNewNodeByClass(correspondences.CLASS, name)
    node.CreateDefaultDisplayNodes()
    for number, position in enumerate(positions, start=1):
        node.AddControlPoint(*[float(value) for value in position], f"P{number}")
    return node


def segmentation(world, volume):
    from LandmarkFusionLogic.mrml import glands

    node = world.scene.AddNewNodeByClass(glands.CLASS, "Organ")
    node.CreateDefaultDisplayNodes()
    array = np.zeros(volumes.array_view(volume).shape, dtype=np.uint8)
    array[15:25, 18:30, 18:30] = 1
    segment = node.GetSegmentation().AddEmptySegment("Organ", "Organ")
    node.GetSegmentation().GetSegment(segment).AddRepresentation(
        glands._names().GetSegmentationBinaryLabelmapRepresentationName(),
        glands.oriented_image(Volume(array, volumes.ijk_to_ras(volume))),
    )
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return node


def to_world(node, point):
    general = vtk.vtkGeneralTransform()
    node.GetTransformToWorld(general)
    return np.array(general.TransformPoint([float(value) for value in point]))


def register(case, nodes, folder, pairs=(), others=(), **noted):
    loaded = deformable.load(deformed.result(case, folder, pairs))
    return deformable.show(*nodes, loaded, {"method": "mind", **noted}, others)


def everything(world):
    return sorted(world.scene.GetNthNode(index).GetID() for index in range(world.scene.GetNumberOfNodes()))


# Results


def test_volume_markups_and_segmentations_move_the_right_way(world, case, nodes, tmp_path):
    fixed, moving = nodes
    place = np.array([8.0, -6.0, 10.0])
    marks, organ = points(world, "Marks", case.to_moving(place)), segmentation(world, moving)
    bystander = points(world, "Other", [0.0, 0.0, 0.0])
    node = register(case, nodes, tmp_path, others=[marks])
    assert np.allclose(marks.GetNthControlPointPositionWorld(0), place, atol=0.01)
    for each in (moving, marks, organ):
        assert each.GetParentTransformNode() is node
    for each in (fixed, bystander):
        assert each.GetParentTransformNode() is None
    # Resampling asks for the other direction; the deformed volume is the moving one seen through it.
    general = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(general)
    assert np.allclose(general.TransformPoint(place), case.to_moving(place), atol=1e-6)
    warped = deformable.part(node, deformable.WARPED)
    inside = (slice(8, -8),) * 3
    assert np.abs(volumes.array_view(warped)[inside] - case.fixed.array[inside]).mean() < 1.0


def test_provenance_colors_and_notes(case, nodes, tmp_path):
    fixed, moving = nodes
    node = register(case, nodes, tmp_path, folded=0.25)
    assert deformable.ends(node) == (fixed, moving)
    assert deformable.is_ours(node)
    assert deformable.noted(node)["folded"] == 0.25
    display = deformable.part(node, deformable.JACOBIAN).GetDisplayNode()
    color = [0.0] * 4
    display.GetColorNode().GetColor(0, color)
    assert color[:3] == [1.0, 0.0, 1.0]  # Where it folds.
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 2.0)


def test_undo_leaves_nothing_behind(world, case, nodes, tmp_path):
    fixed, moving = nodes
    rigid = transforms.create(moving, fixed)
    mark = points(world, "Mark", [1.0, 2.0, 3.0])
    for each in (moving, mark):
        each.SetAndObserveTransformNodeID(rigid.GetID())
    before = everything(world)
    node = register(case, nodes, tmp_path, deformed.pairs(case))
    lists = correspondences.find(fixed, moving)
    correspondences.draw_lines(*lists, 0.0)
    assert moving.GetParentTransformNode() is mark.GetParentTransformNode() is node
    late = points(world, "Late", [0.0, 0.0, 0.0])
    late.SetAndObserveTransformNodeID(node.GetID())
    made = comparison.checkerboard(case.fixed, case.moving)
    deformable.show_comparison(node, made, "Checkerboard")
    deformable.undo(node)
    for each in (moving, mark, late):
        assert each.GetParentTransformNode() is rigid
    deformable.remove(late)
    assert everything(world) == before


def test_a_second_registration_is_taken_back_to_the_first(world, case, nodes, tmp_path):
    first = register(case, nodes, tmp_path / "1")
    between = everything(world)
    second = register(case, nodes, tmp_path / "2")
    assert nodes[1].GetParentTransformNode() is second
    deformable.undo(second)
    assert nodes[1].GetParentTransformNode() is first
    assert everything(world) == between


def test_the_fixed_volume_may_lie_under_a_transform_of_ours(world, case, nodes, tmp_path):
    fixed = nodes[0]
    other = volumes.add_volume(world.scene, case.moving, "US")
    rigid = transforms.create(fixed, other)
    shift = np.eye(4)
    shift[:3, 3] = (5.0, 6.0, 7.0)
    transforms.set_matrix(rigid, shift)
    fixed.SetAndObserveTransformNodeID(rigid.GetID())
    node = register(case, nodes, tmp_path)
    point = np.array([4.0, 5.0, -6.0])
    assert np.allclose(to_world(node, case.to_moving(point)), point + shift[:3, 3], atol=0.01)
    assert deformable.part(node, deformable.WARPED).GetParentTransformNode() is rigid


def test_a_saved_scene_can_still_be_undone(world, case, nodes, tmp_path):
    before = {"CT 1", "CT 2"}
    node = register(case, nodes, tmp_path, deformed.pairs(case))
    point = np.array([8.0, -6.0, 10.0])
    assert world.scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    other = scene.OwnScene(str(tmp_path / "cache"))
    other.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Makes IDs differ")
    other.read(tmp_path / "scene.mrb")
    moving = other.scene.GetFirstNodeByName("CT 2")
    node = moving.GetParentTransformNode()
    assert deformable.is_ours(node)
    assert np.allclose(to_world(node, case.to_moving(point)), point, atol=0.01)
    lists = correspondences.find(*deformable.ends(node))
    assert len(correspondences.read(lists[0], deformable.ends(node)[0], lists[1], moving)) == 12
    deformable.undo(node)
    assert moving.GetParentTransformNode() is None
    kinds = ("vtkMRMLVolumeNode", "vtkMRMLMarkupsNode", "vtkMRMLModelNode", "vtkMRMLTransformNode")
    left = {
        other.scene.GetNthNodeByClass(index, kind).GetName()
        for kind in kinds
        for index in range(other.scene.GetNumberOfNodesByClass(kind))
    }
    assert before <= left
    assert not {name for name in left if "deform" in name or "Landmarks" in name}


def test_a_broken_result_changes_nothing(world, case, nodes, tmp_path):
    before = everything(world)
    result = deformed.result(case, tmp_path)
    (tmp_path / "jacobian.nrrd").write_bytes(b"nothing")
    with pytest.raises(InputError, match="Jacobian map cannot be read"):
        deformable.load(result)
    (tmp_path / "transform.h5").unlink()
    with pytest.raises(InputError, match="deformation that was found cannot be read"):
        deformable.load(result)
    assert everything(world) == before


# Pairs


def test_pairs_come_back_as_they_were_given(case, nodes):
    pairs = deformed.pairs(case)
    lists = correspondences.create(*nodes, pairs, "mind")
    assert correspondences.find(*nodes) == lists
    assert correspondences.method(lists[0]) == "mind"
    found = correspondences.read(lists[0], nodes[0], lists[1], nodes[1])
    assert np.allclose([pair.fixed for pair in found], [pair.fixed for pair in pairs])
    assert np.allclose([pair.moving for pair in found], [pair.moving for pair in pairs])
    assert np.allclose([pair.confidence for pair in found], [pair.confidence for pair in pairs], atol=1e-3)


def test_pairs_are_filtered_by_confidence_and_pruned_by_hand(case, nodes):
    lists = correspondences.create(*nodes, deformed.pairs(case), "mind")
    correspondences.filter_shown(*lists, 0.5)
    assert correspondences.count_shown(lists[0]) == 7
    assert len(correspondences.read(lists[0], nodes[0], lists[1], nodes[1], 0.5)) == 7
    lines = correspondences.draw_lines(*lists, 0.5)
    assert lines.GetPolyData().GetNumberOfLines() == 7
    lists[0].RemoveNthControlPoint(2)
    lists[1].RemoveNthControlPoint(5)
    correspondences.prune(*lists)
    assert lists[0].GetNumberOfControlPoints() == lists[1].GetNumberOfControlPoints() == 10
    assert correspondences.draw_lines(*lists, 0.0) is lines
    assert lines.GetPolyData().GetNumberOfLines() == 10
    assert not correspondences.unpaired(*lists)


def test_lines_run_where_the_views_show_the_points(world, case, nodes, tmp_path):
    pairs = deformed.pairs(case)
    node = register(case, nodes, tmp_path, pairs)
    lists = correspondences.find(*nodes)
    assert lists[1].GetParentTransformNode() is node
    lines = correspondences.draw_lines(*lists, 0.0).GetPolyData()
    ends = np.array([lines.GetPoint(index) for index in range(lines.GetNumberOfPoints())]).reshape(-1, 2, 3)
    assert np.allclose(ends[:, 0], ends[:, 1], atol=0.05)  # True pairs meet after the deformation.


def test_pairs_in_another_frame_are_read_in_the_volumes(world, case, nodes, tmp_path):
    place = np.array([8.0, -6.0, 10.0])
    here, there = points(world, "Here", place), points(world, "There", place)  # As the views show it afterwards.
    register(case, nodes, tmp_path)
    [pair] = correspondences.read(here, nodes[0], there, nodes[1])
    assert np.allclose(pair.moving, case.to_moving(place), atol=1e-3)


def test_point_lists_that_do_not_match(world, nodes):
    here, there = points(world, "Here", [0, 0, 0], [1, 1, 1]), points(world, "There", [0, 0, 0])
    assert [pair.name for pair in correspondences.read(here, nodes[0], there, nodes[1])] == ["P1"]
    assert correspondences.unpaired(here, there) == ["P2"]
    there.SetNthControlPointLabel(0, "Q")
    with pytest.raises(InputError, match="No point has the same name"):
        correspondences.read(here, nodes[0], there, nodes[1])
    here.SetNthControlPointLabel(1, "P1")
    with pytest.raises(InputError, match="Two points of “Here” are named “P1”"):
        correspondences.read(here, nodes[0], there, nodes[1])
    with pytest.raises(InputError, match="Choose a point list"):
        correspondences.read(None, nodes[0], there, nodes[1])


def test_of_very_many_pairs_the_surest_are_kept(case, nodes, monkeypatch):
    monkeypatch.setattr(correspondences, "MOST", 5)
    lists = correspondences.create(*nodes, deformed.pairs(case)[::-1], "mind")
    found = correspondences.read(lists[0], nodes[0], lists[1], nodes[1])
    assert [round(pair.confidence, 2) for pair in found] == [1.0, 0.92, 0.83, 0.75, 0.67]


# Inputs


def test_region(world, nodes):
    roi = world.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "ROI")
    with pytest.raises(InputError, match="has no size"):
        deforminputs.region(roi, nodes[0])
    deforminputs.fit_region(roi, nodes[0])
    assert np.allclose(deforminputs.region(roi, nodes[0]), [-48, 48, -48, 48, -40, 40])
    roi.SetSizeWorld(20.0, 30.0, 40.0)
    assert np.allclose(deforminputs.region(roi, nodes[0]), [-10, 10, -15, 15, -20, 20])
    roi.SetCenterWorld(500.0, 0.0, 0.0)
    with pytest.raises(InputError, match="outside of the fixed volume"):
        deforminputs.region(roi, nodes[0])
    assert deforminputs.region(None, nodes[0]) is None


def test_masks_are_brought_onto_the_volumes_grid(world, nodes):
    organ = segmentation(world, nodes[1])
    mask = deforminputs.mask(organ, nodes[0], "fixed mask")
    assert mask.array.shape == volumes.array_view(nodes[0]).shape
    assert mask.array.sum() == 10 * 12 * 12
    shift = np.eye(4)
    shift[:3, 3] = 300.0
    away = world.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "away")
    away.SetMatrixTransformToParent(transforms.to_matrix(shift))
    organ.SetAndObserveTransformNodeID(away.GetID())
    with pytest.raises(InputError, match="lies outside of its volume"):
        deforminputs.mask(organ, nodes[0], "fixed mask")


def test_where_to_start_from(world, case, nodes, tmp_path):
    fixed, moving = nodes
    assert deforminputs.suggested_initial(fixed, moving) is None
    other = world.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "by hand")
    moving.SetAndObserveTransformNodeID(other.GetID())
    assert "harden the transform" in deforminputs.parent_problem(moving, "moving volume")
    assert not deforminputs.parent_problem(moving, "moving volume", other)
    assert deforminputs.suggested_initial(fixed, moving) is other
    assert deforminputs.read_volume_node(moving, "moving volume", other).array.shape == case.moving.array.shape
    rigid = transforms.create(moving, fixed)
    assert deforminputs.suggested_initial(fixed, moving) is rigid
    assert np.array_equal(deforminputs.initial_matrix(rigid), np.eye(4))
    bent = register(case, nodes, tmp_path)
    with pytest.raises(InputError, match="bends space"):
        deforminputs.initial_matrix(bent)


# What is shown


def test_checkerboard_and_difference(case):
    board = comparison.checkerboard(case.fixed, case.fixed)
    assert np.array_equal(board.array, comparison.checkerboard(case.fixed, case.fixed, 3).array)
    black = Volume(np.zeros_like(case.fixed.array), case.fixed.ijk_to_ras)
    board = comparison.checkerboard(case.fixed, black, 2).array
    middle = np.array(board.shape) // 2
    assert board[middle[0] - 5, middle[1] - 5, middle[2] - 5] > 0
    assert not board[middle[0] - 5, middle[1] - 5, middle[2] + 5]
    assert not comparison.difference(case.fixed, case.fixed).array.any()
    assert np.abs(comparison.difference(case.fixed, case.moving).array).max() > 300


def test_the_metric_is_plotted_line_by_line(world, tmp_path):
    before = everything(world)
    file = tmp_path / "metric.csv"
    plot = MetricPlot(world.scene, str(file))
    plot.update()
    assert plot.chart is None
    file.write_text(
        "stage,resolution,iteration,metric,seconds\naffine,0,0,-0.5,0.1\naffine,0,1,-0.6,0.2\naffine,0,2,-0"
    )
    plot.update()
    series = plot.chart.GetNthPlotSeriesNode(0)
    assert series.GetTableNode().GetTable().GetNumberOfRows() == 2
    with file.open("a") as stream:
        stream.write(".7,0.3\ndeformable,1,0,-0.2,0.4\n")
    plot.update()
    assert plot.last == ("deformable", 1, 0, -0.2)
    assert plot.chart.GetNumberOfPlotSeriesNodes() == 2
    assert series.GetTableNode().GetTable().GetNumberOfRows() == 3
    plot.remove()
    assert everything(world) == before
