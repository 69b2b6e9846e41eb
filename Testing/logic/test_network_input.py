"""The one path from a volume to a network's input."""

import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing, network_input, resample
from LandmarkFusionLogic.volume import Volume

GRID = InputGrid(3.0, (20, 24, 28))
SETTINGS = Preprocessing()


def _blob_volume(shape=(60, 70, 80), spacing=1.2, rotation=None, scale=1.0, offset=0.0):
    """A Gaussian of 8 mm at RAS (6, -4, 5) from the middle, on a background, in any orientation."""
    rotation = np.eye(3) if rotation is None else rotation
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    middle = (np.array(shape[::-1]) - 1) / 2
    affine[:3, 3] = np.array([100.0, -50.0, 30.0]) - affine[:3, :3] @ middle
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    ras = np.einsum("ab,bkji->akji", affine[:3, :3], np.stack([i, j, k])) + affine[:3, 3, None, None, None]
    peak = np.array([106.0, -54.0, 35.0])
    square = ((ras - peak[:, None, None, None]) ** 2).sum(axis=0)
    wave = 0.2 * np.sin(ras[0] / 6) * np.cos(ras[1] / 7)
    return Volume((offset + scale * (1 + wave + 2 * np.exp(-0.5 * square / 64))).astype(np.float32), affine)


def test_the_grid_lies_around_the_middle_with_axes_right_anterior_superior():
    seen = network_input(_blob_volume(), GRID, SETTINGS)
    assert seen.array.shape == GRID.shape
    assert np.array_equal(seen.ijk_to_ras[:3, :3], 3 * np.eye(3))
    middle = seen.ijk_to_ras @ np.array([13.5, 11.5, 9.5, 1])
    assert middle[:3] == pytest.approx([100, -50, 30])
    k, j, i = np.argwhere(seen.array > 0.9).mean(axis=0)
    assert (seen.ijk_to_ras @ np.array([i, j, k, 1]))[:3] == pytest.approx([106, -54, 35], abs=1.5)


@pytest.mark.parametrize(
    "rotation",
    [
        np.diag([-1.0, -1.0, 1.0]),
        np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]),
        np.diag([-1.0, 1.0, 1.0]),
        Rotation.from_euler("xyz", [20, -10, 15], degrees=True).as_matrix(),
    ],
    ids=["LPS", "permuted", "left-handed", "oblique"],
)
def test_orientation_of_the_storage_does_not_matter(rotation):
    straight = network_input(_blob_volume((90, 90, 90)), GRID, SETTINGS).array
    stored = network_input(_blob_volume((90, 90, 90), rotation=rotation), GRID, SETTINGS).array
    assert np.abs(straight - stored).max() < 0.12


def test_voxel_size_hardly_matters():
    fine = network_input(_blob_volume((100, 100, 100), 0.9), GRID, SETTINGS).array
    coarse = network_input(_blob_volume((50, 50, 50), 1.8), GRID, SETTINGS).array
    assert np.abs(fine - coarse).max() < 0.12


def test_units_of_intensity_do_not_matter():
    plain = network_input(_blob_volume(), GRID, SETTINGS).array
    scaled = network_input(_blob_volume(scale=300.0), GRID, SETTINGS).array
    assert np.abs(plain - scaled).max() < 1e-3


def test_outside_of_the_volume_is_dark():
    small = _blob_volume((16, 16, 16), 2.0)
    seen = network_input(small, GRID, SETTINGS)
    _, inside = resample(small, seen.ijk_to_ras, GRID.shape, SETTINGS.lowpass_sigma_mm)
    assert 0 < inside.sum() < inside.size
    assert np.all(seen.array[~inside] == -1)


def test_what_is_finer_than_the_grid_is_removed():
    checks = np.indices((60, 60, 60)).sum(axis=0) % 2
    volume = Volume((100.0 * checks).astype(np.float32), np.diag([1.0, 1.0, 1.0, 1.0]))
    values, inside = resample(volume, GRID.ijk_to_ras(volume.centre), GRID.shape, 2.0)
    assert np.ptp(values[inside]) < 1.0
    assert values[inside].mean() == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_volume_is_refused(value):
    volume = Volume(np.full((20, 20, 20), value, dtype=np.float32), np.eye(4))
    with pytest.raises(InputError, match="grey value"):
        network_input(volume, GRID, SETTINGS)


def test_values_that_are_not_numbers_are_refused():
    volume = _blob_volume()
    volume.array[30, 30, 30] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        network_input(volume, GRID, SETTINGS)


def test_a_clinical_volume_takes_a_fraction_of_a_second():
    noise = np.random.default_rng(0).integers(0, 1000, (128, 256, 256), dtype=np.int16)
    volume = Volume(noise, np.diag([0.5, 0.5, 1.0, 1.0]))
    network_input(volume, GRID, SETTINGS)
    begin = time.process_time()
    network_input(volume, GRID, SETTINGS)
    assert time.process_time() - begin < 1.5
