"""The simulated spine: reproducible, like a CT in its values, and its truth lies where the image shows it."""

from __future__ import annotations

import numpy as np
import pytest

from LandmarkFusionLogic.simulation.seeds import DEMO
from LandmarkFusionLogic.simulation.spine import make_spine

COARSE = ((48, 48, 48), 200.0 / 48)


def test_the_same_seed_gives_the_same_spine_and_another_seed_another():
    one, again, other = (make_spine(seed, *COARSE) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.ct.array, again.ct.array)
    np.testing.assert_array_equal(one.vertebra_points, again.vertebra_points)
    assert np.mean(one.ct.array != other.ct.array) > 0.5
    assert one.names != other.names or not np.allclose(one.vertebra_points, other.vertebra_points, atol=1)


@pytest.mark.parametrize("seed", DEMO[3:6])
def test_values_are_those_of_a_ct(seed):
    phantom = make_spine(seed, *COARSE)
    values, bone = phantom.ct.array, phantom.bone.array > 0
    assert values.dtype == np.float32
    assert values.min() >= -1000
    assert values.max() <= 3000
    assert 0.01 < bone.mean() < 0.08
    assert 130 < np.median(values[bone]) < 600
    soft = values[~bone & (values > -200) & (values < 200)]
    assert soft.size / values.size > 0.4
    assert (values < -900).mean() > 0.005  # Air behind the back, gas, or lung.
    np.testing.assert_allclose(phantom.ct.centre, 0, atol=1e-9)
    np.testing.assert_array_equal(phantom.ct.ijk_to_ras, phantom.bone.ijk_to_ras)


def test_points_lie_in_the_bone_that_they_name():
    for seed in DEMO[3:6]:
        phantom = make_spine(seed, (96, 96, 96), 200.0 / 96)
        index = np.linalg.inv(phantom.ct.ijk_to_ras) @ np.c_[phantom.vertebra_points, np.ones(len(phantom.names))].T
        i, j, k = np.clip(np.rint(index[:3]), 0, 95).astype(int)
        inside = phantom.bone.array[k, j, i] > 0
        bodies = np.array([name.endswith("body") for name in phantom.names])
        assert bodies.sum() >= 4
        assert inside[bodies].all()
        assert inside.mean() > 0.9
        # From above, and left is the patient's left.
        order = [name.split()[0] for name, body in zip(phantom.names, bodies, strict=True) if body]
        heights = phantom.vertebra_points[bodies, 2]
        assert (np.diff(heights) < 0).all()
        assert len(set(order)) == len(order)
        where = dict(zip(phantom.names, phantom.vertebra_points, strict=True))
        for level in order:
            if f"{level} left pedicle" in where and f"{level} right pedicle" in where:
                assert where[f"{level} left pedicle"][0] < where[f"{level} right pedicle"][0]


def test_the_anatomy_is_the_same_at_every_resolution():
    coarse, fine = make_spine(7, *COARSE), make_spine(7, (96, 96, 96), 200.0 / 96)
    assert coarse.names == fine.names
    np.testing.assert_allclose(coarse.vertebra_points, fine.vertebra_points, atol=1.5)
    pooled = fine.bone.array.reshape(48, 2, 48, 2, 48, 2).mean((1, 3, 5)) > 0.5
    both = (pooled & (coarse.bone.array > 0)).sum()
    assert 2 * both / (pooled.sum() + coarse.bone.array.sum()) > 0.75
