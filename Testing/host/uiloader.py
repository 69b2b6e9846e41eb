"""``qt.QUiLoader``: makes the stand-ins by class name and the connections that name C++ signatures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from host.pythonqt import connect, loading

widget_classes: dict[str, type[QtWidgets.QWidget]] = {}
"""Class name in a ``.ui`` file → stand-in."""


class QUiLoader(QtUiTools.QUiLoader):
    """Qt's loader, with Slicer's and CTK's widget classes."""

    def createWidget(self, className: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> Any:
        """A new widget. Raises RuntimeError for a class that neither Qt nor the host has."""
        if className in widget_classes:
            widget = widget_classes[className](parent)
            widget.setObjectName(name)
            return widget
        if className != "Line" and not hasattr(QtWidgets, className):
            raise RuntimeError(f"The .ui file names the widget class {className}, which the test host does not have")
        return super().createWidget(className, parent, name)

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        """The top widget of a ``.ui`` file.

        Connections are made here, not by Qt, since the stand-ins' signals have other C++ signatures than the real
        ones.
        """
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        loading.update(element.get("name", "") for element in root.iter("widget"))
        try:
            widget = super().load(buffer, parent)
        finally:
            loading.clear()
        for connection in connections if connections is not None else ():
            _connect(widget, *(connection.findtext(part, "") for part in ("sender", "signal", "receiver", "slot")))
        return widget


def _connect(top: QtWidgets.QWidget, sender: str, signal: str, receiver: str, slot: str) -> None:
    connect(_named(top, sender), signal, _named(top, receiver), slot)


def _named(top: QtWidgets.QWidget, name: str) -> QtCore.QObject:
    found = top if top.objectName == name else top.findChild(QtCore.QObject, name)
    if found is None:
        raise RuntimeError(f"The .ui file connects {name!r}, which it does not contain")
    return found
