"""Whether this machine can run the host."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import subprocess
import sys

_PROBE = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(8, 8)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
assert window.GetRGBACharPixelData(0, 0, 7, 7, 0, vtk.vtkUnsignedCharArray()) == 1
from PySide6 import QtWidgets
QtWidgets.QApplication([])
"""


@functools.cache
def available() -> tuple[bool, str]:
    """(True, "") where the host can run, else (False, what is missing and what to install).

    Draws one small picture in a process of its own, since a missing graphics library may end a process instead of
    raising.
    """
    for module, package in (("slicer_core", "slicer-core"), ("PySide6", "PySide6-Essentials")):
        if importlib.util.find_spec(module) is None:
            return False, f"the Python package {package} is not installed (pip install {package})"
    pyside = importlib.metadata.version("PySide6-Essentials")
    if sys.version_info < (3, 12) and tuple(map(int, pyside.split(".")[:2])) >= (6, 12):
        # Its objects that live for ever do so only from Python 3.12 on: None loses a reference with every slot called.
        return False, "PySide6 6.12 crashes before Python 3.12 (pip install 'PySide6-Essentials<6.12')"
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE], env=os.environ.copy(), capture_output=True, text=True, timeout=120, check=False
    )
    if probe.returncode == 0:
        return True, ""
    reason = (probe.stderr.strip() or f"exit code {probe.returncode}").splitlines()[-1]
    return False, (
        "off-screen drawing does not work here; on Debian or Ubuntu install libegl1 libgl1 libgl1-mesa-dri "
        f"libxkbcommon0 libdbus-1-3 libfontconfig1 ({reason})"
    )
