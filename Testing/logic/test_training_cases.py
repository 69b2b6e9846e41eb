"""Folders of training cases, random poses of a case, and fine-tuning on them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.datasets import manifest
from LandmarkFusionLogic.datasets.cases import ImageCase
from LandmarkFusionLogic.datasets.manifest import StoredImage
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.augmentation import CROP, Augmentation, augmented, gland_centre
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.export import export_run
from LandmarkFusionLogic.landmarks.losses import mask_loss
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing
from LandmarkFusionLogic.landmarks.trainer import Trainer
from LandmarkFusionLogic.landmarks.training import CHECKPOINT
from LandmarkFusionLogic.landmarks.trainingconfig import TrainingConfig, held_out_cases, read_config, training_cases
from LandmarkFusionLogic.landmarks.trainingdata import make_example
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, Landmark
from LandmarkFusionLogic.volume import Volume

GRID = InputGrid(6.0, (16, 16, 16))


def an_image(seed=0, shift=0.0):
    """A bright ball in noise, 60 mm wide, with its mask and two landmarks on its surface."""
    generator = np.random.default_rng(seed)
    k, j, i = np.mgrid[:30, :30, :30] * 2.0
    ball = ((k - 30) ** 2 + (j - 30) ** 2 + (i - 30 - shift) ** 2) < 15**2
    array = (ball + generator.normal(0, 0.05, ball.shape)).astype(np.float32)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    points = {APEX: np.array([30.0 + shift, 30.0, 15.0]), BLADDER_NECK: np.array([30.0 + shift, 30.0, 45.0])}
    return Volume(array, affine), Volume(ball.astype(np.uint8), affine), points


def a_folder(tmp_path, count=4):
    folder = tmp_path / "cases"
    for number in range(count):
        image, gland, points = an_image(number, shift=2.0 * number)
        marks = [Landmark(name, point) for name, point in points.items()]
        manifest.write_case(folder, {"mr": StoredImage(image, marks, gland if number else None)})
    return folder


class TestManifest:
    def test_a_case_comes_back_as_it_was(self, tmp_path):
        folder = a_folder(tmp_path)
        image, gland, points = an_image(1, shift=2.0)
        back = manifest.image_cases(folder, "mr")
        assert [case.name for case in back] == ["case-0001", "case-0002", "case-0003", "case-0004"]
        assert manifest.count(folder) == 4
        np.testing.assert_array_equal(back[1].image.array, image.array)
        np.testing.assert_array_equal(back[1].gland.array, gland.array)
        np.testing.assert_allclose(back[1].positions[APEX], points[APEX], atol=1e-6)
        assert back[0].gland is None
        assert manifest.image_cases(folder, "us") == []

    def test_a_case_that_is_kept_again_is_the_same_patient(self, tmp_path):
        folder = a_folder(tmp_path, 2)
        image, _, points = an_image(0)
        again = [Landmark(name, point + 3.0) for name, point in points.items()]
        manifest.write_case(folder, {"mr": StoredImage(image, again)})
        patients = [case.patient for case in manifest.image_cases(folder, "mr")]
        assert patients == ["case-0001", "case-0002", "case-0001"]

    def test_nothing_of_the_patient_is_written(self, tmp_path):
        folder = a_folder(tmp_path, 1)
        text = (folder / "cases.json").read_text() + (folder / "case-0001/mr-landmarks.mrk.json").read_text()
        assert str(tmp_path) not in text
        header = (folder / "case-0001/mr.nrrd").read_bytes()[:800]
        assert b"patient" not in header.lower()

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda data: data.update(format="x"), "not a list of training cases"),
            (lambda data: data.update(version=9), "another version"),
            (lambda data: data["cases"].append(dict(data["cases"][0])), "name of its own"),
            (lambda data: data["cases"][0]["mr"].pop("image"), "has no image"),
            (lambda data: data["cases"][0]["mr"].update(image="../mr.nrrd"), "outside the folder"),
            (lambda data: data["cases"][0]["mr"].update(image="gone.nrrd"), "gone.nrrd"),
            (lambda data: data["cases"][0]["mr"].update(weight=1), "unknown entry"),
            (lambda data: data["cases"][0]["mr"].update(landmarks=None), "neither landmarks nor a gland mask"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path, change, sentence):
        folder = a_folder(tmp_path, 1)
        path = folder / "cases.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
        with pytest.raises(InputError, match=sentence):
            manifest.image_cases(folder, "mr")

    def test_folders_without_a_manifest(self, tmp_path):
        assert manifest.count(tmp_path) == 0
        with pytest.raises(InputError, match="no training cases"):
            manifest.image_cases(tmp_path, "mr")
        (tmp_path / "cases.json").write_text("{")
        with pytest.raises(InputError, match="not valid JSON"):
            manifest.count(tmp_path)

    def test_nothing_to_learn_is_refused_and_changes_nothing(self, tmp_path):
        image, _, _ = an_image()
        with pytest.raises(InputError, match="nothing to keep"):
            manifest.write_case(tmp_path / "new", {"mr": StoredImage(image)})
        with pytest.raises(InputError, match="needs an MR or a US"):
            manifest.write_case(tmp_path / "new", {})
        assert not (tmp_path / "new").exists()
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="can be written"):
            manifest.write_case(tmp_path / "file", {"mr": StoredImage(image, [Landmark(APEX, np.zeros(3))])})


class TestAugmentation:
    def test_truth_moves_with_the_image(self):
        image, gland, points = an_image()
        case = ImageCase("a", "a", "mr", image, gland, points)
        for draw in range(8):
            generator = np.random.default_rng(draw)
            example = augmented(case, GRID, Preprocessing(), Augmentation(), generator)
            centroid = np.argwhere(example.gland > 0.5).mean(axis=0)
            # The two landmarks lie on opposite sides of the ball: their middle is its centre.
            assert np.linalg.norm(example.landmarks[:2].mean(axis=0) - centroid) < 0.5
            bright = np.argwhere(example.image > 0.3).mean(axis=0)
            assert np.linalg.norm(bright - centroid) < 0.8
            radius = np.linalg.norm(example.landmarks[0] - centroid) * GRID.spacing_mm
            assert 15 / 1.2 < radius < 15 * 1.2
            assert example.visible.tolist() == [1, 1, 0]

    def test_rotations_reach_45_degrees_and_mirrors_occur(self):
        image, gland, points = an_image()
        case = ImageCase("a", "a", "mr", image, gland, points)
        ranges = Augmentation(wide=1.0, appearance=0.0, scale=0.0, shift_mm=0.0)
        angles = []
        for draw in range(30):
            example = augmented(case, GRID, Preprocessing(), ranges, np.random.default_rng(draw))
            axis = example.landmarks[1] - example.landmarks[0]
            angles.append(np.degrees(np.arccos(axis[0] / np.linalg.norm(axis))))
        assert 25 < max(angles) <= 45.01
        assert min(angles) < 15

    def test_a_crop_lies_around_the_gland(self):
        image, gland, points = an_image(shift=10.0)
        case = ImageCase("a", "a", "mr", image, gland, points)
        np.testing.assert_allclose(gland_centre(case), [40.0, 30.0, 30.0], atol=0.5)
        still = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        example = augmented(case, GRID, Preprocessing(), still, np.random.default_rng(0), CROP)
        np.testing.assert_allclose(np.argwhere(example.gland > 0.5).mean(axis=0), [7.5] * 3, atol=0.3)
        assert np.allclose(gland_centre(replace(case, gland=None)), [40.0, 30.0, 30.0])

    def test_without_a_mask_the_mask_says_nothing(self):
        image, _, points = an_image()
        example = make_example(image, None, points, GRID, Preprocessing())
        assert not example.gland_known
        logits = torch.randn(2, 1, 4, 4, 4)
        gland = torch.zeros(2, 1, 4, 4, 4)
        alone = mask_loss(logits[:1], gland[:1])
        assert torch.isclose(mask_loss(logits, gland, torch.tensor([1.0, 0.0])), alone)
        assert mask_loss(logits, gland, torch.zeros(2)) == 0


class TestFineTuning:
    def config(self, folder, **changes):
        return TrainingConfig(
            "mr",
            network={"landmarks": 3, "widths": [4, 8, 8]},
            grid=GRID,
            batch=0,
            cases=str(folder),
            cases_batch=2,
            learning_rate=5e-3,
            average=0.9,
            **changes,
        )

    def test_it_learns_from_the_cases_alone(self, tmp_path):
        trainer = Trainer(self.config(a_folder(tmp_path)))
        losses = [trainer.step() for _ in range(40)]
        assert np.mean(losses[-8:]) < 0.75 * np.mean(losses[:8])

    def test_left_out_cases_are_not_trained_on(self, tmp_path):
        config = self.config(a_folder(tmp_path), leave_out=("case-0002",))
        assert [case.name for case in held_out_cases(config)] == ["case-0002"]
        assert [case.name for case in training_cases(config)] == ["case-0001", "case-0003", "case-0004"]
        trainer = Trainer(config)
        seen = set()
        for trainer.steps in range(6):
            seen |= {example.name for example in trainer.examples()}
        assert seen == {"case-0001", "case-0003", "case-0004"}

    def test_it_begins_with_the_given_network(self):
        start = str(assets.path("models", "mr-landmarks"))
        trainer = Trainer(TrainingConfig("mr", start=start))
        example = make_example(*an_image(), trainer.config.input_grid, Preprocessing())
        with torch.inference_mode():
            ours = trainer.network(torch.from_numpy(example.image)[None, None]).heatmaps
        assert float(ours.max()) > 20 / ours[0, 0].numel(), "weights that have learned give peaks"
        with pytest.raises(InputError, match="cannot be trained on"):
            Trainer(TrainingConfig("us", start=start))

    def test_weights_can_be_blended_with_those_it_began_with(self, tmp_path):
        start = assets.path("models", "mr-landmarks")
        trainer = Trainer(TrainingConfig("mr", start=str(start), batch=0, cases=str(a_folder(tmp_path)), average=0.0))
        trainer.step()
        trainer.save(tmp_path / CHECKPOINT)
        export_run(tmp_path, tmp_path / "model", "1.0.0", share=0.25)
        name = "head.bias"
        before, after = load_bundle(start).network.state_dict()[name], trainer.averaged.state_dict()[name]
        blended = load_bundle(tmp_path / "model").network.state_dict()[name]
        assert not torch.equal(before, after)
        assert torch.allclose(blended, 0.25 * after + 0.75 * before)
        with pytest.raises(InputError, match="share of 0 to 1"):
            export_run(tmp_path, tmp_path / "other", "1.0.0", share=1.5)

    def test_a_configuration_is_checked(self, tmp_path):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"modality": "us", "stage": "crop", "leave_out": ["a"], "batch": 3}))
        config = read_config(path)
        assert (config.stage, config.leave_out, config.input_grid.spacing_mm) == ("crop", ("a",), 2.0)
        for text, sentence in (
            ('{"modality": "ct"}', "give mr or us"),
            ('{"modality": "mr", "stage": "x"}', "give whole or crop"),
            ('{"modality": "mr", "epochs": 3}', "no field"),
            ('{"modality": "mr", "batch": 0}', "Nothing to learn from"),
            ('{"modality": "mr", "first_seed": 5}', "Training seeds begin"),
            ("{", "not valid JSON"),
        ):
            path.write_text(text)
            with pytest.raises(InputError, match=sentence):
                read_config(path)
        with pytest.raises(InputError, match="cannot be read"):
            read_config(tmp_path / "none.json")
