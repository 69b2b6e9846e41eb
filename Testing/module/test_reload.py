"""The module loaded, reloaded, left and unloaded; its self test; a panel without views or torch."""

import subprocess
import sys
from pathlib import Path

import host
import numpy as np
import pytest
import slicer

from LandmarkFusionLogic.mrml import landmarks

ROOT = Path(__file__).resolve().parents[2]


def test_self_test_of_the_application(panel):
    panel.module.LandmarkFusionTest().runTest()


@pytest.fixture
def loaded_once():
    """Puts the modules back that a reload replaced: a class imported before and one imported after are two classes."""
    before = _our_modules()
    yield
    for name in _our_modules():
        del sys.modules[name]
    sys.modules.update(before)


def _our_modules():
    ours = ("LandmarkFusionLib", "LandmarkFusionLogic")
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ours}


def test_reload_keeps_the_scene_and_works_on(loaded_once, panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    lists = [panel.controller.landmarkList(modality) for modality in ("mr", "us")]
    old = panel.controller
    panel.widget.onReload()
    new = slicer.modules.LandmarkFusionWidget
    assert new is not panel.widget
    assert new.controller is not old
    assert type(new.controller) is not type(old)  # The library behind the panel was loaded anew as well.
    assert old.parameters is None
    panel.widget = new
    assert np.allclose(panel.matrix(), shift)
    assert [panel.controller.landmarkList(modality) for modality in ("mr", "us")] == lists
    lists[1].SetNthControlPointPosition(0, 9.0, 9.0, 9.0)
    assert "FRE 0.00" not in panel.ui.fitLabel.text
    assert np.allclose(panel.matrix(), panel.controller.live.fit.mr_to_us)


def test_leaving_the_module_ends_placing(panel):
    panel.choose_pair()
    panel.ui.mrPlaceButton.click()
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    panel.widget.exit()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert panel.table("mr")[0][3] == "not placed"


def test_unloaded_it_lets_go(panel, shift):
    panel.choose_pair()
    panel.place_all(shift)
    us, matrix, node = panel.controller.landmarkList("us"), panel.matrix(), panel.parameters.mrToUs
    host.unload_module("LandmarkFusion")
    us.SetNthControlPointPosition(0, 9.0, 9.0, 9.0)
    assert np.array_equal(slicer.util.arrayFromTransformMatrix(node), matrix)


def test_without_views(app, monkeypatch):
    """Slicer's generic test builds the panel where there is no main window and so no layout manager."""
    monkeypatch.setattr(type(app), "layoutManager", lambda self: None)
    _, widget = host.load_module(ROOT / "LandmarkFusion" / "LandmarkFusion.py")
    assert widget.controller.status[1] == ""
    widget.exit()
    widget.cleanup()


def test_sample_data(panel):
    pytest.importorskip("torch", reason="torch is not installed")
    import SampleData

    volumes = SampleData.SampleDataLogic().downloadSamples("SimulatedProstate")
    assert [volume.GetName() for volume in volumes] == ["SimulatedMR", "SimulatedUS"]
    panel.widget.enter()
    assert panel.parameters.mr is volumes[0]
    assert panel.parameters.us is volumes[1]
    assert panel.ui.detectButton.enabled
    assert slicer.mrmlScene.GetNumberOfNodesByClass(landmarks.CLASS) == 0

    # The whole way, with the networks that ship: one click.
    panel.ui.detectButton.click()
    host.process_events(until=lambda: not panel.controller.detection.isBusy(), timeout=120)
    host.process_events()
    assert panel.status.startswith("✓ Landmarks found")
    assert [row[3] for row in panel.table("mr") + panel.table("us")] == ["detected"] * 6
    assert volumes[0].GetParentTransformNode() is panel.parameters.mrToUs
    assert panel.controller.live.fit.rms < 15.0
    for modality, volume in zip(("mr", "us"), volumes, strict=True):
        bounds = np.zeros(6)
        volume.GetRASBounds(bounds)
        for row in landmarks.rows(panel.controller.landmarkList(modality)):
            position = landmarks.world_position(panel.controller.landmarkList(modality), row.point_id)
            assert np.all(position > bounds[0::2])
            assert np.all(position < bounds[1::2])


def test_sample_data_that_cannot_be_made(panel, monkeypatch):
    from LandmarkFusionLib import packages, samples

    monkeypatch.setattr(packages, "torchInstalled", lambda: True)
    with pytest.raises(RuntimeError, match="cannot have the number"):
        samples.make(seed=-1)


def test_nothing_heavy_is_imported_by_the_panel():
    """What Slicer's process imports: no torch, no matplotlib, nothing of the test dependencies."""
    code = (
        "import sys; sys.path.insert(0, 'Testing'); import host\n"
        "host.start(); host.load_module('LandmarkFusion/LandmarkFusion.py')\n"
        "print([name for name in ('torch', 'matplotlib', 'rich', 'pydicom') if name in sys.modules])\n"
        "sys.stdout.flush(); import os; os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
