"""Landmarks found by real worker processes: applied in one step, cancelled, killed, overtaken by events."""

import os
import signal

import host
import numpy as np
import pytest
import samples
import slicer

from LandmarkFusionLogic.mrml import landmarks

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Networks that know nothing: quick, and what they find is not the point here."""
    return _bundles(tmp_path_factory, widths=(4, 8, 8), grid=(24, 24, 24))


@pytest.fixture(scope="module")
def slow_networks(tmp_path_factory):
    """As large as it takes for a job to last a second or two, so that something can happen in the middle of it."""
    return _bundles(tmp_path_factory, widths=(24, 32, 32), grid=(72, 72, 72))


def _bundles(tmp_path_factory, **size):
    folder = tmp_path_factory.mktemp("models")
    return {name: str(samples.untrained_bundle(folder / name, name, **size)) for name in ("mr", "us")}


@pytest.fixture
def ready(panel, networks):
    panel.controller.detection.models = dict(networks)
    panel.parameters.device = "cpu"
    panel.choose_pair()
    return panel


@pytest.fixture
def slow(ready, slow_networks):
    ready.controller.detection.models = dict(slow_networks)
    return ready


def _finish(panel, timeout=90):
    host.process_events(until=lambda: not panel.controller.detection.isBusy(), timeout=timeout)
    host.process_events()


def _running(panel):
    """Wait until the worker itself works at the job."""
    host.process_events(until=lambda: panel.controller.engine.processId() and _progress(panel) > 0, timeout=60)


def _progress(panel):
    return panel.controller.detection.fraction


def test_detect_and_align_then_redo_one_side(ready, nodes):
    panel = ready
    panel.parameters.applied = False
    panel.ui.detectButton.click()
    assert panel.ui.progressRow.visible
    assert not panel.ui.detectButton.enabled
    assert "running" in panel.ui.detectButton.toolTip
    assert panel.status == "MR: Handing over the volume"
    assert panel.controller.landmarkList("mr") is None
    panel.controller.detect("mr")  # Ignored: one job at a time.
    _finish(panel)
    assert panel.status.startswith("✓ Landmarks found in")
    assert panel.parameters.mr.GetParentTransformNode() is panel.parameters.mrToUs is not None
    assert "on CPU" in panel.status
    assert not panel.ui.progressRow.visible
    for modality in ("mr", "us"):
        for row in panel.table(modality):
            assert row[3] == "detected"
            assert row[2].startswith("±")
    mr_list, us_list = panel.controller.landmarkList("mr"), panel.controller.landmarkList("us")
    assert landmarks.detection(mr_list)["model"] == "untrained-mr 0.0.1"
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetForegroundVolumeID() == panel.parameters.mr.GetID()

    panel.ui.undoButton.click()
    assert [row[3] for row in panel.table("mr") + panel.table("us")] == ["not placed"] * 6
    panel.ui.detectButton.click()
    _finish(panel)

    # A landmark dragged, one locked; then the US alone, as after a new sweep of the same volume.
    found = [mark.position for mark in landmarks.read(us_list)]
    mr_list.SetNthControlPointPosition(0, 1.0, 2.0, 3.0)
    us_list.SetNthControlPointPosition(0, 4.0, 5.0, 6.0)
    us_list.SetNthControlPointPosition(1, 7.0, 8.0, 9.0)
    panel.controller.editing.select("us", "Apex")
    panel.ui.usLockButton.click()
    before, worker = nodes(), panel.controller.engine.processId()
    panel.ui.detectUsButton.click()
    _finish(panel)
    assert panel.controller.engine.processId() == worker  # The worker stays, and its networks with it.
    assert nodes() == before
    assert np.allclose(landmarks.read(mr_list)[0].position, (1.0, 2.0, 3.0))
    assert panel.table("mr")[0][3] == "edited"
    assert "Locked ones were left as they are: Apex" in panel.status
    assert np.allclose(landmarks.read(us_list)[0].position, (4.0, 5.0, 6.0))
    assert np.allclose(landmarks.read(us_list)[1].position, found[1])
    panel.ui.undoButton.click()
    assert np.allclose(landmarks.read(us_list)[1].position, (7.0, 8.0, 9.0))
    assert "start the worker" in panel.ui.logText.toPlainText()
    panel.ui.copyLogButton.click()


@pytest.mark.parametrize("moment", ["while the volume is written", "while the worker starts", "while it works"])
def test_cancel(slow, nodes, moment):
    panel, before = slow, nodes()
    panel.ui.detectButton.click()
    if moment != "while the volume is written":
        host.process_events(until=lambda: panel.controller.engine.processId(), timeout=20)
    if moment == "while it works":
        _running(panel)
    panel.ui.cancelButton.click()
    _finish(panel, 10)
    assert panel.status == "Cancelled; nothing was changed."
    assert nodes() == before
    assert panel.controller.landmarkList("mr") is None
    assert panel.ui.detectButton.enabled


def test_killed_worker_then_again(slow, nodes):
    panel, before = slow, nodes()
    panel.ui.detectMrButton.click()
    _running(panel)
    os.kill(panel.controller.engine.processId(), signal.SIGKILL)
    _finish(panel)
    assert panel.status.startswith("Error: The worker process ended unexpectedly; nothing was changed.")
    assert nodes() == before
    panel.ui.detectMrButton.click()
    _finish(panel)
    assert panel.status.startswith("✓")
    assert [row[3] for row in panel.table("us")] == ["not placed"] * 3


@pytest.mark.parametrize("event", ["changed", "removed", "moved"])
def test_result_for_a_volume_that_is_no_longer_the_same(slow, nodes, event):
    panel = slow
    mr = panel.parameters.mr
    panel.ui.detectMrButton.click()
    _running(panel)
    if event == "changed":
        slicer.util.arrayFromVolume(mr)[:] = 3
        slicer.util.arrayFromVolumeModified(mr)
    elif event == "moved":
        mr.SetOrigin(1.0, 2.0, 3.0)
    else:
        slicer.mrmlScene.RemoveNode(mr)
    before = nodes()
    _finish(panel)
    assert "changed or removed" in panel.status
    assert nodes() == before
    assert panel.controller.landmarkList("mr") is None


def test_second_image_fails_then_neither_is_changed(ready, nodes, tmp_path):
    panel, before = ready, nodes()
    broken = samples.untrained_bundle(tmp_path / "us", "us")
    (broken / "models" / "model.pt").write_bytes(b"not weights")
    panel.controller.detection.models["us"] = str(broken)
    panel.ui.detectButton.click()
    _finish(panel)
    assert panel.status.startswith("Error: ")
    assert "network" in panel.status
    assert nodes() == before
    assert [row[3] for row in panel.table("mr")] == ["not placed"] * 3


def test_closing_the_scene_in_the_middle(slow):
    panel = slow
    panel.ui.detectButton.click()
    _running(panel)
    slicer.mrmlScene.Clear(0)
    host.process_events(until=lambda: not panel.controller.engine.isBusy(), timeout=10)
    assert panel.parameters.mr is None
    assert slicer.mrmlScene.GetNumberOfNodesByClass(landmarks.CLASS) == 0
    assert not panel.controller.detection.isBusy()


def test_unloading_the_module_in_the_middle(slow):
    panel = slow
    panel.ui.detectButton.click()
    _running(panel)
    pid = panel.controller.engine.processId()
    host.unload_module("LandmarkFusion")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_flip_is_closed_while_a_job_runs(slow):
    panel = slow
    panel.ui.detectUsButton.click()
    host.process_events()
    assert not panel.ui.flipLrButton.enabled
    panel.ui.cancelButton.click()
    _finish(panel, 20)
    assert panel.ui.flipLrButton.enabled
