"""Which network is used: those that ship, folders of the user's own, and scenes that name one that is not here."""

import json
from pathlib import Path

import host
import pytest
import samples

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks import choices

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(autouse=True)
def forget():
    """Each test begins and ends without networks of the user's own."""
    import slicer

    yield
    if getattr(slicer, "app", None) is not None:
        slicer.app.userSettings().remove("LandmarkFusion/networkFolders")


def own_folder(folder: Path, *modalities: str, title="Ward 3", kind="own") -> Path:
    for modality in modalities:
        bundle = samples.untrained_bundle(folder / f"{modality}-landmarks", modality)
        path = bundle / "configs" / "metadata.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"title": title, "kind": kind}))
    return folder


def titles(panel) -> list[str]:
    selector = panel.ui.networkSelector
    return [selector.itemText(index) for index in range(selector.count)]


def pick(panel, title: str) -> None:
    panel.ui.networkSelector.activated.emit(titles(panel).index(title))
    host.process_events()


def finish(panel) -> None:
    host.process_events(until=lambda: not panel.controller.isBusy(), timeout=120)


def test_the_default_comes_first_and_every_choice_says_what_it_is():
    found = choices.shipped()
    assert found
    assert {each.kind for each in found} <= {choices.SIMULATION, choices.RESEARCH}
    assert all(each.title for each in found)
    default = {modality: choices.default_name(modality) for modality in choices.MODALITIES}
    assert {modality: folder.name for modality, folder in found[0].folders.items()} == default


def test_own_networks_are_found_in_a_folder_or_below_it(tmp_path):
    folder = own_folder(tmp_path / "nets", "mr", "us")
    both = choices.own(folder)
    assert both.kind == choices.OWN
    assert both.title == "Ward 3"
    assert set(both.folders) == {"mr", "us"}
    assert str(tmp_path) not in both.key  # Keys go into scenes.
    one = choices.own(folder / "us-landmarks")
    assert set(one.folders) == {"us"}
    assert one.key != both.key
    assert [each.key for each in choices.choices([str(folder), str(tmp_path / "gone")])][-1] == both.key
    with pytest.raises(InputError, match="holds no network"):
        choices.own(tmp_path / "gone")


def test_a_folder_of_networks_is_added_used_and_remembered(panel, tmp_path):
    folder = own_folder(tmp_path / "nets", "mr", "us")
    panel.choose_pair()
    panel.parameters.device = "cpu"
    before = titles(panel)
    host.dialogs.choose(str(folder))
    panel.ui.addNetworkButton.click()
    assert titles(panel) == [*before, "Ward 3"]
    assert panel.ui.networkSelector.currentText == "Ward 3"
    assert "can be chosen now" in panel.status
    panel.ui.detectMrButton.click()
    assert not panel.ui.networkSelector.enabled
    finish(panel)
    assert panel.status.startswith("✓")
    assert "MR: untrained-mr 0.0.1 (own network)" in panel.ui.resultLabel.text
    pick(panel, before[0])
    assert panel.controller.detection.models == {
        modality: str(folder) for modality, folder in choices.shipped()[0].folders.items()
    }
    from LandmarkFusionLib import choices as kept

    assert kept.available()[-1].title == "Ward 3"  # The settings keep it for the next start.


def test_a_folder_without_networks_is_refused_and_cancelling_changes_nothing(panel, tmp_path):
    before = titles(panel)
    panel.ui.addNetworkButton.click()  # Nothing chosen in the dialog.
    assert titles(panel) == before
    host.dialogs.choose(str(tmp_path))
    panel.ui.addNetworkButton.click()
    assert "holds no network" in panel.status
    assert titles(panel) == before


def test_the_research_network_is_labelled(panel):
    research = [each for each in choices.shipped() if each.kind == choices.RESEARCH]
    if not research:
        pytest.skip("No research network ships.")
    pick(panel, research[0].title)
    assert "research" in panel.ui.networkSelector.toolTip
    assert "Research" in panel.ui.networkSelector.currentText


def test_a_scene_that_names_a_network_of_another_computer(panel):
    panel.choose_pair()
    panel.parameters.network = "own:0123456789abcdef"
    host.process_events()
    assert titles(panel)[-1] == "not on this computer"
    assert panel.ui.networkSelector.currentText == "not on this computer"
    assert "not on this computer" in panel.ui.warningsLabel.text
    panel.ui.detectButton.click()
    assert "not on this computer" in panel.status
    assert not panel.controller.isBusy()
    pick(panel, titles(panel)[0])
    assert "not on this computer" not in titles(panel)
