"""The networks that align CT and X-ray learn from cases of their own, go on where they were ended, become bundles."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learnedsamples import TINY, quiet

from LandmarkFusionLogic.cli import main
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.learned.bundle import export_run, load_bundle
from LandmarkFusionLogic.projection.learned.cases import (
    CONTENTS,
    Cases,
    bone_mask,
    feature_side,
    make_phantom,
    mask_projector,
    projected_mask,
    validation_cases,
)
from LandmarkFusionLogic.projection.learned.config import DEEP_REG, FINE, PRESETS, RTPI, STAGES
from LandmarkFusionLogic.projection.learned.networks import METADATA, WEIGHTS
from LandmarkFusionLogic.projection.learned.training import CHECKPOINT, SCORES, Trainer, evaluate, train
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.simulation.seeds import DEMO


def test_cases_are_drawn_as_the_authors_code_draws_them():
    config = replace(TINY[RTPI], pool=1, steps_per_phantom=10_000)
    drawn = Cases(config)
    cases = [case for step in range(80) for case in drawn.batch(step)]
    truths = np.array([case.truth.parameters for case in cases])
    np.testing.assert_allclose(truths.std(axis=0), config.truth, rtol=0.25)
    starts = np.array([case.start.parameters for case in cases])
    apart = np.abs(starts - truths).mean(axis=0)
    assert apart[:3].mean() == pytest.approx(6.8, rel=0.15)  # The paper measures 6.40° and 15.08 mm.
    assert apart[3:].mean() == pytest.approx(16, rel=0.15)
    assert {case.content for case in cases} == set(CONTENTS)
    assert 0.4 < np.mean([case.degradation_seed >= 0 for case in cases]) < 0.8


def test_a_fine_start_lies_about_its_truth():
    config = replace(TINY[FINE], pool=1, steps_per_phantom=10_000)
    drawn = Cases(config)
    cases = [case for step in range(60) for case in drawn.batch(step)]
    apart = np.array([case.start.parameters - case.truth.parameters for case in cases])
    np.testing.assert_allclose(apart.std(axis=0), (*config.rotation, *config.translation), rtol=0.3)


def test_the_same_step_has_the_same_cases_and_phantoms_come_and_go():
    config = TINY[FINE]
    one, again = (Cases(config).batch(3) for _ in range(2))
    for a, b in zip(one, again, strict=True):
        assert a.truth == b.truth
        np.testing.assert_array_equal(a.xray, b.xray)
    cases = Cases(config)
    assert cases.case(0, 0).truth != cases.case(0, 1).truth
    far = cases.case(10 * config.steps_per_phantom, 0)
    assert not np.array_equal(far.phantom.full.mu.array, one[0].phantom.full.mu.array)


def test_content_says_what_each_image_shows():
    phantom = make_phantom(DEMO[2], 24)
    full, spine = phantom.full.mu.array.sum(), phantom.spine.mu.array.sum()
    assert 0.01 * full < spine < 0.3 * full
    assert (phantom.moving("full"), phantom.fixed("full")) == (phantom.full, phantom.full)
    assert (phantom.moving("spine"), phantom.fixed("spine")) == (phantom.spine, phantom.spine)
    assert (phantom.moving("mismatch"), phantom.fixed("mismatch")) == (phantom.spine, phantom.full)


def test_the_mask_is_projected_where_the_spine_is():
    config = replace(TINY[FINE], pixels=64)
    phantom = make_phantom(DEMO[2], 48)
    matrix = ct_to_camera(Pose(), phantom.isocenter, config.geometry)
    side = feature_side(config)
    inside = projected_mask(phantom.vertebrae, config, matrix) > 0
    assert inside.shape == (side, side)
    spine = phantom.spine.project(config.geometry.resized(side, side), matrix) > 0.2
    assert (inside & spine).sum() / (inside | spine).sum() > 0.6
    coarse = mask_projector(bone_mask(phantom.full.mu))
    np.testing.assert_allclose(coarse.mu.centre, phantom.isocenter, atol=1e-6)
    dense = coarse.mu.array[phantom.vertebrae.mu.array > 0.5].mean()
    assert dense > 5 * coarse.mu.array[phantom.vertebrae.mu.array < 0.5].mean()


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_was_ended_learns_what_an_unbroken_one_learns(stage, tmp_path):
    config = TINY[stage]
    unbroken = train(config, tmp_path / "unbroken", log=quiet, validation=0)
    first = Trainer(config)
    for _ in range(2):
        first.step()
    (tmp_path / "ended").mkdir()
    first.save(tmp_path / "ended" / CHECKPOINT)
    lines: list[str] = []
    resumed = train(config, tmp_path / "ended", log=lines.append, validation=0)
    assert lines[0] == "continuing after 2 steps"
    one, other = unbroken.network.state_dict(), resumed.network.state_dict()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name])
    fresh = Trainer(config).network.state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in one.items())


@pytest.mark.parametrize("stage", [RTPI, FINE])
def test_it_learns_a_batch_by_heart(stage):
    config = replace(
        TINY[stage], optimizer="adam", low_rate=3e-3, high_rate=3e-3, steps=1000, cooldown=0.0, frozen=1.0
    )
    trainer = Trainer(config)
    batch = trainer.cases.batch(0)
    trainer.cases.batch = lambda step: batch  # type: ignore[method-assign]
    losses = [trainer.step() for _ in range(20)]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def test_the_best_on_unseen_spines_is_kept_and_the_rest_of_the_time_told(tmp_path):
    config = replace(TINY[FINE], steps=20, pool=1)
    lines: list[str] = []
    trainer = train(config, tmp_path, log=lines.append, validation=2, evaluate_every=10)
    assert any(line.startswith("step 20 of 20") and line.endswith("min left") for line in lines)
    scores = [json.loads(line) for line in (tmp_path / SCORES).read_text().splitlines()]
    assert [score["steps"] for score in scores] == [10, 20]
    best = min(scores, key=lambda score: score["score"])
    assert (trainer.best_score, trainer.best_steps) == (best["score"], best["steps"])
    again = Trainer(config)
    again.network.load_state_dict(trainer.best)
    assert evaluate(again.network, validation_cases(config, 2), config)["score"] == pytest.approx(best["score"])


def test_a_run_ends_when_its_time_is_over(tmp_path):
    trainer = train(replace(TINY[FINE], steps=10_000), tmp_path, minutes=0.0, log=quiet, validation=0)
    assert trainer.steps == 0
    assert (tmp_path / CHECKPOINT).exists()


def test_another_setting_does_not_go_on_in_an_old_folder(tmp_path):
    train(replace(TINY[FINE], steps=1), tmp_path, log=quiet, validation=0)
    with pytest.raises(InputError, match="other settings \\(embedded\\)"):
        train(replace(TINY[FINE], embedded=False), tmp_path, log=quiet, validation=0)
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="holds no training"):
        train(TINY[FINE], tmp_path, log=quiet, validation=0)


def test_the_command_trains_exports_and_goes_on(tmp_path, monkeypatch, capsys):
    for stage in (RTPI, DEEP_REG):
        monkeypatch.setitem(PRESETS["small"], stage, TINY[stage])
        run, model = str(tmp_path / f"run-{stage}"), str(tmp_path / f"model-{stage}")
        arguments = ["train", "projection", "--stage", stage, "--out", run, "--export", model]
        monkeypatch.setattr("LandmarkFusionLogic.projection.learned.training.VALIDATION_CASES", 2)
        assert main([*arguments, "--steps", "2"]) == 0
        assert main([*arguments, "--steps", "3"]) == 0
        assert "continuing after 2 steps" in capsys.readouterr().out
        bundle = load_bundle(Path(model))
        assert bundle.config.stage == stage
        assert bundle.metadata["training"]["steps"] == 3
    assert main(["train", "projection", "--stage", "coarse", "--out", str(tmp_path / "x")]) == 2
    assert "There is no stage “coarse”" in capsys.readouterr().err


def test_a_bundle_holds_what_was_trained_and_nothing_damaged_is_used(tmp_path):
    run, model = tmp_path / "run", tmp_path / "model"
    trainer = train(replace(TINY[RTPI], steps=1), run, log=quiet, validation=0)
    export_run(run, model)
    bundle = load_bundle(model)
    assert bundle.config == trainer.config
    for name, value in bundle.network.state_dict().items():
        torch.testing.assert_close(value, trainer.network.state_dict()[name], rtol=2e-3, atol=1e-4)
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    (damaged / WEIGHTS).write_bytes((damaged / WEIGHTS).read_bytes() + b"!")
    with pytest.raises(InputError, match="damaged"):
        load_bundle(damaged)
    metadata = json.loads((model / METADATA).read_text())
    metadata["config"]["widths"] = [1, 2, 3, 4]
    (model / METADATA).write_text(json.dumps(metadata))
    with pytest.raises(InputError, match="damaged or made for another version"):
        load_bundle(model)
    with pytest.raises(InputError, match="not complete"):
        load_bundle(tmp_path / "nothing")
