"""What a volume knows about itself, and the one check that stands before every use of one."""

import numpy as np
import pytest
import samples

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.volume import Volume, check_volume

GOOD = np.arange(20 * 21 * 22, dtype=np.float32).reshape(20, 21, 22)
AFFINE = samples.affine((2.0, 2.0, 2.0))


def test_spacing_size_and_centre_of_an_oblique_left_handed_volume():
    directions = samples.OBLIQUE @ np.diag([1.0, 1.0, -1.0])
    volume = Volume(GOOD, samples.affine((0.5, 0.7, 3.0), directions, (1.0, 2.0, 3.0)))
    np.testing.assert_allclose(volume.spacing, (0.5, 0.7, 3.0))
    assert volume.shape_ijk == (22, 21, 20)
    corners = [volume.ijk_to_ras @ [i, j, k, 1] for i in (0, 21) for j in (0, 20) for k in (0, 19)]
    np.testing.assert_allclose(volume.centre, np.mean(corners, axis=0)[:3])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64, np.bool_])
def test_every_scalar_type_is_accepted_and_not_copied(dtype):
    array = (GOOD % 2).astype(dtype)
    assert np.shares_memory(check_volume(array, AFFINE).array, array)


def _with(value):
    array = GOOD.copy()
    array[3, 4, 5] = value
    return array


def _sheared():
    matrix = AFFINE.copy()
    matrix[0, 1] = 0.3
    return matrix


@pytest.mark.parametrize(
    ("array", "matrix", "says"),
    [
        (GOOD[:0], AFFINE, "no voxels"),
        (GOOD[0], AFFINE, "2D image"),
        (GOOD[:1], AFFINE, "only one slice"),
        (GOOD[:, :1], AFFINE, "only one slice"),
        (GOOD[None], AFFINE, "4 dimensions"),
        (np.zeros((20, 21, 22, 3), dtype=np.uint8), AFFINE, "color image"),
        (GOOD.astype(np.complex64), AFFINE, "not real numbers"),
        (np.full_like(GOOD, 7), AFFINE, "same value"),
        (_with(np.nan), AFFINE, "NaN or infinite"),
        (_with(np.inf), AFFINE, "NaN or infinite"),
        (_with(-np.inf), AFFINE, "NaN or infinite"),
        (GOOD, samples.affine((0.0, 1.0, 1.0)), "voxel size of 0 × 1 × 1 mm"),
        (GOOD, samples.affine((1e-3, 1e-3, 1e-3)), "impossible voxel size"),
        (GOOD, samples.affine((1000.0, 1000.0, 1000.0)), "impossible voxel size"),
        (GOOD, samples.affine((0.1, 2.0, 2.0)), "cannot show a prostate"),
        (GOOD, AFFINE * np.nan, "no usable position"),
        (GOOD, _sheared(), "not at right angles"),
    ],
)
def test_unusable_volumes_are_refused_in_one_sentence(array, matrix, says):
    with pytest.raises(InputError) as refused:
        check_volume(array, matrix, "MR volume")
    message = str(refused.value)
    assert says in message
    assert "MR volume" in message
    assert message.endswith(".")
    assert "\n" not in message
