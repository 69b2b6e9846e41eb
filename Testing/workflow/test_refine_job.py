"""The job and the command that refine: what they write, say and refuse, and how Slicer reads the transform."""

import json

import numpy as np
import pytest
import refined
from refined import SHIFT, START

from LandmarkFusionLogic.cli import main
from LandmarkFusionLogic.deformable.transforms import read_deformation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import read_volume, write_volume
from LandmarkFusionLogic.jobs import JOBS, LandmarkRecord, PointPair, RefineRequest, VolumeSource, refine
from LandmarkFusionLogic.markupsfile import write_landmarks
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.transformfile import read_transform, write_transform


def quiet(fraction, text):
    pass


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A US, an MR with the same structure, their glands, points and the start, as files."""
    folder = tmp_path_factory.mktemp("pair")
    pair = refined.pair()
    for name in ("us", "mr"):
        write_volume(folder / f"{name}.nrrd", getattr(pair, name))
        write_volume(folder / f"{name}-gland.nrrd", getattr(pair, f"{name}_gland"))
    write_transform(folder / "start.h5", START)
    inside = np.array([[0.0, 0.0, 18.0], [0.0, -10.0, -8.0], [9.0, 3.0, 0.0]])
    names = ("Bladder neck", "Apex", "Lesion")
    us = [Landmark(name, place - SHIFT) for name, place in zip(names, inside, strict=True)]
    mr = [Landmark(name, apply(np.linalg.inv(START), place)) for name, place in zip(names, inside, strict=True)]
    write_landmarks(folder / "us.mrk.json", us)
    write_landmarks(folder / "mr.mrk.json", mr)
    return folder


def request(files, out, **changed):
    given = {
        "fixed": VolumeSource(str(files / "us.nrrd")),
        "moving": VolumeSource(str(files / "mr.nrrd")),
        "initial": START.tolist(),
        "out": str(out),
        "fixed_mask": VolumeSource(str(files / "us-gland.nrrd")),
        "moving_mask": VolumeSource(str(files / "mr-gland.nrrd")),
    }
    return RefineRequest(**(given | changed))


def miss(path):
    """How far points of the US's gland are led astray by a transform file, mm."""
    points = np.random.default_rng(1).uniform(-12, 12, (100, 3))
    return np.linalg.norm(read_deformation(path).to_moving(points) - refined.to_mr(points), axis=1).mean()


def test_the_job(files, tmp_path):
    heard = []
    targets = [PointPair((-SHIFT).tolist(), (-START[:3, 3]).tolist(), 1.0, "Middle")]
    marks = {"fixed_landmarks": [LandmarkRecord("Apex", (np.array([0.0, -10.0, -8.0]) - SHIFT).tolist())]}
    marks["moving_landmarks"] = [LandmarkRecord("Apex", (np.array([0.0, -10.0, -8.0]) - START[:3, 3]).tolist())]
    kind, job = JOBS["refine"]
    given = request(files, tmp_path / "out", targets=targets, **marks)
    assert isinstance(given, kind)
    result = job(given, lambda fraction, text: heard.append(fraction))
    assert result.refined, result.doubts
    assert result.doubtful is None
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert miss(tmp_path / "out" / "transform.h5") < 0.8
    (target,) = result.deformation.targets
    assert target.before_mm == pytest.approx(np.linalg.norm(SHIFT), abs=1e-6)
    assert target.after_mm < 0.8
    assert result.comparison["landmark_after"] < result.comparison["landmark_before"]
    assert result.deformation.similarity_after > result.deformation.similarity_before
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["used"] == "refined"
    assert told["comparison"]["border_after"] < told["comparison"]["border_before"]
    assert str(files) not in json.dumps(told)
    warped = read_volume(tmp_path / "out" / "warped.nrrd")
    us = read_volume(files / "us.nrrd")
    assert warped.array.shape == us.array.shape
    middle = (slice(14, 30),) * 3
    assert np.corrcoef(-warped.array[middle].ravel(), us.array[middle].ravel())[0, 1] > 0.9


def wrong(files, tmp_path):
    """The US's gland with its lower half cut off, as a mask that shows something else."""
    write_volume(tmp_path / "half.nrrd", refined.half(read_volume(files / "us-gland.nrrd")))
    return VolumeSource(str(tmp_path / "half.nrrd"))


def test_a_doubtful_refinement_leaves_the_rigid_alignment(files, tmp_path):
    given = request(files, tmp_path / "out", fixed_mask=wrong(files, tmp_path))
    result = refine(given, quiet)
    assert not result.refined
    assert result.doubts
    (warning,) = result.deformation.warnings
    assert "the rigid alignment is kept" in warning
    assert np.allclose(read_transform(tmp_path / "out" / "transform.h5"), START, atol=1e-6)
    assert read_deformation(tmp_path / "out" / "doubtful.h5")
    assert result.deformation.similarity_after == result.deformation.similarity_before
    again = refine(request(files, tmp_path / "all", fixed_mask=given.fixed_mask, use_doubtful=True), quiet)
    assert again.refined
    assert again.doubts == result.doubts
    assert "as you asked" in again.deformation.warnings[0]


def test_the_transform_moves_volume_and_markups_in_slicer(files, tmp_path):
    slicer = pytest.importorskip("slicer")
    refine(request(files, tmp_path / "out"), quiet)
    node = slicer.vtkMRMLTransformNode()
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(tmp_path / "out" / "transform.h5"))
    assert storage.ReadData(node)
    point = np.array([5.0, -4.0, 6.0])
    there = refined.to_mr(point)
    # What lies in the MR comes to the US.
    assert np.linalg.norm(node.GetTransformToParent().TransformPoint(there) - point) < 0.8
    assert np.linalg.norm(node.GetTransformFromParent().TransformPoint(point) - there) < 0.8


def command(files, out, *more):
    return [
        "refine",
        *("--fixed", str(files / "us.nrrd"), "--moving", str(files / "mr.nrrd")),
        *("--initial", str(files / "start.h5"), "--out", str(out)),
        *more,
    ]


def test_the_command(files, tmp_path, capsys):
    masks = ("--fixed-mask", str(files / "us-gland.nrrd"), "--moving-mask", str(files / "mr-gland.nrrd"))
    targets = ("--fixed-targets", str(files / "us.mrk.json"), "--moving-targets", str(files / "mr.mrk.json"))
    assert main(command(files, tmp_path / "out", *masks, *targets)) == 0
    told = capsys.readouterr().out
    assert "The refinement is used." in told
    assert "Lesion" in told
    assert "Distance of the glands' borders" in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[-3:] == [
        "report.json",
        "transform.h5",
        "warped.nrrd",
    ]


def test_landmarks_alone(files, tmp_path, capsys):
    points = ("--fixed-points", str(files / "us.mrk.json"), "--moving-points", str(files / "mr.mrk.json"))
    assert main(command(files, tmp_path / "out", *points)) == 0
    assert "Distance of the landmarks" in capsys.readouterr().out
    assert miss(tmp_path / "out" / "transform.h5") < 2.5


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"initial": [[1.0]]}, "4 × 4"),
        ({"moving": VolumeSource("nowhere.nrrd")}, "does not exist"),
        ({"fixed_mask": VolumeSource("nowhere.nrrd")}, "gland mask of the fixed volume"),
        ({"initial": (np.eye(4) + 900 * np.eye(4, k=3)).tolist()}, "overlap"),
    ],
)
def test_bad_input(files, tmp_path, changed, words):
    with pytest.raises(InputError, match=words):
        refine(request(files, tmp_path / "out", **changed), quiet)
    assert not (tmp_path / "out").exists()


def test_points_of_one_volume_only(files, tmp_path, capsys):
    assert main(command(files, tmp_path / "out", "--fixed-targets", str(files / "us.mrk.json"))) == 2
    assert "--moving-targets" in capsys.readouterr().err


def test_fuse_goes_on_to_refine(files, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["fuse", "--mr", str(files / "mr.nrrd"), "--us", str(files / "us.nrrd"), "--out", str(out), "--refine"]
    for side in ("mr", "us"):
        arguments += [f"--{side}-landmarks", str(files / f"{side}.mrk.json")]
        arguments += [f"--{side}-gland", str(files / f"{side}-gland.nrrd")]
    assert main([*arguments, "--us-orientation-confirmed"]) == 0
    assert "The refinement is used." in capsys.readouterr().out
    assert (out / "mr-to-us.h5").exists()
    assert miss(out / "refined" / "transform.h5") < 0.8
