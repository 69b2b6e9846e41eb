"""The test host as an application: start and end, a module's life, errors, message boxes, packages, sample data."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parent / "fixturemodule" / "HostFixture.py"
TESTING = Path(__file__).parents[1]


@pytest.fixture
def fixture(app):
    import host

    return host.load_module(FIXTURE)


def run_python(code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(TESTING)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_start_gives_one_application(app):
    import host
    import slicer

    assert host.start() is app is slicer.app
    assert slicer.app.mrmlScene() is slicer.mrmlScene
    assert slicer.util.mainWindow() is app.mainWindow()
    assert slicer.app.majorVersion == 5
    assert os.path.isdir(slicer.app.temporaryPath)


def test_ends_without_a_crash_and_removes_its_folder():
    code = (
        "import host; app = host.start(); import slicer\n"
        f"module, widget = host.load_module({str(FIXTURE)!r})\n"
        "slicer.mrmlScene.AddNewNodeByClass('vtkMRMLMarkupsFiducialNode').AddControlPoint((1, 2, 3))\n"
        "print(app.slicerHome)"
    )
    ended = run_python(code)
    assert ended.returncode == 0, ended.stderr
    home = ended.stdout.strip().splitlines()[-1]
    assert "slicer-test-host-" in home
    assert not os.path.exists(home)
    assert ended.stderr == ""


def test_import_needs_neither_qt_nor_slicer():
    ended = run_python("import host, sys; print([m for m in ('PySide6', 'slicer', 'vtk') if m in sys.modules])")
    assert ended.stdout.strip() == "[]"


def test_core_modules_have_their_logics(app):
    import slicer

    assert slicer.modules.markups.logic().IsA("vtkSlicerMarkupsLogic")
    assert slicer.util.getModule("Volumes") is slicer.modules.volumes
    assert slicer.moduleNames.Transforms == "Transforms"
    assert "Segmentations" in slicer.util.moduleNames()


def test_module_is_loaded_entered_left_and_cleaned_up(fixture):
    import host
    import slicer

    source, widget = fixture
    assert sys.modules["HostFixture"] is source
    assert slicer.modules.hostfixture.title == "Host fixture"
    assert slicer.modules.hostfixture.widgetRepresentation().self() is widget
    assert slicer.modules.HostFixtureWidget is widget
    assert slicer.modules.HostFixtureInstance.startups == 1
    assert slicer.util.modulePath("HostFixture") == str(FIXTURE)
    assert widget.calls == ["enter"]
    host.unload_module("HostFixture")
    assert widget.calls == ["enter", "exit", "cleanup"]
    assert not hasattr(slicer.modules, "hostfixture")
    assert "HostFixture" not in sys.modules
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")  # nothing listens any more
    assert not host.slot_errors


def test_loading_again_starts_anew(fixture):
    import host

    _, widget = fixture
    _, again = host.load_module(FIXTURE)
    assert again is not widget
    assert widget.calls == ["enter", "exit", "cleanup"]


def test_module_runs_its_own_test_and_reloads(fixture):
    import slicer

    slicer.selfTests["HostFixture"](msec=0)
    _, widget = fixture
    widget.onReload()
    assert widget.calls[-1] == "cleanup"
    assert slicer.modules.HostFixtureWidget is not widget
    assert slicer.modules.HostFixtureWidget.ui.runButton is not None


def test_slot_and_observer_exceptions_are_recorded(app, capsys):
    import host
    import qt
    import slicer

    button = qt.QPushButton()
    button.clicked.connect(lambda: {}["slot"])
    button.connect("clicked(bool)", lambda: {}["slot by signature"])
    button.click()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver("ModifiedEvent", lambda *_: {}["observer"])
    node.Modified()
    qt.QTimer.singleShot(0, lambda: {}["timer"])
    host.process_events(0.05)
    assert [error.args[0] for error in host.slot_errors] == ["slot", "slot by signature", "observer", "timer"]
    assert "KeyError" in capsys.readouterr().err
    host.clear_errors()


def test_vtk_errors_are_recorded(app):
    import host
    import slicer

    slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed").SetOrientation("Sideways")
    assert any("Sideways" in text for text in host.vtk_errors)
    host.clear_errors()


def test_process_events_waits_and_gives_up(app):
    import host
    import qt

    done = []
    qt.QTimer.singleShot(30, lambda: done.append(1))
    host.process_events(until=lambda: done, timeout=5)
    with pytest.raises(TimeoutError):
        host.process_events(until=lambda: False, timeout=0.05)


def test_message_boxes_are_recorded_and_answered(app):
    import host
    import slicer

    slicer.util.errorDisplay("It broke.", detailedText="here")
    slicer.util.infoDisplay("All well.")
    assert slicer.util.confirmYesNoDisplay("Go on?")
    host.dialogs.answer("No", containing="delete")
    assert slicer.util.confirmYesNoDisplay("Go on?")
    assert not slicer.util.confirmYesNoDisplay("Really delete it?")
    host.dialogs.answer("Cancel")
    assert not slicer.util.confirmOkCancelDisplay("Overwrite?")
    assert host.dialogs.texts("error") == ["It broke."]
    assert host.dialogs.messages[0].detail == "here"
    assert [message.answer for message in host.dialogs.messages[2:]] == ["Yes", "Yes", "No", "Cancel"]
    host.dialogs.answer("Yes")
    with pytest.raises(ValueError, match="no button"):
        slicer.util.confirmOkCancelDisplay("Overwrite?")


def test_testing_mode_logs_instead(app, caplog):
    import host
    import slicer

    app.setAttribute(app.AA_EnableTesting)
    with caplog.at_level(logging.ERROR):
        slicer.util.errorDisplay("It broke.")
    assert "It broke." in caplog.text
    assert host.dialogs.messages == []


def test_error_in_a_slot_is_shown_and_recorded(fixture):
    import host

    _, widget = fixture
    widget._parameters.note = "fail"
    widget.ui.runButton.setEnabled(True)
    widget.ui.runButton.click()
    assert host.dialogs.texts("error") == ["Run failed.\n\non purpose"]
    assert [str(error) for error in host.slot_errors] == ["on purpose"]
    host.clear_errors()
    widget._parameters.note = ""
    widget.ui.runButton.setEnabled(True)
    widget.ui.runButton.click()
    host.process_events(until=lambda: widget.ui.statusLabel.text == "done", timeout=5)


def test_dialogs_that_wait_for_a_person_are_refused_and_paths_are_prepared(app):
    import ctk
    import host
    import qt

    with pytest.raises(RuntimeError, match="waits for a person"):
        qt.QDialog().exec()
    edit = ctk.ctkPathLineEdit()
    edit.browse()
    assert edit.currentPath == ""
    host.dialogs.choose("/tmp/a.nrrd")
    edit.browse()
    assert edit.currentPath == "/tmp/a.nrrd"


def test_progress_dialog(app):
    import slicer

    progress = slicer.util.createProgressDialog(value=1, maximum=10, labelText="Working")
    progress.setValue(4)
    assert (progress.value, progress.labelText, progress.wasCanceled) == (4, "Working", False)
    progress.close()


def test_packages_are_looked_up_and_never_installed(app, tmp_path):
    import host
    import slicer.packaging as packaging

    file = tmp_path / "requirements.txt"
    file.write_text("# what it needs\nnumpy>=1\nno-such-package==9  # not there\n")
    requirements = packaging.load_requirements(file)
    assert [str(r) for r in requirements] == ["numpy>=1", "no-such-package==9"]
    assert packaging.pip_check(requirements[0])
    assert not packaging.pip_check(requirements)
    packaging.pip_ensure(requirements[:1])
    host.dialogs.answer("Cancel")
    with pytest.raises(RuntimeError, match="declined"):
        packaging.pip_ensure(requirements, requester="Fixture")
    assert host.packages.requests == []
    with pytest.raises(RuntimeError, match="installs no packages"):
        packaging.pip_ensure(requirements, requester="Fixture")
    host.packages.pretend = True
    packaging.pip_ensure(requirements, requester="Fixture")
    assert host.packages.requests[-1] == ("", ["no-such-package==9"]) or host.packages.requests[-1][0] == "Fixture"
    host.packages.missing.add("numpy")
    assert not packaging.pip_check("numpy")


def test_sample_data_is_registered_and_loaded(app, tmp_path):
    import SampleData
    import slicer

    path = tmp_path / "a.mrk.json"
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "A")
    node.AddControlPoint((1.0, 2.0, 3.0))
    assert slicer.util.saveNode(node, str(path), {})
    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    for _ in range(2):
        register("Fixture", "A", path.as_uri(), path.name, "Loaded", loadFileType="MarkupsFile")
    register("Fixture", "Made", "", "", "", customDownloader=lambda source: source.sampleName)
    assert [source.sampleName for source in slicer.modules.sampleDataSources["Fixture"]] == ["A", "Made"]
    loaded = SampleData.SampleDataLogic().downloadSample("A")
    assert loaded.GetNthControlPointPosition(0) == (1.0, 2.0, 3.0)
    assert SampleData.downloadSample("Made") == "Made"
    register("Fixture", "Far", "https://example.org/a.nrrd", "a.nrrd", "Far")
    with pytest.raises(RuntimeError, match="downloads nothing"):
        SampleData.downloadSample("Far")


def test_settings_are_the_hosts_own(app):
    import qt
    import slicer

    qt.QSettings().setValue("Fixture/value", 3)
    assert slicer.util.settingsValue("Fixture/value", 0, converter=int) == 3
    assert qt.QSettings().fileName().startswith(slicer.app.slicerHome)
