"""The five methods of Table 1: their losses, what their outputs stand for, trainings, folders."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.bundle import METADATA, WEIGHTS
from LandmarkFusionLogic.landmarks.comparison import data as casedata
from LandmarkFusionLogic.landmarks.comparison import training as comparisontraining
from LandmarkFusionLogic.landmarks.comparison.bundle import export, export_all, load_bundle, predict
from LandmarkFusionLogic.landmarks.comparison.data import CaseArrays, batch_of, on_grid, prepared, shifted
from LandmarkFusionLogic.landmarks.comparison.methods import (
    METHODS,
    matching_loss,
    method_loss,
    method_of,
    new_network,
    normalized,
    peaks,
    positions,
)
from LandmarkFusionLogic.landmarks.comparison.training import ALL, Budget, Learner, radial_errors, train_all
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid
from LandmarkFusionLogic.simulation.case import simulate_image
from LandmarkFusionLogic.simulation.seeds import TEST, TRAINING, VALIDATION
from LandmarkFusionLogic.volume import Volume

TOY = Budget(widths=(8, 16), learning_rate=3e-3, check_every=10)
SPACING = 5.0
GRID = InputGrid(SPACING, (8, 8, 8))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy(count: int = 24, side: int = 8, seed: int = 0) -> CaseArrays:
    """One bright blob a case on a noisy ground; the three landmarks lie at fixed offsets from it."""
    generator = np.random.default_rng(seed)
    middle = generator.uniform(2.5, side - 3.5, size=(count, 3))
    index = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1)
    distance = np.linalg.norm(index - middle[:, None, None, None, :], axis=-1)
    images = 2 * np.exp(-0.5 * (distance / 1.2) ** 2) - 1 + generator.normal(0, 0.05, size=distance.shape)
    offsets = np.array([[-1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    landmarks = middle[:, None] + offsets
    return CaseArrays(images.astype(np.float32), landmarks.astype(np.float32), np.ones((count, 3), dtype=np.float32))


def numpy_loss(key: str, modality: str, raw: np.ndarray, true: np.ndarray, visible: np.ndarray) -> float:
    """Fang's equations and Payer's loss written out with loops, in mm."""
    weight = {"variance": {"mr": 5e-4, "us": 2e-3}, "distance": {"mr": 5e-3, "us": 1e-2}}
    terms = []
    for b, landmark in np.ndindex(raw.shape[:2]):
        if not visible[b, landmark]:
            continue
        g = true[b, landmark] * SPACING
        if key == "direct":
            p, h, v = raw[b, landmark] * SPACING, None, None
        else:
            v = np.argwhere(np.ones(raw.shape[2:])) * SPACING
            values = raw[b, landmark].ravel()
            if key == "heatmap":
                target = np.exp(-0.5 * ((np.linalg.norm(v - g, axis=1)) / 7.5) ** 2)
                terms.append(((values - target) ** 2).sum())
                continue
            h = np.exp(values) / np.exp(values).sum()
            p = (h[:, None] * v).sum(axis=0)  # eq. 1
        term = np.abs(p - g).sum() + np.sqrt(((p - g) ** 2).sum())  # eq. 2, λ1 = 1
        if key == "variance":
            term += weight[key][modality] * (h * ((v - p) ** 2).sum(axis=1)).sum()  # eq. 4
        if key == "distance":
            term += weight[key][modality] * (h * np.linalg.norm(v - g, axis=1)).sum()  # eq. 5
        terms.append(term)
    return float(np.mean(terms))


@pytest.mark.parametrize("modality", ["mr", "us"])
@pytest.mark.parametrize("key", list(METHODS))
def test_losses_are_those_of_the_papers(key, modality):
    generator = np.random.default_rng(5)
    raw = generator.normal(size=(2, 3, 3) if key == "direct" else (2, 3, 4, 5, 6))
    true = generator.uniform(0, 4, size=(2, 3, 3))
    visible = np.array([[1.0, 1, 0], [1, 1, 1]])
    loss = method_loss(METHODS[key], modality, *(torch.from_numpy(part) for part in (raw, true, visible)), SPACING)
    assert float(loss) == pytest.approx(numpy_loss(key, modality, raw, true, visible), rel=1e-5)


def test_a_heatmap_that_matches_costs_nothing_and_its_peak_is_the_landmark():
    true = torch.tensor([[[3.3, 4.7, 5.1], [2.0, 6.4, 3.5]]], dtype=torch.float64)
    index = torch.stack(torch.meshgrid(*[torch.arange(10.0, dtype=torch.float64)] * 3, indexing="ij"), dim=-1)
    away = torch.linalg.norm(index - true[0, :, None, None, None, :], dim=-1)
    raw = torch.exp(-0.5 * (away / 1.5) ** 2)[None]
    assert float(matching_loss(raw, true, 1.5).max()) == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(peaks(raw), true, atol=0.01)
    assert float(matching_loss(raw * 0.5, true, 1.5)[0, 0]) == pytest.approx(float((raw[0, 0] ** 2).sum() / 4))


def test_a_peak_at_the_border_or_of_a_flat_heatmap_stays_on_its_voxel():
    raw = torch.zeros(1, 2, 4, 4, 4)
    raw[0, 0, 0, 3, 2] = 1.0
    np.testing.assert_array_equal(peaks(raw)[0], [[0, 3, 2], [0, 0, 0]])


def test_positions_of_dsnt_are_expectations():
    raw = torch.full((1, 1, 2, 2, 2), -50.0)
    raw[0, 0, 0, 0, 0] = raw[0, 0, 1, 1, 0] = 3.0
    np.testing.assert_allclose(positions(METHODS["baseline"], raw), [[[0.5, 0.5, 0.0]]], atol=1e-6)
    assert float(normalized(raw).sum()) == pytest.approx(1.0)


def test_an_untrained_dense_head_answers_near_the_middle_of_the_grid():
    network = new_network("direct", (8, 8, 16), (4, 8), normalize=False)
    answer = network(torch.zeros(1, 1, 8, 8, 16))
    assert answer.shape == (1, 3, 3)
    np.testing.assert_allclose(answer.detach()[0], np.tile([3.5, 3.5, 7.5], (3, 1)), atol=2.0)


def test_the_unet_answers_on_the_grid_of_its_input():
    for normalize in (False, True):
        network = new_network("variance", (8, 16, 24), (4, 8, 8), normalize)
        assert network(torch.zeros(2, 1, 8, 16, 24)).shape == (2, 3, 8, 16, 24)
        kinds = {type(module).__name__ for module in network.modules()}
        assert ("InstanceNorm3d" in kinds) == normalize
        slopes = {m.negative_slope for m in network.modules() if isinstance(m, torch.nn.LeakyReLU)}
        assert slopes == {0.2}


def test_an_unknown_method_or_modality_is_refused():
    with pytest.raises(InputError, match="no method “magic”"):
        method_of("magic")
    with pytest.raises(InputError, match="give mr or us"):
        Learner("direct", "ct", toy(), toy(), GRID, TOY)


@pytest.mark.parametrize("key", list(METHODS))
def test_every_method_learns_a_toy(key):
    training, unseen = toy(64), toy(16, seed=1)
    learner = Learner(key, "mr", training, unseen, GRID, TOY)
    at_first = learner.check()
    for _ in range(100):
        learner.step()
    constant = np.linalg.norm(unseen.landmarks - training.landmarks.mean(axis=0), axis=-1).mean() * SPACING
    at_last = learner.check()
    assert at_last < 0.6 * constant
    assert at_last < at_first
    assert learner.best["mre"] == at_last


def test_hidden_landmarks_teach_nothing_and_count_for_nothing():
    cases = toy()
    wrong = cases.landmarks.copy()
    wrong[:, 2] += 1000
    hidden = cases.visible.copy()
    hidden[:, 2] = 0
    learner = Learner("baseline", "us", replace(cases, landmarks=wrong, visible=hidden), cases, GRID, TOY)
    assert learner.step() < 100
    errors = radial_errors(learner, replace(cases, visible=hidden))
    assert np.isnan(errors[:, 2]).all()
    assert np.isfinite(errors[:, :2]).all()


def test_a_resumed_training_is_the_unbroken_one(tmp_path):
    def learner() -> Learner:
        return Learner("distance", "mr", toy(), toy(8, seed=1), GRID, TOY)

    unbroken = learner()
    unbroken.advance(30, log=lambda text: None)
    first = learner()
    first.advance(20, log=lambda text: None)
    first.save(tmp_path)
    second = learner()
    assert second.load(tmp_path)
    second.advance(30, log=lambda text: None)
    assert second.steps == 30
    assert second.history == unbroken.history
    assert second.best["mre"] == unbroken.best["mre"]
    for name, value in unbroken.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_nothing_saved_is_no_resume_and_another_budget_is_refused(tmp_path):
    learner = Learner("direct", "mr", toy(), toy(), GRID, TOY)
    assert not learner.load(tmp_path)
    learner.save(tmp_path)
    other = Learner("direct", "mr", toy(), toy(), GRID, replace(TOY, batch=2))
    with pytest.raises(InputError, match="another budget"):
        other.load(tmp_path)


def test_batches_show_every_case_once_an_epoch_mirrored_or_shifted():
    cases = toy(8)
    # A landmark moves with its image: the brightest voxel stays beside the blob's middle.
    for step in range(6):
        batch = batch_of(cases, step, 4, seed=3)
        np.testing.assert_array_equal(batch.images, batch_of(cases, step, 4, seed=3).images)
        middle = (batch.landmarks[:, 0] + batch.landmarks[:, 1]) / 2
        for image, place in zip(batch.images, middle, strict=True):
            if np.all((place >= 0.5) & (place <= 6.5)):
                brightest = np.array(np.unravel_index(image.argmax(), image.shape))
                assert np.abs(brightest - place).max() < 1.0
    marked = replace(cases, visible=np.arange(24, dtype=np.float32).reshape(8, 3) + 1)
    seen = np.concatenate([batch_of(marked, step, 4, 0, max_shift=0).visible[:, 0] for step in (2, 3)])
    assert sorted(seen) == sorted(marked.visible[:, 0])


def test_a_coarser_grid_covers_the_same_space():
    cases = toy(2, side=12)
    fewer = on_grid(cases, (8, 8, 8))
    assert fewer.images.shape == (2, 8, 8, 8)
    # The middle of the grid stays the middle, and millimetres stay millimetres.
    middle, coarser = 5.5, 3.5
    np.testing.assert_allclose((fewer.landmarks - coarser) * 7.5, (cases.landmarks - middle) * 5.0, atol=1e-4)
    ramp = np.broadcast_to(np.arange(12, dtype=np.float32), (1, 12, 12, 12)).copy()
    at = on_grid(CaseArrays(ramp, cases.landmarks[:1], cases.visible[:1]), (8, 8, 8)).images[0, 0, 0]
    np.testing.assert_allclose((at - middle) * 5.0, (np.arange(8) - coarser) * 7.5, atol=1e-4)


def test_what_is_shifted_in_is_outside():
    image = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    np.testing.assert_array_equal(shifted(image, np.array([1, 0, -1])), [[[-1, -1], [-1, -1]], [[1, -1], [3, -1]]])
    np.testing.assert_array_equal(shifted(image, np.array([0, 0, 0])), image)


def test_a_landmark_shifted_out_of_the_grid_does_not_count():
    cases = toy(4)
    at_edge = replace(cases, landmarks=np.full_like(cases.landmarks, 7.4))
    batch = batch_of(at_edge, 0, 4, seed=0)
    outside = np.any((batch.landmarks < -0.5) | (batch.landmarks > 7.5), axis=-1)
    assert outside.any()
    np.testing.assert_array_equal(batch.visible == 0, outside)


def test_cases_are_made_once_from_their_own_seeds(tmp_path):
    grid = InputGrid(15.0, (8, 8, 8))
    said: list[str] = []
    training, validation = prepared("us", tmp_path, said.append, 2, 1, grid)
    assert training.images.shape == (2, 8, 8, 8)
    assert validation.images.shape == (1, 8, 8, 8)
    again, _ = prepared("us", tmp_path, said.append, 2, 1, grid)
    np.testing.assert_array_equal(again.images, training.images)
    assert len(said) == 1
    # Other wishes are no reason to take what is there.
    more, _ = prepared("us", tmp_path, said.append, 3, 1, grid)
    assert len(more) == 3
    np.testing.assert_array_equal(more.images[:2], training.images)
    seeds = {*TRAINING[: casedata.TRAINING_CASES]}
    assert not seeds & {*VALIDATION}
    assert not seeds & {*TEST}
    assert not {*VALIDATION[: casedata.VALIDATION_CASES]} & {*TEST}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A run of all ten on a toy, 20 steps each, in which every second call found its time used up."""
    sets = (toy(8), toy(4, seed=1))
    monkeypatch.setattr(comparisontraining, "prepared", lambda modality, folder, log: sets)
    monkeypatch.setattr(comparisontraining, "GRID", GRID)
    budget = replace(TOY, widths=(4, 8))
    said: list[str] = []
    assert not train_all(tmp_path, 20, minutes=0.0, budget=budget, round_steps=10, log=said.append)
    assert "time is up" in said[-1]
    assert train_all(tmp_path, 20, budget=budget, round_steps=10, log=said.append)
    # In rounds: all ten have their first ten steps before any has more.
    steps = [int(line.split("step ")[1].split(",")[0]) for line in said if "validation MRE" in line]
    assert steps == [10] * 10 + [20] * 10
    return tmp_path


def test_ten_networks_train_in_rounds_and_become_folders(trained, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="multiple of 10"):
        train_all(trained, 15, budget=TOY)
    models = tmp_path / "models"
    export_all(trained, models)
    assert sorted(folder.name for folder in models.iterdir()) == sorted(f"{m}-{k}" for m, k in ALL)
    metadata = json.loads((models / "us-variance" / METADATA).read_text(encoding="utf-8"))
    assert metadata["training"]["steps"] == 20
    assert metadata["training"]["loss"] == {"unit of coordinates": "mm", "lambda_1": 1.0, "lambda_2": 2e-3}
    assert metadata["evaluation"]["best_step"] in (10, 20)
    with pytest.raises(InputError, match="no training of mr-direct"):
        export(tmp_path / "nowhere", "mr-direct", models / "x")


def test_a_folder_is_checked_before_it_is_used(trained, tmp_path):
    folder = tmp_path / "mr-baseline-copy"
    export(trained, "mr-baseline", folder)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes() + b"x")
    with pytest.raises(InputError, match="damaged"):
        load_bundle(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match="not complete"):
        load_bundle(folder)


def test_networks_with_unequal_budgets_are_not_exported(trained, tmp_path):
    sets = (toy(8), toy(4, seed=1))
    ahead = Learner("direct", "mr", *sets, GRID, replace(TOY, widths=(4, 8)))
    assert ahead.load(trained)
    ahead.advance(30, log=lambda text: None)
    ahead.save(trained)
    with pytest.raises(InputError, match="different budgets"):
        export_all(trained, tmp_path / "models")


@pytest.mark.parametrize("modality", ["mr", "us"])
def test_the_shipped_networks_answer_in_the_patients_world(modality):
    case = simulate_image(TEST[3], modality, 2.0)
    true = np.stack([point.position for point in case.landmarks])
    moved = Volume(case.image.array, case.image.ijk_to_ras.copy())
    moved.ijk_to_ras[:3, 3] += [100.0, -50.0, 30.0]
    for key in METHODS:
        bundle = load_bundle(assets.path("models", "comparison", f"{modality}-{key}"))
        assert (bundle.modality, bundle.method.key) == (modality, key)
        found = predict(case.image, bundle)
        assert np.linalg.norm(found - true, axis=1).mean() < 30
        np.testing.assert_allclose(predict(moved, bundle), found + [100.0, -50.0, 30.0], atol=0.01)
        # Looking elsewhere gives another picture, yet the answer stays in the same world.
        aside = predict(case.image, bundle, case.image.centre + [4.0, 0.0, 0.0])
        assert np.linalg.norm(aside - found, axis=1).max() < 25
