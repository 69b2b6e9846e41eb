"""X-ray images from files of every kind: their values, their valid area, bright bones, and what is refused."""

import numpy as np
import projectionsamples
import pytest
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.polarity import brighten, looks_bright
from LandmarkFusionLogic.projection.xrayfile import XRay, read_xray, resized


@pytest.fixture(scope="module")
def integrals():
    return projectionsamples.xray(projectionsamples.ct(), (5.0, -4.0, 3.0, 10.0, -5.0, 20.0))


def _save(path, array, spacing=None, color=False):
    image = sitk.GetImageFromArray(array, isVector=color)
    if spacing:
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize(
    "name", ["x.nrrd", "x.nii.gz", "x.mha", "x.png", "x.tiff", "x.npy", "slice.nrrd", "slice.npy"]
)
def test_every_kind_of_file_holds_the_same_image(tmp_path, integrals, name):
    counts = projectionsamples.as_counts(integrals)
    array = counts[None] if name.startswith("slice") else counts
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, array)
    else:
        _save(path, array)
    xray = read_xray(path)
    assert xray.values.dtype == np.float32
    np.testing.assert_array_equal(xray.values, counts)
    assert xray.mask is None
    assert xray.modality is None


def test_the_spacing_of_a_file_is_told_row_first(tmp_path, integrals):
    assert read_xray(_save(tmp_path / "x.nrrd", integrals, spacing=(0.5, 0.25))).spacing == (0.25, 0.5)
    assert read_xray(_save(tmp_path / "y.nrrd", integrals)).spacing is None


def test_resizing_keeps_places_where_they_are():
    fine = Geometry(1000.0, 240, 180, (0.5, 0.75), principal_point=(100.0, 95.0))
    row, column = np.indices((240, 180))
    blob = np.exp(-((row - 70.3) ** 2 + (column - 120.6) ** 2) / (2 * 6.0**2)).astype(np.float32)
    coarse = fine.resized(100, 60)
    small = resized(XRay(blob), 100, 60).values
    assert small.shape == (100, 60)
    assert small.mean() == pytest.approx(blob.mean(), rel=1e-5)
    weights = small / small.sum()
    place = [float((grid * weights).sum()) for grid in np.indices(small.shape)]
    np.testing.assert_allclose(coarse.on_detector([place]), fine.on_detector([[70.3, 120.6]]), atol=0.02)


def test_resizing_leaves_out_what_is_not_valid():
    values = np.full((60, 60), 7.0, dtype=np.float32)
    mask = np.zeros((60, 60), dtype=bool)
    mask[:, 10:47] = True
    values[~mask] = 1000.0
    small = resized(XRay(values, mask), 20, 20)
    np.testing.assert_array_equal(small.mask[0], (np.arange(20) > 3 - 1) & (np.arange(20) < 16))
    np.testing.assert_allclose(small.values[small.mask], 7.0)


@pytest.mark.parametrize("pose", [(0.0,) * 6, (5.0, -4.0, 3.0, 20.0, -15.0, 20.0), (0.0, 30.0, 0.0, 0.0, 0.0, 0.0)])
def test_whether_bones_are_bright_is_seen_in_the_image(pose):
    bright = projectionsamples.xray(projectionsamples.ct(), pose)
    beam = np.exp(-bright / 2)
    assert looks_bright(bright, None)
    assert not looks_bright(bright.max() - bright, None)
    assert not looks_bright(beam, None)
    collimated = beam.copy()
    collimated[:8] = collimated[-9:] = 0.0
    collimated[:, :7] = 0.0
    assert not looks_bright(collimated, None)
    start = projectionsamples.xray(projectionsamples.ct(), (0.0,) * 6)
    assert looks_bright(bright, None, start)
    assert not looks_bright(beam, None, start)


def test_intensities_become_line_integrals(integrals):
    counts = projectionsamples.as_counts(integrals)
    found = brighten(XRay(counts.astype(np.float32)), "dark", "linear")
    assert found.bones == "dark"
    assert not found.guessed
    np.testing.assert_allclose(found.image * 2, integrals - integrals.min(), atol=0.01)
    inverted = brighten(XRay((65535.0 - counts).astype(np.float32)), "bright", "linear")
    np.testing.assert_allclose(inverted.image, found.image, atol=0.01)
    plain = brighten(XRay(-integrals))
    assert (plain.bones, plain.guessed) == ("dark", True)
    np.testing.assert_allclose(plain.image, integrals - integrals.min(), atol=1e-5)
    assert found.mask is plain.mask is None
    as_it_is = brighten(XRay(integrals), "bright")
    np.testing.assert_allclose(as_it_is.image, integrals - integrals.min(), atol=1e-5)


def test_what_the_collimator_covers_is_background(integrals):
    mask = np.zeros(integrals.shape, dtype=bool)
    mask[10:50, 12:60] = True
    counts = projectionsamples.as_counts(integrals).astype(np.float32)
    counts[~mask] = 0.0
    found = brighten(XRay(counts, mask), "dark", "linear").image
    assert np.all(found[~mask] == 0)
    np.testing.assert_allclose(np.ptp(found[mask]) * 2, np.ptp(integrals[mask]), atol=0.01)


@pytest.mark.parametrize(("bones", "intensity"), [("auto", "linear"), ("auto", "auto"), ("dark", "log")])
def test_the_round_field_of_an_image_intensifier_is_found_without_tags(integrals, bones, intensity):
    row, column = np.indices(integrals.shape)
    field = np.hypot(row - 31.5, column - 31.5) < 30
    counts = projectionsamples.as_counts(integrals).astype(np.float32)
    counts[~field] = np.random.default_rng(0).uniform(0, 3, np.sum(~field))
    found = brighten(XRay(counts), bones, intensity)
    assert found.bones == "dark"
    assert not found.mask[~field].any()
    assert found.mask[field].mean() > 0.8
    assert np.all(found.image[~field] == 0)
    assert np.corrcoef(found.image[found.mask], integrals[found.mask])[0, 1] > 0.97


@pytest.mark.parametrize(
    ("settings", "said"), [({"bones": "white"}, "“white”"), ({"intensity": "raw"}, "“raw” is no kind of gray values")]
)
def test_settings_that_do_not_exist(integrals, settings, said):
    with pytest.raises(InputError, match=said):
        brighten(XRay(integrals), **settings)


def _text(path):
    path.write_text("no image")
    return path


def _empty(path):
    path.write_bytes(b"")
    return path


def _array(path, array):
    np.save(path, array)
    return path


RANDOM = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
BAD = {
    "3D": (lambda to: _save(to / "x.nrrd", np.stack([RANDOM] * 5)), "3D image"),
    "color": (lambda to: _save(to / "x.png", np.zeros((32, 32, 3), np.uint8), color=True), "color image"),
    "gray as color": (lambda to: _save(to / "x.png", np.full((32, 32, 4), 9, np.uint8), color=True), "color image"),
    "constant": (lambda to: _save(to / "x.nrrd", np.zeros((32, 32), np.float32)), "the same value"),
    "not finite": (lambda to: _save(to / "x.nrrd", np.where(RANDOM > 1, np.nan, RANDOM)), "NaN or infinite"),
    "tiny": (lambda to: _save(to / "x.nrrd", RANDOM[:8, :8]), "8 × 8 pixels"),
    "text": (lambda to: _text(to / "x.png"), "not an image that can be read"),
    "empty": (lambda to: _empty(to / "x.nrrd"), "empty file"),
    "missing": (lambda to: to / "x.nrrd", "does not exist"),
    "array of four axes": (lambda to: _array(to / "x.npy", np.zeros((2, 2, 32, 32))), "no 2D image"),
    "complex": (lambda to: _array(to / "x.npy", RANDOM * 1j), "no 2D image"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_xray_is_told_in_one_sentence(tmp_path, case):
    make, said = BAD[case]
    with pytest.raises(InputError, match=said) as told:
        read_xray(make(tmp_path), "second X-ray")
    assert "second X-ray" in str(told.value)
    assert str(tmp_path) not in str(told.value)


def test_a_frame_is_picked_from_several(tmp_path):
    path = _save(tmp_path / "x.nrrd", np.stack([RANDOM, RANDOM + 1, RANDOM * 2]))
    np.testing.assert_array_equal(read_xray(path, frame=3).values, RANDOM * 2)
    for frame in (0, 4):
        with pytest.raises(InputError, match=f"has no frame {frame}; it has 3"):
            read_xray(path, frame=frame)
    single = _save(tmp_path / "y.nrrd", RANDOM)
    np.testing.assert_array_equal(read_xray(single, frame=1).values, RANDOM)
    with pytest.raises(InputError, match="has no frame 2; it has 1"):
        read_xray(single, frame=2)


def test_a_folder_with_one_file_is_that_file(tmp_path):
    _save(tmp_path / "x.nrrd", RANDOM)
    np.testing.assert_array_equal(read_xray(tmp_path).values, RANDOM)
    _save(tmp_path / "y.nrrd", RANDOM)
    with pytest.raises(InputError, match="folder of 2 files"):
        read_xray(tmp_path)
