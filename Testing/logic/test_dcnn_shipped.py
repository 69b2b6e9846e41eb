"""The networks that ship: whole, honest about their training budget, and able to find anatomy again in its place."""

from __future__ import annotations

import numpy as np
import pytest

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.deformable.dcnn.bundle import load_bundle
from LandmarkFusionLogic.deformable.dcnn.inference import find
from LandmarkFusionLogic.deformable.dcnn.networks import default_name, network_folder
from LandmarkFusionLogic.simulation.ct import ct_volume
from LandmarkFusionLogic.simulation.seeds import DEMO
from LandmarkFusionLogic.volume import Volume

SHIPPED = ("dcnn-ce", "dcnn-hinge-ce")


def test_the_default_is_one_that_ships():
    assert default_name() in SHIPPED
    assert network_folder("dcnn") == assets.path("models", default_name())


@pytest.mark.parametrize("name", SHIPPED)
def test_its_metadata_and_card_tell_the_training_budget(name):
    bundle = load_bundle(network_folder(name))
    training = bundle.metadata["training"]
    card = (network_folder(name) / "docs" / "README.md").read_text(encoding="utf-8")
    assert f"{training['steps']} steps" in card
    assert f"{training['seconds_of_one_core']} seconds of one CPU core" in card
    assert (network_folder(name) / "models" / "model.pt").stat().st_size < 5_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_the_same_anatomy_is_found_in_its_place(name):
    whole = ct_volume(DEMO[7])
    part = whole.array[20:68, 24:88, 48:112]
    random = np.random.default_rng(0)
    fixed, moving = (
        Volume((part + random.normal(0, 5, part.shape)).astype(np.float32), whole.ijk_to_ras) for _ in range(2)
    )
    found = find(fixed, moving, model=name)
    assert len(found) >= 10
    assert np.mean(np.linalg.norm(found.moving - found.fixed, axis=1) < 4) > 0.7
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()
