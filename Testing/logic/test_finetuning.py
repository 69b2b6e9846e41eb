"""A case is kept, a network learns from kept cases, and only a better one is kept."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from LandmarkFusionLogic import jobs
from LandmarkFusionLogic.cli import main
from LandmarkFusionLogic.datasets.cases import ImageCase
from LandmarkFusionLogic.datasets.manifest import image_cases
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import write_volume
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.export import export_run
from LandmarkFusionLogic.landmarks.finetuning import Outcome, Scores, fine_tune, gland_dice, score
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid
from LandmarkFusionLogic.landmarks.trainer import Trainer
from LandmarkFusionLogic.landmarks.training import CHECKPOINT
from LandmarkFusionLogic.landmarks.trainingconfig import TrainingConfig
from LandmarkFusionLogic.points import LANDMARK_NAMES
from LandmarkFusionLogic.simulation.case import simulate_image
from LandmarkFusionLogic.volume import Volume

TINY = TrainingConfig(
    "mr", network={"landmarks": 3, "widths": [4, 8, 8]}, grid=InputGrid(7.5, (16, 16, 16)), render_spacing_mm=4.0
)


def an_untrained_network(folder: Path) -> Path:
    folder.mkdir()
    trainer = Trainer(TINY)
    trainer.steps = 1
    trainer.save(folder / CHECKPOINT)
    export_run(folder, folder, "0.0.1")
    (folder / CHECKPOINT).unlink()
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Four simulated cases with landmarks alone, kept as the panel keeps them."""
    folder = tmp_path_factory.mktemp("kept")
    for seed in range(4):
        case = simulate_image(seed, "mr", 4.0)
        image = folder / "image.nrrd"
        write_volume(image, case.image)
        request = jobs.KeepRequest(
            folder=str(folder / "cases"),
            mr=jobs.VolumeSource(str(image)),
            mr_landmarks=[jobs.record(point) for point in case.landmarks],
        )
        result = jobs.keep(request, lambda fraction, text: None)
        assert (result.name, result.cases) == (f"case-{seed + 1:04d}", seed + 1)
    return folder / "cases"


def test_a_better_network_is_kept_and_detects(kept, tmp_path):
    base = an_untrained_network(tmp_path / "base")
    said = []
    outcome = fine_tune(
        kept, "mr", base, tmp_path / "own", 60, 2, lambda fraction, text: said.append((fraction, text))
    )
    assert outcome.better
    assert outcome.new.mre < outcome.old.mre
    assert outcome.old.errors.shape == (4, 3)
    assert "all landmarks" in outcome.text()
    assert any("min" in text for _, text in said)
    assert [fraction for fraction, _ in said] == sorted(fraction for fraction, _ in said)
    metadata = load_bundle(tmp_path / "own").metadata
    assert (metadata["kind"], metadata["title"]) == ("own", "Own: 4 kept cases")
    assert metadata["evaluation"]["new"]["mre"] == pytest.approx(outcome.new.mre, abs=1e-3)
    assert not list((tmp_path / "own").rglob(CHECKPOINT))
    with pytest.raises(InputError, match="has learned from these cases already"):
        fine_tune(kept, "mr", tmp_path / "own", tmp_path / "again", 1)
    case = simulate_image(9, "mr", 4.0)
    write_volume(tmp_path / "new.nrrd", case.image)
    request = jobs.DetectRequest(jobs.VolumeSource(str(tmp_path / "new.nrrd")), "mr", model=str(tmp_path / "own"))
    found = jobs.detect(request, lambda fraction, text: None)
    assert found.kind == "own"
    assert any("fine-tuned on 4 cases" in warning for warning in found.warnings)


def test_the_job_and_the_command_say_what_came_of_it(kept, tmp_path, capsys):
    base = an_untrained_network(tmp_path / "base")
    request = jobs.FineTuneRequest(str(kept), "mr", str(tmp_path / "own"), str(base), steps=1)
    result = jobs.fine_tune(request, lambda fraction, text: None)
    assert (result.out is None) == (not (tmp_path / "own").exists())
    assert result.cases == 4
    json.dumps(jobs.to_json(result), allow_nan=False)
    words = ["train", "landmarks", "--fine-tune", str(kept), "--modality", "mr", "--base", str(base), "--steps", "1"]
    assert main([*words, "--out", str(tmp_path / "other")]) == 0
    printed = capsys.readouterr().out
    assert "4 MR cases, cross-validation in 3 folds by patient" in printed
    assert ("Better: written" in printed) == (tmp_path / "other").exists()


def test_what_the_base_had_seen_and_knew_of_itself_is_inherited(kept, tmp_path):
    base = an_untrained_network(tmp_path / "base")
    path = base / "configs/metadata.json"
    calibration = {"scale": [2.0] * 3, "floor_mm": [1.0] * 3}
    added = {"kind": "research", "calibration": calibration, "discrepancy_mm": 9.0}
    metadata = json.loads(path.read_text())
    metadata["training"]["real_cases"] = ["elsewhere"]
    path.write_text(json.dumps(metadata | added))
    outcome = fine_tune(kept, "mr", base, tmp_path / "own", 60, 2)
    assert outcome.better
    own = json.loads((tmp_path / "own/configs/metadata.json").read_text())
    assert own["calibration"] == calibration
    assert own["discrepancy_mm"] == 9.0
    assert own["training"]["real_cases"] == ["elsewhere", "case-0001", "case-0002", "case-0003", "case-0004"]
    assert "research" in own["title"]
    assert "research use only" in own["licence"]
    assert "research use only" in own["caution"]


def test_a_gland_that_is_not_found_counts_as_nothing(tmp_path):
    case = simulate_image(1, "mr", 4.0)
    trainer = Trainer(TINY)
    with torch.no_grad():
        trainer.averaged.head.bias[3] = -50.0
    trainer.save(tmp_path / CHECKPOINT)
    export_run(tmp_path, tmp_path / "blind", "1.0.0")
    blind = score([ImageCase("a", "a", "mr", case.image, case.gland, {})], tmp_path / "blind")
    assert blind.mean_dice == 0.0


def test_both_sides_are_kept_with_their_masks(tmp_path):
    sides = {}
    for modality in ("mr", "us"):
        case = simulate_image(1, modality, 4.0)
        image, gland = tmp_path / f"{modality}.nrrd", tmp_path / f"{modality}-gland.nrrd"
        write_volume(image, case.image)
        write_volume(gland, case.gland)
        sides[modality], sides[f"{modality}_gland"] = jobs.VolumeSource(str(image)), jobs.VolumeSource(str(gland))
    result = jobs.keep(jobs.KeepRequest(str(tmp_path / "cases"), **sides), lambda fraction, text: None)
    assert result.name == "case-0001"
    for modality in ("mr", "us"):
        (case,) = image_cases(tmp_path / "cases", modality)
        np.testing.assert_array_equal(case.gland.array, simulate_image(1, modality, 4.0).gland.array)
        assert case.positions == {}


def test_what_cannot_be_tuned_is_said(kept, tmp_path, capsys):
    base = an_untrained_network(tmp_path / "base")
    with pytest.raises(InputError, match="at least 3 patients"):
        fine_tune(kept, "us", base, tmp_path / "own")
    with pytest.raises(InputError, match="no training cases"):
        fine_tune(tmp_path, "mr", base, tmp_path / "own")
    with pytest.raises(InputError, match="in use already"):
        fine_tune(kept, "mr", base, base)
    with pytest.raises(InputError, match="no modality"):
        jobs.fine_tune(jobs.FineTuneRequest(str(kept), "ct", "x"), lambda fraction, text: None)
    with pytest.raises(InputError, match="at least one step"):
        jobs.fine_tune(jobs.FineTuneRequest(str(kept), "mr", "x", steps=0), lambda fraction, text: None)
    assert main(["train", "landmarks", "--fine-tune", str(kept), "--out", str(tmp_path / "own")]) == 2
    assert "Give --modality" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def test_better_means_closer_and_no_worse_at_the_gland():
    def scores(error, dice):
        return Scores(np.full((3, len(LANDMARK_NAMES)), error), np.full(3, dice))

    outcome = Outcome("mr", 3, 3, 10, scores(5.0, 0.8), scores(4.0, 0.8), 1.0)
    assert outcome.better
    assert not replace(outcome, new=scores(5.5, 0.9)).better
    assert not replace(outcome, new=scores(4.0, 0.7)).better
    assert replace(outcome, old=scores(5.0, np.nan), new=scores(4.0, np.nan)).better
    only_masks = replace(outcome, old=scores(np.nan, 0.8), new=scores(np.nan, 0.85))
    assert only_masks.better
    assert "all landmarks" not in only_masks.text()
    assert not replace(only_masks, new=scores(np.nan, 0.7)).better


def test_dice_of_masks_on_different_grids():
    fine = Volume(np.ones((20, 20, 20), dtype=np.uint8), np.diag([1.0, 1.0, 1.0, 1.0]))
    half = np.zeros((30, 20, 20), dtype=np.uint8)
    half[10:] = 1
    assert gland_dice(fine, fine) == 1.0
    # 10 of 20 slices shared: 2 * 10 / (20 + 20); the part of the found mask beyond the true grid is not seen.
    shifted = Volume(half, np.diag([1.0, 1.0, 1.0, 1.0]))
    assert gland_dice(fine, shifted) == pytest.approx(2 * 10 / (20 + 20))
