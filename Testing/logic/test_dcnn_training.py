"""DCNN-Match learns from simulated pairs whose truth is right, goes on where it was ended, and becomes a bundle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from LandmarkFusionLogic.cli import main
from LandmarkFusionLogic.deformable.dcnn.bundle import export_run, load_bundle
from LandmarkFusionLogic.deformable.dcnn.config import PRESETS, MatchConfig, parse_patch, preset_config
from LandmarkFusionLogic.deformable.dcnn.matching import VARIANTS
from LandmarkFusionLogic.deformable.dcnn.pairs import draw_warp, make_pair, to_mm
from LandmarkFusionLogic.deformable.dcnn.training import CHECKPOINT, Trainer, evaluate, pair_loss, run_network, train
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.simulation.ct import ct_volume, make_ct
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.seeds import DEMO

TINY = MatchConfig(
    width=2, patch=(32, 32, 32), points=64, border=2, steps=12, pairs_per_anatomy=4, mixed_precision=False
)


def _quiet(text):
    pass


def test_anatomy_is_reproducible_and_differs_from_seed_to_seed():
    one, again, other = (make_ct(seed, (24, 56, 80), 4.0) for seed in (1, 1, 2))
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.image, other.image)
    assert torch.isfinite(one.image).all()
    assert 0.5 < one.body.float().mean() < 0.98
    assert one.image[one.body].std() > 20
    assert one.image[0, 0, 0] < -900


def test_the_volume_lies_round_the_origin():
    volume = ct_volume(3, (16, 24, 32), 4.0)
    np.testing.assert_allclose(volume.centre, 0, atol=1e-9)
    assert volume.shape_ijk == (32, 24, 16)
    assert volume.array.dtype == np.float32


def test_warps_can_be_undone_and_keep_to_the_papers_ranges():
    kinds = set()
    for seed in range(30):
        warp = draw_warp(Draw(seed, "test"), (48, 64, 64))
        points = (torch.rand(200, 3, generator=torch.Generator().manual_seed(seed)) - 0.5) * 90
        torch.testing.assert_close(warp(warp.inverse(points, 40)), points, atol=0.05, rtol=0)
        assert float((warp(points) - points).abs().max()) < 60
        kinds.add((bool(warp.vector.any()), bool(warp.shift.any()), torch.equal(warp.matrix, torch.eye(3))))
    assert len(kinds) == 3  # Elastic; translation; rotation or scale.


def test_the_moving_image_shows_the_fixed_one_where_the_warp_says():
    # Blobs of one image are those of the other: gray levels at corresponding places agree far better than at the same.
    gaps = []
    for seed in range(4):
        pair = make_pair(DEMO[5], seed, (32, 48, 48), 4)
        d, h, w = pair.size
        at = pair.valid[1].nonzero()[::37].float()
        there = pair.warp(to_mm(at, (d, h, w))) / 2 + (torch.tensor([d, h, w]) - 1) / 2
        index = there.round().long().clamp(torch.zeros(3).long(), torch.tensor([d, h, w]) - 1)
        moving = pair.images[1, 0][tuple(at.long().T)]
        right, same = pair.images[0, 0][tuple(index.T)], pair.images[0, 0][tuple(at.long().T)]
        corr = [float(torch.corrcoef(torch.stack((moving, other)))[0, 1]) for other in (right, same)]
        gaps.append(corr)
    right, same = np.mean(gaps, axis=0)
    assert right > 0.75
    assert right > same + 0.1


def test_validation_and_test_seeds_are_never_trained_on():
    with pytest.raises(InputError, match="own seeds only"):
        Trainer(replace(TINY, first_seed=2_000_000))


def test_gradient_reaches_landmark_head_matching_head_and_encoder():
    trainer = Trainer(replace(TINY, variant="hinge-ce"))
    pair = trainer.pair()
    loss = pair_loss(trainer.network, run_network(trainer.network, pair.images, False), pair, trainer.config)
    loss.total.backward()
    for part in (trainer.network.landmarks, trainer.network.matching, trainer.network.stem, trainer.network.down[3]):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters() if p.ndim > 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns(variant):
    trainer = Trainer(replace(TINY, variant=variant, steps=25, learning_rate=5e-3))
    pair = trainer.pair()
    losses = [float(trainer.step(pair).total.detach()) for _ in range(25)]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    scores = evaluate(trainer.network, [pair], trainer.config)
    assert scores.matches >= 0


def test_a_run_that_was_ended_learns_what_an_unbroken_one_learns(tmp_path):
    unbroken = train(TINY, tmp_path / "unbroken", log=_quiet, validation=0)
    first = Trainer(TINY)
    for _ in range(5):
        first.step()
    (tmp_path / "ended").mkdir()
    first.save(tmp_path / "ended" / CHECKPOINT)
    lines: list[str] = []
    resumed = train(TINY, tmp_path / "ended", log=lines.append, validation=0)
    assert lines[0] == "continuing after 5 steps"
    for one, other in zip(unbroken.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_another_setting_does_not_go_on_in_an_old_folder(tmp_path):
    train(replace(TINY, steps=1), tmp_path, log=_quiet, validation=0)
    with pytest.raises(InputError, match="other settings \\(variant\\)"):
        train(replace(TINY, variant="hinge"), tmp_path, log=_quiet, validation=0)
    train(replace(TINY, steps=2), tmp_path, log=_quiet, validation=0)
    (tmp_path / CHECKPOINT).write_bytes(b"nonsense")
    with pytest.raises(InputError, match="no training that could go on"):
        train(TINY, tmp_path, log=_quiet, validation=0)


def test_the_end_is_validated_and_written_down(tmp_path):
    train(replace(TINY, steps=2), tmp_path, log=_quiet, validation=2)
    (line,) = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert json.loads(line)["steps"] == 2


def test_the_rate_warms_up_stays_and_falls():
    config = MatchConfig(steps=1000, learning_rate=1.0, cooldown=0.4)
    assert config.rate(0) == pytest.approx(0.02)
    assert config.rate(300) == 1.0
    assert config.rate(800) == pytest.approx(0.5)
    assert config.rate(999) == pytest.approx(0.02)


def test_the_paper_preset_is_the_papers():
    paper = PRESETS["paper"]
    assert (paper.width, paper.patch, paper.points) == (64, (128, 128, 48), 512)
    assert (paper.learning_rate, paper.weight_decay, paper.size) == (1e-4, 1e-4, (48, 128, 128))
    paper.check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": (64, 64, 40)}, "multiple of 16"),
        ({"patch": (256, 64, 48)}, "at most"),
        ({"width": 0}, "1 or more"),
        ({"border": 30}, "border leaves nothing"),
    ],
)
def test_settings_that_cannot_be_trained_with_are_told(changes, message):
    with pytest.raises(InputError, match=message):
        preset_config("small", **changes)


def test_patches_are_read_as_text():
    assert parse_patch("64x48x32") == (64, 48, 32)
    with pytest.raises(InputError, match="no patch size"):
        parse_patch("large")
    with pytest.raises(InputError, match="no preset"):
        preset_config("huge")


def test_the_command_trains_goes_on_and_exports(tmp_path, capsys):
    words = ["train", "match", "--variant", "hinge-ce", "--width", "2", "--patch", "32x32x32", "--points", "64"]
    words += ["--out", str(tmp_path / "run"), "--full-precision"]
    assert main([*words, "--steps", "1"]) == 0
    assert main([*words, "--steps", "2", "--export", str(tmp_path / "dcnn-mine")]) == 0
    assert "continuing after 1 steps" in capsys.readouterr().out
    bundle = load_bundle(tmp_path / "dcnn-mine")
    assert bundle.metadata["training"]["steps"] == 2
    assert bundle.size == (32, 32, 32)
    assert bundle.title == "dcnn-mine 1.0.0"
    assert main([*words[:3], "nothing", *words[4:]]) == 2
    assert "no variant" in capsys.readouterr().err


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trainer = train(replace(TINY, steps=2), folder / "run", log=_quiet, validation=0)
    export_run(folder / "run", folder / "dcnn-tiny", history="A test.")
    return trainer, folder / "dcnn-tiny"


def test_an_exported_network_is_the_trained_one(exported):
    trainer, folder = exported
    bundle = load_bundle(folder)
    assert load_bundle(folder) is bundle
    for name, value in trainer.network.state_dict().items():
        torch.testing.assert_close(
            bundle.network.state_dict()[name].float(), value.float(), rtol=2e-3, atol=1e-4, check_stride=False
        )
    training = bundle.metadata["training"]
    assert (training["steps"], training["planned_steps"], training["history"]) == (2, 2, "A test.")
    assert training["seconds_of_one_core"] >= 0
    assert "simulated" in bundle.caution


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "models" / "model.pt").unlink(), "not complete"),
        (lambda f: (f / "models" / "model.pt").write_bytes(b"x"), "damaged"),
        (lambda f: (f / "configs" / "metadata.json").write_text("{"), "damaged"),
        (lambda f: _edit(f, variant="other"), "damaged"),
        (lambda f: _edit(f, kind="simulation"), "damaged"),
        (lambda f: _edit(f, network={"width": 4}), "damaged"),
        (lambda f: _edit(f, patch=[1, 2]), "damaged"),
    ],
)
def test_damaged_networks_are_refused(exported, tmp_path, damage, message):
    folder = tmp_path / "dcnn-tiny"
    shutil.copytree(exported[1], folder)
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_bundle(folder)


def _edit(folder, **changes):
    path = folder / "configs" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
