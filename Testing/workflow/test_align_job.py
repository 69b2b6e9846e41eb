"""``landmarkfusion align`` and the job behind it: results of each kind of X-ray, bad input, cancel."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import projectionsamples
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from test_worker import Process

from LandmarkFusionLogic.cli import main
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import write_volume
from LandmarkFusionLogic.jobs import AlignRequest, AlignResult, VolumeSource, XRaySource, align, from_json, to_json
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.transformfile import read_transform
from LandmarkFusionLogic.volume import Volume

TRUTH = [4.0, -5.0, 3.0, 8.0, -6.0, 15.0]
START = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
SIDE = [4.0, -85.0, 3.0, 8.0, -6.0, 15.0]
G = projectionsamples.GEOMETRY
FILES = {"drr.nrrd", "overlay.png", "pose.json", "report.json", "similarity.csv", "transform.h5", "xray.nrrd"}


def quiet(fraction, text):
    pass


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A folder with a CT, its geometry, and X-rays of known pose in several kinds of files."""
    folder = tmp_path_factory.mktemp("case")
    ct = projectionsamples.ct()
    write_volume(folder / "ct.nrrd", ct)
    (folder / "g.json").write_text(json.dumps(G))
    fine = Geometry.from_json(G).resized(128, 128).to_json()
    for name, pose in (("x", TRUTH), ("side", SIDE)):
        sitk.WriteImage(
            sitk.GetImageFromArray(projectionsamples.xray(ct, pose)),
            str(folder / f"{name}.nrrd"),
        )
        counts = projectionsamples.as_counts(projectionsamples.xray(ct, pose, fine))
        sitk.WriteImage(sitk.GetImageFromArray(counts), str(folder / f"{name}.png"))
        counts[:, :10] = 0
        projectionsamples.write_dicom_xray(
            folder / f"{name}.dcm",
            counts,
            ImagerPixelSpacing=fine["spacing"],
            PixelIntensityRelationship="LIN",
            PhotometricInterpretation="MONOCHROME1",
            CollimatorShape="RECTANGULAR",
            CollimatorLeftVerticalEdge=11,
            CollimatorRightVerticalEdge=128,
            CollimatorUpperHorizontalEdge=1,
            CollimatorLowerHorizontalEdge=128,
        )
    return folder


def request(case, out, **more):
    given = {"ct": "ct.nrrd", "xray": "x.nrrd", "geometry": G, "pose": START, **more}
    given["ct"] = VolumeSource(str(case / given["ct"]))
    for name in ("xray", "xray2"):
        if isinstance(given.get(name), str):
            given[name] = XRaySource(str(case / given[name]))
    return AlignRequest(out=str(out), **given)


def command(case, out, *words, xray="x.nrrd"):
    return ["align", "--ct", str(case / "ct.nrrd"), "--xray", str(case / xray), "--out", str(out), *map(str, words)]


def off(matrix, pose=TRUTH):
    """Angle (degrees) and distance (mm, at the CT's center) between a matrix CT to camera and that of ``pose``."""
    center = projectionsamples.ct().centre
    truth = ct_to_camera(Pose.of(pose), center, Geometry.from_json(G))
    found = np.array(matrix)
    turn = Rotation.from_matrix(found[:3, :3] @ truth[:3, :3].T).magnitude()
    return np.degrees(turn), np.linalg.norm((found - truth)[:3] @ [*center, 1])


def near(matrix, degrees=1.0, mm=4.0):
    turn, shift = off(matrix)
    return turn < degrees and shift < mm


# Results


def test_the_command_aligns_and_reports(case, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert main(command(case, out, "--geometry", case / "g.json", "--pose", "-1,1,0,0,0,-5")) == 0
    said = capsys.readouterr()
    assert {path.name for path in out.iterdir()} == FILES
    told = json.loads((out / "report.json").read_text())
    assert near(told["ct_to_camera"]), off(told["ct_to_camera"])
    arm = Geometry.from_json(G)
    center = projectionsamples.ct().centre
    np.testing.assert_allclose(ct_to_camera(Pose.of(told["pose"]), center, arm), told["ct_to_camera"], atol=1e-6)
    assert told["start"] == [-1.0, 1.0, 0.0, 0.0, 0.0, -5.0]
    assert told["similarity_after"] > told["similarity_before"]
    np.testing.assert_allclose(read_transform(out / "transform.h5"), told["ct_to_camera"], atol=1e-6)
    drr, xray = (sitk.GetArrayFromImage(sitk.ReadImage(str(out / f"{name}.nrrd"))) for name in ("drr", "xray"))
    assert drr.shape == xray.shape == (64, 64)
    assert np.corrcoef(drr.ravel(), xray.ravel())[0, 1] > 0.99
    lines = (out / "similarity.csv").read_text().splitlines()
    assert lines[0] == "iteration,similarity"
    assert len(lines) > 2
    assert json.loads((out / "pose.json").read_text())["pose"] == pytest.approx(told["pose"])
    assert sitk.ReadImage(str(out / "overlay.png")).GetSize()[0] > 1000
    assert str(case) not in (out / "report.json").read_text()
    assert "found" in said.out
    assert "Warning: Nothing says whether bones are bright" in said.err


@pytest.mark.parametrize("xray", ["x.dcm", "x.png"])
def test_a_raw_xray_at_twice_the_size(case, tmp_path, xray):
    """DICOM: geometry and meaning of gray values from the tags, a collimated image. PNG: both are told."""
    dicom = xray == "x.dcm"
    source = XRaySource(str(case / xray)) if dicom else XRaySource(str(case / xray), bones="dark", intensity="linear")
    result = align(request(case, tmp_path / "out", xray=source, geometry=None if dicom else G), quiet)
    assert near(result.ct_to_camera), off(result.ct_to_camera)
    side = 128 if dicom else 64
    assert (result.geometry["rows"], result.geometry["columns"]) == (side, side)
    report = json.loads(Path(result.report).read_text())
    assert report["views"][0]["bones"] == "dark"
    assert (report["views"][0]["valid"] < 0.95) == dicom
    assert not any("bright or dark" in text for text in result.warnings)
    assert from_json(AlignResult, json.loads(json.dumps(to_json(result)))) == result


def test_tags_of_another_device_are_overridden(case, tmp_path):
    wrong = projectionsamples.write_dicom_xray(
        tmp_path / "x.dcm",
        projectionsamples.as_counts(projectionsamples.xray(projectionsamples.ct(), TRUTH)),
        DistanceSourceToDetector=1400.0,
        PixelIntensityRelationship="LIN",
    )
    result = align(request(case, tmp_path / "out", xray=XRaySource(str(wrong)), geometry=G), quiet)
    assert near(result.ct_to_camera), off(result.ct_to_camera)


def test_two_views_find_the_depth(case, tmp_path):
    """Where the second camera stands comes from the nominal poses; it is the same when given as a matrix."""
    result = align(request(case, tmp_path / "out", xray2="side.nrrd", pose2=[0.0, -80, 0, 0, 0, 0]), quiet)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {"drr2.nrrd", "xray2.nrrd"}
    arm, center = Geometry.from_json(G), projectionsamples.ct().centre
    first, second = (ct_to_camera(Pose.of(pose), center, arm) for pose in (TRUTH, SIDE))
    exact = (second @ np.linalg.inv(first)).tolist()
    nominal = np.array(result.ct_to_camera2) @ np.linalg.inv(np.array(result.ct_to_camera))
    expected = ct_to_camera(Pose.of([0.0, -80, 0, 0, 0, 0]), center, arm) @ np.linalg.inv(
        ct_to_camera(Pose(), center, arm)
    )
    np.testing.assert_allclose(nominal, expected, atol=1e-6)
    better = align(request(case, tmp_path / "better", xray2="side.nrrd", from_first=exact), quiet)
    assert near(better.ct_to_camera, 0.5, 1.0), off(better.ct_to_camera)
    report = json.loads(Path(better.report).read_text())
    np.testing.assert_allclose(report["views"][1]["ct_to_camera"], second, atol=3)


def _by_angles(folder, mirrored, angles, flip):
    """DICOM X-rays of a C-arm at primary ``angles``; the result is the true matrix of the first.

    Mirrored images were taken with source and detector where the angles say, the others from the opposite side, so
    that both kinds look alike but for their perspective. ``flip`` is what the tag says of it.
    """
    from LandmarkFusionLogic.projection.attenuation import attenuation
    from LandmarkFusionLogic.projection.carm import between, carm, start
    from LandmarkFusionLogic.projection.projector import project

    ct = projectionsamples.ct()
    write_volume(folder / "ct.nrrd", ct)
    arms = [carm({**G, "mirrored": mirrored, "primary_angle": angle, "secondary_angle": 0.0}) for angle in angles]
    nudge = np.eye(4)
    nudge[:3, :3] = Rotation.from_euler("XYZ", [3, -4, 2], degrees=True).as_matrix()
    nudge[:3, 3] = -nudge[:3, :3] @ [0, 0, 700.0] + [5, -4, 708.0]
    truth = nudge @ ct_to_camera(start(arms[0], not mirrored), ct.centre, arms[0].geometry)
    for name, arm in zip("xy", arms, strict=False):
        matrix = between(arms[0], arm, not mirrored) @ truth
        projectionsamples.write_dicom_xray(
            folder / f"{name}.dcm",
            projectionsamples.as_counts(project(attenuation(ct), arm.geometry, matrix)),
            PositionerPrimaryAngle=arm.angles[0],
            PositionerSecondaryAngle=0.0,
            FieldOfViewHorizontalFlip=flip,
            PixelIntensityRelationship="LIN",
        )
    return truth


def _close(found, truth):
    shift = np.linalg.norm((np.array(found) - truth)[:3] @ [*projectionsamples.ct().centre, 1])
    return shift < 2 and Rotation.from_matrix(np.array(found)[:3, :3] @ truth[:3, :3].T).magnitude() < np.deg2rad(1)


@pytest.mark.parametrize(("mirrored", "flip"), [(True, "YES"), (False, None)])
def test_two_views_by_positioner_angles(tmp_path, mirrored, flip):
    """A C-arm in two positions; nobody gives a pose."""
    truth = _by_angles(tmp_path, mirrored, (0.0, 80.0), flip)
    words = ["--ct", tmp_path / "ct.nrrd", "--xray", tmp_path / "x.dcm", "--xray2", tmp_path / "y.dcm"]
    assert main(["align", *map(str, [*words, "--out", tmp_path / "out"])]) == 0
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert _close(told["ct_to_camera"], truth)
    assert told["views"][0]["geometry"]["mirrored"] is mirrored
    assert any("do not say whether it is mirrored" in text for text in told["warnings"]) == (flip is None)


@pytest.mark.parametrize("mirrored", [True, False])
def test_how_an_image_was_turned_over_is_found_where_no_tag_says(tmp_path, mirrored):
    truth = _by_angles(tmp_path, mirrored, (20.0,), None)
    source = XRaySource(str(tmp_path / "x.dcm"))
    result = align(
        AlignRequest(VolumeSource(str(tmp_path / "ct.nrrd")), source, str(tmp_path / "out")),
        quiet,
    )
    assert result.geometry["mirrored"] is mirrored
    assert _close(result.ct_to_camera, truth)
    lines = (tmp_path / "out" / "similarity.csv").read_text().splitlines()[1:]
    assert [int(line.split(",")[0]) for line in lines] == list(range(len(lines)))
    told = [text for text in result.warnings if "check left and right" in text]
    assert len(told) == 1
    assert ("detector" if mirrored else "source") in told[0]


def test_an_older_result_is_replaced_as_a_whole(case, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "similarity.csv").write_text("older")
    (out / "other.txt").write_text("kept")
    seen = set()
    align(request(case, out), lambda fraction, text: seen.add((out / "similarity.csv").read_text()[:9]))
    assert "older" in seen
    assert (out / "similarity.csv").read_text().startswith("iteration")
    assert (out / "other.txt").read_text() == "kept"
    assert not list(out.glob(".landmarkfusion*"))


# Bad input


@pytest.fixture(scope="module")
def poor(case):
    """Images that are none, beside the good ones."""
    ct = projectionsamples.ct()
    write_volume(case / "positive.nrrd", Volume((ct.array.astype(np.int32) + 1000).astype(np.uint16), ct.ijk_to_ras))
    write_volume(case / "thin.nrrd", Volume(ct.array[16:24], ct.ijk_to_ras))
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    for name, array in (("3d", np.stack([image] * 4)), ("wide", image[:32]), ("flat", np.zeros((64, 64), np.uint8))):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(case / f"{name}.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((64, 64, 3), np.uint8), isVector=True), str(case / "color.png"))
    (case / "text.png").write_text("no image")
    return case


INF = [0.0, 0.0, 0.0, 0.0, 0.0, float("inf")]
BAD = {
    "no HU": ({"ct": "positive.nrrd"}, "not Hounsfield units"),
    "missing CT": ({"ct": "none.nrrd"}, "does not exist"),
    "3D": ({"xray": "3d.nrrd"}, "The X-ray is a 3D image"),
    "color": ({"xray": "color.png"}, "The X-ray is a color image"),
    "constant": ({"xray": "flat.nrrd"}, "same value"),
    "text": ({"xray": "text.png"}, "cannot be read|can be read"),
    "missing X-ray": ({"xray": "none.png"}, "does not exist"),
    "another shape": ({"xray": "wide.nrrd"}, "another shape"),
    "no geometry": ({"geometry": None}, "says nothing of the C-arm"),
    "key": ({"geometry": {**G, "detector": 1}}, "no field “detector”"),
    "value": ({"geometry": {**G, "sdd": -5.0}}, "source to detector"),
    "outside the beam": ({"pose": [0.0, 0, 0, 900.0, 0, 0]}, "outside the beam"),
    "source inside": ({"pose": [0.0, 0, 0, 0, 0, -700.0]}, "source lies inside"),
    "infinite": ({"pose": INF}, "six finite numbers"),
    "method": ({"method": "guess"}, "guess"),
    "smaller than the network's input": ({"ct": "thin.nrrd", "method": "rtpi"}, "the networks need"),
    "second 3D": ({"xray2": "3d.nrrd"}, "The second X-ray is a 3D image"),
    "no relation": ({"xray2": "side.nrrd"}, "how the two X-rays stand to each other"),
    "second pose alone": ({"xray2": "side.nrrd", "pose": None, "pose2": START}, "give both poses"),
    "second pose, one X-ray": ({"pose2": START}, "no second X-ray"),
    "second infinite": ({"xray2": "side.nrrd", "pose2": INF}, "second pose must be six finite"),
    "second outside": ({"xray2": "side.nrrd", "pose2": [0.0, 0, 0, 0, 900, 0]}, "outside the beam"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_in_one_sentence(poor, tmp_path, capsys, name):
    """By the job and by the command alike, and nothing is left on disk."""
    changed, said = BAD[name]
    out = tmp_path / "new" / "out"
    with pytest.raises(InputError, match=said) as caught:
        align(request(poor, out, **changed), quiet)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    given = {"ct": "ct.nrrd", "xray": "x.nrrd", "geometry": G, "pose": START, **changed}
    words = []
    for option in ("ct", "xray", "xray2"):
        words += [f"--{option}", poor / given[option]] if given.get(option) else []
    for option in ("pose", "pose2"):
        words += [f"--{option}", ",".join(map(str, given[option]))] if given.get(option) else []
    words += ["--method", given["method"]] if "method" in given else []
    if given["geometry"] is not None:
        (tmp_path / "g.json").write_text(json.dumps(given["geometry"]))
        words += ["--geometry", tmp_path / "g.json"]
    assert main(["align", *map(str, words), "--out", str(out)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
    assert errors == [f"landmarkfusion: {caught.value}"]
    assert not out.parent.exists()


@pytest.mark.parametrize(
    "values", [[[1.0, 0, 0, 0]], np.diag([1.0, 1, -1, 1]).tolist(), np.full((4, 4), 1.0).tolist()]
)
def test_a_second_camera_that_cannot_stand_there(case, tmp_path, values):
    with pytest.raises(InputError, match="no rigid transform"):
        align(request(case, tmp_path / "out", xray2="side.nrrd", from_first=values), quiet)


# Cancel


@pytest.mark.skipif(sys.platform == "win32", reason="folders in use cannot be removed there")
def test_cancel_leaves_nothing_and_the_last_pose_was_there_to_read(case, tmp_path):
    worker = Process("-m", "LandmarkFusionLogic.worker")
    try:
        worker.until("ready")
        out = tmp_path / "new" / "out"
        worker.send({"id": "1", "job": "align", "request": to_json(request(case, out, method="opt-gc"))})
        while not (out / "pose.json").exists():
            assert worker.until("progress", "error", "result")["event"] == "progress"
        assert len(json.loads((out / "pose.json").read_text())["pose"]) == 6
        assert (out / "similarity.csv").read_text().startswith("iteration,similarity\n")
        worker.send({"cancel": "1"})
        worker.ended()
        assert list(tmp_path.iterdir()) == []
    finally:
        worker.process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_leaves_nothing(case, tmp_path):
    words = command(case, tmp_path / "new" / "out", "--geometry", case / "g.json", "--method", "opt-gc")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "LandmarkFusionLogic.cli", *words], text=True, env=environment, stderr=subprocess.PIPE
    )
    while not (tmp_path / "new" / "out" / "pose.json").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert "nothing was written" in process.stderr.read()
    assert process.wait(10) == 130
    assert list(tmp_path.iterdir()) == []
