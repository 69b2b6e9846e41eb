"""Hands a volume to the worker as a file, a little at a time, so that the event loop is never held."""

import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import qt

from LandmarkFusionLogic.volume import Volume

BYTES_PER_TURN = 4 << 20


class VolumeFile:
    """A ``.npy`` file (K, J, I) in a fresh temporary folder whose name says nothing of the patient."""

    def __init__(self, volume: Volume, done: Callable[[], None], failed: Callable[[str], None]):
        self._volume = volume
        self._done = done
        self._failed = failed
        self._folder = ""
        self._file: Any = None
        self._next = 0
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._writeSome)

    def source(self) -> dict[str, Any]:
        """The file as the worker's jobs want it told."""
        return {"path": self._path(), "ijk_to_ras": self._volume.ijk_to_ras.tolist()}

    def folder(self) -> str:
        """The temporary folder, which a job may leave its own files in."""
        return self._folder

    def start(self) -> None:
        """Begin to write; ``done`` or ``failed`` (with one sentence) is called from the event loop."""
        try:
            self._folder = tempfile.mkdtemp(prefix="landmarkfusion-")
            self._file = open(self._path(), "wb")  # noqa: SIM115 (closed in _close, some turns later)
            array = self._volume.array
            header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
            np.lib.format.write_array_header_1_0(self._file, header)
        except OSError as error:
            self._fail(error)
            return
        self._timer.start()

    def remove(self) -> None:
        """Stop writing and delete the file."""
        self._timer.stop()
        self._close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    def _path(self) -> str:
        return os.path.join(self._folder, "volume.npy")

    def _writeSome(self) -> None:
        array = self._volume.array
        slices = max(1, BYTES_PER_TURN // max(1, array[0].nbytes))
        try:
            self._file.write(np.ascontiguousarray(array[self._next : self._next + slices]).data)
            self._next += slices
            if self._next < len(array):
                return
            self._timer.stop()
            self._close()
        except OSError as error:
            self._timer.stop()
            self._fail(error)
            return
        self._done()

    def _fail(self, error: OSError) -> None:
        from slicer.i18n import tr as _

        self.remove()
        self._failed(_("The volume cannot be handed to the worker ({reason}).").format(reason=error.strerror))

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
