"""Confidence, coverage and their calibration on evidence whose truth is known."""

import numpy as np
import pytest
import samples

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.calibration import (
    Sample,
    expected,
    fit_calibration,
    fit_discrepancy,
    inside,
    radial,
)
from LandmarkFusionLogic.gland import gland_of_mask
from LandmarkFusionLogic.landmarks.confidence import Calibration, Evidence, ask_first, covariances
from LandmarkFusionLogic.landmarks.coverage import coverage
from LandmarkFusionLogic.points import LANDMARK_NAMES
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume


def _samples(count, seed, scale=0.5, floor=1.5, doubt=0.6):
    """Errors drawn from what the calibration claims; some cases with a large difference between the stages."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        within = []
        for _ in range(3):
            axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            within.append(axes @ np.diag(rng.uniform(2, 6, 3) ** 2) @ axes.T)
        stages = rng.uniform(0, 3, 3) if number % 4 else rng.uniform(10, 40, 3)
        evidence = Evidence(np.stack(within), np.zeros((3, 3, 3)), {"stages": stages, "networks": stages})
        truth = Calibration(np.full(3, scale), np.full(3, floor), {"stages": np.full(3, doubt)})
        errors = np.stack([rng.multivariate_normal(np.zeros(3), c) for c in covariances(evidence, truth)])
        found.append(Sample(str(number), "mr", "as they come", True, evidence, errors, rng.normal(size=3) * 2.0))
    return found


def test_the_fit_finds_what_the_errors_were_drawn_from():
    calibration = fit_calibration(_samples(400, 0))
    unseen = _samples(400, 1)
    assert inside(unseen, calibration).mean() == pytest.approx(0.95, abs=0.02)
    truth = Calibration(np.full(3, 0.5), np.full(3, 1.5), {"stages": np.full(3, 0.6)})
    ratio = expected(unseen, calibration) / expected(unseen, truth)
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    assert calibration.gland_mm == pytest.approx(2, abs=0.3)
    # Without it the ellipsoids are far off: the fit has something to do.
    assert inside(unseen, Calibration.none(3)).mean() < 0.9


def test_a_landmark_with_larger_errors_has_a_factor_of_its_own():
    seen = _samples(300, 7)
    for sample in seen:
        sample.errors[2] *= 2.5
    together, own = fit_calibration(seen, shared=True), fit_calibration(seen)
    assert len(set(together.scale)) == 1
    assert own.scale[2] > 1.8 * own.scale[0]
    # With one factor for all, the ellipsoids of the others are too wide.
    shares = [inside(_samples(300, 8), each)[:, 0].mean() for each in (together, own)]
    assert shares[0] > 0.975
    assert 0.88 < shares[1] < 0.97


def test_a_calibration_survives_its_metadata():
    calibration = fit_calibration(_samples(60, 2))
    again = Calibration.from_metadata(calibration.to_metadata(), 3)
    for sample in _samples(5, 3):
        np.testing.assert_allclose(
            covariances(sample.evidence, again), covariances(sample.evidence, calibration), rtol=0.01
        )


def test_few_right_landmarks_are_said_to_be_disputed():
    seen = _samples(200, 4)
    limit = fit_discrepancy(seen)
    between = np.stack([sample.evidence.checks["networks"] for sample in seen])
    assert (between[radial(seen) <= 10] > limit).mean() == pytest.approx(0.05, abs=0.01)
    assert fit_discrepancy([]) is None


def test_unknown_truth_is_left_out():
    seen = _samples(100, 5)
    hidden = [
        Sample(s.case, s.modality, s.title, True, s.evidence, np.where([[True], [False], [False]], np.nan, s.errors),
               s.gland_error) if n % 3 else s
        for n, s in enumerate(seen)
    ]  # fmt: skip
    calibration = fit_calibration(hidden)
    assert np.isfinite(calibration.scale).all()
    assert inside(_samples(300, 6), calibration).mean() > 0.9


def test_the_least_certain_is_asked_first():
    sure, doubtful, worst = LANDMARK_NAMES
    assert ask_first(LANDMARK_NAMES, np.array([3.0, 8.0, 11.0]), {}, None) == (worst, doubtful)
    assert ask_first(LANDMARK_NAMES, np.array([3.0, 4.0, 2.0]), {sure: 20.0, worst: 5.0}, 12.0) == (sure,)
    assert ask_first(LANDMARK_NAMES, np.array([3.0, 4.0, 2.0]), {sure: 20.0}, None) == ()
    assert ask_first(LANDMARK_NAMES, np.array([3.0, 4.0, 2.0]), {}, None, hidden=[worst, doubtful]) == (
        doubtful,
        worst,
    )


def _world(volume):
    k, j, i = np.meshgrid(*(np.arange(n) for n in volume.array.shape), indexing="ij")
    return apply(volume.ijk_to_ras, np.stack([i, j, k], axis=-1))


@pytest.fixture
def ball():
    affine = samples.affine((1.0, 1.2, 1.5), samples.OBLIQUE)
    affine[:3, 3] -= Volume(np.zeros((60, 70, 80)), affine).centre
    volume = Volume(np.zeros((60, 70, 80), dtype=np.uint8), affine)
    return gland_of_mask(Volume((np.linalg.norm(_world(volume), axis=-1) < 20).astype(np.uint8), affine))


def _speckle(shape, affine, low=0.5):
    return Volume(np.random.default_rng(0).uniform(low, 1, shape).astype(np.float32), affine)


def test_a_gland_in_plain_view_is_covered(ball):
    volume = _speckle((90, 90, 90), samples.affine((1.0, 1.0, 1.0), np.eye(3), (-45.0, -45.0, -45.0)))
    shown = coverage(volume, ball, np.array([[0, 0, -20.0], [0, 0, 20.0]]), intensity=True)
    assert shown.share == pytest.approx(1)
    assert shown.dark == pytest.approx(0)
    assert not shown.partial
    assert not shown.hidden.any()


@pytest.mark.parametrize("dark", [True, False])
def test_half_a_gland_is_told_with_the_landmark_that_is_hidden(ball, dark):
    """What lies above is dark (a shadow, outside of the fan), or not in the volume at all."""
    affine = samples.affine((1.0, 1.0, 1.0), np.eye(3), (-45.0, -45.0, -45.0))
    whole = _speckle((90, 90, 90), affine)
    if dark:
        array = whole.array.copy()
        array[50:] = 0
        half = Volume(array, affine)
    else:
        half = Volume(whole.array[:50], affine)
    shown = coverage(half, ball, np.array([[0, 0, -20.0], [0, 0, 20.0]]), intensity=True)
    assert 0.55 < shown.share < 0.8
    assert (shown.dark > 0.2) == dark
    assert shown.partial
    assert shown.hidden.tolist() == [False, True]
    # A dark bladder is no shadow in an MR.
    if dark:
        assert coverage(half, ball, np.zeros((1, 3)), intensity=False).share == pytest.approx(1)


def test_a_gland_of_nothing_has_no_coverage():
    from LandmarkFusionLogic.gland import Gland

    nothing = Volume(np.zeros((5, 5, 5), dtype=np.float32), np.eye(4))
    assert coverage(_speckle((20, 20, 20), np.eye(4)), Gland(nothing), np.zeros((1, 3)), True) is None


def test_the_command_fits_and_measures(tmp_path):
    """With a network that knows nothing: its errors are large and its confidence, once fitted, says so."""
    import json

    from LandmarkFusionLogic.evaluation.confidence import evaluate_confidence

    folder = samples.untrained_bundle(tmp_path / "mine", "us")
    text = evaluate_confidence(4, "cpu", lambda *_: None, ("us",), {"us": str(folder)}, fit=True)
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    stored = metadata["calibration"]
    assert len(stored["scale"]) == len(stored["floor_mm"]) == 3
    assert "1000000 to 1000003" in stored["fitted_on"]
    assert "US, untrained-us 0.0.1: 4 unseen simulated cases, seeds 2000000 to 2000003" in text
    for row in (*LANDMARK_NAMES, "as they come", "turned or under a condition", "all"):
        assert any(line.startswith(row) for line in text.splitlines())
    with pytest.raises(InputError, match="between 4 and 256"):
        evaluate_confidence(3, "cpu", lambda *_: None)
    with pytest.raises(InputError, match="between 0 and 508"):
        evaluate_confidence(4, "cpu", lambda *_: None, first=509)
