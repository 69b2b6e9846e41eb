"""The peers of the benchmark are run the right way: each finds a known translation after a known affine map."""

import numpy as np
import pytest
from benchmarks.bench_deformable import ENVIRONMENT, MODULES, PeerError, describe, python_of, run_peer, why_not

from LandmarkFusionLogic.evaluation.deformableoutcome import Outcome, Registration
from LandmarkFusionLogic.evaluation.deformablepairs import DeformedPair
from LandmarkFusionLogic.simulation.deformations import draw_deformation
from LandmarkFusionLogic.volume import Volume

SHAPE = (36, 44, 48)
SPACING = np.array([2.2, 2.0, 2.4])
SHIFT = np.array([4.0, -3.0, 2.5])
"""From the fixed to the aligned volume, RAS mm; each axis another way, so that a mixed-up one is seen."""


def _grid():
    """An oblique, left-handed grid about the origin."""
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1, -1, 1]) * SPACING
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE[::-1]) - 1) / 2)
    return affine


def _anatomy(points):
    rng = np.random.default_rng(1)
    centers, sizes, values = rng.uniform(-35, 35, (70, 3)), rng.uniform(4, 8, 70), rng.uniform(-400, 600, 70)
    inside = 1 / (1 + np.exp((np.linalg.norm(points / np.array([44, 38, 38]), axis=-1) - 1) * 20))
    blobs = sum(
        v * np.exp(-((points - c) ** 2).sum(-1) / (2 * s**2)) for c, s, v in zip(centers, sizes, values, strict=True)
    )
    return -900 + inside * (900 + blobs)


@pytest.fixture(scope="module")
def case():
    """A pair, and the affine map (4, 4) moving to fixed that leaves `SHIFT` to be found."""
    affine = _grid()
    k, j, i = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    world = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    to_aligned = np.eye(4)
    to_aligned[:3, :3] += np.array([[0.03, 0.05, 0.0], [-0.05, 0.02, 0.0], [0.0, 0.04, -0.03]])
    to_aligned[:3, 3] = 1.0, 2.0, -1.5
    aligned = world @ to_aligned[:3, :3].T + to_aligned[:3, 3]
    rng = np.random.default_rng(2)
    fixed, moving = (
        Volume((_anatomy(points) + rng.normal(0, 5, SHAPE)).astype(np.float32), affine)
        for points in (world, aligned - SHIFT)
    )
    points = rng.uniform(-20, 20, (200, 3))
    partners = (points + SHIFT - to_aligned[:3, 3]) @ np.linalg.inv(to_aligned[:3, :3]).T
    truth = draw_deformation(0, fixed, "translation")
    return DeformedPair(fixed, moving, truth, np.ones(SHAPE, dtype=bool), points, partners), to_aligned


@pytest.mark.parametrize("name", MODULES)
def test_a_peer_finds_a_known_translation(name, case):
    python = python_of(ENVIRONMENT)
    if reason := why_not(name, python):
        pytest.skip(f"{name}: {reason}")
    pair, initial = case
    found, seconds = run_peer(name, python, pair, initial)
    errors = np.linalg.norm(found.to_moving(pair.points) - pair.partners, axis=1)
    assert np.median(errors) < 0.3 * np.linalg.norm(SHIFT)
    assert seconds > 0.3


def test_a_peer_that_is_missing_is_named_with_the_reason(tmp_path, case):
    assert "make bench-deformable" in why_not("greedy", python_of(tmp_path / "nowhere"))
    with pytest.raises(PeerError, match=r"No such file|cannot find"):
        run_peer("greedy", tmp_path / "python", *case)


def test_the_table_compares_ours_with_each():
    rng = np.random.default_rng(0)
    outcomes = []
    for seed in range(5):
        errors = rng.gamma(2, 0.5, 40)
        names = ("ours, fast, with landmarks (mind)", "greedy", "SyN")
        shifted = (errors, errors + 0.2, errors - 0.1)
        found = {n: Registration(e.tolist(), 0.3, 0.0, 20.0) for n, e in zip(names, shifted, strict=True)}
        outcomes.append(Outcome("simulated", seed, registration=found))
    del outcomes[0].registration["SyN"]
    ours, greedy, syn = describe(outcomes, "simulated").splitlines()[2:5]
    assert "better" not in ours
    assert "-0.200 to -0.200 better" in greedy
    assert "+0.100 to +0.100  worse" in syn
    assert syn.split()[1] == "4"
