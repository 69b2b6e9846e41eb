"""Modules: those of the core, and what the application does with a scripted one."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from host.application import start
from host.events import process_events
from host.mrmlwidgets import qSlicerWidget
from host.standin import StandIn, option


class qSlicerAbstractCoreModule(StandIn, QtCore.QObject):
    """What ``slicer.modules.<name>`` is."""

    def __init__(self, name: str, path: str = "") -> None:
        super().__init__()
        self.setObjectName(name)
        self._name = name
        self.path = path

    def logic(self) -> Any:
        """The module's logic, or None."""
        return None

    def widgetRepresentation(self) -> Any:
        """The module's panel, or None."""
        return None

    name = QtCore.Property(str, lambda self: self._name)
    path = option(str, "")
    title = option(str, "")
    categories = option("QStringList", [])
    dependencies = option("QStringList", [])
    contributors = option("QStringList", [])
    associatedNodeTypes = option("QStringList", [])
    helpText = option(str, "")
    acknowledgementText = option(str, "")
    hidden = option(bool, False)
    index = option(int, -1)
    widgetRepresentationCreationEnabled = option(bool, True)


class CoreModule(qSlicerAbstractCoreModule):
    """A module of the core that has a logic in slicer-core."""

    def __init__(self, name: str, logic: Any) -> None:
        super().__init__(name)
        self._logic = logic

    def logic(self) -> Any:
        """The module's logic."""
        return self._logic


class qSlicerScriptedLoadableModule(qSlicerAbstractCoreModule):
    """A scripted module."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name, path)
        self._source: Any = None
        self._panel: Any = None

    def widgetRepresentation(self) -> Any:
        """The Qt widget that holds the panel; made at the first call."""
        if self._panel is None and hasattr(self._source, self.name + "Widget"):
            self._panel = qSlicerScriptedLoadableModuleWidget(self)
            self._panel._build(self._source)
        return self._panel

    icon = option(QtGui.QIcon, QtGui.QIcon())


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """The Qt widget that holds the panel of a scripted module."""

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module = module
        self._python: Any = None

    def _build(self, source: types.ModuleType) -> None:
        name = self._module.name
        QtWidgets.QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)
        self._python = getattr(source, name + "Widget")(self)
        setattr(slicer.modules, name + "Widget", self._python)
        self._python.setup()

    def self(self) -> Any:
        """The Python object that made the panel."""
        return self._python

    def enter(self) -> None:
        """The user comes to this module."""
        self._call("enter")

    def exit(self) -> None:
        """The user leaves this module."""
        self._call("exit")

    def reload(self) -> None:
        """Build the panel anew from the source that is loaded now."""
        QtWidgets.QWidget().setLayout(self.layout())  # a widget's layout can be replaced only after it was given away
        self._build(sys.modules[self._module.name])

    def _call(self, method: str) -> None:
        function = getattr(self._python, method, None)
        if function is not None:
            function()


def load_module(path: str | Path) -> tuple[types.ModuleType, Any]:
    """Load a scripted module as the application does at its start, and open its panel.

    Imports the file, makes the module's object and tells it that the start-up is complete, builds the panel in a Qt
    widget, calls ``setup()`` and ``enter()``. Returns the Python module and the panel's Python object.
    """
    app = start()
    path = Path(path).resolve()
    name = path.stem
    if app.moduleManager().module(name) is not None:
        unload_module(name)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    source = importlib.util.module_from_spec(spec)
    sys.modules[name] = source
    spec.loader.exec_module(source)
    module = qSlicerScriptedLoadableModule(name, os.fspath(path))
    setattr(slicer.modules, name + "Instance", getattr(source, name)(module))
    module._source = source
    app.moduleManager()._add(module)
    app.moduleManager().moduleLoaded.emit(name)
    # Those who wait for the start-up hear of it once.
    app.startupCompleted.emit()
    if app.receivers(QtCore.SIGNAL("startupCompleted()")):
        app.startupCompleted.disconnect()
    panel = module.widgetRepresentation()
    panel.setWindowTitle(module.title)
    panel.resize(460, 900)
    panel.show()
    process_events()
    panel.enter()
    return source, panel.self()


def unload_module(name: str) -> None:
    """Leave a module's panel, let the module clean up and forget it. Nothing happens when it is not loaded."""
    app = slicer.app
    module = app.moduleManager().module(name)
    if module is None:
        return
    panel = module._panel
    if panel is not None:
        panel.exit()
    app.moduleManager().moduleAboutToBeUnloaded.emit(name)
    app.moduleManager()._remove(name)
    for attribute in (name + "Widget", name + "Instance"):
        if hasattr(slicer.modules, attribute):
            delattr(slicer.modules, attribute)
    sys.modules.pop(name, None)
    if panel is not None:
        panel.hide()
        panel._python = None
        panel.deleteLater()
    process_events()


def unload_all() -> None:
    """Unload every scripted module."""
    manager = slicer.app.moduleManager()
    for name in manager.modulesNames():
        if isinstance(manager.module(name), qSlicerScriptedLoadableModule):
            unload_module(name)
