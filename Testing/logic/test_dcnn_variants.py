"""All five variants of DCNN-Match, and the paper's preset, by the same commands: trained, gone on with, run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from LandmarkFusionLogic import cli
from LandmarkFusionLogic.deformable.dcnn import training
from LandmarkFusionLogic.deformable.dcnn.inference import find
from LandmarkFusionLogic.deformable.dcnn.matching import VARIANTS
from LandmarkFusionLogic.simulation.ct import ct_volume
from LandmarkFusionLogic.simulation.seeds import DEMO
from LandmarkFusionLogic.volume import Volume

PAPERS = {"hinge", "ce", "hinge-ce", "hinge0.1-ce", "hinge0.2-ce"}


@pytest.fixture(scope="module")
def volume():
    return ct_volume(DEMO[3], (32, 48, 48), 4.0)


def test_the_variants_are_the_papers():
    assert set(VARIANTS) == PAPERS


@pytest.mark.parametrize("variant", sorted(PAPERS))
def test_a_variant_is_trained_gone_on_with_and_run(variant, volume, tmp_path, capsys, monkeypatch):
    # Without the validation at the end, which takes longer than these few steps.
    monkeypatch.setattr(training.train, "__defaults__", (float("inf"), print, 0, 250, "cpu"))
    words = ["train", "match", "--variant", variant, "--width", "2", "--patch", "32x32x32", "--points", "64"]
    words += ["--full-precision", "--out", str(tmp_path / "run"), "--export", str(tmp_path / "network")]
    assert cli.main([*words, "--steps", "2"]) == 0
    assert cli.main([*words, "--steps", "4"]) == 0
    assert "continuing after 2 steps" in capsys.readouterr().out
    metadata = json.loads((tmp_path / "network" / "configs" / "metadata.json").read_text())
    assert metadata["variant"] == variant
    assert metadata["training"]["steps"] == 4
    random = np.random.default_rng(0)
    other = Volume(volume.array + random.normal(0, 2, volume.array.shape).astype(np.float32), volume.ijk_to_ras)
    found = find(volume, other, model=str(tmp_path / "network"))
    assert len(found) > 0
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
