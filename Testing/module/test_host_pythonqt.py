"""The test host's Qt: PythonQt's conventions, the stand-ins of CTK's widgets, ``.ui`` files."""

from __future__ import annotations

import pytest

UI = """<ui version="4.0"><class>Top</class><widget class="QWidget" name="Top"><layout class="QVBoxLayout">{}</layout>
</widget><connections>{}</connections></ui>"""


@pytest.fixture
def load(app, tmp_path):
    import slicer

    def from_text(items: str, connections: str = ""):
        path = tmp_path / "Top.ui"
        path.write_text(UI.format("".join(f"<item>{item}</item>" for item in items.splitlines()), connections))
        return slicer.util.loadUI(str(path))

    return from_text


def test_properties_are_attributes(app):
    import qt

    spin = qt.QSpinBox()
    spin.maximum = 7
    spin.value = 9
    assert (spin.value, spin.maximum) == (7, 7)
    label = qt.QLabel("text")
    label.name = "a label"
    assert (label.text, label.name, label.objectName, label.enabled) == ("text", "a label", "a label", True)
    table = qt.QTableWidget()
    table.setColumnCount(2)
    table.rowCount = 3
    assert (table.rowCount, table.columnCount) == (3, 2)
    assert label.className() == "QLabel"


def test_a_property_cannot_be_called(app):
    import qt

    with pytest.raises(TypeError):
        qt.QLabel("text").text()


@pytest.mark.parametrize(
    "make", ["qt.QPushButton()", "ctk.ctkSliderWidget()", "slicer.qMRMLNodeComboBox()", "qt.QFile()"]
)
def test_unknown_attributes_and_signals_are_refused(app, make):
    import ctk
    import qt
    import slicer

    thing = eval(make, {"qt": qt, "ctk": ctk, "slicer": slicer})
    with pytest.raises(AttributeError):
        thing.enabeld = True
    with pytest.raises(AttributeError):
        _ = thing.enabeld
    with pytest.raises(RuntimeError, match="no signal"):
        thing.connect("clickd(bool)", print)


def test_what_python_cannot_reach_in_slicer_is_not_there(app):
    import ctk
    import qt

    with pytest.raises(AttributeError):
        ctk.ctkSliderWidget().setMinimum(3)  # neither a slot nor a property
    assert not hasattr(qt, "Signal")


def test_a_read_only_property_cannot_be_set(app):
    import slicer

    with pytest.raises(AttributeError, match="not writable"):
        slicer.app.layoutManager().threeDViewCount = 3


def test_classes_of_a_module_may_have_attributes_of_their_own(app):
    import qt

    class Own(qt.QWidget):
        def __init__(self):
            super().__init__()
            self.mine = 3

    assert Own().mine == 3


def test_connect_by_signature_passes_what_the_slot_takes(app):
    import qt

    got = []
    button = qt.QPushButton()
    button.setCheckable(True)
    none = lambda: got.append("none")  # noqa: E731
    button.connect("clicked(bool)", none)
    button.connect("clicked(bool)", lambda checked: got.append(checked))
    button.connect("clicked()", lambda *values: got.append(values))
    button.click()
    assert got == ["none", True, ()]
    assert button.disconnect("clicked(bool)", none)
    assert not button.disconnect("clicked(bool)", none)
    button.click()
    assert got[3:] == [False, ()]
    other = qt.QSpinBox()
    spin = qt.QSpinBox()
    spin.connect("valueChanged(int)", other, "setValue(int)")
    spin.setValue(5)
    assert other.value == 5


def test_process_speaks_through_its_signals(app):
    import sys

    import host
    import qt

    process, ends, out = qt.QProcess(), [], []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ends.append(code))
    process.readyReadStandardOutput.connect(lambda: out.append(bytes(process.readAllStandardOutput().data())))
    process.start(sys.executable, ["-c", "print('hello'); raise SystemExit(3)"])
    host.process_events(until=lambda: ends, timeout=20)
    assert (ends, b"".join(out).strip()) == ([3], b"hello")


def test_slider_widget(app):
    import ctk

    slider, values = ctk.ctkSliderWidget(), []
    slider.minimum, slider.maximum, slider.decimals, slider.singleStep = -1.0, 1.0, 3, 0.001
    slider.connect("valueChanged(double)", values.append)
    slider.setValue(0.25)
    slider.setValue(0.25)
    slider.value = 7
    assert values == [0.25, 1.0]
    assert slider.value == 1.0
    slider.reset()
    assert slider.value == 0.0


def test_collapsible_button_hides_and_shows_its_contents(load):
    top = load(
        '<widget class="ctkCollapsibleButton" name="box"><property name="text"><string>Box</string></property>'
        '<layout class="QVBoxLayout"><item><widget class="QLabel" name="inside"/></item>'
        '<item><widget class="QLabel" name="hidden"/></item>'
        "</layout></widget>"
    )
    box, changes = top.findChild(object, "box"), []
    inside, hidden = top.findChild(object, "inside"), top.findChild(object, "hidden")
    hidden.hide()
    box.contentsCollapsed.connect(changes.append)
    box.collapsed = True
    assert inside.isHidden()
    assert box.sizeHint().height() < 30
    box.setChecked(True)
    assert not inside.isHidden()
    assert hidden.isHidden()
    assert changes == [True, False]


def test_ui_file_connections_and_dynamic_properties(load):
    top = load(
        '<widget class="ctkSliderWidget" name="slider"><property name="maximum"><double>5.0</double></property>'
        '<property name="SlicerParameterName" stdset="0"><string>opacity</string></property></widget>\n'
        '<widget class="QDoubleSpinBox" name="spin"/>\n<widget class="Line" name="line"/>',
        "<connection><sender>slider</sender><signal>valueChanged(double)</signal><receiver>spin</receiver>"
        "<slot>setValue(double)</slot></connection>",
    )
    slider = top.findChild(object, "slider")
    slider.setValue(4.0)
    assert top.findChild(object, "spin").value == 4.0
    assert slider.property("SlicerParameterName") == slider.SlicerParameterName == "opacity"
    with pytest.raises(RuntimeError, match="ctkNothing"):
        load('<widget class="ctkNothing" name="x"/>')


def test_combo_box_with_user_data_and_path_edit(app):
    import ctk

    box = ctk.ctkComboBox()
    box.addItem("One", "1")
    box.addItem("Two", "2")
    box.setCurrentUserDataAsString("2")
    assert (box.currentText, box.currentUserDataAsString) == ("Two", "2")
    edit, paths = ctk.ctkPathLineEdit(), []
    edit.connect("currentPathChanged(QString)", paths.append)
    edit.setCurrentPath("/a")
    edit.addCurrentPathToHistory()
    assert (paths, edit.comboBox().count) == (["/a"], 1)
