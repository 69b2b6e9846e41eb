"""Volumes through files: every format, orientation, and DICOM folder comes back as it went in."""

import os

import numpy as np
import pytest
import samples
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic import imageio
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.rigid.fit import apply, invert
from LandmarkFusionLogic.volume import Volume

DIRECTIONS = {
    "RAS": np.eye(3),
    "LPS": np.diag([-1.0, -1.0, 1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": samples.OBLIQUE,
    "left-handed": samples.OBLIQUE @ np.diag([1.0, 1.0, -1.0]),
}


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha", ".mhd"])
@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_volume_comes_back_from_a_file_as_it_went(tmp_path, suffix, name):
    volume = samples.volume(directions=DIRECTIONS[name])
    path = tmp_path / f"volume{suffix}"
    imageio.write_volume(path, volume)
    back = imageio.read_volume(path)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.ijk_to_ras, volume.ijk_to_ras, atol=1e-4)


def test_the_world_is_ras_where_the_file_says_lps(tmp_path):
    image = sitk.GetImageFromArray(np.arange(20**3, dtype=np.float32).reshape(20, 20, 20))
    image.SetOrigin((1.0, 2.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / "lps.nrrd"))
    volume = imageio.read_volume(tmp_path / "lps.nrrd")
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 3], (-1.0, -2.0, 3.0))
    np.testing.assert_allclose(volume.ijk_to_ras[:3, :3], np.diag([-1.0, -1.0, 1.0]))


def test_a_time_series_of_one_is_a_volume(tmp_path):
    image = sitk.JoinSeries([imageio.image_from_volume(samples.volume())])
    sitk.WriteImage(image, str(tmp_path / "one.nii"))
    assert imageio.read_volume(tmp_path / "one.nii").shape_ijk == (40, 36, 30)


@pytest.mark.parametrize("name", ["RAS", "oblique"])
def test_a_dicom_folder_is_sorted_by_position(tmp_path, name):
    volume = samples.volume(directions=DIRECTIONS[name], spacing=(0.8, 0.8, 4.0))
    back = imageio.read_volume(samples.write_dicom(tmp_path / "series", volume))
    # A series may come back upside down in k; voxel by voxel it lies where it lay.
    probe = np.array([[3.0, 4.0, 5.0], [30.0, 20.0, 25.0]])
    world = apply(volume.ijk_to_ras, probe)
    index = np.round(apply(np.linalg.inv(back.ijk_to_ras), world)).astype(int)
    np.testing.assert_allclose(apply(back.ijk_to_ras, index), world, atol=1e-3)
    for (i, j, k), (a, b, c) in zip(index, probe.astype(int), strict=True):
        assert back.array[k, j, i] == volume.array[c, b, a]


def test_of_several_dicom_series_one_is_picked_by_number(tmp_path):
    first, second = samples.volume(seed=1), samples.volume(shape_ijk=(32, 30, 20), seed=2)
    samples.write_dicom(tmp_path, first, series=1)
    samples.write_dicom(tmp_path, second, series=2)
    with pytest.raises(InputError, match=r"2 DICOM series \(1: t2 series 1, 30 images; 2: t2 series 2, 20 images\)"):
        imageio.read_volume(tmp_path)
    assert imageio.read_volume(tmp_path, series=2).shape_ijk == (32, 30, 20)
    with pytest.raises(InputError, match="no DICOM series 3"):
        imageio.read_volume(tmp_path, series=3)


def test_a_dicom_series_with_a_missing_slice_is_refused(tmp_path):
    folder = samples.write_dicom(tmp_path / "gap", samples.volume(), skip=(7,))
    with pytest.raises(InputError, match="not evenly spaced"):
        imageio.read_volume(folder)


def test_arrays_are_mapped_into_memory_read_only(tmp_path):
    volume = samples.volume()
    np.save(tmp_path / "mr.npy", volume.array)
    back = imageio.read_array(tmp_path / "mr.npy", volume.ijk_to_ras.tolist())
    assert isinstance(back.array, np.memmap)
    assert not back.array.flags.writeable
    np.testing.assert_array_equal(back.array, volume.array)


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "bad.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        imageio.read_array(tmp_path / "bad.npy", np.eye(4))


def test_resampling_agrees_with_the_transform_at_known_points():
    moving = samples.volume(directions=samples.OBLIQUE, spacing=(1.2, 1.5, 2.5))
    rng = np.random.default_rng(3)
    to_fixed = np.eye(4)
    to_fixed[:3, :3] = Rotation.from_rotvec([10, 20, -15], degrees=True).as_matrix()
    reference_grid = samples.volume(shape_ijk=(60, 50, 44), spacing=(1.0, 1.1, 1.3))
    to_fixed[:3, 3] = reference_grid.centre - to_fixed[:3, :3] @ moving.centre
    # A volume whose value is a linear function of place: interpolation is exact, so the place can be read off it.
    slope = np.array([3.0, -2.0, 5.0])
    k, j, i = np.meshgrid(*(np.arange(n) for n in moving.array.shape), indexing="ij")
    world = apply(moving.ijk_to_ras, np.stack([i, j, k], axis=-1))
    moving = Volume((world @ slope + 5000).astype(np.float32), moving.ijk_to_ras)
    filled = imageio.resample(moving, reference_grid, to_fixed)
    np.testing.assert_array_equal(filled.ijk_to_ras, reference_grid.ijk_to_ras)
    assert filled.array.shape == reference_grid.array.shape
    index = rng.integers(15, 28, size=(50, 3))
    points = apply(invert(to_fixed), apply(reference_grid.ijk_to_ras, index))
    inside = apply(np.linalg.inv(moving.ijk_to_ras), points)
    inside = np.all((inside > 0) & (inside < np.array(moving.shape_ijk) - 1), axis=1)
    assert inside.sum() > 20
    values = filled.array[index[:, 2], index[:, 1], index[:, 0]]
    np.testing.assert_allclose(values[inside], (points @ slope + 5000)[inside], atol=0.05)


def test_outside_the_moving_volume_is_its_smallest_value():
    moving = Volume(samples.volume().array - 300, samples.volume().ijk_to_ras)
    away = np.eye(4)
    away[:3, 3] = 1000
    assert np.all(imageio.resample(moving, samples.volume(seed=4), away).array == moving.array.min())


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        imageio.write_volume(tmp_path / "nowhere" / "mr.nrrd", samples.volume())
    assert os.listdir(tmp_path) == []
