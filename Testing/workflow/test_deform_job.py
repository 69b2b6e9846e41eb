"""``landmarkfusion deform`` and the job behind it as real processes: results, bad input, cancel, crash."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import deformsamples
import numpy as np
import pytest
import SimpleITK as sitk
from test_worker import Process

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import read_volume, write_volume
from LandmarkFusionLogic.jobs import DeformRequest, PointPair, VolumeSource, deform, to_json
from LandmarkFusionLogic.markupsfile import read_landmarks, write_points
from LandmarkFusionLogic.volume import Volume

FILES = {
    "elastix.log",
    "fixed-points.mrk.json",
    "jacobian.nrrd",
    "metric.csv",
    "moving-points.mrk.json",
    "report.json",
    "transform.h5",
    "warped.nrrd",
}
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and shell scripts")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """The folder of a small pair with its points, 60 of which guide and 60 measure."""
    folder = tmp_path_factory.mktemp("case")
    pair = deformsamples.pair()
    write_volume(folder / "fixed.nrrd", pair.fixed)
    write_volume(folder / "moving.nrrd", pair.moving)
    for side, points in (("fixed", pair.fixed_points), ("moving", pair.moving_points)):
        write_points(folder / f"{side}.mrk.json", [(f"P{n}", point, "") for n, point in enumerate(points[:60])])
    return folder


def command(case, out, *more, run=subprocess.run, **options):
    words = [sys.executable, "-m", "LandmarkFusionLogic.cli", "deform", "--fixed", case / "fixed.nrrd"]
    words += ["--moving", case / "moving.nrrd", "--out", out, *more]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    return run([str(word) for word in words], text=True, env=environment, **options)


def request(case, out, **more):
    sources = {side: VolumeSource(str(case / f"{side}.nrrd")) for side in ("fixed", "moving")}
    return DeformRequest(**{**sources, "out": str(out), **more})


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def quiet(fraction, text):
    pass


def test_the_command_registers_and_reports(case, tmp_path):
    out = tmp_path / "new" / "out"
    points = ["--fixed-points", case / "fixed.mrk.json", "--moving-points", case / "moving.mrk.json"]
    done = command(case, out, *points, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in out.iterdir()} == FILES
    assert "Guided by 60 pairs" in done.stdout
    told = json.loads((out / "report.json").read_text())
    assert told["pairs_after_mm"] < 1 < told["pairs_before_mm"]
    assert told["folded"] == 0
    assert told["similarity_after"] > told["similarity_before"]
    assert told["warnings"] == []
    assert str(tmp_path) not in (out / "report.json").read_text() + (out / "elastix.log").read_text()
    fixed, warped, jacobian = (
        read_volume(file) for file in (case / "fixed.nrrd", out / "warped.nrrd", out / "jacobian.nrrd")
    )
    moving = read_volume(case / "moving.nrrd")
    inner = (slice(5, -5),) * 3
    assert np.abs(warped.array - fixed.array)[inner].mean() < 0.5 * np.abs(moving.array - fixed.array)[inner].mean()
    assert jacobian.array[inner].min() > 0
    names = [[point.name for point in read_landmarks(out / f"{side}-points.mrk.json")] for side in ("fixed", "moving")]
    assert names[0] == names[1] == [f"P{n}" for n in range(60)]


def test_targets_measure_and_an_older_result_is_replaced_as_a_whole(case, tmp_path):
    """Points measure where another source guides; a folder with an older result keeps it until the end."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "metric.csv").write_text("older")
    (out / "other.txt").write_text("kept")
    seen = []
    points = [read_landmarks(case / f"{side}.mrk.json") for side in ("fixed", "moving")]
    targets = [PointPair(a.position.tolist(), b.position.tolist(), 1.0, a.name) for a, b in zip(*points, strict=True)]
    done = deform(
        request(case, out, targets=targets), lambda fraction, text: seen.append((out / "metric.csv").read_text())
    )
    assert seen[-2] == "older"
    assert (out / "metric.csv").read_text().startswith("stage,")
    assert (out / "other.txt").read_text() == "kept"
    assert [target.name for target in done.targets] == [f"P{n}" for n in range(60)]
    before, after = (np.mean([getattr(t, name) for t in done.targets]) for name in ("before_mm", "after_mm"))
    assert after < before
    assert done.pairs == []
    assert not list(out.glob(".landmarkfusion*"))


# Bad input: one sentence, exit code 2, nothing on disk


def test_bad_input_is_told_in_one_sentence(case, tmp_path):
    fixed = read_volume(case / "fixed.nrrd")
    constant = Volume(np.zeros_like(fixed.array), fixed.ijk_to_ras)
    far = fixed.ijk_to_ras.copy()
    far[:3, 3] += 1000
    thin = Volume(fixed.array[:9], fixed.ijk_to_ras)
    dot = np.zeros(fixed.array.shape, dtype=np.uint8)
    dot[3, 3, 3] = 1
    volumes = {
        "constant": constant,
        "far": Volume(fixed.array, far),
        "thin": thin,
        "dot": Volume(dot, fixed.ijk_to_ras),
        "far-mask": Volume(np.pad(dot[1:-1, 1:-1, 1:-1], 1) + dot, far),
        "empty": Volume(dot * 0, fixed.ijk_to_ras),
        "full": Volume(dot * 0 + 1, fixed.ijk_to_ras),
    }
    for name, volume in volumes.items():
        write_volume(tmp_path / f"{name}.nrrd", volume)
    sitk.WriteImage(
        sitk.GetImageFromArray(np.random.default_rng(0).random((1, 32, 32)))[:, :, 0], tmp_path / "2d.nrrd"
    )

    def file(name):
        return VolumeSource(str(tmp_path / f"{name}.nrrd"))

    outside = [PointPair([500.0, 0, 0], [0.0, 0, 0])]
    identity = np.eye(4).tolist()
    cases = [
        ({"moving": file("2d")}, "2D|one slice"),
        ({"moving": file("constant")}, "same value"),
        ({"moving": file("far")}, "do not overlap.*initial transform"),
        ({"fixed": file("thin")}, "38 × 34 × 9 voxels"),
        ({"fixed_mask": file("dot")}, "only 1 voxels"),
        ({"fixed_mask": file("far-mask")}, "Nothing of the fixed mask"),
        ({"moving_mask": file("empty")}, "moving mask is empty; draw it"),
        ({"fixed_mask": file("full")}, "fixed mask marks the whole volume; leave it out"),
        ({"region": [500.0, 600, 0, 10, 0, 10]}, "region of interest lies outside"),
        ({"region": [0.0, 10, 0, 10]}, "six"),
        ({"region": [0.0, 20, 0, 20, 0, 20]}, "region has only"),
        ({"landmarks": "points"}, "no pairs of points"),
        ({"landmarks": "points", "pairs": outside}, "None of the pairs"),
        ({"landmarks": "guesses"}, "guesses"),
        ({"preset": "slow"}, "fast or paper"),
        ({"initial": identity[:3]}, "4 × 4"),
        ({"elastix": str(tmp_path)}, "no elastix program"),
        ({"out": str(case / "fixed.nrrd")}, "is a file"),
        ({"choose_weights": True}, "40 pairs"),
    ]
    before = sorted(tmp_path.iterdir())
    for change, said in cases:
        with pytest.raises(InputError, match=said) as caught:
            deform(request(case, **{"out": tmp_path / "out", **change}), quiet)
        assert "\n" not in str(caught.value)
        assert sorted(tmp_path.iterdir()) == before, change


def test_lists_of_points_that_do_not_fit_together(case, tmp_path):
    write_points(tmp_path / "few.mrk.json", [("P1", np.zeros(3), ""), ("Other", np.ones(3), "")])
    done = command(
        case,
        tmp_path / "out",
        *("--fixed-points", case / "fixed.mrk.json", "--moving-points", tmp_path / "few.mrk.json"),
        capture_output=True,
    )
    assert done.returncode == 2
    assert "60 and 2 points" in done.stderr
    assert "Other" in done.stderr
    done = command(case, tmp_path / "out", "--fixed-points", case / "fixed.mrk.json", capture_output=True)
    assert (done.returncode, (tmp_path / "out").exists()) == (2, False)
    assert "--moving-points" in done.stderr
    write_points(tmp_path / "empty.mrk.json", [])
    empty = ["--fixed-points", tmp_path / "empty.mrk.json", "--moving-points", tmp_path / "empty.mrk.json"]
    done = command(case, tmp_path / "out", *empty, capture_output=True)
    assert (done.returncode, (tmp_path / "out").exists()) == (2, False)
    assert "lists of points are empty" in done.stderr


def test_a_larger_body_is_warned_of(case, tmp_path):
    from LandmarkFusionLogic.deformable.preparation import size_warning

    fixed = read_volume(case / "fixed.nrrd")
    larger = fixed.ijk_to_ras.copy()
    larger[:3] *= 1.4
    assert size_warning(fixed, fixed, None) == []
    assert "same patient" in size_warning(fixed, Volume(fixed.array, larger), None)[0]


def test_a_mask_keeps_its_border_at_coarse_resolutions(case, tmp_path):
    """elastix would take five voxels off either side, which leaves too little of a mask in a small volume."""
    moving = read_volume(case / "moving.nrrd")
    mask = np.zeros(moving.array.shape, dtype=np.uint8)
    mask[4:-4, 4:-4, 4:-4] = 1
    write_volume(tmp_path / "mask.nrrd", Volume(mask, moving.ijk_to_ras))
    done = deform(request(case, tmp_path / "out", moving_mask=VolumeSource(str(tmp_path / "mask.nrrd"))), quiet)
    assert done.similarity_after > done.similarity_before + 0.2


# elastix itself


@POSIX
def test_an_elastix_that_crashes_leaves_its_log_and_nothing_else(case, tmp_path):
    program = script(tmp_path / "elastix", 'echo "ELASTIX version: 5"\nkill -SEGV $$\n')
    with pytest.raises(InputError, match="crashed"):
        deform(request(case, tmp_path / "out", elastix=str(program)), quiet)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["elastix.log"]
    assert "ELASTIX version" in (tmp_path / "out" / "elastix.log").read_text()


@POSIX
def test_a_program_is_run_with_elastix_own_arguments(case, tmp_path, monkeypatch):
    """A program in the search path, which is real elastix behind a script; it gets classic arguments only."""
    child = f'"{sys.executable}" -m LandmarkFusionLogic.deformable.elastixchild'
    root = Path(__file__).resolve().parents[2]
    folder = tmp_path / "bin"
    folder.mkdir()
    script(folder / "elastix", f'echo "$@" > "{tmp_path}/arguments"\nPYTHONPATH="{root}" exec {child} "$@"\n')
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    done = deform(request(case, tmp_path / "out", region=[-40, 40, -40, 40, -40, 40]), quiet)
    assert done.jacobian_min > 0
    words = (tmp_path / "arguments").read_text().split()
    assert {word for word in words if word.startswith("-")} == {"-f", "-m", "-p", "-out", "-threads"}
    assert json.loads((tmp_path / "out" / "report.json").read_text())["elastix"] == "the search path"


@POSIX
def test_volumes_that_drift_apart_are_told_in_elastix_own_words(case, tmp_path):
    """Masks that lie beside each other: real elastix finds no samples and says so."""
    fixed = read_volume(case / "fixed.nrrd")
    for name, part in (("low", np.s_[:8]), ("high", np.s_[-8:])):
        mask = np.zeros(fixed.array.shape, dtype=np.uint8)
        mask[part] = 1
        write_volume(tmp_path / f"{name}.nrrd", Volume(mask, fixed.ijk_to_ras))
    masks = {"fixed_mask": VolumeSource(str(tmp_path / "low.nrrd"))}
    masks["moving_mask"] = VolumeSource(str(tmp_path / "high.nrrd"))
    with pytest.raises(InputError, match="mask") as caught:
        deform(request(case, tmp_path / "out", **masks), quiet)
    assert "initial transform" in str(caught.value)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["elastix.log"]


@POSIX
def test_a_full_disk_is_told(case, tmp_path):
    """Files may not grow beyond 64 KiB here, which fails as a full disk does."""
    words = ["--landmarks", "none"]

    def limit():
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))

    done = command(case, tmp_path / "out", *words, capture_output=True, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "disk is full" in done.stderr
    assert not (tmp_path / "out").exists() or [f.name for f in (tmp_path / "out").iterdir()] == ["elastix.log"]


# Cancel


def runs(pid):
    """Whether the process is there and no zombie that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def child_of(pid):
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("stage", ["Starting elastix", "Deformable registration"])
def test_cancel_ends_elastix_within_two_seconds_and_leaves_nothing(case, tmp_path, stage):
    worker = Process("-m", "LandmarkFusionLogic.worker")
    try:
        worker.until("ready")
        out = tmp_path / "new" / "out"
        worker.send({"id": "1", "job": "deform", "request": to_json(request(case, out))})
        while stage not in (event := worker.until("progress", "error"))["text"]:
            assert event["event"] == "progress"
        if stage.startswith("Deformable"):
            assert (out / "metric.csv").read_text().count("\n") > 1
        children = child_of(worker.process.pid)
        assert children
        started = time.monotonic()
        worker.send({"cancel": "1"})
        worker.ended()
        while any(runs(child) for child in children):
            assert time.monotonic() - started < 2
            time.sleep(0.02)
        assert time.monotonic() - started < 2
        assert list(tmp_path.iterdir()) == []
    finally:
        worker.process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_elastix_dies_with_a_worker_that_is_killed(case, tmp_path):
    process = command(case, tmp_path / "out", "--landmarks", "none", run=subprocess.Popen, stderr=subprocess.PIPE)
    for line in process.stderr:
        if "Affine" in line or "Deformable" in line:
            break
    children = child_of(process.pid)
    assert children
    process.kill()
    process.wait()
    started = time.monotonic()
    while any(runs(child) for child in children):
        assert time.monotonic() - started < 3
        time.sleep(0.02)


@POSIX
def test_ctrl_c_leaves_nothing(case, tmp_path):
    process = command(case, tmp_path / "out", "--landmarks", "none", run=subprocess.Popen, stderr=subprocess.PIPE)
    for line in process.stderr:
        if "Affine" in line or "Deformable" in line:
            break
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    assert process.wait(10) == 130
    assert list(tmp_path.iterdir()) == []
