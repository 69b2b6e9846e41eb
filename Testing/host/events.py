"""Letting the event loop turn."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6 import QtCore


def process_events(seconds: float = 0.0, until: Callable[[], object] | None = None, timeout: float = 30.0) -> None:
    """Process Qt events once, or for ``seconds``, or until ``until()`` is true.

    Deferred deletions are carried out too. Raises TimeoutError when ``until()`` is not true after ``timeout`` seconds.
    """
    limit = time.monotonic() + (timeout if until else seconds)
    while True:
        QtCore.QCoreApplication.processEvents()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
        if until and until():
            return
        if time.monotonic() >= limit:
            if until:
                raise TimeoutError(f"Nothing happened within {timeout:g} s.")
            return
        time.sleep(0.002)
