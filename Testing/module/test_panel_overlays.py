"""Beside the landmarks: glands, 95 % regions, the map of the expected error, what to check first, the kind of fit."""

import zipfile

import host
import numpy as np
import pytest
import samples
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import companions, glands, landmarks, regions, views, volumes
from LandmarkFusionLogic.mrml.errormap import KIND, SCALARS
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume


def ball(centre=(0.0, 0.0, 0.0), radius=18.0, spacing=2.0, count=30) -> Volume:
    """A round gland, on a grid of its own."""
    affine = samples.affine((spacing,) * 3, origin=np.asarray(centre) - spacing * (count - 1) / 2)
    k, j, i = np.indices((count, count, count))
    distance = spacing * np.sqrt((i - (count - 1) / 2) ** 2 + (j - (count - 1) / 2) ** 2 + (k - (count - 1) / 2) ** 2)
    return Volume((distance <= radius).astype(np.uint8), affine)


def show_gland(panel, modality, centre=(0.0, 0.0, 0.0)):
    prediction = glands.Prediction(np.array(centre), 4.0 * np.eye(3), 24.0)
    node = glands.write(panel.controller.volume(modality), modality, ball(centre), prediction)
    panel.controller.refresh()
    return node


def extent(surface) -> np.ndarray:
    """Half widths of a surface along R, A, S."""
    points = vtk_to_numpy(surface.GetPoints().GetData())
    return (points.max(axis=0) - points.min(axis=0)) / 2


@pytest.fixture
def aligned(panel, shift):
    panel.choose_pair()
    panel.place_all(shift, state="detected")
    return panel


def test_gland_is_shown_moves_with_the_mr_and_can_be_read_again(aligned, shift):
    panel = aligned
    node = show_gland(panel, "mr")
    assert node.GetParentTransformNode() is panel.parameters.mrToUs
    mask = glands.read(node)
    assert mask.array.sum() == ball().array.sum()
    index = np.argwhere(mask.array)[:, ::-1].mean(axis=0)
    assert np.allclose(apply(mask.ijk_to_ras, index), 0.0, atol=1e-6)
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    assert np.allclose(bounds.reshape(3, 2).mean(axis=1), shift[:3, 3], atol=1.0)
    panel.ui.glandsCheckBox.click()
    assert not node.GetDisplayNode().GetVisibility()
    panel.ui.glandsCheckBox.click()
    assert node.GetDisplayNode().GetVisibility()
    node.GetDisplayNode().SetVisibility(False)  # By the user, in another module: it stays so.
    panel.controller.refresh()
    assert not node.GetDisplayNode().GetVisibility()


def test_gland_of_a_flipped_ultrasound_lies_right_side_out_at_the_mirrored_place(aligned):
    panel = aligned
    centre = np.array([6.0, -4.0, 8.0])
    show_gland(panel, "us", centre)
    middle = volumes.volume_from_node(panel.parameters.us, "US").centre
    panel.ui.flipLrButton.click()
    node = glands.find(panel.parameters.us, "us")
    mirrored = centre * [-1.0, 1.0, 1.0] + [2 * middle[0], 0.0, 0.0]
    assert np.allclose(glands.prediction(node).centroid, mirrored)
    mask = glands.read(node)
    assert np.allclose(apply(mask.ijk_to_ras, np.argwhere(mask.array)[:, ::-1]).mean(axis=0), mirrored, atol=1e-6)
    volume = vtk.vtkMassProperties()
    volume.SetInputData(glands.surface(node))
    assert volume.GetVolume() == pytest.approx(4 / 3 * np.pi * 18**3, rel=0.1)


def test_regions_hold_95_percent_and_follow_edits(aligned):
    panel = aligned
    node = regions.find(panel.parameters.us, "us")
    assert node.GetParentTransformNode() is None
    assert regions.find(panel.parameters.mr, "mr").GetParentTransformNode() is panel.parameters.mrToUs
    covariance = np.array([[9.0, 3.0, 0.0], [3.0, 4.0, 1.0], [0.0, 1.0, 6.0]])
    surface = regions.ellipsoids([(np.array([1.0, 2.0, 3.0]), covariance)])
    draws = np.random.default_rng(5).multivariate_normal([1.0, 2.0, 3.0], covariance, 4000)
    inside = vtk.vtkSelectEnclosedPoints()
    points = vtk.vtkPoints()
    for draw in draws:
        points.InsertNextPoint(*draw)
    cloud = vtk.vtkPolyData()
    cloud.SetPoints(points)
    inside.SetInputData(cloud)
    inside.SetSurfaceData(surface)
    inside.Update()
    share = np.mean([inside.IsInside(number) for number in range(len(draws))])
    assert 0.92 < share < 0.965  # The surface is made of flat triangles, which lie within the ellipsoid.

    before = node.GetPolyData().GetNumberOfPoints()
    us = panel.controller.landmarkList("us")
    us.SetNthControlPointPosition(0, 1.0, 2.0, -15.0)
    assert node.GetPolyData().GetNumberOfPoints() == before * 2 // 3
    panel.controller.editing.select("us", "Apex")
    panel.ui.usResetButton.click()
    assert node.GetPolyData().GetNumberOfPoints() == before
    panel.ui.regionsCheckBox.click()
    assert not node.GetDisplayNode().GetVisibility()
    landmarks.write(us, [Landmark(mark.name, mark.position) for mark in landmarks.read(us)])
    assert not node.GetPolyData().GetNumberOfPoints()  # All placed by hand.
    panel.ui.regionsCheckBox.click()
    assert not node.GetDisplayNode().GetVisibility()


def test_regions_are_drawn_in_the_views(aligned):
    panel = aligned
    panel.parameters.showRegions = False
    apex = next(mark for mark in landmarks.read(panel.controller.landmarkList("us")) if mark.name == "Apex")
    views.centre(slicer.mrmlScene, apex.position)  # The same scale, whatever size earlier tests gave the view.
    host.mouse.show_slice("Red", apex.position)
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()

    def picture():
        view.forceRender()
        grab = vtk.vtkUnsignedCharArray()
        width, height = view.renderWindow().GetSize()
        view.renderWindow().GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, grab)
        return vtk_to_numpy(grab).reshape(height, width, 4)[..., :3].astype(int)

    before = picture()
    panel.parameters.showRegions = True
    host.process_events()
    changed = np.argwhere(np.abs(picture() - before).max(axis=2) > 20)
    widths = (changed.max(axis=0) - changed.min(axis=0)) * host.mouse.pixel_size("Red") / 2
    # Covariance 1, 4, 9 mm² along R, A, S: half axes of the slice are 2.8 and 5.6 mm.
    assert np.allclose(widths, [5.6, 2.8], atol=1.2)


def test_error_map_is_colored_by_the_fit_and_follows_it(aligned):
    panel = aligned
    assert not panel.ui.errorMapCheckBox.enabled
    assert "at the landmarks" in panel.ui.errorLabel.text
    gland = show_gland(panel, "mr")
    assert "over the gland" in panel.ui.errorLabel.text
    panel.ui.errorMapCheckBox.click()
    node = companions.find(panel.parameters.mr, KIND, "vtkMRMLModelNode")
    assert node.GetParentTransformNode() is panel.parameters.mrToUs
    assert not gland.GetDisplayNode().GetVisibility()
    assert panel.ui.errorMapLabel.visible

    def colors():
        return vtk_to_numpy(node.GetPolyData().GetPointData().GetArray(SCALARS)).copy()

    points = vtk_to_numpy(node.GetPolyData().GetPoints().GetData()).astype(float)
    assert 100 < len(points) < 1000
    assert np.allclose(colors(), panel.controller.live.fit.expected_error(points), rtol=1e-4)
    before = colors()
    us = panel.controller.landmarkList("us")
    us.SetNthControlPointPosition(0, *(np.array(us.GetNthControlPointPosition(0)) + [0.0, 8.0, 0.0]))
    assert np.allclose(colors(), panel.controller.live.fit.expected_error(points), rtol=1e-4)
    assert not np.allclose(colors(), before)
    panel.ui.errorMapCheckBox.click()
    assert not node.GetDisplayNode().GetVisibility()
    assert gland.GetDisplayNode().GetVisibility()


def test_following_a_landmark_stays_quick_with_everything_shown(aligned):
    import time

    panel = aligned
    show_gland(panel, "mr"), show_gland(panel, "us")
    panel.parameters.showErrorMap = True
    lesions = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Lesions")
    lesions.AddControlPoint(1.0, 2.0, 3.0, "Lesion 1")
    panel.ui.targetsSelector.setCurrentNode(lesions)
    us = panel.controller.landmarkList("us")
    times = []
    for step in range(40):
        began = time.process_time()  # Whatever else the machine is doing.
        us.SetNthControlPointPosition(0, 0.2 * step, 1.0, -15.0)
        times.append(time.process_time() - began)
    # `make bench` holds it to 20 ms; here coverage is traced, and the other core may be busy.
    assert np.min(times) < 0.030


def test_both_glands_take_part_in_the_best_fit_and_not_in_the_plain_one(panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    show_gland(panel, "mr")
    show_gland(panel, "us", shift[:3, 3] + [0.0, 6.0, 0.0])
    best = panel.matrix()
    assert not np.allclose(best, shift, atol=0.2)
    panel.ui.fitSelector.setCurrentIndex(1)
    assert panel.controller.live.fit.method == "svd"
    assert np.allclose(panel.matrix(), shift, atol=1e-6)
    panel.ui.fitSelector.setCurrentIndex(0)
    assert np.allclose(panel.matrix(), best)


def test_the_least_certain_landmark_is_asked_for_first(aligned):
    panel = aligned
    mr, us = panel.controller.landmarkList("mr"), panel.controller.landmarkList("us")
    assert not panel.ui.checkButton.visible
    marks = {mark.name: mark for mark in landmarks.read(us)}
    apex = marks["Apex"]
    landmarks.write(us, [Landmark("Apex", apex.position, np.diag([40.0, 40.0, 40.0]), "detected")])
    landmarks.remember_detection(mr, "net 1", "CPU", 1.0, [], kind="research", ask_first=["Bladder neck"])
    landmarks.remember_detection(us, "net 2", "CPU", 1.0, [], kind="own", ask_first=["Apex", "Posterior median"])
    panel.controller.refresh()
    assert panel.ui.checkLabel.text.startswith("⚠ 3 to check, least certain first: Apex in the US")
    assert panel.table("us")[0][2].endswith("⚠")
    assert "net 1 (research network)" in panel.ui.resultLabel.text
    assert "net 2 (own network)" in panel.ui.resultLabel.text
    panel.ui.checkButton.click()
    assert panel.parameters.usPoint == "Apex"
    assert "Is this the Apex of the US?" in panel.status
    place = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetSliceToRAS()
    assert place.GetElement(2, 3) == pytest.approx(apex.position[2], abs=0.01)
    assert panel.table("us")[0][2].endswith("✓")
    panel.ui.checkButton.click()
    assert panel.parameters.mrPoint == "Bladder neck"
    us.SetNthControlPointPosition(2, 1.0, 2.0, 3.0)  # Put right by hand: no more to be asked.
    host.process_events()
    assert not panel.ui.checkButton.visible


def test_what_is_derived_is_not_saved_and_comes_back_with_the_scene(aligned, tmp_path):
    panel = aligned
    show_gland(panel, "mr")
    panel.parameters.showErrorMap = True
    panel.ui.fitSelector.setCurrentIndex(1)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    with zipfile.ZipFile(path) as archive:
        [description] = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".mrml")]
    assert "<Segmentation" in description
    assert "<Model " not in description
    slicer.mrmlScene.Clear(0)
    host.process_events()
    slicer.util.loadScene(path)
    host.process_events()
    assert panel.parameters.fit.value == "svd"
    assert panel.controller.live.fit.method == "svd"
    assert panel.parameters.showErrorMap
    for kind in ("mr-regions", KIND):
        node = companions.find(panel.parameters.mr, kind, "vtkMRMLModelNode")
        assert node.GetDisplayNode().GetVisibility()
        assert node.GetPolyData().GetNumberOfPoints() > 50
    slices = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode")  # A model belongs to each.
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") - slices == 3
    gland = glands.find(panel.parameters.mr, "mr")
    assert glands.prediction(gland).millilitres == 24.0
    assert glands.read(gland).array.sum() == ball().array.sum()


def test_what_belongs_to_a_volume_that_is_not_chosen_is_hidden(aligned):
    panel = aligned
    node = show_gland(panel, "us")
    region = regions.find(panel.parameters.us, "us")
    first = panel.parameters.us
    panel.ui.usSelector.setCurrentNode(panel.add_volume("US second", 7))
    assert not node.GetDisplayNode().GetVisibility()
    assert not region.GetDisplayNode().GetVisibility()
    panel.ui.usSelector.setCurrentNode(first)
    assert node.GetDisplayNode().GetVisibility()
    assert region.GetDisplayNode().GetVisibility()


def test_masks_of_the_user_are_taken_in_the_volumes_frame(aligned, shift):
    panel = aligned
    node = show_gland(panel, "mr")
    node.SetAndObserveTransformNodeID(None)  # The mask lies untransformed, the volume under the fit.
    mask = glands.mask_for(node, panel.parameters.mr)
    centre = apply(mask.ijk_to_ras, np.argwhere(mask.array)[:, ::-1]).mean(axis=0)
    assert np.allclose(centre, -shift[:3, 3], atol=1e-6)
    label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "label")
    with pytest.raises(InputError, match="empty"):
        glands.mask_for(label, panel.parameters.us)
    label.SetAndObserveImageData(volumes.image(ball().array))
    volumes.set_ijk_to_ras(label, ball().ijk_to_ras)
    assert np.array_equal(glands.mask_for(label, panel.parameters.us).array, ball().array)
    several = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "several")
    with pytest.raises(InputError, match="no segment"):
        glands.mask_for(several, panel.parameters.us)
    for name in ("bladder", "rectum"):
        several.GetSegmentation().AddEmptySegment(name, name)
    with pytest.raises(InputError, match="several segments"):
        glands.mask_for(several, panel.parameters.us)


@pytest.mark.parametrize("method", ["best", "svd"])
def test_a_scene_written_elsewhere_is_fitted_alike_in_the_panel(panel, shift, tmp_path, method):
    from LandmarkFusionLogic.fusion import Side, fuse_sides
    from LandmarkFusionLogic.gland import Gland
    from LandmarkFusionLogic.mrml.scene import write_scene

    sides = []
    for modality, move in (("mr", np.eye(4)), ("us", shift)):
        points = [
            Landmark(point.name, apply(move, point.position), np.diag([9.0, 4.0, 9.0]), "detected")
            for point in samples.prostate_points()
        ]
        mask = ball(move[:3, 3] + [0.0, 5.0 * (modality == "us"), 0.0])
        gland = Gland(Volume(mask.array.astype(np.float32), mask.ijk_to_ras))
        sides.append(Side(samples.volume(seed=len(sides)), points, "net", "CPU", gland=gland, kind="research"))
    fusion = fuse_sides(*sides, method=method)
    path = tmp_path / "scene.mrb"
    write_scene(
        path,
        sides[0].volume,
        sides[1].volume,
        sides[0].landmarks,
        sides[1].landmarks,
        fusion.fit.mr_to_us,
        glands_found={"mr": sides[0].gland, "us": sides[1].gland},
        method=method,
    )
    slicer.util.loadScene(str(path))
    host.process_events()
    assert panel.controller.live.fit.method == method
    assert np.allclose(panel.matrix(), fusion.fit.mr_to_us, atol=1e-6)
    assert glands.find(panel.parameters.us, "us").GetDisplayNode().GetVisibility()
