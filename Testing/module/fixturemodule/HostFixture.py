"""A small scripted module, written as for Slicer, on which the tests try the test host."""

import enum
from typing import Annotated, Optional

import qt
import slicer
import vtk
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import (
    Choice,
    Default,
    Minimum,
    WithinRange,
    parameterNodeWrapper,
    parameterPack,
)
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class Method(enum.Enum):
    Rigid = 1
    Affine = 2


@parameterPack
class Point:
    x: Annotated[float, WithinRange(-10, 10)] = 1.0
    label: str = "origin"


@parameterPack
class Box:
    corner: Point
    size: Annotated[int, Minimum(0)] = 3


@parameterNodeWrapper
class HostFixtureParameters:
    mr: Optional[vtkMRMLScalarVolumeNode]  # noqa: UP045  Slicer's wrapper does not know X | None
    points: vtkMRMLMarkupsFiducialNode
    opacity: Annotated[float, WithinRange(0, 1)] = 0.5
    count: Annotated[int, WithinRange(1, 500)] = 50
    method: Method = Method.Affine
    device: Annotated[str, Choice(["auto", "cpu"]), Default("auto")]
    locked: bool = False
    note: str = ""
    names: list[str]
    shifts: dict[str, float]
    box: Box


class HostFixture(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Host fixture")
        self.parent.categories = ["Testing"]
        slicer.app.connect("startupCompleted()", self.onStartup)
        self.startups = 0

    def onStartup(self):
        self.startups += 1


class HostFixtureWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.calls = []
        self._parameters = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.ui = type("Ui", (), {})()
        for name in ("Inputs", "Settings"):
            top = slicer.util.loadUI(self.resourcePath(f"UI/{name}.ui"))
            top.setMRMLScene(slicer.mrmlScene)
            self.layout.addWidget(top)
            vars(self.ui).update(vars(slicer.util.childWidgetVariables(top)))
        self.logic = HostFixtureLogic()
        self.ui.runButton.connect("clicked(bool)", self.onRun)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.setParameters(self.logic.getParameterNode())

    def enter(self):
        self.calls.append("enter")

    def exit(self):
        self.calls.append("exit")

    def cleanup(self):
        self.calls.append("cleanup")
        self.setParameters(None)
        self.removeObservers()

    def onSceneStartClose(self, caller, event):
        self.setParameters(None)

    def onSceneEndClose(self, caller, event):
        if not slicer.mrmlScene.IsImporting():
            self.setParameters(self.logic.getParameterNode())

    def setParameters(self, parameters):
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.onParameters)
        self._parameters = parameters
        if parameters is not None:
            self._guiTag = parameters.connectGui(self.ui)
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self.onParameters)
            self.onParameters()

    def onParameters(self, caller=None, event=None):
        self.ui.runButton.setEnabled(self._parameters.mr is not None)
        self.ui.placeWidget.setCurrentNode(self._parameters.points)

    def onRun(self):
        with slicer.util.tryWithErrorDisplay(_("Run failed."), waitCursor=True):
            if self._parameters.note == "fail":
                raise ValueError("on purpose")
            qt.QTimer.singleShot(0, self.onDone)

    def onDone(self):
        self.ui.statusLabel.setText(_("done"))


class HostFixtureLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return HostFixtureParameters(super().getParameterNode())


class HostFixtureTest(ScriptedLoadableModuleTest):
    def test_scene_is_empty(self):
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
