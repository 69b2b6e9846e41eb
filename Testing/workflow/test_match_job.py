"""The job and the command that find corresponding points, and what they say of bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import write_volume
from LandmarkFusionLogic.jobs import JOBS, MatchRequest, VolumeSource, from_json, match, to_json
from LandmarkFusionLogic.markupsfile import read_points
from LandmarkFusionLogic.simulation.deformations import deform, draw_deformation
from LandmarkFusionLogic.transformfile import write_transform
from LandmarkFusionLogic.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _quiet(fraction, text):
    pass


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("match")
    random = np.random.default_rng(0)
    array = sum(
        weight * ndimage.gaussian_filter(random.normal(size=(40, 48, 52)), sigma) * sigma**1.5
        for weight, sigma in ((100, 1.5), (200, 4))
    )
    fixed = Volume(array.astype(np.float32), np.diag([-2.0, -2.0, 2.0, 1.0]))
    deformation = draw_deformation(4, fixed)
    moving = deform(fixed, deformation)
    shift = np.eye(4)
    shift[:3, 3] = (0, 0, 300)
    write_volume(folder / "fixed.nrrd", fixed)
    write_volume(folder / "moving.nrrd", moving)
    write_volume(folder / "away.nrrd", Volume(moving.array, shift @ moving.ijk_to_ras))
    write_volume(folder / "empty.nrrd", Volume(np.zeros(fixed.array.shape, dtype=np.uint8), fixed.ijk_to_ras))
    some = np.zeros((20, 24, 26), dtype=np.uint8)
    some[4:16] = 1
    write_volume(folder / "mask.nrrd", Volume(some, fixed.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])))
    write_transform(folder / "back.h5", np.linalg.inv(shift))
    return folder, deformation


def _run(*arguments):
    command = [sys.executable, "-m", "LandmarkFusionLogic.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


def test_the_command_writes_two_lists_with_equal_names_and_a_report(case, tmp_path):
    folder, deformation = case
    done = _run(
        "match", "--fixed", folder / "fixed.nrrd", "--moving", folder / "moving.nrrd", "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "fixed-points.mrk.json",
        "moving-points.mrk.json",
        "report.json",
    ]
    fixed, moving = (read_points(tmp_path / "out" / f"{side}-points.mrk.json") for side in ("fixed", "moving"))
    assert [point.name for point in fixed] == [point.name for point in moving]
    places = [np.array([point.position for point in side]) for side in (fixed, moving)]
    error = np.linalg.norm(deformation.to_fixed(places[1]) - places[0], axis=1)
    assert len(error) > 100
    assert np.mean(error < 4) > 0.97
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["pairs"] == len(error)
    assert report["method"] == "mind"
    assert str(folder) not in (tmp_path / "out" / "report.json").read_text()


def test_an_initial_transform_and_masks_on_other_grids(case):
    folder, deformation = case
    back = np.eye(4)
    back[2, 3] = -300
    request = MatchRequest(
        VolumeSource(str(folder / "fixed.nrrd")),
        VolumeSource(str(folder / "away.nrrd")),
        fixed_mask=VolumeSource(str(folder / "mask.nrrd")),
        initial=back.tolist(),
    )
    result = match(from_json(MatchRequest, to_json(request)), _quiet)
    fixed = np.array([pair.fixed for pair in result.pairs])
    moving = np.array([pair.moving for pair in result.pairs]) + back[:3, 3]
    assert np.median(np.linalg.norm(deformation.to_fixed(moving) - fixed, axis=1)) < 1.0
    assert fixed[:, 2].min() >= 14
    assert fixed[:, 2].max() <= 64
    assert all(0 <= pair.confidence <= 1 for pair in result.pairs)


def test_the_worker_knows_the_job():
    assert JOBS["match"][0] is MatchRequest


BAD = [
    ({"moving": "away.nrrd"}, "do not overlap"),
    ({"fixed_mask": "empty.nrrd"}, "mask of the fixed volume"),
    ({"moving_mask": "empty.nrrd"}, "mask of the moving volume"),
    ({"fixed": "empty.nrrd"}, "Every voxel of the fixed volume has the same value"),
    ({"moving": "missing.nrrd"}, "does not exist"),
    ({"initial": [[1.0, 0.0], [0.0, 1.0]]}, "4 × 4 numbers"),
    ({"initial": np.diag([1.0, 1.0, 0.0, 1.0]).tolist()}, "flattens"),
    ({"region": [0.0, 1.0]}, "six finite numbers"),
    ({"method": "none"}, "how points are to be found"),
    ({"method": "no-such-network"}, "no-such-network"),
]


@pytest.mark.parametrize(("changed", "said"), BAD)
def test_bad_input_is_said_in_one_sentence(case, changed, said):
    folder, _ = case
    given = {"fixed": "fixed.nrrd", "moving": "moving.nrrd", **changed}
    for name in ("fixed", "moving", "fixed_mask", "moving_mask"):
        if name in given:
            given[name] = VolumeSource(str(folder / given[name]))
    with pytest.raises(InputError, match=said):
        match(MatchRequest(**given), _quiet)


def test_the_command_ends_with_2_and_writes_nothing(case, tmp_path):
    folder, _ = case
    flat = Volume(np.random.default_rng(0).normal(size=(1, 40, 40)).astype(np.float32), np.eye(4))
    write_volume(tmp_path / "slice.nrrd", flat)
    done = _run(
        "match", "--fixed", folder / "fixed.nrrd", "--moving", tmp_path / "slice.nrrd", "--out", tmp_path / "out"
    )
    assert done.returncode == 2
    assert "only one slice" in done.stderr
    assert not (tmp_path / "out").exists()
