"""Two volumes in, a folder of results out: every file is opened again and says the same thing."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import samples
from scipy.ndimage import gaussian_filter

from LandmarkFusionLogic import NOTICE, imageio, orientation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.fusion import Side, fuse_sides
from LandmarkFusionLogic.gland import gland_of_mask
from LandmarkFusionLogic.jobs import FuseRequest, SimulateRequest, VolumeSource, fuse, simulate
from LandmarkFusionLogic.markupsfile import read_landmarks, write_landmarks
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.rigid.fit import apply, fit_rigid
from LandmarkFusionLogic.transformfile import read_transform
from LandmarkFusionLogic.volume import Volume

FILES = {
    "mr-landmarks.mrk.json",
    "us-landmarks.mrk.json",
    "mr-to-us.h5",
    "mr-in-us.nrrd",
    "overlay.png",
    "report.json",
}
BEADS = np.array([[6.0, 3.0, -8.0], [-9.0, 5.0, 4.0], [2.0, -10.0, 9.0]])


def _beads(volume, places):
    """``volume`` with bright beads of about 3 mm at ``places`` (N, 3) RAS mm."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in volume.array.shape), indexing="ij")
    world = apply(volume.ijk_to_ras, np.stack([i, j, k], axis=-1))
    light = sum(np.exp(-0.5 * ((world - place) ** 2).sum(-1) / 2.0**2) for place in places)
    return Volume((light * 1000).astype(np.float32), volume.ijk_to_ras)


@pytest.fixture
def case(tmp_path):
    """MR and US in different orientations and places, the same beads in both, landmarks with 2 mm of error."""
    rng = np.random.default_rng(3)
    mr = samples.volume((70, 66, 40), (1.0, 1.0, 1.8), samples.OBLIQUE, (30.0, -60.0, 100.0))
    us = samples.volume((72, 72, 72), (0.9, 0.9, 0.9), np.diag([-1.0, 1.0, 1.0]), (80.0, 20.0, -40.0), seed=1)
    truth = samples.random_rigid(rng)
    truth[:3, 3] = us.centre - truth[:3, :3] @ mr.centre
    imageio.write_volume(tmp_path / "Doe^John-mr.nrrd", _beads(mr, mr.centre + BEADS))
    imageio.write_volume(tmp_path / "Doe^John-us.nii.gz", _beads(us, apply(truth, mr.centre + BEADS)))
    points = samples.prostate_points(mr.centre)
    moved = [Landmark(p.name, apply(truth, p.position) + rng.normal(scale=1.0, size=3)) for p in points]
    write_landmarks(tmp_path / "mr.mrk.json", points)
    write_landmarks(tmp_path / "us.mrk.json", moved)
    return tmp_path


def _request(case, **changes):
    return FuseRequest(
        **{
            "mr": VolumeSource(str(case / "Doe^John-mr.nrrd")),
            "us": VolumeSource(str(case / "Doe^John-us.nii.gz")),
            "out": str(case / "out"),
            "mr_landmarks": str(case / "mr.mrk.json"),
            "us_landmarks": str(case / "us.mrk.json"),
            "us_confirmed": True,
            **changes,
        }
    )


def _fuse(case, **changes):
    seen = []
    result = fuse(_request(case, **changes), lambda fraction, text: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    return result, case / "out"


def test_every_file_says_the_same(case):
    result, out = _fuse(case)
    assert set(os.listdir(out)) == set(result.files) >= FILES
    matrix = np.array(result.mr_to_us)
    np.testing.assert_allclose(read_transform(out / "mr-to-us.h5"), matrix, atol=1e-6)
    report = json.loads((out / "report.json").read_text())
    np.testing.assert_allclose(report["mr_to_us"], matrix)
    mr, us = read_landmarks(out / "mr-landmarks.mrk.json"), read_landmarks(out / "us-landmarks.mrk.json")
    assert 0.1 < result.rms < 3
    for a, b in zip(mr, us, strict=True):
        assert a.name == b.name
        left = np.linalg.norm(apply(matrix, a.position) - b.position)
        assert left == pytest.approx(result.errors[a.name], abs=1e-3)
        assert left == pytest.approx(report["fre_mm"][a.name], abs=1e-3)
    assert report["fre_rms_mm"] == pytest.approx(result.rms)
    assert report["notice"] == NOTICE
    assert "points of the MR to points of the US" in report["direction"]
    assert report["images"]["us"]["axes_point_to"] == ["L", "A", "S"]
    assert report["warnings"] == result.warnings


def test_the_resampled_mr_agrees_with_the_transform_at_known_points(case):
    """The beads of the MR must lie, in the picture on the US grid, where the matrix says."""
    result, out = _fuse(case)
    filled = imageio.read_volume(out / "mr-in-us.nrrd")
    us = imageio.read_volume(case / "Doe^John-us.nii.gz")
    np.testing.assert_allclose(filled.ijk_to_ras, us.ijk_to_ras, atol=1e-4)
    assert filled.array.shape == us.array.shape
    mr = imageio.read_volume(case / "Doe^John-mr.nrrd")
    k, j, i = np.meshgrid(*(np.arange(n) for n in filled.array.shape), indexing="ij")
    world = apply(filled.ijk_to_ras, np.stack([i, j, k], axis=-1))
    for bead in apply(result.mr_to_us, mr.centre + BEADS):
        near = np.linalg.norm(world - bead, axis=-1) < 7
        weight = filled.array * near
        found = (world * weight[..., None]).sum((0, 1, 2)) / weight.sum()
        assert np.linalg.norm(found - bead) < 0.3


def test_the_scene_lays_mr_landmarks_on_us_landmarks_to_within_fre(case):
    slicer = pytest.importorskip("slicer")
    from LandmarkFusionLogic.mrml.scene import OwnScene

    result, out = _fuse(case)
    world = OwnScene(str(case))
    world.read(out / "scene.mrb")
    lists = {}
    for index in range(world.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")):
        node = world.scene.GetNthNodeByClass(index, "vtkMRMLMarkupsFiducialNode")
        lists[node.GetName().split()[0].upper()] = node
    assert slicer is not None
    for index in range(3):
        name = lists["MR"].GetNthControlPointLabel(index)
        partner = lists["US"].GetControlPointIndexByLabel(name)
        a, b = [0.0] * 3, [0.0] * 3
        lists["MR"].GetNthControlPointPositionWorld(index, a)
        lists["US"].GetNthControlPointPositionWorld(partner, b)
        assert np.linalg.norm(np.subtract(a, b)) == pytest.approx(result.errors[name], abs=1e-3)


def _balls(case):
    """Gland masks of both images, balls of 18 mm about the middle of the landmarks, in the images' own frames."""
    files = {}
    for side, image in (("mr", "Doe^John-mr.nrrd"), ("us", "Doe^John-us.nii.gz")):
        volume = imageio.read_volume(case / image)
        middle = np.mean([point.position for point in read_landmarks(case / f"{side}.mrk.json")], axis=0)
        k, j, i = np.meshgrid(*(np.arange(n) for n in volume.array.shape), indexing="ij")
        away = np.linalg.norm(apply(volume.ijk_to_ras, np.stack([i, j, k], axis=-1)) - middle, axis=-1)
        files[f"{side}_gland"] = VolumeSource(str(case / f"{side}-ball.nrrd"))
        imageio.write_volume(case / f"{side}-ball.nrrd", Volume((away < 18).astype(np.uint8), volume.ijk_to_ras))
    return files


def test_given_glands_and_targets_are_carried_into_the_results(case):
    marked = read_landmarks(case / "mr.mrk.json")[0].position + [4.0, 5.0, 9.0]
    write_landmarks(case / "lesion.mrk.json", [Landmark("Lesion", marked)])
    result, out = _fuse(case, **_balls(case), targets=[str(case / "lesion.mrk.json")])
    new = {"mr-gland.nrrd", "us-gland.nrrd", "targets.mrk.json", "targets.csv"}
    assert set(os.listdir(out)) == set(result.files) >= FILES | new
    report = json.loads((out / "report.json").read_text())
    assert report["fit"] == "best"
    assert report["glands"]["dice_after_fit"] > 0.9
    assert report["glands"]["distance_of_centroids_after_fit_mm"] < 2
    assert report["glands"]["mr"]["millilitres"] == pytest.approx(4 / 3 * np.pi * 1.8**3, rel=0.05)
    assert set(report["expected_error_mm"]) == {*result.errors, "middle of the gland"}
    assert result.expected_mm == report["expected_error_mm"]
    there = apply(result.mr_to_us, marked)
    [target] = result.targets
    assert (target.name, report["targets"][0]["name"]) == ("Lesion", "Lesion")
    np.testing.assert_allclose(target.centre, there, atol=1e-3)
    assert target.expected_mm > 0.5
    [written] = read_landmarks(out / "targets.mrk.json")
    np.testing.assert_allclose(written.position, there, atol=1e-3)
    mask = imageio.read_volume(out / "us-gland.nrrd")
    assert set(np.unique(mask.array)) == {0, 1}


def test_a_flip_takes_the_gland_along(case):
    _, out = _fuse(case, **_balls(case), us_flips=["lr"])
    us = imageio.read_volume(case / "Doe^John-us.nii.gz")
    turn = orientation.flip_matrix(us.centre, ["lr"])
    before, after = (imageio.read_volume(path) for path in (case / "us-ball.nrrd", out / "us-gland.nrrd"))
    # What surrounds the gland is cut away: its grid begins elsewhere, but lies the same way.
    np.testing.assert_allclose(after.ijk_to_ras[:3, :3], (turn @ before.ijk_to_ras)[:3, :3], atol=1e-4)
    glands = [gland_of_mask(volume) for volume in (before, after)]
    np.testing.assert_allclose(glands[1].centroid, apply(turn, glands[0].centroid), atol=1e-3)
    assert glands[1].millilitres == pytest.approx(glands[0].millilitres, rel=1e-4)
    assert json.loads((out / "report.json").read_text())["glands"]["dice_after_fit"] > 0.9


def test_the_plain_fit_can_be_had(case):
    best, _ = _fuse(case)
    plain, out = _fuse(case, fit="svd")
    report = json.loads((out / "report.json").read_text())
    assert report["fit"] == "svd"
    assert plain.rms <= best.rms  # least squares is what it minimises
    points = [[p.position for p in read_landmarks(case / f"{side}.mrk.json")] for side in ("mr", "us")]
    np.testing.assert_allclose(plain.mr_to_us, fit_rigid(*points), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fit": "magic"}, "The fit “magic” is not known"),
        ({"mr_click": [0.0, 0.0, 0.0]}, "landmarks are given, so nothing is detected"),
        ({"us_model": "us-landmarks"}, "landmarks are given, so nothing is detected"),
        ({"targets": ["nothing.mrk.json"]}, "targets “nothing.mrk.json” does not exist"),
        ({"mr_gland": VolumeSource("nothing.nrrd")}, "MR gland mask"),
        ({"mr_landmarks": None, "mr_click": [1.0, 2.0]}, "three finite coordinates"),
        ({"mr_landmarks": None, "mr_click": [1e4, 0.0, 0.0]}, "outside of its volume"),
    ],
)
def test_help_that_cannot_be_used_is_told_and_nothing_is_written(case, changes, says):
    with pytest.raises(InputError, match=says):
        fuse(_request(case, **changes), lambda *_: None)
    assert not (case / "out").exists()


def test_landmarks_of_ones_own_need_no_torch(case):
    """In a process of its own in which torch cannot be found: gland masks, targets and both fits work all the same."""
    _balls(case)
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] == 'torch': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "from LandmarkFusionLogic import cli\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    images = (f"--mr={case / 'Doe^John-mr.nrrd'}", f"--us={case / 'Doe^John-us.nii.gz'}")
    given = (f"--{side}-landmarks={case / side}.mrk.json" for side in ("mr", "us"))
    masks = (f"--{side}-gland={case / side}-ball.nrrd" for side in ("mr", "us"))
    done = subprocess.run(
        [sys.executable, "-c", code, "fuse", *images, *given, *masks, f"--out={case / 'out'}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert (case / "out" / "us-gland.nrrd").exists()


def test_what_is_doubtful_is_in_report_and_picture(case):
    """As detection would say it: a side with a doubtful landmark, a disagreement and a partial view."""
    from LandmarkFusionLogic.fusion import write
    from LandmarkFusionLogic.overlay import overlay_figure
    from LandmarkFusionLogic.points import DETECTED

    sides = {}
    for side, image in (("mr", "Doe^John-mr.nrrd"), ("us", "Doe^John-us.nii.gz")):
        points = [
            replace(point, covariance=np.diag([4.0, 9.0, 16.0]) * (4 if n == 1 else 1), state=DETECTED)
            for n, point in enumerate(read_landmarks(case / f"{side}.mrk.json"))
        ]
        volume = imageio.read_volume(case / image)
        sides[side] = Side(volume, points, "net 1", "CPU", kind="research", coverage=0.62)
    names = [point.name for point in sides["us"].landmarks]
    sides["us"] = replace(sides["us"], ask_first=(names[1], names[0]), disagreement_mm={names[0]: 17.0})
    done = fuse_sides(sides["mr"], sides["us"])
    assert done.ask_first == [("us", names[1]), ("us", names[0])]
    (case / "out").mkdir()
    write(done, case / "out", 1.0, lambda *_: None)
    report = json.loads((case / "out" / "report.json").read_text())
    assert report["check_first"] == [{"image": "US", "landmark": name} for name in (names[1], names[0])]
    assert report["landmarks"]["us"][0]["second_network_off_by_mm"] == 17.0
    assert [point["check"] for point in report["landmarks"]["us"]] == [True, True, False]
    assert report["images"]["us"]["share_of_gland_shown"] == 0.62
    assert report["model_kinds"] == {"mr": "research", "us": "research"}
    if (case / "out" / "scene.mrb").exists():
        from LandmarkFusionLogic.mrml import landmarks
        from LandmarkFusionLogic.mrml.scene import OwnScene

        world = OwnScene(str(case))
        world.read(case / "out" / "scene.mrb")
        noted = landmarks.detection(landmarks.find(world.scene.GetFirstNodeByName("US"), "us"))
        assert (noted["model"], noted["kind"], noted["ask_first"]) == ("net 1", "research", [names[1], names[0]])
    axes = overlay_figure(done).axes[1]
    assert [text.get_text() for text in axes.texts].count("?") == 2
    # The ellipses are as large as the covariance says: 95 % in the plane, here R and A.
    widths = sorted({(round(patch.width, 3), round(patch.height, 3)) for patch in axes.patches})
    wide = 2 * np.sqrt(5.991 * np.array([9.0, 4.0]))
    np.testing.assert_allclose(widths, [wide, 2 * wide], atol=0.01)


def _contents(folder):
    """Name and bytes of every file, those inside of the scene and of compressed volumes too."""
    for path in folder.iterdir():
        if path.suffix != ".mrb":
            yield path.name, path.read_bytes()
            continue
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield f"{path.name}/{name}", name.encode() + archive.read(name)


def test_no_patient_and_no_path_gets_into_the_results(case):
    _, out = _fuse(case)
    for name, data in _contents(out):
        assert b"Doe" not in data, name
        assert str(case).encode() not in data, name


def test_dicom_patients_do_not_get_into_the_results(case):
    mr = imageio.read_volume(case / "Doe^John-mr.nrrd")
    array = gaussian_filter(np.asarray(mr.array), 1).astype(np.int16)
    samples.write_dicom(case / "series", Volume(array, mr.ijk_to_ras))
    _, out = _fuse(case, mr=VolumeSource(str(case / "series")))
    for name, data in _contents(out):
        for secret in (b"Doe", b"SECRET", b"t2 series"):
            assert secret not in data, name


def test_a_flip_takes_the_landmarks_along_and_is_written_down(case):
    plain, _ = _fuse(case)
    flipped, out = _fuse(case, us_flips=["lr"], us_confirmed=False)
    us = imageio.read_volume(case / "Doe^John-us.nii.gz")
    turn = orientation.flip_matrix(us.centre, ["lr"])
    before = read_landmarks(case / "us.mrk.json")
    for a, b in zip(before, read_landmarks(out / "us-landmarks.mrk.json"), strict=True):
        np.testing.assert_allclose(b.position, apply(turn, a.position), atol=1e-4)
    assert np.linalg.det(np.array(flipped.mr_to_us)[:3, :3]) == pytest.approx(1)
    assert flipped.rms == pytest.approx(plain.rms, abs=0.5)
    report = json.loads((out / "report.json").read_text())
    assert report["images"]["us"]["flips_applied"] == ["left-right"]
    assert report["images"]["us"]["axes_point_to"] == ["R", "A", "S"]
    assert orientation.UNCONFIRMED in flipped.warnings
    filled = imageio.read_volume(out / "mr-in-us.nrrd")
    np.testing.assert_allclose(filled.ijk_to_ras, turn @ us.ijk_to_ras, atol=1e-4)
    kept = imageio.read_volume(out / "us-flipped.nrrd")
    np.testing.assert_allclose(kept.ijk_to_ras, turn @ us.ijk_to_ras, atol=1e-4)
    np.testing.assert_array_equal(kept.array, us.array)
    assert "us-flipped.nrrd" in flipped.files
    said = "The ultrasound was flipped (left-right): transform and landmarks belong to the flipped ultrasound"
    assert any(text.startswith(said) for text in report["warnings"])


def test_flips_that_undo_each_other_are_none(case):
    plain, _ = _fuse(case)
    twice, out = _fuse(case, us_flips=["lr", "lr"])
    assert (twice.mr_to_us, twice.files, twice.warnings) == (plain.mr_to_us, plain.files, plain.warnings)
    assert json.loads((out / "report.json").read_text())["images"]["us"]["flips_applied"] == []
    assert orientation.net_flips(["si", "lr", "ap", "lr", "si", "si"]) == ["si", "ap"]


def test_given_landmarks_outside_of_their_image_are_told_once(case):
    points = [replace(p, position=p.position + 300) for p in read_landmarks(case / "us.mrk.json")]
    write_landmarks(case / "us.mrk.json", points)
    result, _ = _fuse(case)
    told = [text for text in result.warnings if "outside the volume" in text]
    assert [text[:9] for text in told] == ["In the US"]
    assert all(point.name in told[0] for point in points)
    volume = imageio.read_volume(case / "Doe^John-us.nii.gz")
    mr = Side(imageio.read_volume(case / "Doe^John-mr.nrrd"), read_landmarks(case / "mr.mrk.json"))
    detected = fuse_sides(mr, Side(volume, points, warnings=tuple(told)))
    assert detected.warnings.count(told[0]) == 1


def test_a_failure_at_the_last_step_leaves_nothing(case, monkeypatch):
    """The report is the last file: when it cannot be made, the folder must not appear."""
    from LandmarkFusionLogic import report

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_report", full)
    before = set(case.rglob("*"))
    with pytest.raises(Exception, match="No space left"):
        fuse(_request(case), lambda *_: None)
    assert set(case.rglob("*")) == before


def test_results_are_repeated_over_older_ones(case):
    first, _ = _fuse(case)
    second, out = _fuse(case)
    assert second.mr_to_us == first.mr_to_us
    assert set(os.listdir(out)) == set(second.files)


@pytest.mark.slow
def test_a_simulated_case_goes_all_the_way(tmp_path):
    """What ``make demo`` does: simulate, detect in both images, fit, write; then the truth is asked."""
    made = simulate(SimulateRequest(11, str(tmp_path / "case")), lambda *_: None)
    assert set(made.files) >= {"mr.nrrd", "us.nrrd", "mr-landmarks.mrk.json", "us-landmarks.mrk.json", "mr-to-us.h5"}
    case = tmp_path / "case"
    truth = {side: read_landmarks(case / f"{side}-landmarks.mrk.json") for side in ("mr", "us")}
    request = FuseRequest(
        VolumeSource(str(case / "mr.nrrd")), VolumeSource(str(case / "us.nrrd")), str(tmp_path / "out"), device="cpu"
    )
    result = fuse(request, lambda *_: None)
    assert set(os.listdir(tmp_path / "out")) == set(result.files)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    for side in ("mr", "us"):
        found = read_landmarks(tmp_path / "out" / f"{side}-landmarks.mrk.json")
        errors = [np.linalg.norm(a.position - b.position) for a, b in zip(found, truth[side], strict=True)]
        assert max(errors) < 30
        assert report["models"][side].startswith(f"{side}-landmarks")
        assert report["devices"][side] == "CPU"
        assert all(point["spread_mm"] > 0 for point in report["landmarks"][side])
    assert not any("swapped" in text for text in result.warnings)
    swapped = FuseRequest(
        VolumeSource(str(case / "us.nrrd")),
        VolumeSource(str(case / "mr.nrrd")),
        str(tmp_path / "swapped"),
        str(case / "us-landmarks.mrk.json"),
        str(case / "mr-landmarks.mrk.json"),
    )
    warnings = fuse(swapped, lambda *_: None).warnings
    assert "The volume given as MR looks like ultrasound; check that MR and ultrasound are not swapped." in warnings
    assert "The volume given as ultrasound looks like MR; check that MR and ultrasound are not swapped." in warnings
