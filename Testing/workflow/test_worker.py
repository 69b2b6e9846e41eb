"""The worker as a real process: the protocol, and its end at any moment."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import samples

from LandmarkFusionLogic.jobs import DetectRequest, DetectResult, VolumeSource, from_json, to_json
from LandmarkFusionLogic.markupsfile import write_landmarks

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent


class Process:
    """A worker and what it says, line by line."""

    def __init__(self, *command):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "Testing"))),
        }
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.events = queue.Queue()
        self.log = []
        threading.Thread(target=self._follow, daemon=True).start()
        self._drain = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self._drain.start()

    def _follow(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))
        self.events.put(None)

    def send(self, message):
        self.process.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        self.process.stdin.flush()

    def next(self, timeout=60):
        return self.events.get(timeout=timeout)

    def until(self, *kinds):
        while True:
            event = self.next()
            assert event is not None, "the worker ended"
            if event["event"] in kinds:
                return event

    def ended(self, timeout=5):
        """Seconds until the process has ended."""
        started = time.monotonic()
        self.process.wait(timeout)
        self._drain.join(timeout)
        return time.monotonic() - started


@pytest.fixture
def worker():
    process = Process("-m", "LandmarkFusionLogic.worker")
    yield process
    process.process.kill()


@pytest.fixture
def test_worker():
    process = Process(str(HERE / "worker_with_test_jobs.py"))
    assert process.next()["event"] == "ready"
    yield process
    process.process.kill()


def _start(process, job, path=""):
    process.send({"id": "1", "job": job, "request": {"path": str(path)}})


def test_detection_through_the_protocol(worker, tmp_path):
    ready = worker.next()
    assert ready == {"event": "ready", "protocol": 1, "pid": worker.process.pid}
    volume = samples.volume(directions=samples.OBLIQUE)
    np.save(tmp_path / "mr.npy", volume.array)
    bundle = samples.untrained_bundle(tmp_path / "mr")
    source = VolumeSource(str(tmp_path / "mr.npy"), volume.ijk_to_ras.tolist())
    request = to_json(DetectRequest(source, "mr", "cpu", str(bundle)))
    for number in ("1", "2"):
        worker.send({"id": number, "job": "detect", "request": request})
        fractions = []
        while (event := worker.next())["event"] == "progress":
            assert event["id"] == number
            assert event["text"]
            fractions.append(event["fraction"])
        assert event["event"] == "result", event
        assert event["id"] == number
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1
        result = from_json(DetectResult, event["result"])
        assert [point.name for point in result.landmarks] == ["Apex", "Bladder neck", "Posterior median"]
    worker.send({"quit": True})
    worker.ended()
    assert worker.process.returncode == 0
    assert str(tmp_path) not in "".join(worker.log)


def test_bad_input_is_an_event_and_the_worker_goes_on(worker):
    missing = to_json(DetectRequest(VolumeSource("/none/Doe^John.nrrd"), "mr", "cpu"))
    for request, says in (
        (missing, "does not exist"),
        ({"volume": 3, "modality": "mr"}, "must be an object"),
        (None, "object"),
    ):
        worker.send({"id": "7", "job": "detect", "request": request})
        event = worker.until("error")
        assert (event["id"], event["kind"], event["detail"]) == ("7", "input", "")
        assert says in event["message"]
    worker.send({"quit": True})
    worker.ended()
    assert "Doe" not in "".join(worker.log)


@pytest.mark.parametrize(
    "line", ["garbage", "[]", "17", '{"id": "1"}', '{"id": "1", "job": "fly"}', '{"job": "detect"}', "\x00\x01", "{"]
)
def test_a_garbage_line_is_answered_and_survived(test_worker, line):
    test_worker.send(line)
    assert test_worker.next()["event"] == "error"
    _start(test_worker, "loud")
    assert test_worker.until("result")["id"] == "1"


@pytest.mark.parametrize("job", ["wait", "compute"])
@pytest.mark.parametrize("way", ["cancel", "quit", "eof", "kill"])
def test_the_process_ends_at_once_in_the_middle_of_a_job(test_worker, job, way):
    _start(test_worker, job)
    test_worker.until("progress")
    if job == "compute":
        time.sleep(0.5)
    if way == "eof":
        test_worker.process.stdin.close()
    elif way == "kill":
        test_worker.process.kill()
    else:
        test_worker.send({"cancel": "1"} if way == "cancel" else {"quit": True})
    assert test_worker.ended() < 2
    assert test_worker.next() is None


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc to see whether a process is alive")
@pytest.mark.parametrize("way", ["cancel", "eof"])
def test_no_child_outlives_the_worker(test_worker, way):
    _start(test_worker, "child")
    child = int(test_worker.until("progress")["text"])
    assert _alive(child)
    if way == "eof":
        test_worker.process.stdin.close()
    else:
        test_worker.send({"cancel": "1"})
    test_worker.ended()
    deadline = time.monotonic() + 5
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(child)


@pytest.mark.parametrize("way", ["cancel", "eof"])
def test_a_cancelled_job_leaves_nothing_on_disk(test_worker, tmp_path, way):
    _start(test_worker, "write", tmp_path / "out")
    test_worker.until("progress")
    assert os.listdir(tmp_path) != []
    if way == "eof":
        test_worker.process.stdin.close()
    else:
        test_worker.send({"cancel": "1"})
    test_worker.ended()
    assert os.listdir(tmp_path) == []


def test_a_real_job_cancelled_while_it_writes_leaves_nothing(worker, tmp_path):
    request = {"out": str(tmp_path / "out")}
    for side, seed in (("mr", 0), ("us", 1)):
        volume = samples.volume(shape_ijk=(128, 128, 96), spacing=(0.8, 0.8, 1.0), seed=seed)
        np.save(tmp_path / f"{side}.npy", volume.array)
        request[side] = {"path": str(tmp_path / f"{side}.npy"), "ijk_to_ras": volume.ijk_to_ras.tolist()}
        write_landmarks(tmp_path / f"{side}.mrk.json", samples.prostate_points(volume.centre))
        request[f"{side}_landmarks"] = str(tmp_path / f"{side}.mrk.json")
    before = set(tmp_path.rglob("*"))
    worker.send({"id": "1", "job": "fuse", "request": request})
    while "Writing" not in worker.until("progress")["text"]:
        pass
    worker.send({"cancel": "1"})
    assert worker.ended() < 2
    assert set(tmp_path.rglob("*")) == before


def test_nothing_gets_between_the_lines_and_no_child_eats_them(test_worker):
    _start(test_worker, "loud")
    event = test_worker.next()
    assert event == {"event": "result", "id": "1", "result": {"child_read": 0}}
    test_worker.send({"quit": True})
    test_worker.ended()
    assert test_worker.next() is None
    log = "".join(test_worker.log)
    for text in ("printed by Python", "forged", "printed by a child"):
        assert text in log


def test_memory_that_runs_out_is_told_apart(test_worker):
    _start(test_worker, "greedy")
    event = test_worker.until("error")
    assert event["kind"] == "memory"
    assert event["message"].startswith("There is not enough memory")


def test_an_unexpected_error_names_the_place_but_not_the_patient(test_worker):
    path = "/home/Doe^John/mr.nrrd"
    _start(test_worker, "broken", path)
    event = test_worker.until("error")
    assert event["kind"] == "internal"
    assert "worker_with_test_jobs.py" in event["detail"]
    assert "RuntimeError: cannot use … at all" in event["detail"]
    _start(test_worker, "loud")
    test_worker.until("result")
    test_worker.send({"quit": True})
    test_worker.ended()
    for text in (event["detail"], "".join(test_worker.log)):
        assert "Doe" not in text


def test_a_crash_is_the_end_of_the_stream(test_worker):
    _start(test_worker, "crash")
    assert test_worker.ended() < 5
    assert test_worker.next() is None
    assert test_worker.process.returncode == -signal.SIGSEGV


def test_a_ctrl_c_in_the_parents_terminal_does_not_end_the_worker(test_worker):
    test_worker.process.send_signal(signal.SIGINT)
    _start(test_worker, "loud")
    assert test_worker.until("result")["id"] == "1"
