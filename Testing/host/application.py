"""The application: ``slicer.app``, ``slicer.modules``, ``slicer.mrmlScene`` and how they start and stop."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import types
from typing import Any

import slicer
import slicer.util
from PySide6 import QtCore, QtWidgets

from host import errors, pythonqt
from host.standin import StandIn, option

_running: list[Any] = []


class qSlicerModuleFactoryManager(StandIn, QtCore.QObject):
    """Knows which modules are loaded."""

    def loadedModuleNames(self) -> tuple[str, ...]:
        """Names of the loaded modules."""
        return slicer.app.moduleManager().modulesNames()


class qSlicerModuleManager(StandIn, QtCore.QObject):
    """``slicer.app.moduleManager()``."""

    cxx_signals = (
        "moduleLoaded(QString)",
        "moduleAboutToBeUnloaded(QString)",
    )
    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._factory_manager = qSlicerModuleFactoryManager()
        self._modules: dict[str, Any] = {}

    def factoryManager(self) -> qSlicerModuleFactoryManager:
        """Knows which modules are loaded."""
        return self._factory_manager

    def modulesNames(self) -> tuple[str, ...]:
        """Names of all modules."""
        return tuple(self._modules)

    def module(self, name: str) -> Any:
        """A module by its name, or None."""
        return self._modules.get(name)

    def _add(self, module: Any) -> None:
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        setattr(slicer.moduleNames, module.name, module.name)

    def _remove(self, name: str) -> None:
        del self._modules[name]
        delattr(slicer.modules, name.lower())
        delattr(slicer.moduleNames, name)


class qSlicerApplication(StandIn, QtWidgets.QApplication):
    """``slicer.app``."""

    cxx_signals = (
        "startupCompleted()",
        "mrmlSceneChanged(vtkMRMLScene*)",
    )
    startupCompleted = QtCore.Signal()
    mrmlSceneChanged = QtCore.Signal(object)
    AA_DisablePython, AA_EnableTesting = 1, 2

    def __init__(self, home: str) -> None:
        super().__init__([])
        self.setApplicationName("Slicer")
        self.setOrganizationName("TestHost")
        self.setStyle("Fusion")
        self.slicerHome = home
        self.temporaryPath = os.path.join(home, "tmp")
        self.cachePath = os.path.join(home, "cache")
        self._testing = False
        self._module_manager = qSlicerModuleManager()
        self._layout_manager: Any = None
        self._io_manager: Any = None
        self._main_window: Any = None
        self._scene_and_logics: Any = None

    def _build(self) -> None:
        """Make what needs ``slicer.app`` to exist: scene, logics, IO, main window and views."""
        from host.io import qSlicerCoreIOManager
        from host.layout import qSlicerLayoutManager
        from host.modules import CoreModule
        from host.scene import SceneAndLogics

        self._scene_and_logics = SceneAndLogics(self.cachePath, self.temporaryPath)
        slicer.mrmlScene = self._scene_and_logics.scene
        self._io_manager = qSlicerCoreIOManager(self._scene_and_logics.module_logics)
        for name, logic in self._scene_and_logics.module_logics.items():
            self._module_manager._add(CoreModule(name, logic))
        # slicer.util.mainWindow() finds it under this name. Laid out and visible to Qt, but nowhere on a screen.
        self._main_window = QtWidgets.QMainWindow()
        self._main_window.setObjectName("qSlicerMainWindow")
        viewport = QtWidgets.QWidget()
        self._main_window.setCentralWidget(viewport)
        self._main_window.statusBar()
        self._layout_manager = qSlicerLayoutManager(self.applicationLogic(), viewport)
        self._main_window.setAttribute(QtCore.Qt.WidgetAttribute.WA_DontShowOnScreen)
        self._main_window.resize(1000, 900)
        self._main_window.show()

    def mrmlScene(self) -> Any:
        """The scene."""
        return slicer.mrmlScene

    def applicationLogic(self) -> Any:
        """The logic that holds selection, interaction and the slice logics."""
        return self._scene_and_logics.application_logic

    def moduleLogic(self, moduleName: str) -> Any:
        """The logic of a core module, or None."""
        return self._scene_and_logics.module_logics.get(moduleName)

    def moduleManager(self) -> qSlicerModuleManager:
        """The modules."""
        return self._module_manager

    def layoutManager(self) -> Any:
        """The views."""
        return self._layout_manager

    def coreIOManager(self) -> Any:
        """Loads and saves."""
        return self._io_manager

    ioManager = coreIOManager

    def mainWindow(self) -> Any:
        """The main window, which holds the views."""
        return self._main_window

    def testingEnabled(self) -> bool:
        """Whether ``AA_EnableTesting`` is set. Off at first, so that a module runs as it does for a user."""
        return self._testing

    def setAttribute(self, attribute: int, on: bool = True) -> None:
        """Set an attribute of the application."""
        self._testing = on if attribute == self.AA_EnableTesting else self._testing

    def testAttribute(self, attribute: int) -> bool:
        """An attribute of the application."""
        return self._testing if attribute == self.AA_EnableTesting else False

    def settings(self) -> QtCore.QSettings:
        """The user's settings, in the host's temporary folder."""
        return QtCore.QSettings()

    userSettings = settings
    revisionUserSettings = settings

    def moduleDocumentationUrl(self, moduleName: str) -> str:
        """Where a module's documentation is."""
        return f"{self.documentationBaseUrl}user_guide/modules/{moduleName.lower()}.html"

    def pauseRender(self) -> None:
        """Nothing to pause: views are drawn when a picture is taken."""

    def resumeRender(self) -> None:
        """See `pauseRender`."""

    def setRenderPaused(self, pause: bool) -> None:
        """See `pauseRender`."""

    def restart(self) -> None:
        """A test must not end itself."""
        raise RuntimeError("The module asked for a restart of the application.")

    slicerHome = option(str, "")
    temporaryPath = option(str, "")
    cachePath = option(str, "")
    majorVersion = option(int, 5)
    minorVersion = option(int, 12)
    documentationBaseUrl = option(str, "https://slicer.readthedocs.io/en/latest/")


def start() -> qSlicerApplication:
    """Start the host once; later calls return the same application."""
    if _running:
        return _running[0]
    home = tempfile.mkdtemp(prefix="slicer-test-host-")
    for folder in ("tmp", "cache"):
        os.mkdir(os.path.join(home, folder))
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, home)
    pythonqt.install()
    errors.install()
    _install_modules()
    app = qSlicerApplication(home)
    slicer.app = app
    slicer.modules = types.SimpleNamespace(sampleDataSources={})
    slicer.moduleNames = types.SimpleNamespace()
    app._build()
    _running.append(app)
    atexit.register(stop)
    return app


def _install_modules() -> None:
    """Make the Python modules that the application brings importable."""
    from host import ctkwidgets, installer, messageboxes, mrmlwidgets, parameternode, sampledata, scripted, uiloader
    from host.nodecombobox import qMRMLNodeComboBox

    qt = pythonqt.qt_module()
    qt.QUiLoader = uiloader.QUiLoader
    sys.modules.update({"qt": qt, "ctk": ctkwidgets.ctk_module(), "SampleData": sampledata.sample_data_module()})
    messageboxes.install()
    widgets = {**mrmlwidgets.classes(), "qMRMLNodeComboBox": qMRMLNodeComboBox}
    uiloader.widget_classes.update(ctkwidgets.classes())
    uiloader.widget_classes.update(widgets)
    vars(slicer).update(widgets)
    slicer.qSlicerApplication = slicer.qSlicerCoreApplication = qSlicerApplication
    for name, module in {
        **scripted.python_modules(),
        **installer.python_modules(),
        **parameternode.python_modules(),
    }.items():
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if not hasattr(sys.modules[parent], child):  # parameterPack is a module and, in the package, a function
            setattr(sys.modules[parent], child, module)


def stop() -> None:
    """Unload the modules, close the views, clear the scene and remove the temporary folder."""
    if not _running:
        return
    from host.modules import unload_all

    app = _running.pop()
    unload_all()
    app._layout_manager._close()
    slicer.mrmlScene.Clear(1)
    shutil.rmtree(app.slicerHome, ignore_errors=True)
