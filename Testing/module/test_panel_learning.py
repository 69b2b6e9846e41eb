"""A case corrected in the panel is kept, networks learn from kept cases, and only a better one can be chosen."""

import json
from pathlib import Path

import host
import numpy as np
import pytest
import slicer
from test_panel_overlays import ball, show_gland
from test_panel_review import edit

from LandmarkFusionLogic.mrml import landmarks, volumes

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(autouse=True)
def forget():
    yield
    if getattr(slicer, "app", None) is not None:
        slicer.app.userSettings().remove("LandmarkFusion/networkFolders")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Small networks that know nothing yet, made the way real ones are."""
    from LandmarkFusionLogic.landmarks.export import export_run
    from LandmarkFusionLogic.landmarks.preprocessing import InputGrid
    from LandmarkFusionLogic.landmarks.trainer import Trainer
    from LandmarkFusionLogic.landmarks.training import CHECKPOINT
    from LandmarkFusionLogic.landmarks.trainingconfig import TrainingConfig

    made = {}
    for modality in ("mr", "us"):
        folder = tmp_path_factory.mktemp(modality) / f"{modality}-landmarks"
        folder.mkdir()
        config = TrainingConfig(
            modality,
            network={"landmarks": 3, "widths": [4, 8, 8]},
            grid=InputGrid(7.5, (16, 16, 16)),
            render_spacing_mm=4.0,
        )
        trainer = Trainer(config)
        trainer.steps = 1
        trainer.save(folder / CHECKPOINT)
        export_run(folder, folder, "0.0.1")
        (folder / CHECKPOINT).unlink()
        made[modality] = str(folder)
    return made


@pytest.fixture
def ready(panel, networks, tmp_path):
    panel.controller.detection.models = dict(networks)
    panel.controller.learning.steps = 30
    panel.ui.casesPath.setCurrentPath(str(tmp_path / "cases"))
    panel.ui.learningButton.collapsed = False
    return panel


def finish(panel, timeout=400):
    host.process_events(until=lambda: not panel.controller.isBusy(), timeout=timeout)
    host.process_events()


def open_case(panel, seed, modalities=("mr", "us")):
    """A simulated pair in the scene, chosen, with its landmarks set by hand."""
    from LandmarkFusionLogic.simulation.case import simulate_image

    for modality in modalities:
        case = simulate_image(seed, modality, 4.0)
        node = volumes.add_volume(slicer.mrmlScene, case.image, f"Doe^John {modality} {seed}")
        getattr(panel.ui, f"{modality}Selector").setCurrentNode(node)
        landmarks.write(panel.controller.ensureList(modality), case.landmarks)
    panel.controller.refresh()


def test_what_is_missing_is_said(panel, shift, tmp_path):
    assert not panel.ui.keepButton.enabled
    assert "landmarks" in panel.ui.keepButton.toolTip
    assert not panel.ui.trainButton.enabled
    panel.choose_pair()
    panel.place_all(shift, state="detected")
    panel.controller.refresh()
    assert "Choose a folder" in panel.ui.keepButton.toolTip
    panel.ui.casesPath.setCurrentPath(str(tmp_path))
    assert panel.ui.keepButton.enabled
    node = panel.controller.landmarkList("us")
    landmarks.remember_detection(node, "net", "CPU", 1.0, [], ask_first=["Apex"])
    panel.controller.refresh()
    assert not panel.ui.keepButton.enabled
    assert "Check the doubtful landmarks first: Apex in the US" in panel.ui.keepButton.toolTip


def test_a_case_is_kept_with_masks_and_without_a_name(ready, tmp_path):
    from LandmarkFusionLogic.datasets.manifest import image_cases

    panel = ready
    open_case(panel, 3)
    edit(show_gland(panel, "mr"), ball(radius=16.0))
    show_gland(panel, "us")
    mark = next(mark for mark in landmarks.read(panel.controller.landmarkList("mr")) if mark.name == "Apex")
    panel.controller.landmarkList("mr").SetNthControlPointPosition(0, *(mark.position + [1.0, 2.0, 3.0]))
    panel.ui.keepButton.click()
    assert not panel.ui.detectButton.enabled
    finish(panel)
    assert panel.status.startswith("✓ Kept as “case-0001”")
    assert "1 cases" in panel.status or "1 case" in panel.status
    (mr,) = image_cases(tmp_path / "cases", "mr")
    (us,) = image_cases(tmp_path / "cases", "us")
    assert np.allclose(mr.positions["Apex"], mark.position + [1.0, 2.0, 3.0], atol=1e-3)
    assert mr.gland.array.sum() == pytest.approx(ball(radius=16.0).array.sum(), rel=0.01)
    assert us.gland is None  # The network drew it, and nobody has corrected it.
    assert np.array_equal(us.image.array, volumes.array_view(panel.parameters.us))
    for path in (tmp_path / "cases").rglob("*"):
        assert "doe" not in path.name.lower()
        assert path.is_dir() or b"Doe" not in path.read_bytes()


def test_networks_learn_from_cases_of_the_panel_and_a_better_one_can_be_chosen(ready, networks, tmp_path):
    panel = ready
    for seed in range(4):
        slicer.mrmlScene.Clear(0)
        host.process_events()
        panel.controller.detection.models = dict(networks)
        open_case(panel, seed, ("mr",))
        panel.ui.keepButton.click()
        finish(panel)
    assert "4 cases" in panel.status
    before = panel.ui.networkSelector.count
    panel.ui.trainButton.click()
    assert panel.ui.trainingRow.visible
    seen = []
    panel.controller.addListener(lambda: seen.append(panel.ui.trainingLabel.text))
    finish(panel)
    assert not panel.ui.trainingRow.visible
    assert any("left" in text for text in seen)
    [outcome] = panel.controller.learning.outcome
    text = panel.ui.trainingLabel.text
    assert f"{outcome.old_mm:.1f} mm before, {outcome.new_mm:.1f} mm after" in text
    assert "US" in text  # There are no cases of the ultrasound, which is told.
    assert outcome.out is not None
    assert outcome.new_mm < outcome.old_mm
    assert panel.ui.networkSelector.count == before + 1
    assert "can be chosen" in panel.status
    assert panel.parameters.network == ""  # The user chooses.
    panel.ui.networkSelector.activated.emit(before)
    assert Path(panel.controller.detection.models["mr"]).is_dir()
    assert panel.controller.detection.models["us"] is None
    panel.ui.detectMrButton.click()
    finish(panel)
    assert "(own network)" in panel.ui.resultLabel.text


def test_a_network_that_is_no_better_cannot_be_chosen(ready, tmp_path):
    panel = ready
    for seed in range(3):
        open_case(panel, seed)
        panel.ui.keepButton.click()
        finish(panel)
    before = panel.ui.networkSelector.count
    panel.controller.learning.steps = 1
    panel.ui.trainButton.click()
    finish(panel)
    outcome = panel.controller.learning.outcome
    assert [each.modality for each in outcome] == ["mr", "us"]
    better = [each for each in outcome if each.out is not None]
    assert panel.ui.networkSelector.count == before + bool(better)
    for each, line in zip(outcome, panel.ui.trainingLabel.text.splitlines(), strict=True):
        assert line.endswith("not better, not kept." if each.out is None else "better, can be chosen.")


@pytest.mark.parametrize("moment", ["while it hands over", "while it trains"])
def test_cancel(ready, tmp_path, moment):
    panel = ready
    for seed in range(3):
        open_case(panel, seed, ("mr",))
        if moment == "while it hands over":
            panel.ui.keepButton.click()
            panel.ui.cancelButton.click()
            finish(panel)
            assert panel.status == "Cancelled; nothing was changed."
            assert not (tmp_path / "cases" / "cases.json").exists()
            return
        panel.ui.keepButton.click()
        finish(panel)
    panel.ui.trainButton.click()
    host.process_events(until=lambda: panel.controller.learning.fraction > 0, timeout=200)
    panel.ui.trainingCancelButton.click()
    finish(panel)
    assert panel.status == "Cancelled; nothing was changed."
    assert not list((tmp_path / "cases").rglob("metadata.json"))
    assert len(json.loads((tmp_path / "cases" / "cases.json").read_text())["cases"]) == 3
    assert panel.ui.trainButton.enabled


def test_training_without_cases_says_so(ready, tmp_path):
    panel = ready
    (tmp_path / "cases").mkdir()
    panel.ui.trainButton.click()
    finish(panel)
    assert panel.status.startswith("Error: ")
    assert "holds no training cases" in panel.status
