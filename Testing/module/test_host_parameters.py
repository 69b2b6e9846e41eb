"""The test host's ``parameterNodeWrapper``: values, their form in the node, validation, packs, binding to widgets."""

import enum
import pathlib
import typing
from pathlib import Path
from typing import Annotated, Optional

import pytest

FIXTURE = Path(__file__).parent / "fixturemodule" / "HostFixture.py"


@pytest.fixture
def fixture(app):
    import host

    return host.load_module(FIXTURE)


@pytest.fixture
def wrap(app):
    """Make a wrapper of a class around a new node."""
    import slicer
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    return lambda cls: parameterNodeWrapper(cls)(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def texts(wrapper) -> dict[str, str]:
    node = wrapper.parameterNode
    return {name: node.GetParameter(name) for name in node.GetParameterNames()}


class Color(enum.Enum):
    Red = 1
    Blue = 2


def test_values_lie_in_the_node_as_slicer_puts_them(wrap):
    class Plain:
        on: bool = True
        count: int = 3
        size: float
        note: str
        color: Color = Color.Blue
        path: pathlib.Path = pathlib.PurePosixPath("/a/b")
        maybe: Optional[int]  # noqa: UP045  Slicer knows typing.Optional and typing.Union only
        either: typing.Union[str, int]  # noqa: UP007
        names: list[str]
        pair: tuple[int, str]
        shifts: dict[str, float]

    Plain.__annotations__["path"] = pathlib.PurePosixPath
    p = wrap(Plain)
    p.names = ["a", "b"]
    p.shifts["x"] = 1.5
    p.either = 4
    assert texts(p) == {
        "on": "True",
        "count": "3",
        "size": "0",
        "note": "",
        "color": "Blue",
        "path": "/a/b",
        "maybe_1": "True",
        "either_1": "4",
        "names_len": "2",
        "names_0": "a",
        "names_1": "b",
        "pair_0": "0",
        "pair_1": "",
        "shifts_len": "1",
        "shifts_0_0": "x",
        "shifts_0_1": "1.5",
    }
    assert (p.on, p.size, p.maybe, p.either, p.pair, dict(p.shifts)) == (True, 0.0, None, 4, (0, ""), {"x": 1.5})
    p.maybe = 7
    assert p.maybe == 7
    assert "maybe_1" not in texts(p)
    again = type(p)(p.parameterNode)
    assert (again.count, again.color, list(again.names)) == (3, Color.Blue, ["a", "b"])


def test_nodes_are_node_references(wrap):
    import slicer

    class Nodes:
        plain: slicer.vtkMRMLScalarVolumeNode
        maybe: Optional[slicer.vtkMRMLScalarVolumeNode]  # noqa: UP045
        several: list[slicer.vtkMRMLNode]

    p = wrap(Nodes)
    assert (p.plain, p.maybe) == (None, None)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    p.plain = p.maybe = volume
    p.several = [volume, None]
    assert (p.plain, p.maybe, list(p.several)) == (volume, volume, [volume, None])
    node = p.parameterNode
    assert node.GetNodeReferenceID("plain") == node.GetNodeReferenceID("maybe_0") == volume.GetID()
    with pytest.raises(TypeError):
        p.plain = node
    with pytest.raises(TypeError):
        p.maybe = node
    assert p.maybe is volume
    slicer.mrmlScene.RemoveNode(volume)
    assert (p.plain, p.maybe) == (None, None)
    p.maybe = None
    assert p.maybe is None


def test_validators_and_types(wrap):
    from slicer.parameterNodeWrapper import Choice, Default, Exclude, Maximum, Minimum, WithinRange

    class Valid:
        fraction: Annotated[float, WithinRange(0, 1), Default(0.5)]
        low: Annotated[int, Minimum(2), Default(2)]
        high: Annotated[int, Maximum(2)]
        device: Annotated[str, Choice(["auto", "cpu"]), Default(generator=lambda: "auto")]
        odd: Annotated[int, Exclude([2])]
        names: list[Annotated[str, Exclude(["bad"])]]
        on: bool

    p = wrap(Valid)
    for name, bad in (
        ("fraction", 1.5), ("low", 1), ("high", 3), ("device", "tpu"), ("odd", 2), ("names", ["ok", "bad"]),
    ):  # fmt: skip
        before = p.getValue(name)
        with pytest.raises(ValueError, match="Value"):
            p.setValue(name, bad)
        assert p.getValue(name) == before
    for name, bad in (("fraction", "x"), ("on", "yes"), ("low", 2.5)):
        with pytest.raises(TypeError):
            p.setValue(name, bad)
    with pytest.raises(ValueError, match="None"):
        p.on = None
    assert (p.default("fraction").value, p.default("device").value) == (0.5, "auto")
    with pytest.raises(ValueError, match="nothing"):
        p.getValue("nothing")


def test_unknown_types_are_refused(app):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    for hint in (int | None, object, typing.Callable):
        with pytest.raises(TypeError, match="serializer"):
            parameterNodeWrapper(type("Bad", (), {"__annotations__": {"x": hint}}))


def test_lists_write_themselves(wrap):
    class Lists:
        numbers: list[int]

    p = wrap(Lists)
    numbers = p.numbers
    numbers.append(3)
    numbers += [1, 2]
    numbers[0] = 9
    del numbers[1]
    assert p.numbers == numbers == [9, 2]
    numbers.clear()
    assert texts(p) == {"numbers_len": "0"}


def test_packs_nest_and_write_themselves(fixture):
    source, widget = fixture
    p = widget._parameters
    assert p.box == source.Box()
    p.box.corner.x = 2.5
    p.setValue("box.corner.label", "here")
    assert p.parameterNode.GetParameter("box.corner.x") == "2.5"
    assert p.getValue("box.corner") == source.Point(2.5, "here")
    with pytest.raises(ValueError, match="range"):
        p.box.corner.x = 11.0
    assert widget.ui.cornerSpin.value == 2.5
    widget.ui.cornerSpin.setValue(-3)
    assert p.box.corner.x == -3.0
    p.box = source.Box(source.Point(1.0), size=4)
    assert (p.box.size, p.box.corner.x) == (4, 1.0)


def test_widgets_and_parameters_follow_each_other(fixture):
    import slicer

    source, widget = fixture
    ui, p = widget.ui, widget._parameters
    assert (ui.countSpin.minimum, ui.countSpin.maximum, ui.countSpin.value) == (1, 500, 50)
    assert [ui.methodBox.itemText(i) for i in range(ui.methodBox.count)] == ["Rigid", "Affine"]
    ui.opacitySlider.setValue(0.25)
    ui.countSpin.setValue(7)
    ui.methodBox.setCurrentIndex(0)
    ui.deviceBox.setCurrentText("cpu")
    ui.lockedBox.setChecked(True)
    ui.noteEdit.setText("hello")
    assert (p.opacity, p.count, p.method, p.device, p.locked, p.note) == (
        0.25, 7, source.Method.Rigid, "cpu", True, "hello",
    )  # fmt: skip
    p.opacity, p.method, p.note = 0.75, source.Method.Affine, "back"
    assert (ui.opacitySlider.value, ui.methodBox.currentIndex, ui.noteEdit.text) == (0.75, 1, "back")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "MR")
    assert p.mr is None
    ui.mrSelector.setCurrentNode(volume)
    assert p.mr is volume
    assert ui.runButton.enabled
    slicer.mrmlScene.RemoveNode(volume)
    assert p.mr is None
    assert not ui.runButton.enabled


def test_disconnected_widgets_are_left_alone(fixture):
    _, widget = fixture
    p = widget._parameters
    widget.setParameters(None)
    p.note = "unseen"
    widget.ui.countSpin.setValue(9)
    assert widget.ui.noteEdit.text == ""
    assert p.count == 50
    widget.setParameters(p)
    assert widget.ui.noteEdit.text == "unseen"


def test_widgets_that_cannot_show_a_type_are_refused(wrap):
    import ctk
    import qt
    import slicer
    from slicer.parameterNodeWrapper import createGuiConnector

    for make, hint in ((ctk.ctkSliderWidget, float), (qt.QComboBox, str), (slicer.qMRMLSliderWidget, float)):
        with pytest.raises(RuntimeError):
            createGuiConnector(make(), hint)


def test_saved_scene_brings_the_parameters_back(fixture, tmp_path):
    import numpy as np
    import slicer

    source, widget = fixture
    p = widget._parameters
    p.mr = slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.int16), name="MR")
    p.points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
    p.points.AddControlPoint((1, 2, 3), "Apex")
    p.opacity, p.method, p.names, p.box.corner.x = 0.25, source.Method.Rigid, ["a", "b"], 4.0
    p.shifts = {"x": 2.0}
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"), {})
    slicer.mrmlScene.Clear(0)
    p = widget._parameters
    assert (p.mr, p.opacity, widget.ui.mrSelector.nodeCount()) == (None, 0.5, 0)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Other")
    widget.ui.mrSelector.setCurrentNode(other)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {"clear": True})
    p = widget._parameters
    assert (p.mr.GetName(), p.points.GetNthControlPointLabel(0)) == ("MR", "Apex")
    assert (p.opacity, p.method.name, list(p.names), dict(p.shifts)) == (0.25, "Rigid", ["a", "b"], {"x": 2.0})
    assert p.box.corner.x == 4.0
    assert widget.ui.mrSelector.currentNode() is p.mr
    assert widget.ui.opacitySlider.value == 0.25
