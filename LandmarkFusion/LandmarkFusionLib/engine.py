"""Runs jobs in the worker process, one at a time, without ever holding the event loop.

The worker stays alive between jobs, so that a network is loaded once. Cancel ends it, at any point of a job; the next
job starts a new one. Whatever happens to the process, a job ends exactly once: with its result or with one sentence.
"""

import collections
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

import LandmarkFusionLogic

WORKER = ("-m", "LandmarkFusionLogic.worker")
PROTOCOL = 1
START_SECONDS = 60
STALL_SECONDS = 600
END_SECONDS = 3
LOG_LINES = 2000

CANCELLED = "cancelled"
CRASHED = "crashed"


@dataclass
class Job:
    """What was asked for and who wants to hear of it; the functions are called in the event loop."""

    identifier: str
    name: str
    request: dict[str, Any]
    onProgress: Callable[[float, str], None]
    onResult: Callable[[dict[str, Any]], None]
    onFailure: Callable[[str, str], None]
    """Called with the kind (input, memory, internal, crashed, cancelled) and one sentence."""


def pythonExecutable() -> str:
    """The Python that runs the worker: Slicer's own, or outside the application the one running now."""
    return shutil.which("PythonSlicer") or sys.executable


class Engine:
    """The worker process and the job it is at."""

    def __init__(
        self,
        python: str = "",
        arguments: Sequence[str] = WORKER,
        stallSeconds: float = STALL_SECONDS,
        startSeconds: float = START_SECONDS,
    ):
        self._python = python or pythonExecutable()
        self._arguments = list(arguments)
        self._process = None
        self._dying = []
        self._started = False
        self._ready = False
        self._job: Job | None = None
        self._count = 0
        self._cancelled = False
        self._buffer = b""
        self.logged = 0
        """How many lines have been logged: tells whether `log` has anything new."""
        self._log = collections.deque(maxlen=LOG_LINES)
        self._stallMilliseconds = int(1000 * stallSeconds)
        self._startMilliseconds = int(1000 * startSeconds)
        self._watchdog = qt.QTimer()
        self._watchdog.setSingleShot(True)
        self._watchdog.timeout.connect(self._onStall)
        self._ending = qt.QTimer()
        self._ending.setSingleShot(True)
        self._ending.timeout.connect(self._kill)

    def isBusy(self) -> bool:
        """Whether a job is running or being ended."""
        return self._job is not None

    def processId(self) -> int:
        """The worker's process ID, 0 while there is none."""
        return int(self._process.processId()) if self._process is not None else 0

    def log(self) -> str:
        """What the worker wrote and what happened to it: for the user to copy."""
        return "\n".join(self._log)

    def run(
        self,
        name: str,
        request: dict[str, Any],
        onProgress: Callable[[float, str], None],
        onResult: Callable[[dict[str, Any]], None],
        onFailure: Callable[[str, str], None],
    ) -> None:
        """Start a job of the worker by its name; returns at once.

        Raises RuntimeError while another job is running.
        """
        if self._job is not None:
            raise RuntimeError("A job is running already.")
        self._count += 1
        self._cancelled = False
        self._job = Job(str(self._count), name, request, onProgress, onResult, onFailure)
        if self._process is None:
            self._start()
        elif self._ready:
            self._send()

    def cancel(self) -> None:
        """End the job, whatever it is at; its onFailure hears "cancelled" once the process is gone."""
        if self._job is None or self._cancelled:
            return
        self._cancelled = True
        self._note(f"cancel job {self._job.identifier}")
        if self._process is None:
            self._fail(CANCELLED, _("Cancelled; nothing was changed."))
        elif self._ready:
            self._write({"cancel": self._job.identifier})
            self._ending.start(1000 * END_SECONDS)
        else:
            self._kill()

    def stop(self) -> None:
        """End the worker without telling anybody; waits for it, at most a few seconds."""
        self._end()
        process = self._process
        if process is None:
            return
        self._process = None
        process.closeWriteChannel()
        if not process.waitForFinished(1000):
            process.kill()
            process.waitForFinished(1000 * END_SECONDS)

    def _start(self) -> None:
        self._ready = False
        self._started = False
        self._buffer = b""
        process = qt.QProcess()
        process.setProcessEnvironment(_environment())
        # The functions carry their process: what one that was given up still says is not taken for its successor's.
        process.started.connect(lambda: self._onStarted(process))
        process.readyReadStandardOutput.connect(lambda: self._onOutput(process))
        process.readyReadStandardError.connect(lambda: self._onErrorOutput(process))
        process.finished.connect(lambda: self._onFinished(process))
        process.errorOccurred.connect(lambda: self._onError(process))
        self._process = process
        self._note("start the worker")
        self._watchdog.start(self._startMilliseconds)
        process.start(self._python, self._arguments)

    def _send(self) -> None:
        job = self._job
        self._note(f"job {job.identifier}: {job.name}")
        self._watchdog.start(self._stallMilliseconds)
        self._write({"id": job.identifier, "job": job.name, "request": job.request})

    def _write(self, message: dict[str, Any]) -> None:
        self._process.write((json.dumps(message) + "\n").encode())

    def _onStarted(self, process: Any) -> None:
        if process is self._process:
            self._started = True

    def _onOutput(self, process: Any) -> None:
        if process is not self._process:
            return
        self._buffer += process.readAllStandardOutput().data()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
                kind = event["event"]
            except (ValueError, KeyError, TypeError):
                self._note(f"not understood: {line[:200]!r}")
                continue
            self._onEvent(kind, event)

    def _onEvent(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "ready":
            self._onReady(event)
            return
        job = self._job
        if job is None or self._cancelled or event.get("id") != job.identifier:
            return
        self._watchdog.start(self._stallMilliseconds)
        if kind == "progress":
            job.onProgress(float(event["fraction"]), str(event["text"]))
        elif kind == "result":
            self._end()
            job.onResult(event["result"])
        elif kind == "error":
            if event.get("detail"):
                self._note(event["detail"])
            self._fail(str(event.get("kind", "internal")), str(event["message"]))

    def _onReady(self, event: dict[str, Any]) -> None:
        if event.get("protocol") != PROTOCOL:
            self._giveUp()
            self._fail("internal", _("The worker is of another version than the panel; restart Slicer."))
            return
        self._ready = True
        if self._job is not None:
            self._send()

    def _onErrorOutput(self, process: Any) -> None:
        text = process.readAllStandardError().data().decode("utf-8", "replace")
        for line in filter(None, text.split("\n")):
            self._append(line)

    def _onError(self, process: Any) -> None:
        # A process that ends is told by _onFinished; only one that never started is not.
        if process is self._process and not self._started:
            self._note(f"not started: {process.errorString()}")
            self._process = None
            self._fail(CRASHED, _("The worker process cannot be started; see the log."))

    def _onFinished(self, process: Any) -> None:
        self._dying = [each for each in self._dying if each is not process]
        if process is not self._process:
            return
        self._onErrorOutput(process)
        self._onOutput(process)
        self._note(f"the worker ended with exit code {process.exitCode()}")
        self._process = None
        self._ending.stop()
        if self._cancelled:
            self._fail(CANCELLED, _("Cancelled; nothing was changed."))
        else:
            self._fail(
                CRASHED, _("The worker process ended unexpectedly; nothing was changed. Try again or see the log.")
            )

    def _onStall(self) -> None:
        self._note("no sign of life from the worker")
        self._giveUp()
        self._fail(
            CRASHED, _("The worker gave no sign of life and was ended; nothing was changed. Try again or see the log.")
        )

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _giveUp(self) -> None:
        """End the process and be ready for a new one at once."""
        process, self._process = self._process, None
        if process is not None:
            self._dying.append(process)
            process.kill()

    def _fail(self, kind: str, message: str) -> None:
        job = self._job
        self._end()
        if job is not None:
            self._note(f"job {job.identifier}: {kind}: {message}")
            job.onFailure(kind, message)

    def _end(self) -> None:
        self._job = None
        self._cancelled = False
        self._watchdog.stop()
        self._ending.stop()

    def _note(self, text: str) -> None:
        self._append(f"[panel] {text}")

    def _append(self, line: str) -> None:
        self._log.append(line)
        self.logged += 1


def _environment() -> Any:
    """The application's environment, with our package in reach and ITK's plugins of Slicer out of it."""
    environment = qt.QProcessEnvironment.systemEnvironment()
    package = str(Path(LandmarkFusionLogic.__file__).resolve().parents[1])
    path = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment.insert("PYTHONPATH", os.pathsep.join(path))
    # Slicer's readers are built for Slicer's own ITK; SimpleITK in another process would load them and fail.
    environment.remove("ITK_AUTOLOAD_PATH")
    return environment
