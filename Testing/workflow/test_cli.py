"""The command line as a newcomer meets it, in processes of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import samples

from LandmarkFusionLogic import NOTICE, imageio
from LandmarkFusionLogic.markupsfile import read_landmarks, write_landmarks

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _command(*arguments):
    return [sys.executable, "-m", "LandmarkFusionLogic.cli", *map(str, arguments)]


def _run(*arguments):
    return subprocess.run(_command(*arguments), capture_output=True, text=True, env=ENVIRONMENT)


@pytest.fixture
def case(tmp_path):
    for side, seed in (("mr", 0), ("us", 1)):
        volume = samples.volume(shape_ijk=(48, 44, 40), seed=seed)
        imageio.write_volume(tmp_path / f"{side}.nrrd", volume)
        write_landmarks(tmp_path / f"{side}.mrk.json", samples.prostate_points(volume.centre))
    return tmp_path


def _fuse(case, *more):
    given = (f"--{side}-landmarks={case / side}.mrk.json" for side in ("mr", "us"))
    volumes = (f"--{side}={case / side}.nrrd" for side in ("mr", "us"))
    return ("fuse", *volumes, *given, f"--out={case / 'out'}", *more)


def test_help_is_quick_and_complete():
    # Of its own time: how long the clock runs depends on what else the machine does.
    before = os.times()
    done = _run("--help")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 1.5
    assert done.returncode == 0
    for text in ("fuse", "detect", "simulate", NOTICE.rstrip(".")):
        assert text in " ".join(done.stdout.split())
    for command, options in {
        "fuse": (
            "--mr",
            "--us",
            "--out",
            "--mr-landmarks",
            "--us-flip",
            "--us-orientation-confirmed",
            "--device",
            "--mr-click",
            "--us-gland",
            "--us-model",
            "--targets",
            "--fit",
        ),
        "detect": ("--modality", "--out", "--device", "--click", "--gland", "--model"),
        "simulate": ("--seed", "--out"),
        "train landmarks": ("--config", "--fine-tune", "--modality", "--minutes"),
    }.items():
        done = _run(*command.split(), "--help")
        assert done.returncode == 0
        assert all(option in done.stdout for option in options)


def test_help_imports_nothing_heavy():
    code = "import sys; from LandmarkFusionLogic import cli; cli._parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert not {"torch", "numpy", "SimpleITK", "matplotlib", "rich"} & set(done.stdout.split())


def test_what_slicer_imports_needs_neither_torch_nor_plots():
    code = (
        "import sys\n"
        "from LandmarkFusionLogic import assets, errors, jobs, orientation, points, volume\n"
        "from LandmarkFusionLogic.rigid import fit, landmarks\n"
        "import LandmarkFusionLogic.worker\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert not {"torch", "matplotlib", "rich"} & set(done.stdout.split())


def test_fuse_with_landmarks_of_ones_own(case):
    done = _run(*_fuse(case, "--us-orientation-confirmed"))
    assert done.returncode == 0, done.stderr
    assert "root mean square" in done.stdout
    assert NOTICE in done.stdout
    assert "[100%] Done" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert (case / "out" / "report.json").exists()
    assert "not confirmed" not in done.stderr


def test_detect_writes_landmarks(case, tmp_path):
    bundle = samples.untrained_bundle(tmp_path / "mine", "us")
    out = case / "found.mrk.json"
    done = _run("detect", case / "us.nrrd", "--modality=us", f"--out={out}", f"--model={bundle}", "--device=cpu")
    assert done.returncode == 0, done.stderr
    assert [point.state for point in read_landmarks(out)] == ["detected"] * 3
    assert "untrained-us 0.0.1 on CPU" in done.stdout


def test_detect_looks_where_it_is_told_to(case, tmp_path):
    bundle = samples.untrained_bundle(tmp_path / "mine", "us")
    samples.untrained_bundle(bundle / "fine", "us")
    place = [str(round(value, 2)) for value in imageio.read_volume(case / "us.nrrd").centre]
    out = case / "found.mrk.json"
    call = ("detect", case / "us.nrrd", "--modality=us", f"--out={out}", f"--model={bundle}", "--device=cpu")
    done = _run(*call, "--click", *place)
    assert done.returncode == 0, done.stderr
    assert "expected error (mm)" in done.stdout
    assert "Check first: " in done.stdout  # it knows nothing
    done = _run(*call, "--click", "900", "0", "0")
    assert done.returncode == 2
    assert "lies outside of its volume" in done.stderr


def test_fuse_carries_targets_over_and_says_what_to_expect(case):
    write_landmarks(
        case / "lesion.mrk.json", samples.prostate_points(imageio.read_volume(case / "mr.nrrd").centre)[:1]
    )
    done = _run(*_fuse(case, f"--targets={case / 'lesion.mrk.json'}", "--fit=svd"))
    assert done.returncode == 0, done.stderr
    assert "Expected error of the fit" in done.stdout
    assert "Target Apex: in the US at" in done.stdout
    assert (case / "out" / "targets.csv").exists()


def test_wrong_use_is_exit_code_two_without_traceback(case):
    for arguments in (
        (),
        ("fly",),
        ("fuse", "--mr", "a"),
        _fuse(case, "--us-flip=up"),
        ("detect", case / "mr.nrrd", "--modality=ct", "--out=a.mrk.json"),
        ("simulate", "--seed=one", "--out=a"),
        ("evaluate", "confidence", "--cases=2"),
        ("detect", case / "mr.nrrd", "--modality=mr", f"--out={case / 'a.mrk.json'}", "--click", "1", "2"),
        ("fuse", f"--mr={case / 'none.nrrd'}", f"--us={case / 'us.nrrd'}", f"--out={case / 'out'}"),
    ):
        done = _run(*arguments)
        assert done.returncode == 2, done
        assert "Traceback" not in done.stderr
        assert done.stderr.strip()


def test_an_unexpected_error_is_exit_code_one_and_a_sentence(case, monkeypatch, capfd):
    from LandmarkFusionLogic import cli, jobs

    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(jobs, "fuse", broken)
    assert cli.main([str(a) for a in _fuse(case)]) == 1
    error = capfd.readouterr().err
    assert "something unexpected went wrong (ZeroDivisionError)" in error
    assert "Traceback" not in error
    assert cli.main([str(a) for a in _fuse(case, "--traceback")]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_memory_that_runs_out_is_a_sentence(case, monkeypatch, capfd):
    from LandmarkFusionLogic import cli, jobs

    def greedy(*_):
        import numpy as np

        np.zeros(1 << 60, dtype=np.uint8)

    monkeypatch.setattr(jobs, "fuse", greedy)
    assert cli.main([str(a) for a in _fuse(case)]) == 1
    assert "There is not enough memory" in capfd.readouterr().err


def test_a_name_that_the_terminal_cannot_show_is_no_failure(case):
    arguments = [argument for argument in _fuse(case) if not argument.startswith("--out")]
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    run = _command(*arguments, f"--out={case / 'Müller'}")
    done = subprocess.run(run, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "M\\xfcller" in done.stdout


@pytest.mark.parametrize(("command", "says"), [("simulate", "stopped; nothing was written."), ("train", "stopped.")])
def test_a_stopped_training_does_not_claim_that_nothing_was_written(monkeypatch, capsys, command, says):
    from LandmarkFusionLogic import cli, jobs
    from LandmarkFusionLogic.landmarks import training

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "simulate", stopped)
    monkeypatch.setattr(training, "train", stopped)
    arguments = {"simulate": "simulate --seed=1 --out=a", "train": "train landmarks --modality=us --out=a"}
    assert cli.main(arguments[command].split()) == 130
    assert capsys.readouterr().err.endswith(f"landmarkfusion: {says}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_with_nothing_left_behind(case, number, code):
    before = set(case.rglob("*"))
    process = subprocess.Popen(
        _command(*_fuse(case)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    for line in process.stderr:
        if "Writing" in line:
            break
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == code, error
    assert "Traceback" not in error
    assert set(case.rglob("*")) == before


def test_a_terminal_shows_a_bar(case):
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(_command(*_fuse(case)), stdout=subprocess.DEVNULL, stderr=slave, env=environment)
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait(20) == 0
    assert b"\x1b[" in shown
    assert b"Warning: Left and right" in shown


def test_landmarks_of_ones_own_need_no_torch(case):
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] == 'torch': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "from LandmarkFusionLogic.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = [str(argument) for argument in _fuse(case)]
    run = [sys.executable, "-c", code]
    done = subprocess.run([*run, *arguments], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    without = [argument for argument in arguments if not argument.startswith("--us-landmarks")]
    done = subprocess.run([*run, *without], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 2
    assert "landmarkfusion: Automatic detection needs PyTorch" in done.stderr


def test_the_evaluation_prints_its_table():
    done = _run("evaluate", "simulated", "--cases=2", "--device=cpu")
    assert done.returncode == 0, done.stderr
    for text in ("2 simulated cases", "MR Apex", "US all landmarks", "mean position, mm"):
        assert text in done.stdout
    assert _run("evaluate", "simulated", "--cases=1").returncode == 2
    assert _run("evaluate", "cases", "--data=/nowhere").returncode == 2


def test_training_is_reached_with_its_own_options():
    done = _run("train", "landmarks", "--help")
    assert done.returncode == 0
    assert "--modality" in done.stdout
    assert _run("train").returncode == 2
