"""What goes wrong where nobody looks: exceptions in Qt slots and VTK observers, and VTK's error output.

Qt and VTK print an exception of a Python callback and carry on; so does PythonQt in Slicer. Both hand it to
``sys.excepthook`` on the way, which is where it is caught here.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

slot_errors: list[BaseException] = []
"""Exceptions raised by Qt slots and VTK observers since the last `clear_errors`."""

vtk_errors: list[str] = []
"""Errors and warnings that VTK and MRML classes reported since the last `clear_errors`."""

_keep: list[Any] = []


def clear_errors() -> None:
    """Forget what was recorded."""
    slot_errors.clear()
    vtk_errors.clear()


def install() -> None:
    """Record from now on. Call once."""
    _record_slot_errors()
    _record_vtk_errors()
    _quiet_platform()


def _record_slot_errors() -> None:
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        slot_errors.append(error)
        previous(kind, error, trace)

    sys.excepthook = hook


def _record_vtk_errors() -> None:
    import vtk

    # VTK writes each message twice, to the logger and to the output window. The window is the one with events.
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    window = vtk.vtkOutputWindow()
    window.SetDisplayModeToAlwaysStdErr()

    @vtk.calldata_type(vtk.VTK_STRING)
    def record(caller: Any, event: str, text: str) -> None:
        vtk_errors.append(text.strip())

    for event in ("ErrorEvent", "WarningEvent"):
        window.AddObserver(event, record)
    vtk.vtkOutputWindow.SetInstance(window)
    _keep.append(window)


def _quiet_platform() -> None:
    """Leave out what Qt's off-screen platform says at every window."""
    from PySide6 import QtCore

    def write(kind: object, context: object, text: str) -> None:
        if "propagateSizeHints" not in text:
            print(text, file=sys.stderr)

    QtCore.qInstallMessageHandler(write)
