"""The learned methods find poses on spines that no network has seen, in X-rays of any C-arm, and say what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learnedsamples import TINY, quiet
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.alignment import View
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.learned.bundle import export_run, load_bundle
from LandmarkFusionLogic.projection.learned.cases import make_phantom
from LandmarkFusionLogic.projection.learned.config import DEEP_REG, FINE, RTPI, STAGES
from LandmarkFusionLogic.projection.learned.inputs import frustum, prepare, to_view
from LandmarkFusionLogic.projection.learned.iteration import refine
from LandmarkFusionLogic.projection.learned.networks import METHODS, check_model, network_folder
from LandmarkFusionLogic.projection.learned.poses import axis_errors
from LandmarkFusionLogic.projection.learned.preparation import averaged, make_scene, moved, nominal
from LandmarkFusionLogic.projection.learned.training import train
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.projection.projector import project
from LandmarkFusionLogic.projection.registration import align
from LandmarkFusionLogic.simulation.seeds import TEST, TRAINING, VALIDATION
from LandmarkFusionLogic.volume import Volume

# Not the C-arm of the training.
GEOMETRY = Geometry(1200.0, 96, 120, (2.2, 2.0), principal_point=(50.0, 58.0), source_to_isocenter=820.0)


@pytest.fixture(scope="module")
def phantoms():
    return [make_phantom(seed, 48) for seed in TEST[:3]]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A folder of untrained networks, one of each kind."""
    folder = tmp_path_factory.mktemp("networks")
    for stage in STAGES:
        train(replace(TINY[stage], steps=1), folder / "run" / stage, log=quiet, validation=0)
        export_run(folder / "run" / stage, folder / f"projection-{stage}")
    return folder


def _view(phantom, pose, geometry=GEOMETRY):
    mu = phantom.full.mu
    return View(project(mu, geometry, ct_to_camera(pose, mu.centre, geometry)), geometry)


def _cases(phantoms, count):
    draw = np.random.default_rng(11)
    spread = np.array([6, 6, 6, 9, 4.5, 30])
    for number in range(count):
        truth, start = (Pose.of(draw.normal(0, spread)) for _ in range(2))
        yield phantoms[number % len(phantoms)], truth, start


@pytest.mark.parametrize(("method", "least"), [("sopi", 0.6), ("deep-reg", 0.95)])
def test_the_shipped_networks_come_nearer_on_unseen_spines(method, least, phantoms):
    before, after, seconds = [], [], []
    for phantom, truth, start in _cases(phantoms, 4):
        found = align(phantom.full.mu, [_view(phantom, truth)], [start], method)
        before.append(axis_errors(start, truth))
        after.append(axis_errors(found.pose, truth))
        seconds.append(found.seconds)
        assert found.curve[0][0] == 0
        assert found.similarity_after == pytest.approx(found.curve[-1][1])
        assert any("simulated spines only" in warning for warning in found.warnings)
    degrees, mm = np.mean(after, axis=0) / np.mean(before, axis=0)
    assert (degrees + mm) / 2 < least
    assert np.median(seconds) < 60


def test_the_shipped_pose_network_beats_a_start_drawn_like_its_truth(phantoms):
    before, after = [], []
    for phantom, truth, start in _cases(phantoms, 10):
        before.append(axis_errors(start, truth))
        after.append(axis_errors(align(phantom.full.mu, [_view(phantom, truth)], [start], "rtpi").pose, truth))
    degrees, mm = np.mean(after, axis=0) / np.mean(before, axis=0)
    assert (degrees + mm) / 2 < 0.85


def test_shipped_networks_say_what_they_are():
    for stage in STAGES:
        folder = network_folder(stage)
        assert folder == assets.path("models", f"projection-{stage}")
        bundle = load_bundle(folder)
        training = bundle.metadata["training"]
        card = (folder / "docs" / "README.md").read_text(encoding="utf-8")
        assert f"{training['steps']} steps" in card
        assert bundle.version in card
        assert training["command"] in card
        assert "No image of a patient" in card
        config = bundle.config
        assert config.stage == stage
        last = config.first_seed + training["steps"] // config.steps_per_phantom + config.pool
        assert config.first_seed in TRAINING
        assert not {config.first_seed, last} & {*VALIDATION, *TEST}
        assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 6e6


def test_every_method_runs_and_is_told_about(phantoms, networks):
    phantom, truth, start = next(_cases(phantoms, 1))
    view = _view(phantom, truth)
    for method in sorted(METHODS.keys() - {"sopi+opt"}):
        shares, poses = [], []
        found = align(
            phantom.full.mu,
            [view],
            [start],
            method,
            report=lambda share, text, into=shares: into.append(share),
            watch=lambda iteration, similarity, pose, into=poses: into.append((iteration, similarity)),
            model=str(networks),
        )
        assert np.isfinite(found.pose.parameters).all()
        np.testing.assert_allclose(
            found.ct_to_camera, ct_to_camera(found.pose, phantom.isocenter, GEOMETRY), atol=1e-6
        )
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert poses
        iterations = [iteration for iteration, _ in found.curve]
        assert iterations == sorted(iterations)


def test_opt_after_sopi_comes_as_near_as_opt_does(phantoms):
    phantom, truth, start = list(_cases(phantoms, 2))[1]
    found = align(phantom.full.mu, [_view(phantom, truth)], [start], "sopi+opt")
    degrees, mm = axis_errors(found.pose, truth)
    assert degrees < 1.0
    assert mm < 2.5


def test_two_views_are_told_to_be_one(phantoms, networks):
    phantom, truth, start = next(_cases(phantoms, 1))
    view = _view(phantom, truth)
    found = align(phantom.full.mu, [view, view], [start], "rtpi", model=str(networks))
    assert any("first X-ray only" in warning for warning in found.warnings)


def test_of_several_starts_the_one_that_looks_like_the_xray_is_taken(phantoms, networks):
    phantom, truth, _ = next(_cases(phantoms, 1))
    behind = Pose((truth.rotation[0], truth.rotation[1] + 180, truth.rotation[2]), truth.translation)
    found = align(phantom.full.mu, [_view(phantom, truth)], [behind, truth], "deep-reg", model=str(networks))
    assert abs(found.pose.rotation[1] - truth.rotation[1]) < 90


def test_a_lateral_start_is_the_nominal_pose_and_is_warned_of(phantoms, networks):
    phantom = phantoms[0]
    lateral = Pose((0, 90, 0), (0, 0, 0))
    matrix = ct_to_camera(lateral, phantom.isocenter, GEOMETRY)
    about, frontal = nominal(matrix, phantom.isocenter, GEOMETRY)
    assert not frontal
    np.testing.assert_array_equal(about, matrix)
    found = align(phantom.full.mu, [_view(phantom, lateral)], [lateral], "rtpi", model=str(networks))
    assert any("frontal views only" in warning for warning in found.warnings)
    apart = Rotation.from_matrix(found.ct_to_camera[:3, :3] @ matrix[:3, :3].T).magnitude()
    assert np.rad2deg(apart) < 40


def test_an_answer_about_the_front_is_a_pose(phantoms):
    answer = Pose((3.0, -4.0, 5.0), (6.0, -2.0, 20.0))
    center = phantoms[0].isocenter
    about, frontal = nominal(ct_to_camera(Pose((5, 5, 5)), center, GEOMETRY), center, GEOMETRY)
    assert frontal
    np.testing.assert_allclose(moved(about, answer, center), ct_to_camera(answer, center, GEOMETRY), atol=1e-9)


def test_an_image_of_another_c_arm_is_brought_to_the_networks_own(phantoms):
    phantom = phantoms[0]
    matrix = ct_to_camera(Pose((2, 3, 4), (5, 2, 10)), phantom.isocenter, GEOMETRY)
    fine = replace(GEOMETRY, mirrored=True, principal_point=None).resized(384, 480)
    seen = to_view(phantom.full.project(fine, matrix), fine, TINY[FINE].geometry.resized(64, 64))
    wanted = phantom.full.project(TINY[FINE].geometry.resized(64, 64), matrix)
    assert np.corrcoef(seen[4:-4, 4:-4].ravel(), wanted[4:-4, 4:-4].ravel())[0, 1] > 0.995


def test_samples_along_the_rays_add_up_to_the_image(phantoms):
    phantom, config = phantoms[0], replace(TINY[RTPI], pixels=64, volume=64)
    matrix = ct_to_camera(Pose(), phantom.isocenter, config.geometry)
    samples = frustum(phantom.full.mu, matrix, config.geometry, 64)
    image = phantom.full.project(config.geometry, matrix)
    assert np.corrcoef(samples.sum(0).ravel(), image.ravel())[0, 1] > 0.99


def test_the_networks_image_knows_no_brightness():
    import torch

    image = torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(1)).cumsum(2)
    one, other = prepare(image), prepare(3 * image + 7)
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    assert one.shape == (1, 2, 32, 32)


def test_fine_voxels_are_averaged_about_the_same_center():
    array = np.random.default_rng(1).random((41, 40, 62)).astype(np.float32)
    volume = Volume(array, np.array([[0.6, 0, 0, 5], [0, 0.6, 0, -3], [0, 0, 1.6, 2], [0, 0, 0, 1.0]]))
    coarse = averaged(volume)
    assert coarse.array.shape == (41, 20, 31)
    np.testing.assert_allclose(coarse.spacing, [1.2, 1.2, 1.6])
    np.testing.assert_allclose(coarse.centre, volume.centre, atol=0.7)
    assert coarse.array.mean() == pytest.approx(array.mean(), rel=1e-3)


def test_the_rotation_freezes_when_it_has_converged_and_the_translation_goes_on(phantoms):
    bundle = load_bundle(network_folder(FINE))
    phantom, truth, start = next(_cases(phantoms, 1))
    matrices = [ct_to_camera(pose, phantom.isocenter, GEOMETRY) for pose in (truth, start)]
    scene = make_scene(phantom.full.mu, phantom.full.project(GEOMETRY, matrices[0]), None, GEOMETRY)
    seen = []
    found = refine(
        bundle.network,
        bundle.config,
        scene.mu,
        scene.mask,
        scene.view(bundle.config),
        matrices[1],
        lambda iteration, similarity, matrix: seen.append(matrix[:3, :3]),
        iterations=200,
    )
    assert found.converged
    still = [i for i in range(1, len(seen)) if np.allclose(seen[i], seen[i - 1], atol=1e-12)]
    moving = [i for i in range(1, len(seen)) if i not in still]
    assert not still or min(still) > max(moving)  # Once frozen, never again on the move.


def test_missing_networks_and_small_volumes_are_told(phantoms, networks, tmp_path, monkeypatch):
    phantom, truth, start = next(_cases(phantoms, 1))
    mu, view = phantom.full.mu, _view(phantom, truth)
    with pytest.raises(InputError, match="no folder “nowhere”"):
        align(mu, [view], [start], "rtpi", model=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="holds no network that the method “rtpi” uses"):
        align(mu, [view], [start], "rtpi", model=str(networks / "projection-fine"))
    check_model("sopi", str(networks / "projection-fine"))  # RTPI is then the one that ships.
    assert network_folder(DEEP_REG, str(networks / "run" / "..")).parent == networks / "run" / ".."
    small = Volume(mu.array[20:30], mu.ijk_to_ras)
    with pytest.raises(InputError, match="need 60 mm along each side"):
        align(small, [view], [start], "sopi", model=str(networks))
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "a" / "b")
    with pytest.raises(InputError, match=r"“projection-rtpi” is not installed; train it \(landmarkfusion train"):
        align(mu, [view], [start], "rtpi")


def test_a_network_for_something_else_is_not_taken(networks, tmp_path):
    metadata = json.loads((networks / "projection-rtpi" / "configs" / "metadata.json").read_text())
    other = tmp_path / "other"
    (other / "configs").mkdir(parents=True)
    (other / "configs" / "metadata.json").write_text(json.dumps({**metadata, "kind": "match"}))
    with pytest.raises(InputError, match="holds no network"):
        check_model("rtpi", str(Path(other)))
