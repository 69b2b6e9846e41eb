"""Hard cases: a click into the gland, or a mask, and the landmarks are looked for there."""

import host
import numpy as np
import pytest
import samples
import slicer
from test_panel_overlays import ball

from LandmarkFusionLogic.mrml import glands, landmarks
from LandmarkFusionLogic.rigid.fit import apply, invert

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: str(samples.untrained_bundle(folder / name, name)) for name in ("mr", "us")}


@pytest.fixture
def ready(panel, networks):
    panel.controller.detection.models = dict(networks)
    panel.parameters.device = "cpu"
    panel.choose_pair()
    return panel


@pytest.fixture
def requests(ready):
    """What the worker is asked for, as it is sent to it."""
    seen = []
    engine = ready.controller.engine
    run = engine.run

    def noting(name, request, *rest):
        seen.append(dict(request))
        run(name, request, *rest)

    engine.run = noting
    return seen


def finish(panel):
    host.process_events(until=lambda: not panel.controller.isBusy(), timeout=120)
    host.process_events()


def mode():
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    return interaction.GetCurrentInteractionMode() == interaction.Place


def test_a_click_starts_a_detection_there_and_leaves_no_node_behind(ready, requests, nodes):
    panel = ready
    panel.controller.center()
    position = np.array([6.0, -8.0, 2.0])
    host.mouse.show_slice("Red", position)
    panel.ui.usClickButton.click()
    assert panel.parameters.opacity == 0.0  # Only the ultrasound is shown: the click belongs to it.
    assert "middle of the prostate in the US" in panel.status
    assert mode()
    host.mouse.click("Red", position)
    host.process_events()
    assert not mode()
    assert panel.parameters.opacity == 0.5
    assert panel.controller.isBusy()
    finish(panel)
    assert panel.status.startswith("✓ Landmarks found")
    [request] = requests
    assert request["modality"] == "us"
    assert request["gland_mask"] is None
    assert np.linalg.norm(np.array(request["click"]) - position) < 2 * host.mouse.pixel_size("Red")
    assert slicer.mrmlScene.GetNumberOfNodesByClass(landmarks.CLASS) == 1
    assert len(landmarks.read(panel.controller.landmarkList("us"))) == 3
    panel.ui.undoButton.click()
    assert not landmarks.read(panel.controller.landmarkList("us"))
    assert panel.controller.overlays.gland("us") is None


def test_a_click_into_an_mr_that_lies_under_the_fit_is_told_in_the_mrs_own_frame(ready, requests, shift):
    panel = ready
    panel.place_all(shift)
    position = np.array([6.0, -8.0, 12.0])
    host.mouse.show_slice("Red", position)
    panel.ui.mrClickButton.click()
    assert panel.parameters.opacity == 1.0
    host.mouse.click("Red", position)
    finish(panel)
    expected = apply(invert(shift), position)
    assert np.linalg.norm(np.array(requests[0]["click"]) - expected) < 2 * host.mouse.pixel_size("Red")


def test_changing_ones_mind(ready, requests, nodes):
    panel, before = ready, nodes()
    panel.ui.mrClickButton.click()
    panel.widget.exit()  # To another module.
    host.process_events()
    assert not mode()
    assert nodes() == before
    assert panel.parameters.opacity == 0.5
    panel.ui.mrClickButton.click()
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)  # By the tool bar.
    host.process_events()
    assert panel.status == "Nothing was clicked."
    assert nodes() == before
    panel.ui.usClickButton.click()
    panel.ui.mrClickButton.click()  # The other image, after all.
    assert panel.controller.hints.armed() == "mr"
    panel.ui.usPlaceButton.click()  # A landmark by hand, after all.
    assert panel.controller.hints.armed() == ""
    assert mode()
    panel.widget.exit()
    host.process_events()
    assert not requests


def test_closing_the_scene_while_a_click_is_waited_for(ready, requests):
    panel = ready
    panel.ui.usClickButton.click()
    slicer.mrmlScene.Clear(0)
    host.process_events()
    assert panel.controller.hints.armed() == ""
    assert not requests
    assert slicer.mrmlScene.GetNumberOfNodesByClass(landmarks.CLASS) == 0


def test_a_click_beside_the_volume_is_refused_and_nothing_changes(ready, nodes):
    panel, before = ready, nodes()
    host.mouse.show_slice("Red", (70.0, 0.0, 0.0))
    panel.ui.usClickButton.click()
    host.mouse.click("Red", (70.0, 0.0, 0.0))
    finish(panel)
    assert panel.status.startswith("Error: ")
    assert "outside" in panel.status
    assert nodes() == before


def test_a_mask_is_handed_over_in_the_volumes_frame_and_becomes_the_gland(ready, requests):
    panel = ready
    assert not panel.ui.usMaskButton.enabled
    assert "Choose a segmentation" in panel.ui.usMaskButton.toolTip
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Contours")
    node.CreateDefaultDisplayNodes()
    inner = node.GetSegmentation()
    inner.GetSegment(inner.AddEmptySegment("whatever", "whatever")).AddRepresentation(
        "Binary labelmap", glands.oriented_image(ball((4.0, 2.0, -3.0), radius=16.0))
    )
    panel.ui.usMaskSelector.setCurrentNode(node)
    host.process_events()
    assert panel.parameters.usMask is node
    panel.ui.usMaskButton.click()
    finish(panel)
    assert panel.status.startswith("✓ Landmarks found")
    assert requests[0]["click"] is None
    mask = requests[0]["gland_mask"]
    assert np.array(mask["ijk_to_ras"]).shape == (4, 4)
    gland = panel.controller.overlays.knownGland("us")
    assert np.allclose(gland.centroid, (4.0, 2.0, -3.0), atol=0.1)
    assert gland.millilitres == pytest.approx(ball(radius=16.0).array.sum() * 8 / 1000, rel=1e-3)
    assert f"gland {gland.millilitres:.0f} ml" in panel.ui.resultLabel.text


def test_an_empty_mask_is_refused(ready, requests):
    panel = ready
    panel.ui.mrMaskSelector.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Nothing"))
    host.process_events()
    panel.ui.mrMaskButton.click()
    assert "has no segment" in panel.status
    assert not requests
