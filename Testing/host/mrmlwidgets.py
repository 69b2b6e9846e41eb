"""Stand-ins of Slicer's widgets that hold a MRML scene, the node selector apart."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from host.ctkwidgets import ctkDoubleSpinBox, ctkSliderWidget
from host.standin import Observers, StandIn, option


class SceneHolder:
    """``mrmlScene`` and ``setMRMLScene`` of a widget."""

    _scene: Any = None

    def mrmlScene(self) -> Any:
        """The scene, or None."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene."""
        self._scene = scene


class qMRMLWidget(StandIn, SceneHolder, QtWidgets.QWidget):
    """A widget that hands its scene on to the widgets connected to it."""

    cxx_signals = ("mrmlSceneChanged(vtkMRMLScene*)",)
    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)

    def setMRMLScene(self, newScene: Any) -> None:
        """Set the scene and tell the others."""
        if newScene is not self._scene:
            self._scene = newScene
            self.mrmlSceneChanged.emit(newScene)


class qSlicerWidget(qMRMLWidget):
    """The same under the name that the modules' own widgets derive from."""


class qMRMLSliderWidget(SceneHolder, ctkSliderWidget):
    """A slider for a number with a unit."""

    def setQuantity(self, baseName: str) -> None:
        """What the number measures, such as "length"."""
        self.quantity = baseName

    quantity = option(str, "")


class qMRMLSpinBox(SceneHolder, ctkDoubleSpinBox):
    """A spin box for a number with a unit."""

    def setQuantity(self, baseName: str) -> None:
        """What the number measures, such as "length"."""
        self.quantity = baseName

    quantity = option(str, "")


class qSlicerMarkupsPlaceWidget(qSlicerWidget):
    """Buttons to place control points of one markups node and to delete them."""

    cxx_signals = (
        "activeMarkupsPlaceModeChanged(bool)",
        "activeMarkupsFiducialPlaceModeChanged(bool)",
    )
    activeMarkupsPlaceModeChanged = QtCore.Signal(bool)
    activeMarkupsFiducialPlaceModeChanged = QtCore.Signal(bool)
    (
        ShowPlaceMultipleMarkupsOption,
        HidePlaceMultipleMarkupsOption,
        ForcePlaceSingleMarkup,
        ForcePlaceMultipleMarkups,
    ) = range(4)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._place = QtWidgets.QToolButton()
        self._place.setText("Place")
        self._place.setCheckable(True)
        self._delete = QtWidgets.QToolButton()
        self._delete.setText("Delete")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._place)
        row.addWidget(self._delete)
        self._node: Any = None
        self._was_active = False
        self._observers = Observers(self)
        self._place.clicked.connect(lambda: self.setPlaceModeEnabled(self._place.checked))
        self._delete.clicked.connect(lambda: self.deleteLastPoint())
        self._update()

    def placeButton(self) -> QtWidgets.QToolButton:
        """The button that turns placing on and off."""
        return self._place

    def deleteButton(self) -> QtWidgets.QToolButton:
        """The button that deletes the last point."""
        return self._delete

    def setMRMLScene(self, scene: Any) -> None:
        """Follow the interaction and selection nodes of a scene."""
        self._observers.clear()
        super().setMRMLScene(scene)
        if scene is not None:
            for node in (self.interactionNode(), self.selectionNode()):
                self._observers.add(node, "ModifiedEvent", lambda *_: self._update())
        self._update()

    def interactionNode(self) -> Any:
        """The node that says what the mouse does."""
        return slicer.app.applicationLogic().GetInteractionNode()

    def selectionNode(self) -> Any:
        """The node that says which markups are placed."""
        return slicer.app.applicationLogic().GetSelectionNode()

    def currentNode(self) -> Any:
        """The markups node that points are placed in."""
        return self._node

    currentMarkupsNode = currentNode
    currentMarkupsFiducialNode = currentNode

    def setCurrentNode(self, currentNode: Any) -> None:
        """Choose the markups node; placing in another one ends."""
        if currentNode is self._node:
            return
        if self.placeModeEnabled:
            self.setPlaceModeEnabled(False)
        self._node = currentNode
        self._update()

    def setCurrentNodeActive(self, active: bool) -> None:
        """Make the node the one that placing would go to."""
        if active and self._node is not None:
            self.selectionNode().SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            self.selectionNode().SetActivePlaceNodeID(self._node.GetID())

    def setPlaceModeEnabled(self, enable: bool) -> None:
        """Start or end placing."""
        interaction = self.interactionNode()
        if enable and self._node is not None:
            self.setCurrentNodeActive(True)
            interaction.SetPlaceModePersistence(self.placeMultipleMarkups == self.ForcePlaceMultipleMarkups)
            interaction.SetCurrentInteractionMode(interaction.Place)
        elif self.placeModeEnabled:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        self._update()

    def setPlaceMultipleMarkups(self, option: int) -> None:
        """One of the four values above."""
        self.placeMultipleMarkups = option

    def setPlaceModePersistency(self, persistent: bool) -> None:
        """Go on placing after a point was placed."""
        self.interactionNode().SetPlaceModePersistence(persistent)

    def setButtonsVisible(self, visible: bool) -> None:
        """Show or hide the buttons."""
        self.buttonsVisible = visible

    def deleteLastPoint(self) -> None:
        """Delete the point placed last."""
        if self._node is not None and self._node.GetNumberOfControlPoints():
            self._node.RemoveNthControlPoint(self._node.GetNumberOfControlPoints() - 1)

    def deleteAllPoints(self) -> None:
        """Delete all points."""
        if self._node is not None:
            self._node.RemoveAllControlPoints()

    def _is_current_active(self) -> bool:
        return self._node is not None and self.selectionNode().GetActivePlaceNodeID() == self._node.GetID()

    def _is_placing(self) -> bool:
        mode = self.interactionNode()
        return self._is_current_active() and mode.GetCurrentInteractionMode() == mode.Place

    def _update(self) -> None:
        for button in (self._place, self._delete):
            button.setEnabled(self._node is not None)
            button.setVisible(self.buttonsVisible)
        active = self._is_placing()
        self._place.setChecked(active)
        if active != self._was_active:
            self._was_active = active
            self.activeMarkupsPlaceModeChanged.emit(active)
            self.activeMarkupsFiducialPlaceModeChanged.emit(active)

    currentNodeActive = QtCore.Property(bool, _is_current_active, setCurrentNodeActive)
    placeModeEnabled = QtCore.Property(bool, _is_placing, setPlaceModeEnabled)
    placeModePersistency = QtCore.Property(
        bool, lambda self: bool(self.interactionNode().GetPlaceModePersistence()), setPlaceModePersistency
    )
    placeMultipleMarkups = option(int, ShowPlaceMultipleMarkupsOption)
    buttonsVisible = option(bool, True, changed="_update")
    deleteAllControlPointsOptionVisible = option(bool, True)
    unsetLastControlPointOptionVisible = option(bool, True)
    unsetAllControlPointsOptionVisible = option(bool, True)
    nodeColor = option(QtGui.QColor, QtGui.QColor())
    defaultNodeColor = option(QtGui.QColor, QtGui.QColor())


def classes() -> dict[str, type]:
    """Every stand-in of this file by name."""
    names = ("qMRMLWidget", "qSlicerWidget", "qMRMLSliderWidget", "qMRMLSpinBox", "qSlicerMarkupsPlaceWidget")
    return {name: globals()[name] for name in names}
