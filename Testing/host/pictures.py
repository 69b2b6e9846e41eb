"""Pictures of the panel beside the views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui

from host.events import process_events
from host.views import drawing


def screenshot(
    widget: Any, path: str | Path, panel_width: int = 460, height: int = 900, views_width: int = 1000
) -> Path:
    """Write a picture of a module's panel beside the views, as the application lays them out.

    ``widget`` is what `load_module` returned. A panel that needs more than ``height`` pixels is shown in full and
    makes the picture higher.
    """
    panel = widget.parent
    panel.layout().activate()
    # Wrapped texts need the more height the narrower they are, which the size hint does not know.
    wrapped = panel.layout().totalHeightForWidth(panel_width)
    panel.resize(panel_width, max(height, panel.sizeHint.height(), panel.minimumSizeHint.height(), wrapped))
    window = slicer.app.mainWindow()
    viewport = window.centralWidget()
    window.resize(views_width, panel.height + window.height - viewport.height)
    process_events(0.05)
    picture = QtGui.QImage(panel.width + views_width, panel.height, QtGui.QImage.Format.Format_RGB888)
    picture.fill(QtCore.Qt.GlobalColor.black)
    painter = QtGui.QPainter(picture)
    painter.drawPixmap(QtCore.QPoint(0, 0), panel.grab())
    with drawing():
        painter.drawPixmap(QtCore.QPoint(panel.width, 0), viewport.grab())
    painter.end()
    path = Path(path)
    if not picture.save(str(path)):
        raise OSError(f"The picture cannot be written: {path}")
    return path
