"""An X-ray is degraded as it says, part by part, and the same way for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.simulation.xray import PARTS, Degradation, collimator, degrade, draw_degradation

EDGES = np.kron(np.array([[1.0, 3.0, 2.0], [2.5, 0.5, 4.0]]), np.ones((24, 24))).astype(np.float32)
RAMP = np.tile(np.linspace(0.5, 4.0, 64, dtype=np.float32), (48, 1))


def test_the_same_seed_gives_the_same_xray():
    np.testing.assert_array_equal(degrade(RAMP, 3), degrade(RAMP, 3))
    assert not np.array_equal(degrade(RAMP, 3), degrade(RAMP, 4))
    assert degrade(RAMP, 3).dtype == np.float32
    assert all(np.isfinite(degrade(RAMP, seed)).all() for seed in range(20))


def test_nothing_asked_for_changes_nothing():
    np.testing.assert_allclose(degrade(RAMP, 1, Degradation()), RAMP, rtol=1e-6)
    np.testing.assert_allclose(degrade(RAMP, 1, parts=()), RAMP, rtol=1e-6)


def test_noise_is_that_of_counted_photons():
    flat = np.full((200, 200), 2.0, dtype=np.float32)
    noisy = degrade(flat, 1, Degradation(photons=1e4))
    assert noisy.std() == pytest.approx(np.sqrt(np.exp(2) / 1e4), rel=0.05)
    assert noisy.mean() == pytest.approx(2.0, abs=0.01)


def test_scatter_takes_contrast_and_hits_dense_parts_most():
    step = np.full((64, 64), 1.0, dtype=np.float32)
    step[:, 32:] = 4.0
    hazy = degrade(step, 1, Degradation(scatter=0.3, scatter_width=0.3))
    assert 1.0 < np.ptp(hazy) < 0.95 * 3.0
    assert (step - hazy)[:, 40:].mean() > 2 * (step - hazy)[:, :24].mean() > 0


def test_gamma_and_saturation_keep_the_order_of_gray_levels():
    levels = degrade(RAMP, 1, Degradation(gamma=1.4, saturated=0.05))[0]
    assert (np.diff(levels) >= 0).all()
    assert (np.diff(levels) == 0).sum() >= 4  # The ends can no longer be told apart.
    assert levels[len(levels) // 2] < levels.mean() + 0.1
    assert levels.min() > RAMP.min()
    assert levels.max() < RAMP.max()


def test_shutters_hide_what_they_say():
    settings = Degradation(collimated=(0.25, 0.0, 0.125, 0.0))
    hidden = degrade(RAMP + 1, 1, settings)
    inside = collimator(RAMP.shape, settings)
    assert inside[12:, 8:].all()
    assert inside.sum() == 36 * 56
    assert (hidden[~inside] == hidden[inside].min()).all()


def test_instruments_only_darken_the_film():
    metal = degrade(RAMP, 5, Degradation(instruments=2, metal=3.0))
    added = metal - RAMP
    assert added.min() > -1e-5
    assert 0.2 < added.max() < 6.01
    assert 0.001 < (added > 0.2).mean() < 0.5


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_drawn_now_and_then(part):
    textured = EDGES + np.random.default_rng(1).normal(0, 0.1, EDGES.shape).astype(np.float32)
    images = [degrade(textured, seed, parts=(part,)) for seed in range(12)]
    assert any(np.abs(image - textured).max() > 0.02 for image in images)


def test_bad_images_and_parts_are_told():
    with pytest.raises(InputError, match="two dimensions"):
        degrade(np.zeros((4, 4, 4), dtype=np.float32), 1)
    with pytest.raises(InputError, match="finite"):
        degrade(np.full((4, 4), np.nan, dtype=np.float32), 1)
    with pytest.raises(InputError, match="“motion”"):
        degrade(RAMP, 1, parts=("motion",))


def test_strength_zero_is_a_clean_image():
    np.testing.assert_allclose(degrade(RAMP, 1, draw_degradation(1, 0.0)), RAMP, atol=2e-3)
