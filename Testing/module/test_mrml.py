"""Nodes and plain data, on slicer-core alone: no Qt, no host."""

import json

import numpy as np
import pytest
import samples

pytest.importorskip("slicer", reason="slicer-core is not installed")

from LandmarkFusionLogic import markupsfile
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import landmarks, live, scene, transforms, views, volumes
from LandmarkFusionLogic.points import APEX, DETECTED, EDITED, PLACED, Landmark
from LandmarkFusionLogic.rigid.fit import apply, invert
from LandmarkFusionLogic.volume import Volume


@pytest.fixture
def world(tmp_path):
    return scene.OwnScene(str(tmp_path / "cache"))


@pytest.fixture
def mr(world):
    return volumes.add_volume(world.scene, samples.volume(directions=samples.OBLIQUE), "MR")


@pytest.fixture
def us(world):
    return volumes.add_volume(world.scene, samples.volume(seed=1), "US")


# Volumes


def test_a_volume_node_holds_what_it_was_given(world):
    directions = samples.OBLIQUE @ np.diag([1, 1, -1])  # oblique and left-handed
    volume = samples.volume(directions=directions)
    node = volumes.add_volume(world.scene, volume, "MR")
    back = volumes.volume_from_node(node, "MR volume")
    assert back.array.dtype == np.int16
    assert np.array_equal(back.array, volume.array)
    assert np.allclose(back.ijk_to_ras, volume.ijk_to_ras, atol=1e-12)
    flags = volumes.add_volume(world.scene, Volume(volume.array > 500, volume.ijk_to_ras), "mask")
    assert np.array_equal(volumes.array_view(flags), volume.array > 500)


def test_volumes_that_cannot_be_used(world, mr):
    with pytest.raises(InputError, match="No MR volume is chosen"):
        volumes.volume_from_node(None, "MR volume")
    empty = world.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(InputError, match="“nothing” holds no image"):
        volumes.volume_from_node(empty, "MR volume")
    parent = world.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "table")
    mr.SetAndObserveTransformNodeID(parent.GetID())
    with pytest.raises(InputError, match="under the transform “table”"):
        volumes.volume_from_node(mr, "MR volume")


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("USProstate", "us"),
        ("MRProstate", "mr"),
        ("patient3_TRUS", "us"),
        ("t2_tse_tra", "mr"),
        ("3: T2W axial", "mr"),
        ("ultrasound 12", "us"),
        ("US to MR", ""),
        ("focus", ""),
        ("campus mrkt", ""),
    ],
)
def test_modality_by_name(mr, name, modality):
    mr.SetName(name)
    assert volumes.guess_modality(mr) == modality


def test_choice_by_name_only_without_doubt(world, mr, us):
    assert volumes.by_modality(world.scene) == {"mr": mr, "us": us}
    volumes.add_volume(world.scene, samples.volume(), "second MR")
    assert volumes.by_modality(world.scene) == {"mr": None, "us": us}


def test_flip_turns_the_volume_about_its_middle_and_is_remembered(us):
    before = volumes.volume_from_node(us, "US volume")
    matrix = volumes.flip(us, "lr")
    after = volumes.volume_from_node(us, "US volume")
    assert np.allclose(after.centre, before.centre)
    assert np.allclose(after.ijk_to_ras, matrix @ before.ijk_to_ras)
    assert np.isclose(np.linalg.det(matrix[:3, :3]), -1.0)
    assert volumes.flips(us) == ["lr"]
    volumes.flip(us, "si")
    assert volumes.flips(us) == ["lr", "si"]
    volumes.flip(us, "lr")
    volumes.flip(us, "si")
    assert volumes.flips(us) == []
    assert np.allclose(volumes.ijk_to_ras(us), before.ijk_to_ras)


# Landmarks


def test_states_follow_the_positions(mr):
    node = landmarks.create(mr, "mr")
    assert [row.landmark for row in landmarks.rows(node)] == [None] * 3
    assert landmarks.read(node) == []
    points = samples.prostate_points((1 / 3, 2.0, 3.0), DETECTED, np.diag([1.0, 2.0, 3.0]))
    assert landmarks.write(node, points) == []
    for read, written in zip(landmarks.read(node), points, strict=True):
        assert read.state == DETECTED
        assert np.array_equal(read.position, written.position)
        assert np.array_equal(read.covariance, written.covariance)
    node.SetNthControlPointPosition(0, 9.0, 9.0, 9.0)  # Whoever does it.
    assert [mark.state for mark in landmarks.read(node)] == [EDITED, DETECTED, DETECTED]
    assert landmarks.read(node)[0].covariance is None
    landmarks.reset(node, landmarks.rows(node)[0].point_id)
    assert [mark.state for mark in landmarks.read(node)] == [DETECTED] * 3
    landmarks.write(node, [Landmark("Cyst", np.array([1.0, 2.0, 3.0]))])
    landmarks.reset(node, landmarks.rows(node)[3].point_id)
    assert landmarks.read(node)[3].state == PLACED


def test_renaming_and_reordering_keep_the_state(mr):
    node = landmarks.create(mr, "mr")
    landmarks.write(node, samples.prostate_points(state=DETECTED, covariance=np.eye(3)))
    landmarks.write(node, [Landmark("Cyst", np.array([1.0, 2.0, 3.0]))])
    node.SetNthControlPointLabel(0, "Tip")
    node.SwapControlPoints(0, 3)
    found = {mark.name: mark.state for mark in landmarks.read(node)}
    assert found == {"Cyst": PLACED, "Bladder neck": DETECTED, "Posterior median": DETECTED, "Tip": DETECTED}


def test_locked_points_are_left_alone(mr):
    node = landmarks.create(mr, "mr")
    landmarks.write(node, samples.prostate_points())
    landmarks.set_locked(node, landmarks.rows(node)[1].point_id, True)
    moved = samples.prostate_points((5.0, 5.0, 5.0), DETECTED)
    assert landmarks.write(node, moved) == ["Bladder neck"]
    assert [mark.state for mark in landmarks.read(node)] == [DETECTED, PLACED, DETECTED]
    node.SetLocked(True)
    assert len(landmarks.write(node, moved)) == 3


def test_a_list_belongs_to_one_volume(mr, us):
    node = landmarks.create(mr, "mr")
    assert landmarks.find(mr, "mr") is node
    assert landmarks.find(mr, "us") is None
    assert landmarks.find(us, "mr") is None
    assert landmarks.find(None, "mr") is None
    with pytest.raises(InputError, match="belong to the volume “MR”"):
        landmarks.assign(node, us, "us")
    assert node.GetNodeReference(landmarks.VOLUME_ROLE) is mr
    other = mr.GetScene().AddNewNodeByClass(landmarks.CLASS, "from a file")
    landmarks.assign(other, mr, "mr")
    assert landmarks.find(mr, "mr") is other
    landmarks.assign(node, us, "us")  # Given up by the MR, it is free.
    assert landmarks.find(us, "us") is node


def test_a_markups_file_of_ours_brings_state_and_spread(mr, tmp_path):
    points = samples.prostate_points(state=DETECTED, covariance=np.diag([1.0, 4.0, 9.0]))[:2]
    markupsfile.write_landmarks(tmp_path / "points.mrk.json", points)
    node = mr.GetScene().AddNewNodeByClass(landmarks.CLASS)
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(tmp_path / "points.mrk.json"))
    assert node.GetStorageNode().ReadData(node)
    landmarks.assign(node, mr, "mr")
    found = landmarks.rows(node)
    assert [row.name for row in found] == ["Apex", "Bladder neck", "Posterior median"]
    assert [row.landmark.state for row in found[:2]] == [DETECTED, DETECTED]
    assert np.allclose(found[0].landmark.covariance, np.diag([1.0, 4.0, 9.0]))
    assert np.allclose(found[1].detected, points[1].position)
    assert found[2].landmark is None


def test_positions_are_those_of_the_volume_wherever_the_list_lies(mr):
    node = landmarks.create(mr, "mr")
    points = samples.prostate_points()
    landmarks.write(node, points)
    rng = np.random.default_rng(0)
    for moved in (node, mr):
        parent = mr.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transforms.set_matrix(parent, samples.random_rigid(rng))
        moved.SetAndObserveTransformNodeID(parent.GetID())
    own, volume = (transforms.matrix(each.GetParentTransformNode()) for each in (node, mr))
    for read, written in zip(landmarks.read(node), points, strict=True):
        assert np.allclose(read.position, apply(invert(volume), apply(own, written.position)))


def test_snapshot_and_restore(mr):
    node = landmarks.create(mr, "mr")
    landmarks.write(node, samples.prostate_points(state=DETECTED, covariance=np.eye(3))[:2])
    landmarks.set_locked(node, landmarks.rows(node)[0].point_id, True)
    kept = landmarks.snapshot(node)
    assert json.loads(json.dumps(kept)) == [{**each, "position": list(each["position"])} for each in kept]
    landmarks.set_locked(node, landmarks.rows(node)[0].point_id, False)
    landmarks.write(node, samples.prostate_points((7.0, 7.0, 7.0)))
    landmarks.remove(node, APEX)
    landmarks.add_unplaced(node, "Pair 1")
    landmarks.restore(node, kept)
    found = {row.name: row for row in landmarks.rows(node)}
    assert set(found) == {"Apex", "Bladder neck", "Posterior median"}
    assert found["Apex"].locked
    assert found["Apex"].landmark.state == DETECTED
    assert found["Posterior median"].landmark is None
    assert landmarks.snapshot(node) != kept  # Another order, which means nothing.


def test_a_broken_record_counts_as_none(mr):
    node = landmarks.create(mr, "mr")
    landmarks.write(node, samples.prostate_points(state=DETECTED))
    node.SetAttribute(landmarks.RECORDS, "{not json")
    assert [mark.state for mark in landmarks.read(node)] == [PLACED] * 3
    node.SetAttribute(landmarks.RECORDS, "[1, 2]")
    assert [mark.state for mark in landmarks.read(node)] == [PLACED] * 3


def test_a_moved_volume_takes_its_landmarks_along(us):
    node = landmarks.create(us, "us")
    covariance = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    points = samples.prostate_points(state=DETECTED, covariance=covariance)
    landmarks.write(node, points)
    matrix = volumes.flip(us, "lr")
    landmarks.transform_all(us, matrix)
    for read, written in zip(landmarks.read(node), points, strict=True):
        assert read.state == DETECTED
        assert np.allclose(read.position, apply(matrix, written.position))
    assert landmarks.read(node)[0].covariance[0, 1] == -1.0


# The pair and its transform


def test_transform_of_a_pair(mr, us):
    assert transforms.find(mr, us) is None
    assert transforms.find(None, us) is None
    node = transforms.create(mr, us)
    assert transforms.find(mr, us) is node
    assert transforms.find(us, mr) is None
    matrix = samples.random_rigid(np.random.default_rng(1))
    transforms.set_matrix(node, matrix)
    assert np.array_equal(transforms.matrix(node), matrix)
    back = transforms.create_inverse(node)
    assert np.allclose(transforms.matrix(back) @ matrix, np.eye(4), atol=1e-12)
    assert not transforms.is_ours(back)
    assert back.GetNodeReference(back.GetMovingNodeReferenceRole()) is us


def test_apply_leaves_other_peoples_transforms_alone(mr, us):
    node = transforms.create(mr, us)
    transforms.apply(node, mr, None)
    assert mr.GetParentTransformNode() is node
    transforms.apply(None, mr)
    assert mr.GetParentTransformNode() is None
    foreign = mr.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    mr.SetAndObserveTransformNodeID(foreign.GetID())
    transforms.apply(node, mr)
    transforms.apply(None, mr)
    assert mr.GetParentTransformNode() is foreign


def test_live_fit_follows_every_change(mr, us):
    told = []
    lists = landmarks.create(mr, "mr"), landmarks.create(us, "us")
    node = transforms.create(mr, us)
    fit = live.LiveFit(lambda: told.append(fit.fit))
    fit.method = "svd"  # Exact where the points agree exactly.
    fit.watch(*lists, node)
    assert fit.fit is None
    assert "needs at least three" in fit.problem
    truth = samples.random_rigid(np.random.default_rng(2), 20.0)
    points = samples.prostate_points()
    landmarks.write(lists[0], points)
    with fit.paused():
        count = len(told)
        landmarks.write(lists[1], [Landmark(p.name, apply(truth, p.position)) for p in points])
        assert len(told) == count
    assert len(told) == count + 1
    assert np.allclose(transforms.matrix(node), truth)
    lists[1].SetNthControlPointPosition(0, 0.0, 0.0, 0.0)
    assert fit.fit.rms > 1.0
    assert np.array_equal(transforms.matrix(node), fit.fit.mr_to_us)
    matrix = transforms.matrix(node)
    lists[1].RemoveNthControlPoint(0)
    assert fit.fit is None
    assert np.array_equal(transforms.matrix(node), matrix)
    fit.stop()
    count = len(told)
    lists[0].SetNthControlPointPosition(0, 1.0, 1.0, 1.0)
    assert len(told) == count


def test_warnings_of_anatomy(mr, us):
    lists = landmarks.create(mr, "mr"), landmarks.create(us, "us")
    fit = live.LiveFit(lambda: None)
    fit.watch(*lists, None)
    landmarks.write(lists[0], samples.prostate_points())
    upside_down = np.diag([1.0, -1.0, -1.0, 1.0])
    landmarks.write(lists[1], [Landmark(p.name, apply(upside_down, p.position)) for p in samples.prostate_points()])
    text = " ".join(fit.warnings())
    assert "In the US the apex lies above the bladder neck" in text
    assert "front and back" in text
    assert "In the MR" not in text
    fit.stop()


# Scenes and views


def test_scene_file(tmp_path):
    mr, us = samples.volume(directions=samples.OBLIQUE), samples.volume(seed=1)
    truth = samples.random_rigid(np.random.default_rng(3), 20.0)
    points = samples.prostate_points((3.0, 40.0, 30.0), DETECTED, np.eye(3))
    moved = [Landmark(p.name, apply(truth, p.position), p.covariance, EDITED) for p in points]
    scene.write_scene(tmp_path / "scene.mrb", mr, us, points, moved, truth)
    world = scene.OwnScene(str(tmp_path / "cache"))
    world.read(tmp_path / "scene.mrb")
    nodes = {name: world.scene.GetFirstNodeByName(name) for name in ("MR", "US")}
    assert np.array_equal(volumes.array_view(nodes["MR"]), mr.array)
    transform = transforms.find(nodes["MR"], nodes["US"])
    assert nodes["MR"].GetParentTransformNode() is transform
    assert np.allclose(transforms.matrix(transform), truth, atol=1e-9)
    lists = [landmarks.find(nodes["MR"], "mr"), landmarks.find(nodes["US"], "us")]
    for ours, theirs in zip(landmarks.rows(lists[0]), landmarks.rows(lists[1]), strict=True):
        ours, theirs = (
            landmarks.world_position(node, row.point_id) for node, row in zip(lists, (ours, theirs), strict=True)
        )
        assert np.allclose(ours, theirs, atol=1e-6)
    assert [mark.state for mark in landmarks.read(lists[0])] == [DETECTED] * 3
    assert [mark.state for mark in landmarks.read(lists[1])] == [EDITED] * 3
    for node in lists:
        assert node.GetDisplayNode().GetVisibility()
    assert not volumes.orientation_confirmed(nodes["US"])


def test_scene_that_cannot_be_read(tmp_path):
    world = scene.OwnScene(str(tmp_path / "cache"))
    (tmp_path / "no.mrb").write_text("not a bundle")
    with pytest.raises(InputError, match="cannot be read"):
        world.read(tmp_path / "no.mrb")


def test_views_follow(world, us):
    for name in ("Red", "Green"):
        for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
            scene._add_singleton(world.scene, kind, name)
    camera = world.scene.AddNewNodeByClass("vtkMRMLCameraNode")
    views.show(world.scene, us, None, 0.0)
    views.set_opacity(world.scene, 0.25)
    composite = world.scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetBackgroundVolumeID() == us.GetID()
    assert composite.GetForegroundVolumeID() is None
    assert composite.GetForegroundOpacity() == 0.25
    views.centre(world.scene, np.array([3.0, 4.0, 5.0]))
    assert np.allclose(camera.GetFocalPoint(), (3.0, 4.0, 5.0))
    views.mark_orientation(world.scene)
    views.jump(world.scene, np.array([1.0, 2.0, 3.0]))
    views.show_in_3d(world.scene)
    views.show_in_3d(world.scene)  # The second time it is the user's business.
    for index in range(2):
        node = world.scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        assert min(node.GetFieldOfView()[:2]) == pytest.approx(views.FIELD_OF_VIEW_MM)
        assert node.GetSliceVisible()
        assert node.GetOrientationMarkerType() == node.OrientationMarkerTypeAxes
        plane = transforms.to_array(node.GetSliceToRAS())
        assert (np.array([1.0, 2.0, 3.0]) - plane[:3, 3]) @ plane[:3, 2] == pytest.approx(0.0)
