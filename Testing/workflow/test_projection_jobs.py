"""``landmarkfusion drr`` and the jobs "drr" and "xray": files, the live image of the worker, and bad input."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import projectionsamples
import pytest
import SimpleITK as sitk
from test_worker import Process

from LandmarkFusionLogic.cli import main
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import write_volume
from LandmarkFusionLogic.jobs import (
    JOBS,
    DrrRequest,
    ReadXRayRequest,
    VolumeSource,
    XRaySource,
    drr,
    from_json,
    to_json,
    xray,
)
from LandmarkFusionLogic.jobs.projection import averaged
from LandmarkFusionLogic.projection.attenuation import attenuation
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.volume import Volume

POSE = [-3.0, 4.0, 5.0, 6.0, -7.0, 30.0]
G = projectionsamples.GEOMETRY


def quiet(fraction, text):
    pass


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A folder with a CT, its geometry file and an X-ray as DICOM."""
    folder = tmp_path_factory.mktemp("case")
    ct = projectionsamples.ct()
    write_volume(folder / "ct.nrrd", ct)
    (folder / "g.json").write_text(json.dumps(G))
    counts = projectionsamples.as_counts(projectionsamples.xray(ct, POSE))
    projectionsamples.write_dicom_xray(folder / "x.dcm", counts, PixelIntensityRelationship="LIN")
    return folder


@pytest.fixture(scope="module")
def expected():
    return projectionsamples.xray(projectionsamples.ct(), POSE)


def run(case, *words):
    return main(["drr", "--ct", str(case / "ct.nrrd"), *map(str, words)])


def source(case):
    return VolumeSource(str(case / "ct.nrrd"))


# Files


@pytest.mark.parametrize(
    "pose", [["--pose=-3,4,5,6,-7,30"], ["--pose", "-3,4,5,6,-7,30"], ["--pose", "-3 4 5 6 -7 30"]]
)
def test_the_command_writes_the_projection_and_its_pose(case, tmp_path, expected, pose, capsys):
    out = tmp_path / "new" / "drr.nrrd"
    assert run(case, "--geometry", case / "g.json", *pose, "--out", out) == 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["drr.json", "drr.nrrd"]
    image = sitk.ReadImage(str(out))
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), expected, atol=1e-5)
    assert image.GetSpacing() == (3.2, 3.2)
    np.testing.assert_allclose(image.TransformContinuousIndexToPhysicalPoint((31.5, 31.5)), 0, atol=1e-9)
    told = json.loads((out.parent / "drr.json").read_text())
    assert told["pose"] == POSE
    arm = Geometry.from_json(G)
    np.testing.assert_allclose(
        told["ct_to_camera"], ct_to_camera(Pose.of(POSE), projectionsamples.ct().centre, arm), atol=1e-9
    )
    assert Geometry.from_json(told["geometry"]) == arm
    assert str(case) not in (out.parent / "drr.json").read_text()
    assert "64 × 64 pixels" in capsys.readouterr().out


def test_a_picture_has_bright_bones_and_says_its_scale(case, tmp_path, expected):
    assert run(case, "--geometry", case / "g.json", "--pose=-3,4,5,6,-7,30", "--out", tmp_path / "d.png") == 0
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "d.png")))
    assert picture.dtype == np.uint16
    assert picture.max() == 65535
    scale = json.loads((tmp_path / "d.json").read_text())["gray_values_per_unit"]
    np.testing.assert_allclose(picture / scale, expected, atol=1e-4)


@pytest.mark.parametrize("option", ["--xray", "--geometry"])
def test_the_geometry_of_a_dicom_xray(case, tmp_path, expected, option):
    assert run(case, option, case / "x.dcm", "--pose=-3,4,5,6,-7,30", "--out", tmp_path / "d.nrrd") == 0
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "d.nrrd")))
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_a_preset_and_a_pose_of_zeros(case, tmp_path):
    assert run(case, "--geometry", "perlove-plx118f", "--out", tmp_path / "d.nrrd") == 0
    told = json.loads((tmp_path / "d.json").read_text())
    assert told["pose"] == [0.0] * 6
    assert told["geometry"]["sdd"] == 1011.7


def test_the_ct_may_be_a_dicom_folder(case, tmp_path, expected):
    import samples

    samples.write_dicom(tmp_path / "series", projectionsamples.ct())
    words = ["--geometry", case / "g.json", "--pose=-3,4,5,6,-7,30", "--out", tmp_path / "d.nrrd"]
    assert main(["drr", "--ct", str(tmp_path / "series"), *map(str, words)]) == 0
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "d.nrrd")))
    np.testing.assert_allclose(image, expected, atol=1e-4)


# Bad input


def _changed(**values):
    data = {**G, **values}
    return {key: value for key, value in data.items() if value is not None}


BAD = {
    "no HU": ({"ct": "positive.nrrd"}, "not Hounsfield units"),
    "flat CT": ({"ct": "flat.nrrd"}, "same value"),
    "missing CT": ({"ct": "none.nrrd"}, "does not exist"),
    "no sdd": ({"geometry": _changed(sdd=None)}, "no “sdd”"),
    "unknown key": ({"geometry": _changed(pixels=3)}, "no field “pixels”"),
    "sdd zero": ({"geometry": _changed(sdd=0.0)}, "source to detector"),
    "spacing text": ({"geometry": _changed(spacing="1 mm")}, "wrong type"),
    "five numbers": ({"pose": POSE[:5]}, "six"),
    "infinite pose": ({"pose": [0.0, 0, 0, 0, 0, float("inf")]}, "finite"),
    "no number in pose": ({"pose": [float("nan"), 0, 0, 0, 0, 0]}, "finite"),
    "beside the beam": ({"pose": [0.0, 0, 0, 900.0, 0, 0]}, "outside the beam"),
    "behind the detector": ({"pose": [0.0, 0, 0, 0, 0, 500.0]}, "outside the beam"),
    "source inside": ({"pose": [0.0, 0, 0, 0, 0, -700.0]}, "source lies inside"),
    "suffix": ({"out": "d.txt"}, "end it in .nrrd or .png"),
}


@pytest.fixture(scope="module")
def poor(case):
    """CTs that are none, beside the good one."""
    ct = projectionsamples.ct()
    write_volume(case / "positive.nrrd", Volume((ct.array.astype(np.int32) + 1000).astype(np.uint16), ct.ijk_to_ras))
    write_volume(case / "flat.nrrd", Volume(np.zeros((20, 20, 20), np.int16), ct.ijk_to_ras))
    return case


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_in_one_sentence(poor, tmp_path, capsys, name):
    """By the job and by the command alike, and nothing is left on disk."""
    changed, said = BAD[name]
    given = {"ct": "ct.nrrd", "geometry": G, "pose": POSE, "out": "d.nrrd", **changed}
    out = tmp_path / "new" / given["out"]
    with pytest.raises(InputError, match=said):
        drr(DrrRequest(VolumeSource(str(poor / given["ct"])), given["geometry"], given["pose"], str(out)), quiet)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "g.json").write_text(json.dumps(given["geometry"]))
    pose = "--pose=" + ",".join(map(str, given["pose"]))
    words = ["drr", "--ct", poor / given["ct"], "--geometry", tmp_path / "g.json", pose, "--out", out]
    assert main([str(word) for word in words]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
    assert len(errors) == 1
    assert said in errors[0]
    assert not out.parent.exists()


def test_a_geometry_that_nobody_tells(case, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((64, 64)))
    for words, said in (
        ([], "give its geometry with --geometry"),
        (["--xray", tmp_path / "x.npy"], "says nothing of the C-arm"),
        (["--geometry", "nobodys-arm"], "no C-arm of that name"),
        (["--geometry", case / "ct.nrrd"], "is no JSON file"),
        (["--geometry", case / "g.json", "--pose", "-1,a,0,0,0,0"], "no list of six numbers"),
    ):
        assert run(case, *words, "--out", tmp_path / "d.nrrd") == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "d.nrrd").exists()


def test_nothing_to_write_is_told(case):
    with pytest.raises(InputError, match="where the projection is to be written"):
        drr(DrrRequest(source(case), G, POSE), quiet)
    with pytest.raises(InputError, match="no quality “best”"):
        drr(DrrRequest(source(case), G, POSE, live="x.raw", quality="best"), quiet)
    with pytest.raises(InputError, match="live projection cannot be written"):
        drr(DrrRequest(source(case), G, POSE, live=str(case / "none" / "x.raw")), quiet)


# Live


def test_the_worker_projects_live_into_a_mapped_file(case, tmp_path, expected):
    """The CT is read once; the mapped image changes in place; the next frame takes its projection and little else."""
    live = tmp_path / "live.raw"
    worker = Process("-m", "LandmarkFusionLogic.worker")
    try:
        worker.until("ready")
        texts, used = [], []
        for number, depth in enumerate([0.0, *[30.0] * 5]):
            request = DrrRequest(source(case), G, [*POSE[:5], depth], live=str(live))
            before = _cpu(worker.process.pid)
            worker.send({"id": str(number), "job": "drr", "request": to_json(request)})
            while (event := worker.next())["event"] == "progress":
                texts.append(event["text"])
            assert event["event"] == "result", event
            used.append(_cpu(worker.process.pid) - before)
            if number == 0:
                mapped = np.memmap(live, dtype="<f4", mode="r", shape=(64, 64))
                assert np.abs(mapped - expected).max() > 0.1
        np.testing.assert_allclose(mapped, expected, atol=1e-5)
        assert texts == ["Reading the CT"]
        assert event["result"]["high"] == pytest.approx(expected.max(), rel=1e-4)
        assert event["result"]["seen"] == pytest.approx(np.mean(expected > 0))
        if sys.platform == "linux":
            assert np.median(used[1:]) < 0.5
    finally:
        worker.process.kill()


def _cpu(pid):
    """Seconds of processor time that a process has used."""
    if sys.platform != "linux":
        return time.monotonic()
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_ct_that_has_changed_is_read_again(tmp_path):
    ct = projectionsamples.ct()
    array = ct.array.copy()
    np.save(tmp_path / "ct.npy", array)
    place = VolumeSource(str(tmp_path / "ct.npy"), ct.ijk_to_ras.tolist())
    first = drr(DrrRequest(place, G, POSE, live=str(tmp_path / "live.raw")), quiet)
    array[:, :, 30:] = -1000
    np.save(tmp_path / "ct.npy", array)
    os.utime(tmp_path / "ct.npy", ns=(1, 1))
    second = drr(DrrRequest(place, G, POSE, live=str(tmp_path / "live.raw")), quiet)
    assert second.seen < first.seen


def test_another_size_makes_the_live_file_anew(case, tmp_path):
    live = tmp_path / "live.raw"
    live.write_bytes(b"old")
    for rows in (64, 32):
        geometry = Geometry.from_json(G).resized(rows, 64).to_json()
        done = drr(DrrRequest(source(case), geometry, POSE, live=str(live)), quiet)
        assert (done.rows, done.columns) == (rows, 64)
        assert live.stat().st_size == rows * 64 * 4


def test_a_fast_projection_is_nearly_the_same():
    """Means of blocks keep what rays integrate, whatever is left over at the volume's end."""
    arm = Geometry.from_json(G)
    mu = attenuation(projectionsamples.ct((75, 70, 66), 2.2))
    from LandmarkFusionLogic.projection.projector import project

    matrix = ct_to_camera(Pose.of(POSE), mu.centre, arm)
    fine, coarse = project(mu, arm, matrix), project(averaged(mu, 40), arm, matrix)
    assert averaged(mu, 40).array.shape == (38, 35, 33)
    assert averaged(mu, 80) is mu
    assert np.corrcoef(fine.ravel(), coarse.ravel())[0, 1] > 0.995
    assert coarse.mean() == pytest.approx(fine.mean(), rel=0.02)


# Reading an X-ray for the panel


def test_the_panel_gets_an_xray_with_bright_bones_and_its_geometry(case, tmp_path, expected):
    request = ReadXRayRequest(XRaySource(str(case / "x.dcm")), str(tmp_path / "out"))
    result = xray(from_json(ReadXRayRequest, to_json(request)), quiet)
    image = np.load(result.image)
    np.testing.assert_allclose(image * 2, expected - expected.min(), atol=0.01)
    assert (result.rows, result.columns) == image.shape
    assert (result.bones, result.guessed, result.modality) == ("dark", False, "XA")
    assert Geometry.from_json(result.geometry) == Geometry.from_json(G)
    assert result.sources["sdd"] == "DistanceSourceToDetector (0018,1110)"
    assert result.mask is None
    assert result.warnings == []
    assert from_json(type(result), json.loads(json.dumps(to_json(result)))) == result
    assert {"drr", "xray"} <= set(JOBS)


def test_what_a_poor_file_leaves_open_is_warned_of(tmp_path, expected):
    counts = projectionsamples.as_counts(expected)
    path = projectionsamples.write_dicom_xray(
        tmp_path / "x.dcm",
        counts,
        DistanceSourceToDetector=None,
        ShutterShape="CIRCULAR",
        CenterOfCircularShutter=[32, 32],
        RadiusOfCircularShutter=30,
    )
    angles = projectionsamples.write_dicom_xray(
        tmp_path / "y.dcm", counts, PositionerPrimaryAngle=10, PositionerSecondaryAngle=0
    )
    result = xray(ReadXRayRequest(XRaySource(str(angles)), str(tmp_path / "out")), quiet)
    assert (result.geometry["primary_angle"], result.geometry["secondary_angle"]) == (10.0, 0.0)
    assert any("as seen from the source or from the detector" in text for text in result.warnings)
    result = xray(ReadXRayRequest(XRaySource(str(path)), str(tmp_path / "out")), quiet)
    assert result.geometry is None
    assert (result.bones, result.guessed) == ("dark", True)
    assert np.load(result.mask).mean() == pytest.approx(np.pi * 29**2 / 64**2, rel=0.05)
    assert any("DistanceSourceToDetector" in text for text in result.warnings)
    assert any("look dark" in text for text in result.warnings)
    with pytest.raises(InputError, match="does not exist"):
        xray(ReadXRayRequest(XRaySource(str(tmp_path / "none.dcm")), str(tmp_path / "none")), quiet)
    assert not (tmp_path / "none").exists()
