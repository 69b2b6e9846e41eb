"""Programs that a job has started: ended with it, at the latest when this process ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_running: set[subprocess.Popen[str]] = set()
_NO_WINDOW = 0x08000000
"""Windows' CREATE_NO_WINDOW."""
_ending = threading.Event()


@contextmanager
def running(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """``command`` running in ``folder``, its output and errors as text in one stream; ended when the block ends.

    Its standard input stays open and empty for as long as this process lives.
    Raises OSError if it cannot be started.
    """
    wait_if_ending()
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        creationflags=_NO_WINDOW if sys.platform == "win32" else 0,
    )
    _running.add(process)
    try:
        yield process
    finally:
        _end(process)
        _running.discard(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def end_all() -> None:
    """End whatever still runs and wait for its end, so that nothing writes into folders that are deleted next.

    For a process that is about to end; its other threads wait for that in `wait_if_ending`.
    """
    _ending.set()
    for process in list(_running):
        _end(process)


def wait_if_ending() -> None:
    """Do not return where `end_all` has been called: a child that was ended is no failure to be told of."""
    if _ending.is_set():
        threading.Event().wait()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)
