"""The classifier that warns when MR and ultrasound are swapped."""

import os
from pathlib import Path

import numpy as np
import pytest

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.modality import (
    ModalityClassifier,
    features,
    load_classifier,
    probability_us,
    save_classifier,
    swap_warning,
)
from LandmarkFusionLogic.landmarks.preprocessing import Preprocessing
from LandmarkFusionLogic.landmarks.trainingdata import GRIDS, development_examples
from LandmarkFusionLogic.simulation.case import simulate_image
from LandmarkFusionLogic.simulation.seeds import TEST
from LandmarkFusionLogic.volume import Volume


def test_tells_unseen_simulated_images_apart():
    right = 0
    for seed in TEST[150:175]:
        for modality, is_us in (("mr", False), ("us", True)):
            right += (probability_us(simulate_image(seed, modality, 2.5).image) > 0.5) == is_us
    assert right >= 47


def test_warns_of_swapped_images_and_only_then():
    swapped, straight = [], []
    for seed in TEST[150:170]:
        for modality, other in (("mr", "us"), ("us", "mr")):
            image = simulate_image(seed, modality, 2.5).image
            swapped.append(swap_warning(image, other))
            straight.append(swap_warning(image, modality))
    assert sum(text is not None for text in swapped) >= 34
    assert sum(text is not None for text in straight) <= 1
    text = next(text for text in swapped if text)
    assert "swapped" in text
    assert text.endswith(".")


def test_left_and_right_do_not_matter():
    image = simulate_image(3, "us", 2.5).image
    flipped = Volume(image.array, np.diag([-1.0, 1.0, 1.0, 1.0]) @ image.ijk_to_ras)
    assert features(flipped) == pytest.approx(features(image), abs=1e-4)


@pytest.mark.parametrize("value", [5.0, np.nan])
def test_a_volume_that_shows_nothing_is_refused(value):
    with pytest.raises(InputError, match="grey value"):
        features(Volume(np.full((30, 30, 30), value, dtype=np.float32), np.diag([2.0, 2.0, 2.0, 1.0])))


def test_two_layers_by_hand():
    classifier = ModalityClassifier(
        np.array([1.0, 0.0]), np.array([2.0, 1.0]), np.array([[1.0], [-1.0]]), np.array([0.5]), np.array([2.0]), -1.0
    )
    # ((3 - 1) / 2) - 1 + 0.5 = 0.5, twice that less one is zero: undecided.
    assert classifier.probability_us(np.array([[3.0, 1.0]]))[0] == pytest.approx(0.5)


def test_is_stored_and_read_back(tmp_path):
    shipped = load_classifier(assets.path("models", "modality"))
    save_classifier(shipped, tmp_path, {"name": "modality"})
    again = load_classifier(tmp_path)
    assert np.array_equal(again.hidden, shipped.hidden)
    assert again.output_bias == shipped.output_bias


@pytest.mark.parametrize("content", [None, "{", '{"mean": [1]}'])
def test_a_damaged_classifier_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "model.json").write_text(content)
    with pytest.raises(InputError, match="damaged"):
        load_classifier(tmp_path)


@pytest.mark.data
@pytest.mark.skipif(
    "LANDMARKFUSION_DATA" not in os.environ, reason="LANDMARKFUSION_DATA does not name the real images"
)
@pytest.mark.parametrize("modality", ["mr", "us"])
def test_is_right_about_real_images(modality):
    data = Path(os.environ["LANDMARKFUSION_DATA"])
    for example in development_examples(data, modality, GRIDS[modality], Preprocessing()):
        # The network's input is itself a volume: coarse, but what the classifier looks at is coarser.
        volume = Volume(example.image, np.diag([3.0, 3.0, 3.0, 1.0]))
        assert (probability_us(volume) > 0.5) == (modality == "us"), example.name
