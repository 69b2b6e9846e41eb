"""One job of the worker over volumes that are handed to it as files, from the first byte to the answer."""

import os
import time
from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLib.engine import CANCELLED, Engine
from LandmarkFusionLib.volumefile import VolumeFile
from LandmarkFusionLogic.volume import Volume

TELLING = 0.08
"""From this share of a job on, the time left can be told from the time that it took."""


class Handover:
    """Writes the volumes, runs the job, removes the files.

    What the request says already of a volume, beside where it lies, stays. ``changed`` is told of progress; ``done``
    gets the answer, ``failed`` the kind and one sentence, both while the files are still there.
    """

    def __init__(
        self,
        engine: Engine,
        job: str,
        request: dict[str, Any],
        inputs: dict[str, Volume],
        changed: Callable[[], None],
        done: Callable[[dict[str, Any]], None],
        failed: Callable[[str, str], None],
    ):
        self.job = job
        self.fraction = 0.0
        self.text = _("Handing over the volumes")
        self._engine = engine
        self._request = request
        self._changed, self._done, self._failed = changed, done, failed
        self._files = {
            name: VolumeFile(volume, self._next, lambda message: self._onFailure("input", message))
            for name, volume in inputs.items()
        }
        self._waiting = list(self._files.values())
        self._started = 0.0
        self._running = False

    def out(self) -> str:
        """The folder that the job may write its results into; it is removed with the files."""
        first = next(iter(self._files.values()))
        return os.path.join(first.folder(), "result")

    def start(self) -> None:
        """Begin; returns at once."""
        self._running = True
        self._next()

    def cancel(self) -> None:
        """End the job, whatever it is at; ``failed`` hears of it."""
        if not self._running:
            return
        if self._engine.isBusy():
            self._engine.cancel()
        else:
            self._onFailure(CANCELLED, _("Cancelled; nothing was changed."))

    def stop(self) -> None:
        """Stop writing and remove the files, telling nobody."""
        self._running = False
        self._waiting = []
        for file in self._files.values():
            file.remove()

    def secondsLeft(self) -> float | None:
        """About how long the job still takes; None while that cannot be told."""
        if not self._started or self.fraction < TELLING:
            return None
        return (time.monotonic() - self._started) * (1.0 - self.fraction) / self.fraction

    def _next(self) -> None:
        if not self._running:
            return
        if self._waiting:
            self._waiting.pop(0).start()
            return
        for name, file in self._files.items():
            self._request[name] = {**(self._request.get(name) or {}), **file.source()}
        if "out" in self._request:
            self._request["out"] = self.out()
        self._started = time.monotonic()
        self._engine.run(self.job, self._request, self._onProgress, self._onResult, self._onFailure)

    def _onProgress(self, fraction: float, text: str) -> None:
        if self._running:
            self.fraction, self.text = fraction, text
            self._changed()

    def _onResult(self, result: dict[str, Any]) -> None:
        if self._running:
            self._running = False
            try:
                self._done(result)
            finally:
                self.stop()
                self._changed()

    def _onFailure(self, kind: str, message: str) -> None:
        if self._running:
            self._running = False
            try:
                self._failed(kind, message)
            finally:
                self.stop()
                self._changed()
