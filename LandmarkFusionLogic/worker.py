"""The process behind the panel: jobs as JSON lines, ``python -m LandmarkFusionLogic.worker``.

In, one object a line: ``{"id": "1", "job": "detect", "request": {…}}``, ``{"cancel": "1"}``, ``{"quit": true}``.
Out: ``{"event": "ready", "protocol": 1, "pid": …}``, then for a job ``progress`` (id, fraction, text) and at its end
one ``result`` (id, result) or ``error`` (id, kind, message, detail); kind is "input", "memory" or "internal".

A second thread reads the lines, the main thread runs one job after the other. Cancel, quit and the end of standard
input (the parent has gone) end the process and its children at once, in the middle of a job too: nothing less stops a
network or a library that does not look up, on every platform. Whoever wants to go on starts a new worker.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from typing import IO, Any

from LandmarkFusionLogic import children, workfolder
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import silence_warnings
from LandmarkFusionLogic.jobs import JOBS, from_json, to_json
from LandmarkFusionLogic.memory import OUT_OF_MEMORY, is_out_of_memory

PROTOCOL = 1
PROGRESS_INTERVAL = 0.05
"""Seconds between two progress lines at least, so that a chatty job does not drown the reader."""
UNEXPECTED = "Something unexpected went wrong in this step; nothing was changed. The log has the details."


class Worker:
    """Reads requests from ``lines`` (text), writes events to ``events`` (text), and runs the jobs in between."""

    def __init__(self, lines: IO[str], events: IO[str]) -> None:
        self._lines = lines
        self._events = events
        self._lock = threading.Lock()
        self._jobs: queue.Queue[dict[str, Any]] = queue.Queue()

    def run(self) -> None:
        """Serve until told to stop; the process ends with it."""
        threading.Thread(target=self._read, daemon=True).start()
        self._send({"event": "ready", "protocol": PROTOCOL, "pid": os.getpid()})
        while True:
            self._run_job(self._jobs.get())

    def _read(self) -> None:
        try:
            for line in self._lines:
                if line.strip():
                    self._take(line)
        except (OSError, ValueError):
            _log("standard input broke")
        _end(0)

    def _take(self, line: str) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self._error(None, "input", "The worker was sent a line that is no JSON object.")
        elif message.get("quit"):
            _end(0)
        elif "cancel" in message:
            _log(f"cancelled job {message['cancel']}")
            _end(0)
        elif not isinstance(message.get("id"), str) or message.get("job") not in JOBS:
            known = ", ".join(sorted(JOBS))
            self._error(message.get("id"), "input", f"The worker knows no such job; it knows {known}.")
        else:
            self._jobs.put(message)

    def _run_job(self, message: dict[str, Any]) -> None:
        job, kind = message["id"], message["job"]
        started = time.perf_counter()
        _log(f"job {job} ({kind}) starts")
        try:
            request_type, function = JOBS[kind]
            result = function(from_json(request_type, message.get("request")), self._reporter(job))
            self._send({"event": "result", "id": job, "result": to_json(result)})
            _log(f"job {job} done in {time.perf_counter() - started:.1f} s")
        except InputError as error:
            self._error(job, "input", str(error))
        except BaseException as error:
            # A worker outlives whatever a job does: the panel gets the sentence, the log to copy gets the rest.
            kind = "memory" if is_out_of_memory(error) else "internal"
            self._error(
                job, kind, OUT_OF_MEMORY if kind == "memory" else UNEXPECTED, _details(error, message.get("request"))
            )

    def _reporter(self, job: str) -> Any:
        last = 0.0

        def report(fraction: float, text: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= PROGRESS_INTERVAL or fraction >= 1:
                last = now
                self._send({"event": "progress", "id": job, "fraction": round(float(fraction), 4), "text": text})

        return report

    def _error(self, job: Any, kind: str, message: str, detail: str = "") -> None:
        _log(f"job {job} ended: {kind} error\n{detail}".rstrip())
        self._send({"event": "error", "id": job, "kind": kind, "message": message, "detail": detail})

    def _send(self, event: dict[str, Any]) -> None:
        line = json.dumps(event) + "\n"
        try:
            with self._lock:
                self._events.write(line)
                self._events.flush()
        except (OSError, ValueError):
            _end(0)  # Nobody listens any more.


def _details(error: BaseException, request: Any) -> str:
    """Where it happened and what the error says, without the paths of the request: they may name a patient."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}" for frame in frames]
    text = "\n".join([*places, f"{type(error).__name__}: {error}"])
    for path in sorted(_paths(request), key=len, reverse=True):
        text = text.replace(path, "…")
    return text


def _paths(request: Any) -> set[str]:
    """Every text of a request that is a path, and its file name."""
    if isinstance(request, dict):
        return set().union(*map(_paths, request.values()))
    if isinstance(request, list):
        return set().union(*map(_paths, request))
    if isinstance(request, str) and ("/" in request or "\\" in request or "." in request):
        return {request, os.path.basename(request)} - {""}
    return set()


def _log(text: str) -> None:
    print(f"[worker] {text}", file=sys.stderr, flush=True)


def _end(code: int) -> None:
    """End this process and its children at once, whatever the main thread is doing."""
    children.end_all()
    workfolder.remove_open()
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(os.getpid())], capture_output=True, check=False)
    elif os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGHUP)  # The children; this process has a handler for it (`_lead_group`).
    os._exit(code)


def _lead_group() -> None:
    """Make a process group of this process and its future children, so that they can be ended together.

    Handlers that do nothing, unlike ignored signals, are not handed down to children. SIGINT: a Ctrl-C in the parent's
    terminal is the parent's to handle.
    """
    if sys.platform == "win32":
        return
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)


def main() -> None:
    """Take over standard input and output for the protocol and serve.

    The original descriptors are set aside and 0 and 1 led elsewhere, so that no library and no child can write between
    the protocol's lines or eat them.
    """
    lines = os.fdopen(os.dup(0), "r", encoding="utf-8", errors="replace")
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    _lead_group()
    silence_warnings()
    Worker(lines, events).run()


if __name__ == "__main__":
    main()
