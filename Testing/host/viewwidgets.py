"""The widgets around the views: a slice view with its controller bar, a 3D view."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from host.mrmlwidgets import qMRMLWidget
from host.standin import Observers, StandIn
from host.views import VtkView, qMRMLSliceView, qMRMLThreeDView


class qMRMLSliceControllerWidget(qMRMLWidget):
    """The bar above a slice view: name, colour and offset of the slice."""

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic = logic
        self._label = QtWidgets.QLabel()
        self._label.setMargin(2)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._label)
        self._observers = Observers(self)
        self._observers.add(logic.GetSliceNode(), "ModifiedEvent", lambda *_: self._show_node())
        self._show_node()

    def _show_node(self) -> None:
        node = self.mrmlSliceNode()
        color = QtGui.QColor.fromRgbF(*node.GetLayoutColor())
        self._label.setText(
            f"{node.GetLayoutLabel() or ''}   {node.GetOrientation()}   {self._logic.GetSliceOffset():.1f} mm"
        )
        self._label.setStyleSheet(f"background: {color.name()}; color: black;")

    def sliceLogic(self) -> Any:
        """The slice logic."""
        return self._logic

    def mrmlSliceNode(self) -> Any:
        """The slice node."""
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        """The node that says which volumes are shown."""
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume."""
        self._logic.FitSliceToBackground()

    def setSliceOffsetValue(self, offset: float) -> None:
        """Move the slice along its normal, mm."""
        self._logic.SetSliceOffset(offset)

    def setSliceVisible(self, visible: bool) -> None:
        """Show the slice in the 3D views."""
        self.mrmlSliceNode().SetSliceVisible(visible)

    def setSliceLink(self, linked: bool) -> None:
        """Let the linked views follow this one."""
        self.mrmlSliceCompositeNode().SetLinkedControl(linked)

    def setForegroundOpacity(self, opacity: float) -> None:
        """Opacity of the foreground volume, 0 to 1."""
        self.mrmlSliceCompositeNode().SetForegroundOpacity(opacity)

    def setSliceOrientation(self, orientation: str) -> None:
        """Axial, Coronal, Sagittal or Reformat."""
        self.mrmlSliceNode().SetOrientation(orientation)

    def rotateSliceToLowestVolumeAxes(self) -> None:
        """Turn the slice to the nearest axes of the background volume."""
        self._logic.RotateSliceToLowestVolumeAxes(True)

    sliceOrientation = QtCore.Property(str, lambda self: self.mrmlSliceNode().GetOrientation(), setSliceOrientation)
    sliceViewName = QtCore.Property(str, lambda self: self.mrmlSliceNode().GetLayoutName())


class ViewWidget(StandIn, QtWidgets.QWidget):
    """A view and what surrounds it."""

    def __init__(self, view: VtkView, controller: QtWidgets.QWidget | None) -> None:
        super().__init__()
        self._view = view
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(1, 1, 1, 1)
        column.setSpacing(0)
        if controller is not None:
            column.addWidget(controller)
        column.addWidget(view, 1)

    def viewWidget(self) -> VtkView:
        """The view."""
        return self._view


class qMRMLSliceWidget(ViewWidget):
    """A slice view with its controller bar."""

    def __init__(self, node: Any) -> None:
        self._logic = slicer.vtkMRMLSliceLogic()
        application_logic = slicer.app.applicationLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        application_logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.SetSliceNode(node)
        self._controller = qMRMLSliceControllerWidget(self._logic)
        super().__init__(qMRMLSliceView(self._logic), self._controller)

    def sliceView(self) -> qMRMLSliceView:
        """The view."""
        return self._view

    def sliceController(self) -> qMRMLSliceControllerWidget:
        """The bar above the view."""
        return self._controller

    def sliceLogic(self) -> Any:
        """The slice logic."""
        return self._logic

    logic = sliceLogic

    def mrmlSliceNode(self) -> Any:
        """The slice node."""
        return self._logic.GetSliceNode()

    mrmlAbstractViewNode = mrmlSliceNode

    def mrmlSliceCompositeNode(self) -> Any:
        """The node that says which volumes are shown."""
        return self._logic.GetSliceCompositeNode()

    def interactorStyle(self) -> Any:
        """What turns the mouse into slice offset, zoom, window and level."""
        return self._view.sliceViewInteractorStyle()

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume."""
        self._logic.FitSliceToBackground()

    def setSliceOrientation(self, orientation: str) -> None:
        """Axial, Coronal, Sagittal or Reformat."""
        self.mrmlSliceNode().SetOrientation(orientation)

    sliceOrientation = QtCore.Property(str, lambda self: self.mrmlSliceNode().GetOrientation(), setSliceOrientation)
    sliceViewName = QtCore.Property(str, lambda self: self.mrmlSliceNode().GetLayoutName())


class qMRMLThreeDWidget(ViewWidget):
    """A 3D view. It has no view logic: slicer-core's cannot be given a view node that the layout has made."""

    def __init__(self, node: Any) -> None:
        self._node = node
        super().__init__(qMRMLThreeDView(node), None)

    def threeDView(self) -> qMRMLThreeDView:
        """The view."""
        return self._view

    def mrmlViewNode(self) -> Any:
        """The view node."""
        return self._node

    mrmlAbstractViewNode = mrmlViewNode
