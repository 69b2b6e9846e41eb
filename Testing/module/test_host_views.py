"""The test host's scene: views, mouse, layouts, node selector, placing, files, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

FIXTURE = Path(__file__).parent / "fixturemodule" / "HostFixture.py"
CUSTOM_LAYOUT = 700


@pytest.fixture
def volume(app):
    """A 60 mm cube around the origin, bright where R > 0, shown in the slice views."""
    import host
    import slicer

    array = np.zeros((30, 30, 30), np.uint8)
    array[:, :, 15:] = 200
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -29
    node = slicer.util.addVolumeFromArray(array, ijkToRAS=affine, name="Cube")
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevelMinMax(0, 200)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    host.mouse.show_slice("Red", (0, 0, 0))
    return node


@pytest.fixture
def points(app):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    node.CreateDefaultDisplayNodes()
    return node


def test_four_up_has_the_views_of_slicer(app):
    import slicer

    manager = slicer.app.layoutManager()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    orientations = {
        name: manager.sliceWidget(name).mrmlSliceNode().GetOrientation() for name in ("Red", "Green", "Yellow")
    }
    assert orientations == {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
    assert manager.threeDViewCount >= 1
    assert manager.threeDWidget(0).mrmlViewNode().GetID() == "vtkMRMLViewNode1"
    assert manager.sliceWidget("Nothing") is None
    for name in orientations:
        view = manager.sliceWidget(name).sliceView()
        assert view.mrmlSliceNode().GetDimensions()[:2] == (view.width, view.height)


def test_slice_view_shows_the_volume_on_the_right_side(volume):
    """The patient's right (R > 0 in RAS) is at the left of an axial view."""
    import host
    import slicer
    from host.views import drawing

    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    left, right = host.mouse.pixel("Red", (15, 0, 0)), host.mouse.pixel("Red", (-15, 0, 0))
    assert left.x() < right.x()
    with drawing():
        picture = view.grab().toImage()
    assert picture.pixelColor(left).red() > 150
    assert picture.pixelColor(right).red() < 50


def test_drag_moves_a_control_point(volume, points):
    import host

    points.AddControlPoint((10, -5, 0), "a")
    points.AddControlPoint((-20, 20, 0), "b")
    moved = []
    points.AddObserver(points.PointModifiedEvent, lambda *_: moved.append(points.GetNthControlPointPosition(0)))
    host.mouse.drag("Red", (10, -5, 0), (18, 9, 0))
    assert np.allclose(points.GetNthControlPointPosition(0), (18, 9, 0), atol=2 * host.mouse.pixel_size("Red"))
    assert points.GetNthControlPointPosition(1) == (-20, 20, 0)
    assert len(moved) >= 3


def test_a_locked_point_stays(volume, points):
    import host

    points.AddControlPoint((10, -5, 0), "a")
    points.SetNthControlPointLocked(0, True)
    host.mouse.drag("Red", (10, -5, 0), (18, 9, 0))
    assert points.GetNthControlPointPosition(0) == (10, -5, 0)


def test_mouse_refuses_what_the_view_does_not_show(volume):
    import host

    with pytest.raises(ValueError, match="off the slice"):
        host.mouse.click("Red", (0, 0, 40))
    with pytest.raises(ValueError, match="outside"):
        host.mouse.click("Red", (500, 0, 0))
    host.mouse.show_slice("Red", (3, 4, 12))
    view = host.mouse.pixel("Red", (3, 4, 12))
    assert view.x() > 10


def test_points_are_placed_with_the_place_widget(volume, points):
    import host
    import slicer

    _, widget = host.load_module(FIXTURE)
    place, modes = widget.ui.placeWidget, []
    place.connect("activeMarkupsPlaceModeChanged(bool)", modes.append)
    assert not place.placeButton().enabled
    widget._parameters.points = points
    assert place.currentNode() is points
    place.placeButton().click()
    assert place.placeModeEnabled
    host.mouse.click("Red", (5, 6, 0))
    assert not place.placeModeEnabled
    assert modes == [True, False]
    assert np.allclose(points.GetNthControlPointPosition(0), (5, 6, 0), atol=2 * host.mouse.pixel_size("Red"))
    place.setPlaceMultipleMarkups(slicer.qSlicerMarkupsPlaceWidget.ForcePlaceMultipleMarkups)
    place.setPlaceModeEnabled(True)
    host.mouse.click("Red", (-5, 6, 0))
    host.mouse.click("Red", (-5, -6, 0))
    assert points.GetNumberOfControlPoints() == 3
    place.setCurrentNode(None)
    assert not place.placeModeEnabled
    place.setCurrentNode(points)
    place.deleteButton().click()
    assert points.GetNumberOfControlPoints() == 2


def test_jumping_to_a_point_moves_all_slices(volume, points):
    import slicer

    points.AddControlPoint((5, 6, 7), "a")
    slicer.modules.markups.logic().JumpSlicesToNthPointInMarkup(points.GetID(), 0, True)
    offsets = {
        n: slicer.app.layoutManager().sliceWidget(n).sliceLogic().GetSliceOffset() for n in ("Red", "Green", "Yellow")
    }
    assert np.allclose([offsets["Red"], offsets["Green"], abs(offsets["Yellow"])], [7, 6, 5])


def test_layouts_of_slicer_and_of_a_module(app):
    import slicer

    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    views = "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{tag}"><property name="orientation" action="default">'
        f'{orientation}</property><property name="viewlabel" action="default">{tag[0]}</property>'
        '<property name="viewcolor" action="default">#4070C0</property>'
        f'<property name="viewgroup" action="default">{group}</property></view></item>'
        for group, modality in enumerate(("MR", "US"))
        for tag, orientation in ((modality + "Axial", "Axial"), (modality + "Sagittal", "Sagittal"))
    )
    layout = manager.layoutLogic().GetLayoutNode()
    layout.AddLayoutDescription(CUSTOM_LAYOUT, f'<layout type="horizontal">{views}</layout>')
    manager.setLayout(CUSTOM_LAYOUT)
    assert {"MRAxial", "MRSagittal", "USAxial", "USSagittal"} <= set(manager.sliceViewNames())
    view = manager.sliceWidget("USSagittal")
    assert view.mrmlSliceNode().GetOrientation() == "Sagittal"
    assert view.mrmlSliceNode().IsMappedInLayout()
    assert view.visible
    assert not manager.sliceWidget("Red").mrmlSliceNode().IsMappedInLayout()
    assert view.sliceLogic() is not manager.sliceWidget("USAxial").sliceLogic()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert manager.sliceWidget("Red").mrmlSliceNode().IsMappedInLayout()


def test_views_survive_a_closed_scene(volume):
    import slicer

    slicer.mrmlScene.Clear(0)
    for name in ("Red", "Green", "Yellow"):
        view = slicer.app.layoutManager().sliceWidget(name).sliceView()
        assert view.mrmlSliceNode().GetDimensions()[:2] == (view.width, view.height)


def test_node_selector_offers_the_nodes_of_its_types(app):
    import slicer

    add = slicer.mrmlScene.AddNewNodeByClass
    combo, changes, valid = slicer.qMRMLNodeComboBox(), [], []
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.noneEnabled = True
    combo.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: changes.append(node and node.GetName()))
    combo.connect("currentNodeChanged(bool)", valid.append)
    combo.setMRMLScene(slicer.mrmlScene)
    a, label = add("vtkMRMLScalarVolumeNode", "a"), add("vtkMRMLLabelMapVolumeNode", "label")
    add("vtkMRMLTextNode", "text")
    assert (combo.nodeCount(), combo.currentNode()) == (2, None)
    combo.showChildNodeTypes = False
    assert combo.nodeCount() == 1
    combo.setCurrentNode(a)
    combo.setCurrentNode(label)  # not offered
    assert combo.currentNode() is a
    combo.setCurrentNode(None)
    combo.setCurrentNodeID("vtkMRMLScalarVolumeNode2")  # not there yet
    b = add("vtkMRMLScalarVolumeNode", "b")
    assert combo.currentNode() is b
    hidden = add("vtkMRMLScalarVolumeNode", "hidden")
    hidden.SetHideFromEditors(True)
    hidden.Modified()
    assert combo.nodeCount() == 2
    slicer.mrmlScene.RemoveNode(b)
    assert (changes, valid) == (["a", None, "b", None], [True, False, True, False])
    combo.noneEnabled = False
    assert combo.currentNode() is a
    combo.addAttribute("vtkMRMLScalarVolumeNode", "Kind", "MR")
    assert (combo.nodeCount(), combo.currentNode()) == (0, None)
    made = combo.addNode()
    assert made.GetAttribute("Kind") == "MR"
    assert combo.currentNode() is made
    combo.removeCurrentNode()
    assert combo.nodeCount() == 0


def test_files_are_written_and_read(volume, points, tmp_path, monkeypatch):
    import slicer

    points.AddControlPoint((1.5, 2, 3), "Apex")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "T")
    matrix = np.eye(4)
    matrix[:3, 3] = 1, 2, 3
    slicer.util.updateTransformMatrixFromArray(transform, matrix)
    assert slicer.util.saveNode(volume, str(tmp_path / "v.nrrd"), {})
    assert slicer.util.saveNode(points, str(tmp_path / "p.mrk.json"), {})
    assert slicer.util.saveNode(transform, str(tmp_path / "t.h5"), {})
    slicer.mrmlScene.Clear(0)
    loaded = slicer.util.loadVolume(str(tmp_path / "v.nrrd"), {"name": "Again"})
    assert loaded.GetName() == "Again"
    assert slicer.util.arrayFromVolume(loaded).sum() == 15 * 30 * 30 * 200
    assert slicer.util.loadMarkups(str(tmp_path / "p.mrk.json")).GetNthControlPointPosition(0) == (1.5, 2, 3)
    assert np.allclose(slicer.util.arrayFromTransformMatrix(slicer.util.loadTransform(str(tmp_path / "t.h5"))), matrix)
    monkeypatch.chdir(tmp_path)
    assert slicer.util.saveScene("scene.mrb", {})
    slicer.util.loadScene("scene.mrb", {"clear": True})
    assert slicer.util.getNode("Again") is not None
    with pytest.raises(RuntimeError, match="does not exist"):
        slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"), {})


def test_a_broken_scene_file_is_refused_and_the_next_one_loads(points, tmp_path):
    import os

    import host
    import slicer

    folder = os.getcwd()
    (tmp_path / "broken.mrb").write_text("no archive")
    assert slicer.util.saveScene(str(tmp_path / "good.mrb"), {})
    with pytest.raises(RuntimeError, match=r"broken\.mrb"):
        slicer.util.loadScene(str(tmp_path / "broken.mrb"), {})
    host.clear_errors()
    assert os.getcwd() == folder
    slicer.util.loadScene(str(tmp_path / "good.mrb"), {"clear": True})
    assert slicer.util.getNode("Points") is not None


def test_screenshot_shows_panel_and_views(volume, tmp_path):
    import host
    import qt

    _, widget = host.load_module(FIXTURE)
    path = host.screenshot(widget, tmp_path / "panel.png", panel_width=400, height=600, views_width=700)
    picture = qt.QImage(str(path))
    assert (picture.width(), picture.height()) == (widget.parent.width + 700, 600)
    colors = {
        picture.pixelColor(x, y).name()
        for x in range(widget.parent.width, picture.width(), 5)
        for y in range(0, 600, 5)
    }
    assert {"#c8c8c8", "#000000"} <= colors or len(colors) > 50
