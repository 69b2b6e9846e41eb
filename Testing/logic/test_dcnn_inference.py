"""Matching whole volumes by patches: coordinates in mm on any grid, masks, regions, bad input, shipped networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.deformable.dcnn import inference
from LandmarkFusionLogic.deformable.dcnn.bundle import export_run
from LandmarkFusionLogic.deformable.dcnn.config import MatchConfig
from LandmarkFusionLogic.deformable.dcnn.inference import find
from LandmarkFusionLogic.deformable.dcnn.networks import default_name, is_network, network_folder
from LandmarkFusionLogic.deformable.dcnn.preprocessing import body_of, gray_levels
from LandmarkFusionLogic.deformable.dcnn.training import train
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.volume import Volume


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The folder of a network that has learned nothing."""
    folder = tmp_path_factory.mktemp("network")
    config = MatchConfig(variant="hinge-ce", width=2, patch=(32, 32, 32), points=32, border=4, steps=1)
    train(config, folder / "run", log=lambda text: None, validation=0)
    export_run(folder / "run", folder / "dcnn-untrained")
    return str(folder / "dcnn-untrained")


@pytest.fixture
def sees_all(monkeypatch):
    """In place of the network: every seventh allowed voxel of the fixed patch matches the same of the moving one."""

    def matches(self, levels, allowed):
        places = (allowed[0] & allowed[1]).nonzero()[::7].float()
        return torch.cat((places, places), dim=1), torch.ones(len(places))

    monkeypatch.setattr(inference._Runner, "matches", matches)


def _turned_affine(spacing, degrees=20.0):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", [degrees, -10, 5], degrees=True).as_matrix() @ np.diag(spacing)
    affine[:3, 3] = [30.0, -12.0, 7.0]
    return affine


def _noise(shape, affine):
    return Volume(np.random.default_rng(0).normal(100, 20, shape).astype(np.float32), affine)


def _world(volume, index_kji):
    return index_kji[:, ::-1] @ volume.ijk_to_ras[:3, :3].T + volume.ijk_to_ras[:3, 3]


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (0.8, 0.8, 3.0), (1.5, 2.5, 4.0)])
def test_places_become_mm_through_the_initial_transform(network, sees_all, spacing):
    shape = tuple(int(80 / s) for s in reversed(spacing))
    fixed = _noise(shape, _turned_affine(spacing))
    initial = np.eye(4)
    initial[:3, :3] = Rotation.from_euler("z", 12, degrees=True).as_matrix()
    initial[:3, 3] = [4, -60, 9]
    moving = Volume(fixed.array, np.linalg.inv(initial) @ fixed.ijk_to_ras)
    found = find(fixed, moving, initial=initial, model=network)
    mapped = found.moving @ initial[:3, :3].T + initial[:3, 3]
    np.testing.assert_allclose(mapped, found.fixed, atol=1e-6)
    # All of them lie in the volume, and they reach its ends.
    index = (found.fixed - fixed.ijk_to_ras[:3, 3]) @ np.linalg.inv(fixed.ijk_to_ras[:3, :3]).T
    assert (index > -0.51).all()
    assert (index < np.array(fixed.shape_ijk) - 0.49).all()
    assert (np.ptp(index, axis=0) * spacing > 60).all()


def test_the_lattice_has_the_networks_voxels_and_the_volumes_corner():
    for spacing in (1.0, 1.7, 3.0):
        volume = _noise((40, 44, 48), _turned_affine((spacing,) * 3))
        lattice = inference._lattice(volume, None, 2.0)
        assert lattice.spacing == 2.0
        np.testing.assert_allclose(np.linalg.norm(lattice.ijk_to_ras[:3, :3], axis=0), 2.0)
        corner = np.full((1, 3), -0.5)
        np.testing.assert_allclose(lattice.to_ras(corner), _world(volume, corner), atol=1e-9)


def test_patches_cover_the_volume_with_half_of_each_shared():
    assert inference._starts(128, 64) == [0, 32, 64]
    assert inference._starts(100, 64) == [0, 32, 36]
    assert inference._starts(64, 64) == [0]
    assert inference._starts(20, 64) == [0]


def test_a_volume_smaller_than_a_patch_is_padded(network, sees_all):
    fixed = _noise((12, 14, 16), np.diag([2.0, 2.0, 2.0, 1.0]))
    found = find(fixed, fixed, model=network)
    assert (found.fixed <= np.array([30, 26, 22]) + 1e-9).all()
    assert len(found) > 20


def test_masks_and_region_bound_the_points(network, sees_all):
    fixed = _noise((40, 40, 40), np.diag([2.0, 2.0, 2.0, 1.0]))
    left = np.zeros((40, 40, 40), np.uint8)
    left[:, :, :20] = 1
    low = np.zeros((20, 20, 20), np.uint8)
    low[:10] = 1
    masks = Volume(left, fixed.ijk_to_ras), Volume(low, np.diag([4.0, 4.0, 4.0, 1.0]))
    found = find(fixed, fixed, *masks, model=network)
    assert len(found)
    assert found.fixed[:, 0].max() <= 39.1
    assert found.fixed[:, 2].max() <= 39.1
    region = [10.0, 50.0, 20.0, 60.0, 0.0, 70.0]
    inside = find(fixed, fixed, region=region, model=network).fixed
    assert (inside.min(axis=0) >= np.array(region[::2])).all()
    assert (inside.max(axis=0) <= np.array(region[1::2])).all()


def test_bad_input_is_told_in_a_sentence(network, sees_all):
    fixed = _noise((24, 24, 24), np.diag([2.0, 2.0, 2.0, 1.0]))
    away = np.eye(4)
    away[0, 3] = 900
    with pytest.raises(InputError, match="do not overlap"):
        find(fixed, fixed, initial=away, model=network)
    nothing = Volume(np.zeros((24, 24, 24), np.uint8), fixed.ijk_to_ras)
    with pytest.raises(InputError, match="mask of the moving volume holds nothing"):
        find(fixed, fixed, moving_mask=nothing, model=network)
    with pytest.raises(InputError, match="no source of corresponding points “dcnn-other”"):
        find(fixed, fixed, model="dcnn-other")
    with pytest.raises(InputError, match="no source of corresponding points “other”"):
        network_folder("other")


def test_nothing_found_is_told(network, monkeypatch):
    monkeypatch.setattr(
        inference._Runner, "matches", lambda self, levels, allowed: (torch.zeros(0, 6), torch.zeros(0))
    )
    fixed = _noise((24, 24, 24), np.diag([2.0, 2.0, 2.0, 1.0]))
    with pytest.raises(InputError, match="No corresponding points"):
        find(fixed, fixed, model=network)


def test_a_full_gpu_ends_on_the_cpu(network, monkeypatch):
    real = inference._Runner._matches

    def full_at_first(self, levels, allowed):
        if self._device.type != "cpu":
            raise torch.OutOfMemoryError
        return real(self, levels, allowed)

    monkeypatch.setattr(inference._Runner, "_matches", full_at_first)
    bundle = inference.load_bundle(network_folder(network))
    runner = inference._Runner(bundle, "cpu")
    runner._device = torch.device("meta")
    points, scores = runner.matches(torch.rand(2, 32, 32, 32), torch.ones(2, 32, 32, 32, dtype=torch.bool))
    assert len(points) == len(scores)
    assert "on the CPU" in runner.remark


def test_progress_is_told_and_rises(network, sees_all):
    told: list[tuple[float, str]] = []
    fixed = _noise((48, 48, 48), np.diag([2.0, 2.0, 2.0, 1.0]))
    find(fixed, fixed, model=network, report=lambda fraction, text: told.append((fraction, text)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert any("patch 2 of 8" in text for _, text in told)


def test_the_body_and_its_gray_levels():
    volume = torch.full((30, 40, 40), -1000.0)
    volume[5:25, 8:32, 8:32] = 40.0
    volume[5:25, 8:20, 8:32] = 300.0
    volume[12, 15, 15] = -1000.0
    body = body_of(volume)
    assert body.sum() == 20 * 24 * 24
    levels = gray_levels(volume, body)
    assert (float(levels.min()), float(levels.max())) == (0.0, 1.0)
    assert levels[6, 10, 10] > levels[6, 28, 10]


def test_names():
    assert is_network("dcnn")
    assert is_network("dcnn-hinge-ce")
    assert not is_network("mind")
    assert is_network(default_name())
