"""Landmark files: written as Slicer reads them, read as Slicer writes them."""

import json

import numpy as np
import pytest
import samples

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.markupsfile import describe, parse_description, read_landmarks, write_landmarks
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, DETECTED, EDITED, PLACED, POSTERIOR_MEDIAN, Landmark

SPREAD = np.array([[4.0, 0.5, -0.25], [0.5, 9.0, 1.5], [-0.25, 1.5, 2.25]])


def _landmarks():
    points = samples.prostate_points((10.0, -20.0, 30.0))
    states = (DETECTED, EDITED, PLACED)
    spreads = (SPREAD, SPREAD * 2, None)
    return [Landmark(p.name, p.position, c, s) for p, s, c in zip(points, states, spreads, strict=True)]


def _same(found, wanted):
    assert [point.name for point in found] == [point.name for point in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.position, b.position, atol=1e-6)
        assert a.state == b.state
        if b.covariance is None:
            assert a.covariance is None
        else:
            np.testing.assert_allclose(a.covariance, b.covariance, rtol=1e-4)


def test_state_and_spread_survive_the_file(tmp_path):
    write_landmarks(tmp_path / "a.mrk.json", _landmarks())
    _same(read_landmarks(tmp_path / "a.mrk.json"), _landmarks())
    raw = json.loads((tmp_path / "a.mrk.json").read_text())["markups"][0]
    assert raw["coordinateSystem"] == "LPS"
    assert raw["controlPoints"][0]["position"] == pytest.approx((-10.5, 18.0, 12.0))


def test_a_byte_order_mark_is_no_obstacle(tmp_path):
    write_landmarks(tmp_path / "a.mrk.json", _landmarks())
    text = (tmp_path / "a.mrk.json").read_text(encoding="utf-8")
    (tmp_path / "a.mrk.json").write_text(text, encoding="utf-8-sig")
    _same(read_landmarks(tmp_path / "a.mrk.json"), _landmarks())


def _slicer_list(slicer, path=None):
    scene = slicer.vtkMRMLScene()
    node = slicer.vtkMRMLMarkupsFiducialNode()
    scene.AddNode(node)
    storage = slicer.vtkMRMLMarkupsJsonStorageNode()
    scene.AddNode(storage)
    if path is not None:
        storage.SetFileName(str(path))
        assert storage.ReadData(node) == 1
    return scene, node, storage


def test_slicer_reads_what_is_written(tmp_path):
    slicer = pytest.importorskip("slicer")
    write_landmarks(tmp_path / "a.mrk.json", _landmarks())
    _scene, node, _storage = _slicer_list(slicer, tmp_path / "a.mrk.json")
    assert node.GetNumberOfControlPoints() == 3
    for index, landmark in enumerate(_landmarks()):
        position = [0.0] * 3
        node.GetNthControlPointPosition(index, position)
        np.testing.assert_allclose(position, landmark.position, atol=1e-6)
        assert node.GetNthControlPointLabel(index) == landmark.name
        assert node.GetNthControlPointPositionStatus(index) == node.PositionDefined
        state, _ = parse_description(node.GetNthControlPointDescription(index))
        assert state == landmark.state


@pytest.mark.parametrize("ras", [False, True])
def test_what_slicer_writes_is_read_and_unplaced_points_are_left_out(tmp_path, ras):
    slicer = pytest.importorskip("slicer")
    _scene, node, storage = _slicer_list(slicer)
    for landmark in _landmarks():
        index = node.AddControlPoint(*landmark.position, landmark.name)
        node.SetNthControlPointDescription(index, describe(landmark))
    node.UnsetNthControlPointPosition(node.AddControlPoint(0.0, 0.0, 0.0, "Later"))
    storage.SetCoordinateSystem(
        slicer.vtkMRMLStorageNode.CoordinateSystemRAS if ras else slicer.vtkMRMLStorageNode.CoordinateSystemLPS
    )
    storage.SetFileName(str(tmp_path / "s.mrk.json"))
    assert storage.WriteData(node) == 1
    assert json.loads((tmp_path / "s.mrk.json").read_text())["markups"][0]["coordinateSystem"] == (
        "RAS" if ras else "LPS"
    )
    _same(read_landmarks(tmp_path / "s.mrk.json"), _landmarks())


@pytest.mark.parametrize("ras", [False, True])
def test_fcsv_written_by_slicer_is_read(tmp_path, ras):
    slicer = pytest.importorskip("slicer")
    scene, node, _ = _slicer_list(slicer)
    for landmark in _landmarks():
        node.AddControlPoint(*landmark.position, landmark.name)
    storage = slicer.vtkMRMLMarkupsFiducialStorageNode()
    scene.AddNode(storage)
    storage.SetCoordinateSystem(
        slicer.vtkMRMLStorageNode.CoordinateSystemRAS if ras else slicer.vtkMRMLStorageNode.CoordinateSystemLPS
    )
    storage.SetFileName(str(tmp_path / "s.fcsv"))
    assert storage.WriteData(node) == 1
    found = read_landmarks(tmp_path / "s.fcsv")
    _same(found, [Landmark(point.name, point.position) for point in _landmarks()])


def test_labels_are_recognised_whatever_their_case(tmp_path):
    points = [Landmark(name, np.zeros(3)) for name in (" apex", "BLADDER NECK", "posterior Median ", "Cyst")]
    write_landmarks(tmp_path / "a.mrk.json", points)
    names = [point.name for point in read_landmarks(tmp_path / "a.mrk.json")]
    assert names == [APEX, BLADDER_NECK, POSTERIOR_MEDIAN, "Cyst"]


@pytest.mark.parametrize("text", ["", "seen on 3 slices", "detected; covariance mm2 (RAS) 1 2 x 4 5 6", "placed; a b"])
def test_descriptions_of_other_people_are_let_be(text):
    state, covariance = parse_description(text)
    assert state == (DETECTED if text.startswith("detected") else PLACED)
    assert covariance is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.mrk.json", ""),
        ("a.mrk.json", "{"),
        ("a.mrk.json", "[1, 2]"),
        ("a.mrk.json", '{"landmarks": []}'),
        ("a.mrk.json", '{"markups": [{"controlPoints": [{"label": "a", "position": [1, 2]}]}]}'),
        ("a.mrk.json", '{"markups": [{"controlPoints": [{"label": "a", "position": [1, 2, "x"]}]}]}'),
        ("a.fcsv", "1,2,3"),
        ("a.fcsv", "# columns = id,x,y,z,label\n1,2,three,4,a"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="is not a Slicer markups file"):
        read_landmarks(tmp_path / name)


def test_missing_binary_and_double_named_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_landmarks(tmp_path / "none.mrk.json")
    (tmp_path / "b.mrk.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_landmarks(tmp_path / "b.mrk.json")
    write_landmarks(tmp_path / "c.mrk.json", [Landmark(APEX, np.zeros(3)), Landmark("apex", np.ones(3))])
    with pytest.raises(InputError, match="Two landmarks"):
        read_landmarks(tmp_path / "c.mrk.json")
