"""DRRs while a slider moves: one request at a time to a worker of its own, and always the newest pose."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from LandmarkFusionLib.engine import CANCELLED, Engine
from LandmarkFusionLib.volumefile import VolumeFile
from LandmarkFusionLogic.mrml import deforminputs, volumes
from LandmarkFusionLogic.projection.geometry import Geometry

FAST = "fast"


class LiveDrr:
    """Hands the CT over once, then asks for one DRR after the other, each written into one memory-mapped file.

    ``shown`` gets the image (rows, columns) float32 and the geometry that it was made with; ``failed`` one sentence.
    The worker is not the one of the long jobs: DRRs go on while a registration runs, and one that is cancelled takes
    nothing from them.
    """

    def __init__(
        self,
        shown: Callable[[np.ndarray, Geometry], None],
        failed: Callable[[str], None],
        engine: Engine | None = None,
    ):
        self.engine = engine or Engine()
        self.count = 0
        """How many DRRs there have been."""
        self._shown, self._failed = shown, failed
        self._ct: Any = None
        self._stamp: Any = None
        self._file: VolumeFile | None = None
        self._ready = False
        self._wanted: tuple[Geometry, tuple[float, ...]] | None = None
        self._sent: tuple[Geometry, tuple[float, ...]] | None = None
        self._flying: VolumeFile | None = None

    def want(self, ct: Any, geometry: Geometry, pose: tuple[float, ...]) -> None:
        """Show the DRR of ``ct`` at this pose as soon as may be; what was wanted before is forgotten.

        Raises InputError for a CT that cannot be read.
        """
        stamp = volumes.stamp(ct)
        if ct is not self._ct or stamp != self._stamp:
            self.forget()
            volume = deforminputs.read_volume_node(ct, "CT")
            self._ct, self._stamp = ct, stamp
            self._file = VolumeFile(volume, self._onWritten, self._failed)
            self._file.start()
        self._wanted = geometry, pose
        self._next()

    def forget(self) -> None:
        """Let go of the CT; a DRR that is under way is not shown any more."""
        if self._file is not None and self._file is not self._flying:
            self._file.remove()
        self._ct = self._stamp = self._file = self._wanted = self._sent = None
        self._ready = False

    def stop(self) -> None:
        """Let go of everything; the worker ends."""
        self.forget()
        self.engine.stop()
        if self._flying is not None:
            self._flying.remove()
            self._flying = None

    def isBusy(self) -> bool:
        """Whether a DRR is on its way."""
        return (self._wanted is not None and self._wanted != self._sent) or self._flying is not None

    def _onWritten(self) -> None:
        self._ready = True
        self._next()

    def _next(self) -> None:
        if not self._ready or self._flying is not None or self._wanted in (None, self._sent):
            return
        self._sent = geometry, pose = self._wanted
        file = self._flying = self._file
        path = os.path.join(file.folder(), "drr.raw")
        request = {
            "ct": file.source(),
            "geometry": geometry.to_json(),
            "pose": list(pose),
            "live": path,
            "quality": FAST,
        }
        self.engine.run(
            "drr",
            request,
            lambda fraction, text: None,
            lambda result: self._onResult(file, path, geometry),
            lambda kind, message: self._onFailure(file, kind, message),
        )

    def _onResult(self, file: VolumeFile, path: str, geometry: Geometry) -> None:
        current = self._land(file)
        if current:
            self.count += 1
            self._shown(np.memmap(path, "<f4", "r", shape=(geometry.rows, geometry.columns)), geometry)
        self._next()

    def _onFailure(self, file: VolumeFile, kind: str, message: str) -> None:
        if self._land(file) and kind != CANCELLED:
            self._failed(message)
        self._next()

    def _land(self, file: VolumeFile) -> bool:
        """The request has ended; returns whether its CT is still the one that is wanted."""
        self._flying = None
        if file is not self._file:
            file.remove()
            return False
        return True
