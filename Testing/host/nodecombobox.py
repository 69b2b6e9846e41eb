"""Stand-in of ``qMRMLNodeComboBox``: the selector of a node of the scene."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtCore, QtWidgets

from host.mrmlwidgets import SceneHolder
from host.standin import Observers, StandIn, option


class qMRMLNodeComboBox(StandIn, SceneHolder, QtWidgets.QWidget):
    """Offers the nodes of some classes and keeps one selected.

    As in Slicer: while ``noneEnabled`` is off the first node is selected by itself; a node that is not in the scene
    yet can be asked for and is selected when it comes; nothing changes while the scene is being loaded or closed.
    """

    cxx_signals = (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
        "currentNodeIDChanged(QString)",
        "nodeActivated(vtkMRMLNode*)",
        "nodeAdded(vtkMRMLNode*)",
        "nodeAddedByUser(vtkMRMLNode*)",
        "nodeAboutToBeRemoved(vtkMRMLNode*)",
    )
    currentNodeChanged = QtCore.Signal(object)
    _currentNodeChanged_bool = QtCore.Signal(bool)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeActivated = QtCore.Signal(object)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    nodeAboutToBeRemoved = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QComboBox()
        self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._ids: list[str] = []
        self._current = ""
        self._requested = ""  # ID of a node that was asked for before it came
        self._attributes: dict[tuple[str, str], str | None] = {}
        self._of_scene = Observers(self)
        self._of_nodes = Observers(self)
        self._box.activated.connect(self._activated)

    # --- the scene ---

    def setMRMLScene(self, scene: Any) -> None:
        """Offer the nodes of a scene."""
        if scene is self._scene:
            return
        self._of_scene.clear()
        super().setMRMLScene(scene)
        if scene is not None:
            for event, callback in (
                (scene.NodeAddedEvent, self._on_added),
                (scene.NodeAboutToBeRemovedEvent, self._on_removing),
                (scene.NodeRemovedEvent, lambda *_: self._refresh()),
                (scene.EndBatchProcessEvent, lambda *_: self._refresh()),
            ):
                self._of_scene.add(scene, event, callback)
        self._refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_added(self, _scene: Any, _event: str, node: Any) -> None:
        if self._offers(node):
            self._refresh()
            self.nodeAdded.emit(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removing(self, _scene: Any, _event: str, node: Any) -> None:
        if node is not None and node.GetID() in self._ids:
            self.nodeAboutToBeRemoved.emit(node)

    def _offers(self, node: Any) -> bool:
        if node is None or (node.GetHideFromEditors() and not self.showHidden):
            return False
        name = node.GetClassName()
        if name in self.hideChildNodeTypes:
            return False
        if not any(name == wanted or (self.showChildNodeTypes and node.IsA(wanted)) for wanted in self.nodeTypes):
            return False
        return all(
            node.GetAttribute(attribute) is not None and value in (None, node.GetAttribute(attribute))
            for (class_name, attribute), value in self._attributes.items()
            if node.IsA(class_name)
        )

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        every = (self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes()))
        return [node for node in every if self._offers(node)]

    def _refresh(self) -> None:
        """List the nodes anew and see to it that the selection is one of them."""
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = self._nodes()
        ids = [""] * self.noneEnabled + [node.GetID() for node in nodes]
        texts = [self.noneDisplay] * self.noneEnabled + [node.GetName() or "" for node in nodes]
        if ids != self._ids or texts != [self._box.itemText(i) for i in range(self._box.count)]:
            self._ids = ids
            blocked = self._box.blockSignals(True)
            self._box.clear()
            self._box.addItems(texts)
            self._box.blockSignals(blocked)
            self._observe(nodes)
        self._select(self._wanted())

    def _wanted(self) -> str:
        if self._requested and self._requested in self._ids:
            return self._requested
        if self._current in self._ids:
            return self._current
        return "" if self.noneEnabled or not self._ids else self._ids[0]

    def _observe(self, nodes: list[Any]) -> None:
        self._of_nodes.clear()
        for node in nodes:
            self._of_nodes.add(node, "ModifiedEvent", lambda *_: self._refresh())

    def _select(self, node_id: str) -> None:
        blocked = self._box.blockSignals(True)
        self._box.setCurrentIndex(self._ids.index(node_id) if node_id in self._ids else -1)
        self._box.blockSignals(blocked)
        if node_id and node_id == self._requested:
            self._requested = ""
        if node_id != self._current:
            self._current = node_id
            node = self.currentNode()
            self.currentNodeChanged.emit(node)
            self._currentNodeChanged_bool.emit(node is not None)
            self.currentNodeIDChanged.emit(node_id)

    def _activated(self, index: int) -> None:
        self._requested = ""
        self._select(self._ids[index])
        self.nodeActivated.emit(self.currentNode())

    # --- the selection ---

    def currentNode(self) -> Any:
        """The selected node, or None."""
        return self._scene.GetNodeByID(self._current) if self._scene is not None and self._current else None

    def setCurrentNode(self, node: Any) -> None:
        """Select a node, or by its ID; None selects none."""
        self.setCurrentNodeID(node if isinstance(node, str) else node.GetID() if node is not None else "")

    def setCurrentNodeID(self, nodeID: str | None) -> None:
        """Select a node by its ID; "" selects none."""
        node_id = nodeID or ""
        self._requested = node_id
        if node_id in self._ids or not node_id:
            self._select(node_id)

    def setCurrentNodeIndex(self, index: int) -> None:
        """Select by the position in the list."""
        self.setCurrentNode(self.nodeFromIndex(index))

    def nodeCount(self) -> int:
        """How many nodes are offered, "none" not counted."""
        return len(self._ids) - self.noneEnabled

    def nodeFromIndex(self, index: int) -> Any:
        """A node by its position in the list, or None."""
        nodes = self._ids[int(self.noneEnabled) :]
        return self._scene.GetNodeByID(nodes[index]) if 0 <= index < len(nodes) else None

    # --- what is offered ---

    def addAttribute(self, nodeType: str, attributeName: str, attributeValue: Any = None) -> None:
        """Offer only nodes with an attribute, and with that value if one is given."""
        self._attributes[nodeType, attributeName] = None if attributeValue is None else str(attributeValue)
        self._refresh()

    def removeAttribute(self, nodeType: str, attributeName: str) -> None:
        """Undo `addAttribute`."""
        self._attributes.pop((nodeType, attributeName), None)
        self._refresh()

    def addNode(self, nodeType: str = "") -> Any:
        """Add a node as the user does with "Create new" and select it."""
        class_name = nodeType or self.nodeTypes[0]
        base = self.baseName or self._scene.GetTagByClassName(class_name) or class_name
        node = self._scene.CreateNodeByClass(class_name)
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(base))
        for (owner, attribute), value in self._attributes.items():
            if node.IsA(owner):
                node.SetAttribute(attribute, value or "")
        node = self._scene.AddNode(node)
        self._refresh()
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        """Remove the selected node from the scene."""
        if self.currentNode() is not None:
            self._scene.RemoveNode(self.currentNode())

    currentNodeID = QtCore.Property(str, lambda self: self._current, setCurrentNodeID)
    nodeTypes = option("QStringList", [], changed="_refresh")
    showHidden = option(bool, False, changed="_refresh")
    showChildNodeTypes = option(bool, True, changed="_refresh")
    hideChildNodeTypes = option("QStringList", [], changed="_refresh")
    noneEnabled = option(bool, False, changed="_refresh")
    noneDisplay = option(str, "None", changed="_refresh")
    baseName = option(str, "")
    addEnabled = option(bool, True)
    removeEnabled = option(bool, True)
    editEnabled = option(bool, False)
    renameEnabled = option(bool, False)
    selectNodeUponCreation = option(bool, True)
    interactionNodeSingletonTag = option(str, "Singleton")
