"""Line integrals against ellipsoids, the two projectors against each other, derivatives against finite steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection import torchprojector
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera, step_matrix, steps_of_parameters
from LandmarkFusionLogic.projection.projector import (
    NUMBA,
    TORCH,
    Projector,
    check_view,
    choose_backend,
    project,
    project_with_jacobian,
    thread_count,
)
from LandmarkFusionLogic.volume import Volume

SHAPE = (40, 36, 44)
SPACING = (2.0, 2.4, 1.8)

PLAIN = Geometry(1000.0, 48, 52, (6.0, 5.0))
OFF_CENTER = Geometry(1000.0, 48, 52, (6.0, 5.0), principal_point=(14.0, 31.5), source_to_isocenter=640.0)
MIRRORED = Geometry(1000.0, 48, 52, (6.0, 5.0), principal_point=(25.0, 20.0), mirrored=True)
GEOMETRIES = {"plain": PLAIN, "off center": OFF_CENTER, "mirrored": MIRRORED}

STRAIGHT = np.eye(3)
OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
LEFT_HANDED = OBLIQUE @ np.diag([1, -1, 1])
ORIENTATIONS = {"straight": STRAIGHT, "oblique": OBLIQUE, "left-handed": LEFT_HANDED}

POSE = Pose((7.0, -12.0, 21.0), (6.0, -9.0, 35.0))


def affine(orientation, origin=(30.0, -50.0, 80.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = orientation * np.array(SPACING)
    matrix[:3, 3] = origin
    return matrix


def full_volume(orientation=OBLIQUE, seed=3):
    """Smooth tissue that goes on to all faces of the volume."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 3, mode="nearest")
    return Volume((0.02 + 0.1 * values).astype(np.float32), affine(orientation))


def ellipsoid(orientation, center_mm, radii_mm, value):
    """The voxels' shares of an ellipsoid along the volume's axes: the mean of 4³ points in each."""
    parts = np.stack(np.meshgrid(*[(np.arange(4) + 0.5) / 4 - 0.5] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)[..., ::-1]
    middle = (np.array(SHAPE[::-1]) - 1) / 2
    share = np.zeros(SHAPE)
    for part in parts:
        place = (index + part - middle) * SPACING - center_mm
        share += ((place / radii_mm) ** 2).sum(axis=-1) <= 1
    return Volume((value * share / len(parts)).astype(np.float32), affine(orientation))


def chords(volume, center_mm, radii_mm, geometry, matrix):
    """Lengths in mm of the rays inside the ellipsoid."""
    pixels = np.stack(np.meshgrid(np.arange(geometry.rows), np.arange(geometry.columns), indexing="ij"), axis=-1)
    detector = geometry.on_detector(pixels.reshape(-1, 2))
    frame = np.eye(4)
    frame[:3, :3] = volume.ijk_to_ras[:3, :3] / SPACING
    frame[:3, 3] = volume.centre + frame[:3, :3] @ center_mm
    back = np.linalg.inv(matrix @ frame)
    source = back[:3, 3] / radii_mm
    along = (detector / np.linalg.norm(detector, axis=1, keepdims=True)) @ back[:3, :3].T / radii_mm
    a, b, c = (along**2).sum(axis=1), along @ source, source @ source - 1
    return (2 * np.sqrt(np.maximum(b**2 - a * c, 0)) / a).reshape(geometry.rows, geometry.columns)


def ncc(first, second):
    return np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]


def cosine(first, second):
    first, second = np.ravel(first).astype(np.float64), np.ravel(second).astype(np.float64)
    return first @ second / np.sqrt((first @ first) * (second @ second))


def check_derivative(images, size, derivative):
    """``images`` before, at and after the pose, ``size`` apart. A ray that an edge of the volume passes has none."""
    behind, here, ahead = (image.astype(np.float64) for image in images)
    bend = np.abs(ahead + behind - 2 * here)
    smooth = bend < 0.05 * np.abs(ahead - behind).max()
    assert smooth.mean() > 0.98
    difference = ((ahead - behind) / (2 * size))[smooth]
    assert cosine(difference, derivative[smooth]) >= 0.999
    assert np.linalg.norm(difference) == pytest.approx(np.linalg.norm(derivative[smooth]), rel=0.01)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_an_ellipsoid_casts_the_shadow_that_is_known(geometry, orientation):
    camera, center, radii = GEOMETRIES[geometry], np.array([6.0, -5.0, 4.0]), np.array([26.0, 18.0, 22.0])
    volume = ellipsoid(ORIENTATIONS[orientation], center, radii, 0.03)
    matrix = ct_to_camera(POSE, volume.centre, camera)
    image = project(volume, camera, matrix, NUMBA)
    expected = 0.03 * chords(volume, center, radii, camera, matrix)
    assert ncc(image, expected) > 0.998  # the voxels blur its edge
    assert image.sum() == pytest.approx(expected.sum(), rel=0.02)
    assert image.max() == pytest.approx(expected.max(), rel=0.02)
    # Half a voxel or half a pixel off would be 0.2 pixels or more.
    np.testing.assert_allclose(ndimage.center_of_mass(image), ndimage.center_of_mass(expected), atol=0.05)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_both_projectors_agree_in_image_and_derivatives(geometry, orientation):
    camera, volume = GEOMETRIES[geometry], full_volume(ORIENTATIONS[orientation])
    matrix = ct_to_camera(POSE, volume.centre, camera)
    assert ncc(project(volume, camera, matrix, NUMBA), project(volume, camera, matrix, TORCH)) >= 0.99999
    center = Projector(volume).center_in_camera(matrix)
    compiled, fast = project_with_jacobian(volume, camera, matrix, center, NUMBA)
    image, slow = project_with_jacobian(volume, camera, matrix, center, TORCH)
    assert np.abs(compiled - image).max() < 1e-4
    for one, other in zip(fast, slow, strict=True):
        assert cosine(one, other) > 0.99999
        assert np.linalg.norm(one) == pytest.approx(np.linalg.norm(other), rel=1e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_derivatives_are_those_of_finite_steps_where_tissue_touches_the_faces(geometry, orientation):
    camera, volume = GEOMETRIES[geometry], full_volume(ORIENTATIONS[orientation])
    matrix = ct_to_camera(POSE, volume.centre, camera)
    projector = Projector(volume)
    center = projector.center_in_camera(matrix)
    _, jacobian = projector.project_with_jacobian(camera, matrix, center)
    for number, size in enumerate([3e-4] * 3 + [0.02] * 3):
        step = np.eye(6)[number] * size
        check_derivative(
            [projector.project(camera, step_matrix(sign * step, center) @ matrix) for sign in (-1, 0, 1)],
            size,
            jacobian[number],
        )


def test_the_depth_of_a_full_volume_changes_what_is_seen_of_its_faces():
    """With ends of the rays that do not move, this derivative is wrong: its cosine falls to a fifth."""
    volume = full_volume(STRAIGHT)
    matrix = ct_to_camera(Pose(), volume.centre, PLAIN)
    projector = Projector(volume)
    _, jacobian = projector.project_with_jacobian(PLAIN, matrix, projector.center_in_camera(matrix))
    poses = [Pose(translation=(0, 0, z)) for z in (-0.02, 0, 0.02)]
    images = [projector.project(PLAIN, ct_to_camera(pose, volume.centre, PLAIN)) for pose in poses]
    check_derivative(images, 0.02, jacobian[5])


def test_derivatives_by_degrees_and_mm_of_the_pose():
    volume = full_volume()
    matrix = ct_to_camera(POSE, volume.centre, OFF_CENTER)
    projector = Projector(volume)
    _, jacobian = projector.project_with_jacobian(OFF_CENTER, matrix, projector.center_in_camera(matrix))
    jacobian = np.einsum("srk,sp->prk", jacobian, steps_of_parameters(POSE))
    for number in range(6):
        poses = [Pose.of(POSE.parameters + sign * 0.02 * np.eye(6)[number]) for sign in (-1, 0, 1)]
        images = [projector.project(OFF_CENTER, ct_to_camera(pose, volume.centre, OFF_CENTER)) for pose in poses]
        check_derivative(images, 0.02, jacobian[number])


def test_torch_carries_gradients_to_poses_and_volumes_in_a_batch():
    camera, volume = PLAIN.resized(12, 13), full_volume()
    mu = torch.tensor(volume.array, dtype=torch.float64, requires_grad=True)
    parameters = torch.tensor([POSE.parameters, [-3, 4, 5, 1, 2, -30.0]], dtype=torch.float64, requires_grad=True)
    matrices = torchprojector.poses_to_matrices(parameters, volume.centre, camera)
    for matrix, row in zip(matrices, parameters, strict=True):
        expected = ct_to_camera(Pose.of(row.detach().numpy()), volume.centre, camera)
        np.testing.assert_allclose(matrix.detach(), expected, atol=1e-9)
    images = torchprojector.project(mu, volume.ijk_to_ras, camera, matrices)
    assert images.shape == (2, 12, 13)
    assert ncc(images[1].detach(), project(volume, camera, matrices[1].detach().numpy(), NUMBA)) > 0.99999
    weights = torch.tensor(np.random.default_rng(0).normal(size=images.shape))
    (images * weights).sum().backward()

    def value(poses, values):
        with torch.no_grad():
            moved = torchprojector.poses_to_matrices(poses, volume.centre, camera)
            return float((torchprojector.project(values, volume.ijk_to_ras, camera, moved) * weights).sum())

    for pose, number in ((0, 1), (1, 2), (0, 5), (1, 3)):
        step = torch.zeros(2, 6, dtype=torch.float64)
        step[pose, number] = 1e-4
        difference = (value(parameters + step, mu) - value(parameters - step, mu)) / 2e-4
        assert parameters.grad[pose, number] == pytest.approx(difference, rel=0.01, abs=1e-4)
    step = torch.tensor(np.random.default_rng(1).normal(size=SHAPE))
    # The image is linear in the volume.
    assert float((mu.grad * step).sum()) == pytest.approx(
        value(parameters, mu + step) - value(parameters, mu), rel=1e-6
    )


def test_a_volume_a_pose_in_torch():
    volumes = [full_volume(seed=seed) for seed in (1, 2)]
    camera = PLAIN.resized(10, 10)
    matrix = ct_to_camera(POSE, volumes[0].centre, camera)
    both = torch.tensor(np.stack([volume.array for volume in volumes]))
    images = torchprojector.project(both, volumes[0].ijk_to_ras, camera, torch.tensor(np.stack([matrix, matrix])))
    for image, volume in zip(images, volumes, strict=True):
        assert ncc(image, project(volume, camera, matrix)) > 0.99999


@pytest.mark.parametrize("backend", [NUMBA, TORCH])
def test_rays_that_miss_see_nothing(backend):
    volume = full_volume()
    aside = ct_to_camera(Pose(translation=(2000.0, 0.0, 0.0)), volume.centre, PLAIN)
    image, jacobian = project_with_jacobian(volume, PLAIN, aside, np.array([2000.0, 0, 700]), backend)
    assert not image.any()
    assert not jacobian.any()
    assert jacobian.shape == (6, 48, 52)


@pytest.mark.parametrize("backend", [NUMBA, TORCH])
def test_nothing_is_seen_behind_the_detector(backend):
    volume = full_volume(STRAIGHT)
    half = ct_to_camera(Pose(translation=(0.0, 0.0, 300.0)), volume.centre, PLAIN)  # the isocenter in the detector
    beyond = ct_to_camera(Pose(translation=(0.0, 0.0, 450.0)), volume.centre, PLAIN)
    assert (
        0.3
        < project(volume, PLAIN, half, backend)[24, 26]
        / project(volume, PLAIN, ct_to_camera(Pose(), volume.centre, PLAIN), backend)[24, 26]
        < 0.7
    )
    assert not project(volume, PLAIN, beyond, backend).any()


def test_the_image_does_not_depend_on_the_number_of_threads(monkeypatch):
    volume, camera = full_volume(), PLAIN.resized(96, 90)
    matrix = ct_to_camera(POSE, volume.centre, camera)
    images = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert thread_count() == int(threads)
        images.append(project(volume, camera, matrix, NUMBA))
    np.testing.assert_array_equal(*images)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert thread_count() >= 1


def test_without_numba_torch_projects(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_backend() == TORCH
    with pytest.raises(InputError, match="numba is not installed"):
        choose_backend(NUMBA)
    with pytest.raises(InputError, match="no projector"):
        choose_backend("cuda")


def test_views_that_show_nothing_are_told():
    volume = full_volume()
    check_view(volume, PLAIN, ct_to_camera(POSE, volume.centre, PLAIN))
    for translation, sentence in (
        ((0, 0, -700.0), "source lies inside the CT"),
        ((500.0, 0, 0), "outside the beam"),
        ((0, 0, -1000.0), "outside the beam"),
        ((0, 0, 500.0), "outside the beam"),
    ):
        with pytest.raises(InputError, match=sentence):
            check_view(volume, PLAIN, ct_to_camera(Pose(translation=translation), volume.centre, PLAIN))
    with pytest.raises(InputError, match="not finite"):
        check_view(volume, PLAIN, np.full((4, 4), np.nan))
