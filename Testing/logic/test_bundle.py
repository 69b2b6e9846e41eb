"""A network folder is used only when it is whole and what its metadata says it is."""

import json

import pytest
import samples
import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.detection import detect_landmarks


@pytest.fixture
def folder(tmp_path):
    return samples.untrained_bundle(tmp_path / "mine")


def _edit(folder, **changes):
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata.update(changes)
    path.write_text(json.dumps(metadata))


def test_a_bundle_is_loaded_once_and_again_when_it_changes(folder):
    first = load_bundle(folder)
    assert load_bundle(folder) is first
    assert first.title == "untrained-mr 0.0.1"
    assert not first.network.training
    _edit(folder, version="0.0.2")
    assert load_bundle(folder).title == "untrained-mr 0.0.2"


def test_incomplete_bundles_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="not complete"):
        load_bundle(tmp_path / "nothing")
    (folder / "models" / "model.pt").unlink()
    with pytest.raises(InputError, match="not complete"):
        load_bundle(folder)


def _flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _flip_a_byte(folder / "models" / "model.pt"),
        lambda folder: (folder / "models" / "model.pt").write_bytes(b""),
        lambda folder: (folder / "configs" / "metadata.json").write_text("{"),
        lambda folder: (folder / "configs" / "metadata.json").write_text("{}"),
        lambda folder: _edit(folder, sha256="0" * 64),
        lambda folder: _edit(folder, network={"landmarks": 3, "widths": [4, 8, 16]}),
        lambda folder: _edit(folder, network={"landmarks": 3, "layers": 9}),
        lambda folder: _edit(folder, preprocessing={"percentiles": [1, 99], "unknown": 1}),
        lambda folder: _edit(folder, grid={"spacing_mm": "wide", "shape": [1, 2, 3]}),
    ],
)
def test_damaged_bundles_are_refused(folder, damage):
    damage(folder)
    with pytest.raises(InputError, match="is damaged or made for another version; install it again"):
        load_bundle(folder)


def test_weights_that_would_run_code_are_refused(folder, tmp_path):
    """A pickle that calls a function is not a state dict: it is refused and the function is not called."""
    import hashlib
    import os

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    path = folder / "models" / "model.pt"
    torch.save({"a": Evil()}, path)
    _edit(folder, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(InputError, match="damaged"):
        load_bundle(folder)
    assert not (tmp_path / "owned").exists()


def test_every_landmark_needs_its_name(folder):
    _edit(folder, landmarks=["Apex", "Bladder neck"])
    with pytest.raises(InputError, match="does not name each"):
        load_bundle(folder)


def test_a_network_is_not_used_for_the_other_modality(folder):
    with pytest.raises(InputError, match="was made for MR volumes"):
        detect_landmarks(samples.volume(), "us", "cpu", folder)
