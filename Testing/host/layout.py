"""Stand-in of the layout manager: arranges views as the scene's layout node describes, custom layouts included."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from host.standin import Observers, StandIn
from host.viewwidgets import qMRMLSliceWidget, qMRMLThreeDWidget

_WIDGETS = {"vtkMRMLSliceNode": qMRMLSliceWidget, "vtkMRMLViewNode": qMRMLThreeDWidget}


class qSlicerLayoutManager(StandIn, QtCore.QObject):
    """Makes a widget for each slice and 3D view node of the current layout and keeps it when the layout changes.

    Plot and table views are left out: a layout that names them shows the other views only.
    """

    cxx_signals = ("layoutChanged(int)",)
    layoutChanged = QtCore.Signal(int)

    def __init__(self, application_logic: Any, viewport: QtWidgets.QWidget) -> None:
        super().__init__()
        self._viewport = viewport
        QtWidgets.QVBoxLayout(viewport).setContentsMargins(0, 0, 0, 0)
        self._views: dict[str, Any] = {}
        self._frame: QtWidgets.QWidget | None = None
        self._shown = ""
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._node = self._logic.GetLayoutNode()
        self._observers = Observers(self)
        self._observers.add(self._node, "ModifiedEvent", lambda *_: self._update())
        self.setLayout(self._node.SlicerLayoutFourUpView)
        self._update()

    # --- arranging ---

    def layoutLogic(self) -> Any:
        """The layout logic, which makes the view nodes."""
        return self._logic

    def setLayout(self, newLayout: int) -> None:
        """Arrange the views in another of the layout node's layouts."""
        self._node.SetViewArrangement(newLayout)

    def _update(self) -> None:
        description = self._node.GetCurrentLayoutDescription() or ""
        if description == self._shown or not description:
            return
        self._shown = description
        for view in self._views.values():
            view.setParent(None)
            view.mrmlAbstractViewNode().SetMappedInLayout(0)
        if self._frame is not None:
            self._frame.deleteLater()
        self._frame = self._arranged(ElementTree.fromstring(description))
        self._viewport.layout().addWidget(self._frame)
        self._frame.show()
        self.layoutChanged.emit(self.layout)

    def _arranged(self, element: ElementTree.Element) -> QtWidgets.QWidget:
        """The widget of a ``<layout>``, ``<item>`` or ``<view>`` element."""
        if element.tag == "view":
            return self._view(element)
        if element.tag == "item":
            return self._arranged(element[0])
        if element.get("type") == "tab":
            tabs = QtWidgets.QTabWidget()
            for item in element:
                tabs.addTab(self._arranged(item), item.get("name", ""))
            return tabs
        splitter = QtWidgets.QSplitter()
        vertical = element.get("type", "vertical") == "vertical"
        splitter.setOrientation(QtCore.Qt.Orientation.Vertical if vertical else QtCore.Qt.Orientation.Horizontal)
        for index, item in enumerate(element):
            splitter.addWidget(self._arranged(item))
            splitter.setStretchFactor(index, 1)
        splitter.setSizes([1000] * len(element))
        return splitter

    def _view(self, element: ElementTree.Element) -> QtWidgets.QWidget:
        kind, tag = element.get("class", ""), element.get("singletontag", "")
        node = slicer.mrmlScene.GetSingletonNode(tag, kind)
        if kind not in _WIDGETS or node is None:
            return QtWidgets.QWidget()
        if node.GetID() not in self._views:
            self._views[node.GetID()] = _WIDGETS[kind](node)
        view = self._views[node.GetID()]
        node.SetMappedInLayout(1)
        view.setVisible(True)
        return view

    # --- finding ---

    def mrmlScene(self) -> Any:
        """The scene."""
        return slicer.mrmlScene

    def _of(self, kind: type) -> list[Any]:
        return [view for view in self._views.values() if isinstance(view, kind)]

    def sliceViewNames(self) -> tuple[str, ...]:
        """Names of all slice views, those of other layouts included."""
        return tuple(view.sliceViewName for view in self._of(qMRMLSliceWidget))

    def sliceWidget(self, name: str) -> Any:
        """A slice widget by its name, or None."""
        return next((view for view in self._of(qMRMLSliceWidget) if view.sliceViewName == name), None)

    def threeDWidget(self, key: int | str) -> Any:
        """A 3D widget by its index or name, or None."""
        views = self._of(qMRMLThreeDWidget)
        if isinstance(key, int):
            return views[key] if 0 <= key < len(views) else None
        return next((view for view in views if view.mrmlViewNode().GetLayoutName() == key), None)

    def viewWidgets(self) -> tuple[Any, ...]:
        """All view widgets."""
        return tuple(self._views.values())

    def viewWidget(self, n: Any) -> Any:
        """The widget of a view node, or None."""
        return self._views.get(n.GetID())

    def mrmlSliceLogics(self) -> Any:
        """The logics of all slice views."""
        return slicer.app.applicationLogic().GetSliceLogics()

    def activeMRMLThreeDViewNode(self) -> Any:
        """The first 3D view node."""
        first = self.threeDWidget(0)
        return first.mrmlViewNode() if first else None

    def resetSliceViews(self) -> None:
        """Show the volumes as a whole in all slice views."""
        for view in self._of(qMRMLSliceWidget):
            view.sliceLogic().FitSliceToAll()

    def resetThreeDViews(self) -> None:
        """Show everything in all 3D views."""
        for view in self._of(qMRMLThreeDWidget):
            view.threeDView().resetFocalPoint()

    def pauseRender(self) -> None:
        """Nothing to pause: views are drawn when a picture is taken."""

    def resumeRender(self) -> None:
        """See `pauseRender`."""

    def setRenderPaused(self, pause: bool) -> None:
        """See `pauseRender`."""

    def _close(self) -> None:
        """Let go of the scene and of the graphics memory."""
        self._observers.clear()
        for view in self._views.values():
            view.viewWidget()._close()
            view.setParent(None)
        self._views.clear()

    layout = QtCore.Property(int, lambda self: self._node.GetViewArrangement(), setLayout)
    threeDViewCount = QtCore.Property(int, lambda self: len(self._of(qMRMLThreeDWidget)))
    tableViewCount = QtCore.Property(int, lambda self: 0)
    plotViewCount = QtCore.Property(int, lambda self: 0)
