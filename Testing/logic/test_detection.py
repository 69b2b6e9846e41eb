"""Detection's geometry and its promises, apart from what a trained network knows."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import samples
import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.detection import detect_landmarks, detect_with_bundle
from LandmarkFusionLogic.landmarks.device import choose_device
from LandmarkFusionLogic.landmarks.looking import thinned
from LandmarkFusionLogic.landmarks.network import LandmarkOutput
from LandmarkFusionLogic.points import DETECTED, LANDMARK_NAMES, spread
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

torch.set_num_threads(1)  # tiny networks: more threads only wait for each other
CPU = torch.device("cpu")


class BrightestPlace(torch.nn.Module):
    """A network whose answer is known: every heatmap lies where the volume is brightest."""

    landmarks = 3

    def forward(self, x):
        heatmap = (20 * x).flatten(2).softmax(dim=-1).view_as(x)
        return LandmarkOutput(heatmap.expand(-1, 3, -1, -1, -1), x)


class EqualPlaces(BrightestPlace):
    """The same that sees no difference between any two places."""

    def forward(self, x):
        return super().forward(0 * x)


class BrokenGpu(BrightestPlace):
    """The same on a GPU that fails."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def to(self, device):
        if torch.device(device).type != "cpu":
            raise self.error
        return self


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(samples.untrained_bundle(tmp_path_factory.mktemp("bundle") / "mr"))


@pytest.fixture
def finder(bundle):
    return dataclasses.replace(bundle, network=BrightestPlace())


ROUND = ((8.0, 8.0, 8.0), np.eye(3))


def _blob(affine, shape_ijk, place, axes=ROUND):
    """A bright ellipsoid at ``place``, half-axes in mm along given directions, on a darker ground."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in reversed(shape_ijk)), indexing="ij")
    away = apply(affine, np.stack([i, j, k], axis=-1)) - place
    along = away @ axes[1] / axes[0]
    return Volume(np.exp(-0.5 * (along**2).sum(-1)).astype(np.float32), affine)


ORIENTATIONS = {
    "RAS": np.eye(3),
    "LPS": np.diag([-1.0, -1.0, 1.0]),
    "sagittal slices": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "oblique": samples.OBLIQUE,
    "left-handed": samples.OBLIQUE @ np.diag([1.0, -1.0, 1.0]),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize(("spacing", "shape"), [((1.0, 1.0, 1.0), (90, 84, 80)), ((0.8, 0.8, 4.0), (120, 110, 22))])
def test_a_place_is_found_in_ras_whatever_the_grid(finder, name, spacing, shape):
    affine = samples.affine(spacing, ORIENTATIONS[name], (-40.0, 30.0, 100.0))
    centre = Volume(np.zeros(shape[::-1]), affine).centre
    place = centre + [7.0, -5.0, 9.0]
    found = detect_with_bundle(_blob(affine, shape, place), finder, CPU, lambda *_: None)
    assert [point.name for point in found.landmarks] == list(LANDMARK_NAMES)
    for point in found.landmarks:
        assert np.linalg.norm(point.position - place) < 1.5
        assert point.state == DETECTED


def test_the_covariance_points_where_the_blob_points(finder):
    affine = samples.affine((1.0, 1.0, 1.0), samples.OBLIQUE, (0.0, 0.0, 0.0))
    shape = (90, 90, 90)
    place = Volume(np.zeros(shape), affine).centre
    directions = np.linalg.qr(np.array([[2.0, 1, 0], [1, -1, 1], [1, 0, 3]]))[0]
    volume = _blob(affine, shape, place, ((20.0, 7.0, 7.0), directions))
    covariance = detect_with_bundle(volume, finder, CPU, lambda *_: None).landmarks[0].covariance
    np.testing.assert_allclose(covariance, covariance.T)
    values, vectors = np.linalg.eigh(covariance)
    assert np.all(values > 0)
    assert values[2] > 2 * values[1]
    assert abs(vectors[:, 2] @ directions[:, 0]) > 0.95


def test_the_same_voxels_stored_in_another_order_give_the_same_answer(bundle):
    volume = samples.volume(shape_ijk=(60, 56, 50))
    flip = np.eye(4)
    flip[0, 0], flip[0, 3] = -1, 59
    stored = Volume(volume.array[:, :, ::-1], volume.ijk_to_ras @ flip)
    swap = np.eye(4)[[2, 1, 0, 3]]
    turned = Volume(volume.array.transpose(2, 1, 0), volume.ijk_to_ras @ swap)
    answers = [detect_with_bundle(v, bundle, CPU, lambda *_: None) for v in (volume, stored, turned)]
    for other in answers[1:]:
        for a, b in zip(answers[0].landmarks, other.landmarks, strict=True):
            np.testing.assert_allclose(a.position, b.position, atol=0.05)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_units_of_intensity_do_not_matter(bundle, dtype):
    volume = samples.volume(shape_ijk=(60, 56, 50))
    scaled = (volume.array / 4).astype(np.uint8)
    other = scaled.astype(dtype) if dtype is np.uint8 else (scaled.astype(dtype) * 37 - 1000)
    first, second = (
        detect_with_bundle(Volume(a, volume.ijk_to_ras), bundle, CPU, lambda *_: None) for a in (scaled, other)
    )
    for a, b in zip(first.landmarks, second.landmarks, strict=True):
        np.testing.assert_allclose(a.position, b.position, atol=0.05)


def test_detection_repeats_itself_and_reports_its_progress(bundle, tmp_path):
    folder = samples.untrained_bundle(tmp_path / "mr")
    seen = []
    first = detect_landmarks(samples.volume(), "mr", "cpu", folder, lambda f, text: seen.append((f, text)))
    second = detect_landmarks(samples.volume(), "mr", "cpu", folder)
    for a, b in zip(first.landmarks, second.landmarks, strict=True):
        np.testing.assert_array_equal(a.position, b.position)
    assert (first.model, first.device) == ("untrained-mr 0.0.1", "CPU")
    assert [f for f, _ in seen] == sorted(f for f, _ in seen)
    assert all(0 <= f <= 1 and text for f, text in seen)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), "memory of the GPU ran out"),
        (RuntimeError("MPS backend out of memory"), "memory of the GPU ran out"),
        (RuntimeError("CUDA error: no kernel image is available"), "The GPU could not be used"),
        (NotImplementedError("aten::upsample_trilinear3d is not implemented for MPS"), "The GPU could not be used"),
    ],
)
def test_a_gpu_that_fails_ends_on_the_cpu_and_says_so(bundle, error, says):
    small = dataclasses.replace(bundle, network=BrokenGpu(error))
    volume = _blob(samples.affine((1.0, 1.0, 1.0)), (80, 80, 80), np.array([40.0, 40, 40]))
    found = detect_with_bundle(volume, small, torch.device("cuda"), lambda *_: None)
    assert found.device == "CPU"
    assert any(says in text and "the CPU did" in text for text in found.warnings)


def test_a_volume_without_gland_and_landmarks_outside_are_doubted(finder):
    affine = samples.affine((1.0, 1.0, 1.0))
    centre = np.array([40.0, 40, 40])
    faint = _blob(affine, (80, 80, 80), centre, ((1.0, 1.0, 1.0), np.eye(3)))
    assert any("No prostate" in w for w in detect_with_bundle(faint, finder, CPU, lambda *_: None).warnings)
    clear = _blob(affine, (80, 80, 80), centre, ((14.0, 14.0, 14.0), np.eye(3)))
    assert detect_with_bundle(clear, finder, CPU, lambda *_: None).warnings == ()


def test_a_network_that_is_unsure_says_so(bundle):
    clueless = dataclasses.replace(bundle, network=EqualPlaces())
    found = detect_with_bundle(samples.volume(), clueless, CPU, lambda *_: None)
    assert min(spread(point.covariance) for point in found.landmarks) > 20
    said = "The network is unsure about Apex, Bladder neck, Posterior median in the MR; check them."
    assert said in found.warnings


def test_devices_are_checked_by_name():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cuda", "mps", "cpu")
    with pytest.raises(InputError, match="no device “tpu”; choose from auto, cuda, mps, cpu"):
        choose_device("tpu")
    for name, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if not there:
            with pytest.raises(InputError, match=f"no {name.upper()} device"):
                choose_device(name)


def test_without_torch_one_sentence_says_what_to_do():
    """In a process of its own in which torch cannot be found."""
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] == 'torch': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "import samples\n"
        "from LandmarkFusionLogic.errors import InputError\n"
        "from LandmarkFusionLogic.landmarks.detection import detect_landmarks\n"
        "try: detect_landmarks(samples.volume(), 'mr')\n"
        "except InputError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
    )
    assert done.stdout.startswith("Automatic detection needs PyTorch")
    assert done.stdout.count("\n") == 1


def test_thinning_averages_blocks_and_keeps_every_place():
    fine = samples.volume(shape_ijk=(41, 40, 20), spacing=(0.3, 0.5, 3.0), directions=samples.OBLIQUE)
    # A linear function of place keeps its value at each voxel's place, when averaged around it.
    k, j, i = np.meshgrid(*(np.arange(n) for n in fine.array.shape), indexing="ij")
    world = apply(fine.ijk_to_ras, np.stack([i, j, k], axis=-1))
    slope = np.array([2.0, -1.0, 0.5])
    thin = thinned(Volume(world @ slope, fine.ijk_to_ras))
    assert thin.shape_ijk == (11, 20, 20)
    np.testing.assert_allclose(thin.spacing, (1.2, 1.0, 3.0))
    k, j, i = np.meshgrid(*(np.arange(n) for n in thin.array.shape), indexing="ij")
    world = apply(thin.ijk_to_ras, np.stack([i, j, k], axis=-1))
    np.testing.assert_allclose(thin.array[:, :, :-1], (world @ slope)[:, :, :-1], atol=1e-4)
    coarse = samples.volume()
    assert thinned(coarse) is coarse
