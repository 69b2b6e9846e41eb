"""Losses, examples, and a training that learns, resumes and exports."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.datasets.mrus27 import posterior_of_mask
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.export import export_run
from LandmarkFusionLogic.landmarks.losses import (
    LossWeights,
    coordinate_loss,
    distance_map_loss,
    mask_loss,
    target_loss,
    total_loss,
    variance_loss,
)
from LandmarkFusionLogic.landmarks.network import LandmarkOutput
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing
from LandmarkFusionLogic.landmarks.scores import evaluate
from LandmarkFusionLogic.landmarks.trainer import Trainer
from LandmarkFusionLogic.landmarks.training import BEST, CHECKPOINT, train
from LandmarkFusionLogic.landmarks.trainingconfig import TrainingConfig
from LandmarkFusionLogic.landmarks.trainingdata import (
    GRIDS,
    Example,
    development_examples,
    make_example,
    mean_position_errors,
    radial_errors,
    simulated_example,
)
from LandmarkFusionLogic.points import APEX, BLADDER_NECK
from LandmarkFusionLogic.simulation.seeds import TEST, TRAINING
from LandmarkFusionLogic.volume import Volume

TINY = TrainingConfig(
    "mr",
    network={"landmarks": 3, "widths": [4, 8, 8]},
    grid=InputGrid(7.5, (16, 16, 16)),
    replay_after=1,
    render_spacing_mm=6.0,
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _two_voxels(a, b, share):
    """(1, 1, 4, 4, 4) heatmap with ``share`` at voxel a and the rest at voxel b."""
    heatmaps = torch.zeros(1, 1, 4, 4, 4)
    heatmaps[(0, 0, *a)] = share
    heatmaps[(0, 0, *b)] = 1 - share
    return heatmaps


class TestLosses:
    def test_coordinate_loss_is_the_sum_of_l1_and_l2_in_mm(self):
        loss = coordinate_loss(torch.tensor([[[1.0, 2.0, 2.0]]]), torch.zeros(1, 1, 3), spacing_mm=3.0, l2=0.5)
        assert loss.item() == pytest.approx(3 * 5 + 0.5 * 3 * 3)

    def test_coordinate_loss_has_a_slope_at_the_truth(self):
        predicted = torch.zeros(1, 1, 3, requires_grad=True)
        coordinate_loss(predicted, torch.zeros(1, 1, 3), 3.0).sum().backward()
        assert torch.isfinite(predicted.grad).all()

    def test_distance_map_loss_is_the_expected_distance(self):
        heatmaps = _two_voxels((0, 0, 0), (0, 3, 0), 0.25)
        loss = distance_map_loss(heatmaps, torch.tensor([[[0.0, 0.0, 0.0]]]), spacing_mm=2.0)
        assert loss.item() == pytest.approx(0.75 * 3 * 2)

    def test_variance_loss_is_the_heatmaps_own_spread(self):
        loss = variance_loss(_two_voxels((0, 0, 0), (0, 0, 2), 0.5), spacing_mm=3.0)
        assert loss.item() == pytest.approx(1.0 * 9)

    def test_target_loss_is_least_for_the_target(self):
        true = torch.tensor([[[1.0, 2.0, 1.5]]])
        k, j, i = torch.meshgrid(*(torch.arange(4.0),) * 3, indexing="ij")
        square = (k - 1) ** 2 + (j - 2) ** 2 + (i - 1.5) ** 2
        same = torch.softmax(-0.5 * square.flatten() / 1.2**2, 0)
        entropy = -(same * same.log()).sum()
        assert target_loss(same.view(1, 1, 4, 4, 4), true, 1.2).item() == pytest.approx(entropy.item(), rel=1e-5)
        assert target_loss(torch.full((1, 1, 4, 4, 4), 1 / 64), true, 1.2).item() > entropy.item()

    def test_mask_loss_by_hand(self):
        gland = torch.zeros(1, 1, 2, 2, 2)
        gland[..., 0] = 1
        loss = mask_loss(torch.zeros_like(gland), gland)
        # Everything is 0.5: cross entropy log 2, soft Dice (2 * 2 + 1) / (4 + 4 + 1).
        assert loss.item() == pytest.approx(np.log(2) + 1 - 5 / 9)

    def test_invisible_landmarks_do_not_count(self):
        heatmaps = torch.cat([_two_voxels((0, 0, 0), (0, 3, 0), 0.25), _two_voxels((3, 3, 3), (0, 0, 0), 0.5)], dim=1)
        output = LandmarkOutput(heatmaps, torch.zeros(1, 1, 4, 4, 4))
        gland = torch.zeros(1, 1, 4, 4, 4)
        weights = LossWeights(l2=1.0, distance=0.1, variance=0.0, mask=0.0, target=0.0)
        truth = torch.zeros(1, 2, 3)
        one = total_loss(output, truth, torch.tensor([[1.0, 0.0]]), gland, 2.0, weights)
        error = 0.75 * 3 * 2
        assert one.item() == pytest.approx(2 * error + 0.1 * error, rel=1e-4)


class TestExamples:
    def test_image_mask_and_landmark_share_one_grid(self):
        grid = InputGrid(2.0, (20, 20, 20))
        k, j, i = np.meshgrid(*(np.arange(40.0),) * 3, indexing="ij")
        ball = ((k - 22) ** 2 + (j - 15) ** 2 + (i - 24) ** 2 <= 36).astype(np.float32)
        affine = np.diag([1.0, 1.0, 1.0, 1.0])
        centre = np.array([24.0, 15.0, 22.0])
        example = make_example(
            Volume(ball * 100 + k.astype(np.float32), affine),
            Volume(ball, affine),
            {APEX: centre},
            grid,
            Preprocessing(),
        )
        assert example.visible.tolist() == [1, 0, 0]
        middle = np.argwhere(example.gland > 0.5).mean(axis=0)
        assert middle == pytest.approx(example.landmarks[0], abs=0.3)
        bright = np.argwhere(example.image > 0.9).mean(axis=0)
        assert bright == pytest.approx(example.landmarks[0], abs=0.6)

    def test_a_landmark_outside_of_the_grid_does_not_count(self):
        grid = InputGrid(2.0, (20, 20, 20))
        volume = Volume(np.random.default_rng(0).random((40, 40, 40), dtype=np.float32), np.eye(4))
        example = make_example(volume, volume, {APEX: np.array([60.0, 20.0, 20.0])}, grid, Preprocessing())
        assert example.visible.sum() == 0

    def test_mirroring_twice_changes_nothing_and_once_swaps_left_and_right(self):
        example = simulated_example(TRAINING.start, "us", GRIDS["us"], Preprocessing())
        mirrored = example.mirrored()
        assert np.array_equal(mirrored.mirrored().image, example.image)
        assert np.array_equal(mirrored.image[:, :, 0], example.image[:, :, -1])
        assert mirrored.landmarks[:, 2] == pytest.approx(31 - example.landmarks[:, 2])
        assert np.array_equal(mirrored.landmarks[:, :2], example.landmarks[:, :2])

    def test_posterior_median_of_a_box(self):
        mask = np.zeros((20, 20, 20), dtype=np.uint8)
        mask[5:15, 4:12, 6:13] = 1
        gland = Volume(mask, np.diag([2.0, 2.0, 2.0, 1.0]))
        apex, neck = np.array([18.0, 16.0, 9.0]), np.array([18.0, 16.0, 29.0])
        # Straight up: the ray runs back through the middle (z = 19) and leaves at the lower face of j = 4.
        assert posterior_of_mask(gland, apex, neck) == pytest.approx([18, 7, 19], abs=0.3)
        # Leaning forwards by 45 degrees: the ray rises as it runs back.
        leaning = posterior_of_mask(gland, np.array([18.0, 9.0, 12.0]), np.array([18.0, 19.0, 22.0]))
        assert leaning == pytest.approx([18, 7, 24], abs=0.4)
        assert posterior_of_mask(gland, apex + 100, neck + 100) is None

    def test_errors_of_prediction_and_of_the_mean_position(self):
        def at(k, visible=1.0):
            landmarks = np.zeros((3, 3), dtype=np.float32)
            landmarks[0, 0] = k
            return Example(np.zeros(1), np.zeros(1), landmarks, np.array([visible, 0, 0], dtype=np.float32))

        examples = [at(0), at(2), at(7), at(100, visible=0.0)]
        errors = radial_errors(np.zeros((4, 3, 3), dtype=np.float32), examples, 3.0)
        assert errors[:3, 0].tolist() == [0, 6, 21]
        assert np.isnan(errors[3, 0])
        assert np.isnan(errors[:, 1:]).all()
        # Leave-one-out means 4.5, 3.5, 1.
        assert mean_position_errors(examples, 3.0)[:3, 0].tolist() == [13.5, 4.5, 18.0]


class TestTrainer:
    def test_learns_a_batch(self):
        trainer = Trainer(TINY)
        batch = trainer.examples()
        losses = [trainer.step(batch) for _ in range(25)]
        assert np.mean(losses[-3:]) < 0.7 * losses[0]

    def test_a_resumed_run_equals_an_unbroken_one(self, tmp_path):
        unbroken = Trainer(TINY)
        for _ in range(5):
            unbroken.step()
        first = Trainer(TINY)
        for _ in range(3):
            first.step()
        first.save(tmp_path / "c.pt")
        second = Trainer(TINY)
        second.load(tmp_path / "c.pt")
        for _ in range(2):
            second.step()
        assert second.steps == 5
        for part in ("network", "averaged"):
            theirs = getattr(unbroken, part).state_dict()
            for name, value in getattr(second, part).state_dict().items():
                assert torch.equal(value, theirs[name]), f"{part}.{name}"

    def test_workers_change_nothing_but_the_time(self):
        alone, helped = Trainer(TINY), Trainer(TINY, workers=1)
        for _ in range(3):
            alone.step()
            helped.step()
        helped.close()
        for name, value in helped.network.state_dict().items():
            assert torch.equal(value, alone.network.state_dict()[name]), name

    @pytest.mark.skipif(os.name != "posix", reason="looks for processes the POSIX way")
    def test_a_killed_training_leaves_no_worker_behind(self, tmp_path):
        # A run with one worker that says who its worker is, and is killed.
        script = (
            "from test_training import TINY, Trainer\n"
            "if __name__ == '__main__':\n"
            "    trainer = Trainer(TINY, workers=1)\n"
            "    trainer.step()\n"
            "    print(*trainer._pool._processes, flush=True)\n"
            "    import time; time.sleep(120)\n"
        )
        (tmp_path / "run.py").write_text(script)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        run = subprocess.Popen(
            [sys.executable, str(tmp_path / "run.py")], stdout=subprocess.PIPE, text=True, env=environment
        )
        worker = int(run.stdout.readline())
        os.kill(worker, 0)
        run.kill()
        run.wait()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and _alive(worker):
            time.sleep(0.1)
        assert not _alive(worker)

    def test_every_step_brings_new_seeds_and_old_ones_mirrored(self):
        trainer = Trainer(TINY)
        names = []
        for _ in range(3):
            examples = trainer.examples()
            names.append([example.name.removeprefix("seed ") for example in examples])
            trainer.step(examples)
        start = TRAINING.start
        assert names[0] == [f"{start}", f"{start + 1}"]
        assert names[1] == [f"{start + 2}", f"{start + 3}", f"{start} mirrored", f"{start + 1} mirrored"]
        assert names[2][2:] == [f"{start + 2} mirrored", f"{start + 3} mirrored"]

    def test_the_rate_settles_and_cools_down_to_zero(self, tmp_path):
        config = replace(TINY, settle_steps=100, cooldown_start=300, cooldown_steps=100)
        assert config.rate(0) == TINY.learning_rate
        assert config.rate(300) == pytest.approx(TINY.learning_rate / 2)
        assert config.rate(350) == pytest.approx(0.5 * TINY.learning_rate / 4.5**0.5)
        assert config.rate(400) == config.rate(500) == 0
        short = replace(TINY, cooldown_start=1, cooldown_steps=2)
        assert train(short, tmp_path, minutes=5, log=lambda text: None, validation_cases=2).steps == 3

    def test_seeds_of_tests_are_never_trained_on(self):
        with pytest.raises(InputError, match="seeds"):
            Trainer(replace(TINY, first_seed=TEST.start))

    def test_an_unknown_modality_is_refused_and_writes_nothing(self, tmp_path):
        with pytest.raises(InputError, match="mr or us"):
            train(replace(TINY, modality="ct"), tmp_path / "run", minutes=0.01)
        assert not (tmp_path / "run").exists()

    def test_a_run_is_logged_goes_on_and_exports(self, tmp_path, monkeypatch):
        monkeypatch.delenv("LANDMARKFUSION_DATA", raising=False)
        lines: list[str] = []
        run, model = tmp_path / "run", tmp_path / "mr-tiny"
        train(TINY, run, minutes=0.01, log=lines.append, validation_cases=2)
        trainer = train(TINY, run, minutes=0.01, log=lines.append, validation_cases=2)
        assert any(line.startswith("continuing after") for line in lines)
        record = json.loads((run / "scores.jsonl").read_text().splitlines()[-1])
        assert record["steps"] == trainer.steps
        assert record["simulated"]["mre"] > 0
        best = torch.load(run / BEST, weights_only=True)
        errors = [json.loads(line)["simulated"]["mre"] for line in (run / "scores.jsonl").read_text().splitlines()]
        assert best["validation_mre"] == min(errors)
        ready = load_bundle(run / "mr-landmarks")
        assert ready.metadata["training"]["steps"] == best["steps"]
        metadata = export_run(run, model, "9.9.9", "Begun twice.")
        assert metadata["training"]["history"] == "Begun twice."
        assert metadata["training"]["cases"] == trainer.steps * TINY.batch
        bundle = load_bundle(model)
        assert bundle.title == "mr-tiny 9.9.9"
        assert bundle.grid == TINY.grid
        assert bundle.preprocessing == TINY.preprocessing
        for name, value in bundle.network.state_dict().items():
            assert torch.equal(value, trainer.averaged.state_dict()[name])

    @pytest.mark.parametrize("content", [None, b"torn"])
    def test_a_run_without_a_whole_checkpoint_is_not_exported(self, tmp_path, content):
        if content is not None:
            (tmp_path / CHECKPOINT).write_bytes(content)
        with pytest.raises(InputError, match="no finished training"):
            export_run(tmp_path, tmp_path / "model", "1.0.0")
        assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("modality", ["mr", "us"])
def test_the_shipped_network_learned_from_training_seeds_and_finds_unseen_glands(modality):
    bundle = load_bundle(assets.path("models", f"{modality}-landmarks"))
    assert max(bundle.metadata["training"]["seeds"]) < TRAINING.stop
    assert min(bundle.metadata["training"]["seeds"]) >= TRAINING.start
    examples = [simulated_example(seed, modality, bundle.grid, bundle.preprocessing) for seed in TEST[:60]]
    assert evaluate(bundle.network, examples, bundle.grid.spacing_mm).dice > 0.7


@pytest.mark.data
@pytest.mark.skipif(
    "LANDMARKFUSION_DATA" not in os.environ, reason="LANDMARKFUSION_DATA does not name the real images"
)
class TestDevelopmentCases:
    @pytest.mark.parametrize("modality", ["mr", "us"])
    def test_only_the_development_third_is_read(self, modality):
        data = Path(os.environ["LANDMARKFUSION_DATA"])
        examples = development_examples(data, modality, GRIDS[modality], Preprocessing())
        assert [int(example.name.removeprefix("case")) % 3 for example in examples] == [0] * 9
        assert sum(example.visible[0] for example in examples) == 6
        for example in examples:
            assert example.gland.sum() > 300
            assert BLADDER_NECK not in example.name

    def test_the_shipped_mr_network_finds_real_glands(self):
        bundle = load_bundle(assets.path("models", "mr-landmarks"))
        data = Path(os.environ["LANDMARKFUSION_DATA"])
        examples = development_examples(data, "mr", bundle.grid, bundle.preprocessing)
        scores = evaluate(bundle.network, examples, bundle.grid.spacing_mm)
        assert scores.mre < scores.baseline_mre
        assert scores.dice > 0.6
