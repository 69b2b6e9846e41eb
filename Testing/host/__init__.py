"""Test host: stands in for the 3D Slicer application around the real MRML libraries of ``slicer-core``.

A scripted module and its ``.ui`` files run on it unchanged, with real nodes, real slice and 3D views and mouse
interaction, drawn off screen. It is **not** Slicer: the Qt widgets of Slicer and CTK are stand-ins written on
PySide6, held to the names and forms of Slicer 5.12 by ``Testing/module/test_contract.py``. What has run here has not
thereby run in Slicer.

    import host
    app = host.start()
    module, widget = host.load_module("LandmarkFusion/LandmarkFusion.py")
    host.process_events(until=lambda: widget.logic.done, timeout=10)
    host.screenshot(widget, "panel.png")
    assert not host.slot_errors and not host.vtk_errors

Names:

- `available`: whether this machine can run the host, and why not.
- `start`, `stop`: the application; `load_module`, `unload_module`: what the application does with a scripted module.
- `process_events`: let the event loop turn, for a time or until something is true.
- `slot_errors`: exceptions that Qt slots and VTK observers raised and that nobody caught; `vtk_errors`: VTK's error
  output.
- `dialogs`: answers message boxes and keeps their texts; `packages`: what the module asked to have installed.
- `mouse`: move, click and drag in a view at RAS positions; `screenshot`: the panel beside the views.
"""

from __future__ import annotations

import os
from typing import Any

# Before Qt or VTK is imported: both read these once.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

from host.availability import available
from host.errors import clear_errors, slot_errors, vtk_errors

__all__ = [
    "available",
    "clear_errors",
    "dialogs",
    "load_module",
    "mouse",
    "packages",
    "process_events",
    "screenshot",
    "slot_errors",
    "start",
    "stop",
    "unload_module",
    "vtk_errors",
]

# Imported on first use, so that `import host` and `host.available()` need neither PySide6 nor slicer-core.
_LAZY = {
    "start": ("host.application", "start"),
    "stop": ("host.application", "stop"),
    "process_events": ("host.events", "process_events"),
    "load_module": ("host.modules", "load_module"),
    "unload_module": ("host.modules", "unload_module"),
    "screenshot": ("host.pictures", "screenshot"),
    "dialogs": ("host.messageboxes", "dialogs"),
    "packages": ("host.installer", "packages"),
    "mouse": ("host.mouse", None),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'host' has no attribute {name!r}")
    import importlib

    module_name, attribute = _LAZY[name]
    module = importlib.import_module(module_name)
    return module if attribute is None else getattr(module, attribute)
