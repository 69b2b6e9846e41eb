"""Base classes of scripted modules, ``slicer.ScriptedLoadableModule``, and ``slicer.i18n``."""

from __future__ import annotations

import importlib
import logging
import os
import types
import unittest
from typing import Any

import slicer

_DOCUMENTATION = '<p>For more information see the <a href="{url}">online documentation</a>.</p>'


class ScriptedLoadableModule:
    """What a module says about itself; ``parent`` holds it."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        parent.helpText = ""
        parent.acknowledgementText = ""
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        """A file of the module's Resources folder."""
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        """A link to the documentation, as HTML."""
        base = slicer.app.documentationBaseUrl
        return _DOCUMENTATION.format(
            url=base + docPage if docPage else slicer.app.moduleDocumentationUrl(self.moduleName)
        )

    def runTest(self, msec: int = 100, **kwargs: Any) -> None:
        """Run the module's own test, the class named after the module with "Test" behind."""
        module = importlib.import_module(type(self).__module__)
        test = getattr(module, self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """The module's panel; ``parent`` is the Qt widget it is built in and ``layout`` that widget's layout."""

    def __init__(self, parent: Any = None) -> None:
        import qt

        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        else:
            self.parent = parent
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        """A file of the module's Resources folder."""
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def cleanup(self) -> None:
        """Called before the module is unloaded."""

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def setupDeveloperSection(self) -> None:
        """Nothing: the host is never in developer mode."""

    def setup(self) -> None:
        """Called once to build the panel."""
        self.setupDeveloperSection()

    def onReload(self) -> None:
        """Load the source again and build the panel anew."""
        slicer.util.reloadScriptedModule(self.moduleName)

    def onTest(self, **kwargs: Any) -> None:
        """Run the module's own test."""
        slicer.selfTests[self.moduleName](msec=0, **kwargs)

    def onReloadAndTest(self, **kwargs: Any) -> None:
        """`onReload`, then `onTest`."""
        self.onReload()
        self.onTest(**kwargs)

    def onEditSource(self) -> None:
        """Nothing: there is no editor."""


class ScriptedLoadableModuleLogic:
    """The module's logic; keeps its parameters in a node of the scene."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The module's parameter node; made when there is none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                # Closing the scene resets a singleton and takes the attribute away.
                node.SetAttribute("ModuleName", self.moduleName)
                return node
        else:
            nodes = self.getAllParameterNodes()
            if nodes:
                return nodes[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list[Any]:
        """All parameter nodes of this module."""
        scene, kind = slicer.mrmlScene, "vtkMRMLScriptedModuleNode"
        nodes = (scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind)))
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        """A new parameter node, not yet in the scene."""
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The module's own test, run in the application."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Show a message."""
        logging.info(message)
        slicer.app.processEvents()

    def takeScreenshot(self, name: str, description: str, type: int = -1) -> None:
        """Nothing: see ``host.screenshot``."""

    def setUp(self) -> None:
        """Start with an empty scene."""
        slicer.mrmlScene.Clear(0)

    def tearDown(self) -> None:
        """Nothing to take down."""

    def runTest(self) -> None:
        """Run every method whose name begins with ``test_``."""
        for name in sorted(name for name in dir(self) if name.startswith("test_")):
            self.setUp()
            getattr(self, name)()
            self.tearDown()


def translate(context: str, text: str) -> str:
    """The text: the host has one language."""
    return text


def getContext(sourceFile: str) -> str:
    """The translation context of a source file."""
    return os.path.splitext(os.path.basename(sourceFile))[0]


def tr(text: str) -> str:
    """The text: the host has one language."""
    return text


def python_modules() -> dict[str, types.ModuleType]:
    """The Python modules of this file."""
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    classes = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    vars(base).update({cls.__name__: cls for cls in classes})
    base.__all__ = [cls.__name__ for cls in classes]
    i18n = types.ModuleType("slicer.i18n")
    vars(i18n).update(translate=translate, getContext=getContext, tr=tr)
    return {"slicer.ScriptedLoadableModule": base, "slicer.i18n": i18n}
