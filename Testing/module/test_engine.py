"""The engine with real worker processes: progress, cancel, crash, silence, restart, end."""

import os
import signal
import sys
import time
from pathlib import Path

import host
import numpy as np
import pytest
import samples

TESTING = Path(__file__).resolve().parents[1]
TEST_JOBS = (str(TESTING / "workflow" / "worker_with_test_jobs.py"),)


class Ear:
    """What a job told."""

    def __init__(self):
        self.progress, self.results, self.failures = [], [], []

    def __iter__(self):
        return iter(
            (
                lambda fraction, text: self.progress.append((fraction, text)),
                self.results.append,
                lambda kind, message: self.failures.append((kind, message)),
            )
        )

    def wait(self, timeout=60):
        host.process_events(until=lambda: self.results or self.failures, timeout=timeout)


@pytest.fixture
def engine(panel):
    made = []

    def make(arguments=TEST_JOBS, **options):
        from LandmarkFusionLib.engine import Engine

        made.append(Engine(arguments=arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def _gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_jobs_one_after_the_other_in_one_process(engine):
    engine = engine()
    pids = []
    for _ in range(2):
        ear = Ear()
        engine.run("loud", {}, *ear)
        assert engine.isBusy()
        with pytest.raises(RuntimeError, match="running already"):
            engine.run("loud", {}, *ear)
        ear.wait()
        assert ear.results == [{"child_read": 0}]
        assert not ear.failures
        pids.append(engine.processId())
    assert pids[0] == pids[1] != 0
    assert not engine.isBusy()
    assert "printed by Python" in engine.log()
    assert "forged" in engine.log()


def test_errors_of_a_job(engine):
    engine = engine()
    for job, kind in (("greedy", "memory"), ("broken", "internal"), ("nonsense", "input")):
        ear = Ear()
        engine.run(job, {}, *ear)
        ear.wait()
        assert [failure[0] for failure in ear.failures] == [kind]
        assert ear.failures[0][1].endswith((".", "…"))
    assert "RuntimeError" in engine.log()


def test_cancel_in_the_middle_and_go_on(engine):
    engine = engine()
    ear = Ear()
    engine.run("wait", {}, *ear)
    host.process_events(until=lambda: ear.progress, timeout=60)
    pid = engine.processId()
    engine.cancel()
    engine.cancel()  # Impatient.
    assert engine.isBusy()
    ear.wait(timeout=10)
    assert [failure[0] for failure in ear.failures] == ["cancelled"]
    assert _gone(pid)
    assert not engine.isBusy()
    engine.cancel()  # Nothing to cancel.
    again = Ear()
    engine.run("loud", {}, *again)
    again.wait()
    assert again.results
    assert len(ear.failures) == 1


def test_cancel_while_the_worker_starts(engine):
    engine = engine()
    ear = Ear()
    engine.run("loud", {}, *ear)
    engine.cancel()
    ear.wait(timeout=20)
    assert [failure[0] for failure in ear.failures] == ["cancelled"]


def test_crashed_and_killed(engine):
    engine = engine()
    ear = Ear()
    engine.run("crash", {}, *ear)
    ear.wait()
    assert [failure[0] for failure in ear.failures] == ["crashed"]
    assert "nothing was changed" in ear.failures[0][1]
    ear = Ear()
    engine.run("wait", {}, *ear)
    host.process_events(until=lambda: ear.progress, timeout=60)
    os.kill(engine.processId(), signal.SIGKILL)
    ear.wait()
    assert [failure[0] for failure in ear.failures] == ["crashed"]
    ear = Ear()
    engine.run("loud", {}, *ear)
    ear.wait()
    assert ear.results


def test_a_worker_that_says_nothing_is_ended(engine):
    engine = engine(stallSeconds=0.5)
    ear = Ear()
    engine.run("wait", {}, *ear)
    host.process_events(until=lambda: ear.progress, timeout=60)
    pid = engine.processId()
    ear.wait(timeout=20)
    assert "no sign of life" in ear.failures[0][1]
    host.process_events(until=lambda: _gone(pid), timeout=10)
    again = Ear()
    engine.run("loud", {}, *again)  # At once, while the old process may still be dying.
    again.wait()
    assert again.results
    assert not again.failures


def test_a_worker_that_cannot_start_or_is_no_worker(engine, tmp_path):
    ear = Ear()
    missing = engine(python=str(tmp_path / "no-python"))
    missing.run("loud", {}, *ear)
    ear.wait()
    assert ear.failures == [("crashed", "The worker process cannot be started; see the log.")]
    ear = Ear()
    broken = engine(arguments=("-c", "import sys; print('no JSON'); sys.exit('no module named worker')"))
    broken.run("loud", {}, *ear)
    ear.wait()
    assert ear.failures[0][0] == "crashed"
    assert "no module named worker" in broken.log()
    assert "not understood" in broken.log()
    ear = Ear()
    other = engine(arguments=("-c", 'print(\'{"event": "ready", "protocol": 99}\', flush=True); input()'))
    other.run("loud", {}, *ear)
    ear.wait()
    assert "another version" in ear.failures[0][1]


def test_stop_leaves_no_process(engine):
    engine = engine()
    ear = Ear()
    engine.run("child", {}, *ear)
    host.process_events(until=lambda: ear.progress, timeout=60)
    worker, child = engine.processId(), int(ear.progress[0][1])
    started = time.monotonic()
    engine.stop()
    assert time.monotonic() - started < 4
    host.process_events(until=lambda: _gone(worker) and _gone(child), timeout=10)
    assert not ear.results
    assert not ear.failures
    assert engine.processId() == 0


def test_the_process_of_the_engine_is_the_shipped_worker(engine):
    from LandmarkFusionLib.engine import WORKER, pythonExecutable

    assert pythonExecutable() == sys.executable
    engine = engine(arguments=WORKER)
    ear = Ear()
    engine.run("detect", {"volume": {"path": "nowhere.nrrd"}, "modality": "mr"}, *ear)
    ear.wait()
    assert ear.failures[0][0] == "input"
    assert "nowhere.nrrd" in ear.failures[0][1]


def test_volume_file(panel, tmp_path):
    from LandmarkFusionLib import volumefile

    from LandmarkFusionLogic import imageio

    told = []
    volume = samples.volume(shape_ijk=(90, 80, 300), directions=samples.OBLIQUE)
    assert volume.array.nbytes > volumefile.BYTES_PER_TURN
    file = volumefile.VolumeFile(volume, lambda: told.append("done"), told.append)
    file.start()
    assert not told
    host.process_events(until=lambda: told)
    assert told == ["done"]
    source = file.source()
    back = imageio.read_array(source["path"], source["ijk_to_ras"], "volume")
    assert np.array_equal(back.array, volume.array)
    assert np.allclose(back.ijk_to_ras, volume.ijk_to_ras)
    folder = Path(source["path"]).parent
    file.remove()
    assert not folder.exists()
    file.remove()


def test_volume_file_where_nothing_can_be_written(panel, tmp_path, monkeypatch):
    import tempfile

    from LandmarkFusionLib.volumefile import VolumeFile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    told = []
    VolumeFile(samples.volume(), lambda: told.append("done"), told.append).start()
    assert told == ["The volume cannot be handed to the worker (No such file or directory)."]
