"""Real slice and 3D views: MRML's displayable managers on an off-screen VTK window behind a Qt widget."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from host.standin import Observers, StandIn

SLICE_MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
)
THREED_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
)
_BUTTONS = {
    QtCore.Qt.MouseButton.LeftButton: "Left",
    QtCore.Qt.MouseButton.RightButton: "Right",
    QtCore.Qt.MouseButton.MiddleButton: "Middle",
}
INITIAL_SIZE = (400, 320)
_drawing: list[bool] = []


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Let the views paint themselves. At other times they render only when asked to: software rendering is slow."""
    _drawing.append(True)
    try:
        yield
    finally:
        _drawing.pop()


class VtkView(StandIn, QtWidgets.QWidget):
    """Paints an off-screen render window and passes the mouse on to its interactor."""

    def __init__(self, factory: Any, manager_names: tuple[str, ...]) -> None:
        super().__init__()
        self.setMouseTracking(True)
        self.setMinimumSize(80, 80)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Expanding)
        self._renderer = vtk.vtkRenderer()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(*INITIAL_SIZE)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._managers = slicer.vtkMRMLDisplayableManagerGroup()
        self._managers.SetRenderer(self._renderer)
        for name in manager_names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._managers.Initialize(factory, self._renderer)
        self._observers = Observers(self)
        self._observers.add(self._managers, "UpdateEvent", lambda *_: self.scheduleRender())

    def renderWindow(self) -> Any:
        """The VTK render window."""
        return self._window

    def interactor(self) -> Any:
        """The VTK interactor."""
        return self._interactor

    def displayableManagerByClassName(self, className: str) -> Any:
        """A displayable manager of this view, or None."""
        return self._managers.GetDisplayableManagerByClassName(className)

    def scheduleRender(self) -> None:
        """Draw when the event loop turns next."""
        self.update()

    def forceRender(self) -> None:
        """Draw now."""
        self._window.Render()
        self.update()

    def _image(self) -> QtGui.QImage:
        self._window.Render()
        width, height = self._window.GetSize()
        pixels = vtk.vtkUnsignedCharArray()
        self._window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, pixels)
        rgb = vtk_to_numpy(pixels).reshape(height, width, 4)[::-1, :, :3].copy()
        return QtGui.QImage(rgb.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888).copy()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the scene, if anybody looks: see `drawing`."""
        if not _drawing:
            return
        painter = QtGui.QPainter(self)
        painter.drawImage(0, 0, self._image())
        painter.end()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Give the render window the widget's size."""
        self._window.SetSize(max(self.width, 1), max(self.height, 1))

    def _send(self, event: QtGui.QMouseEvent, name: str) -> None:
        modifiers = QtCore.Qt.KeyboardModifier
        pressed = event.modifiers()
        x, y = int(event.position().x()), int(self._window.GetSize()[1] - 1 - event.position().y())
        control, shift = bool(pressed & modifiers.ControlModifier), bool(pressed & modifiers.ShiftModifier)
        self._interactor.SetEventInformation(x, y, int(control), int(shift), "\0", 0, None)
        self._interactor.InvokeEvent(name)
        self.scheduleRender()

    def enterEvent(self, event: QtGui.QEnterEvent) -> None:
        """Pass on."""
        self._interactor.InvokeEvent("EnterEvent")

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        """Pass on."""
        self._interactor.InvokeEvent("LeaveEvent")

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Pass on."""
        self._send(event, "MouseMoveEvent")

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Pass on, after a move to where the button went down."""
        self._send(event, "MouseMoveEvent")
        self._send(event, _BUTTONS[event.button()] + "ButtonPressEvent")

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """Pass on."""
        self._send(event, _BUTTONS[event.button()] + "ButtonReleaseEvent")

    def _close(self) -> None:
        """Let go of the scene and of the graphics memory."""
        self._observers.clear()
        self._managers.SetMRMLDisplayableNode(None)
        self._interactor.SetInteractorStyle(None)
        self._window.Finalize()


class qMRMLSliceView(VtkView):
    """The view of one slice node."""

    def __init__(self, logic: Any) -> None:
        super().__init__(slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), SLICE_MANAGERS)
        self._logic = logic
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        overlay = vtk.vtkRenderer()
        overlay.SetLayer(1)
        overlay.GetActiveCamera().ParallelProjectionOn()
        self._window.SetNumberOfLayers(2)
        self._window.AddRenderer(overlay)
        self._window.SetAlphaBitPlanes(1)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._picture = vtk.vtkActor2D()
        self._picture.SetMapper(self._mapper)
        self._picture.GetProperty().SetDisplayLocationToBackground()
        self._picture.VisibilityOff()
        self._renderer.AddViewProp(self._picture)
        self._managers.SetMRMLDisplayableNode(logic.GetSliceNode())
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetSliceLogic(logic)
        self._style.SetDisplayableManagers(self._managers)
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._style.SetInteractor(self._interactor)
        self._interactor.Initialize()
        self._observers.add(logic, "ModifiedEvent", lambda *_: self._update_picture())
        for event in (slicer.vtkMRMLScene.EndCloseEvent, slicer.vtkMRMLScene.EndImportEvent):
            self._observers.add(slicer.mrmlScene, event, lambda *_: self._fit_node())
        self._fit_node()

    def _update_picture(self) -> None:
        connection = self._logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._picture.SetVisibility(connection is not None)
        self.scheduleRender()

    def mrmlSliceNode(self) -> Any:
        """The slice node."""
        return self._logic.GetSliceNode()

    def sliceViewInteractorStyle(self) -> Any:
        """What turns the mouse into slice offset, zoom, window and level."""
        return self._style

    interactorObserver = sliceViewInteractorStyle

    def convertXYZToRAS(self, xyz: list[float]) -> list[float]:
        """Pixels of the view, y upwards, to RAS mm."""
        return list(self.mrmlSliceNode().GetXYToRAS().MultiplyPoint((*xyz, 1.0))[:3])

    def convertRASToXYZ(self, ras: list[float]) -> list[float]:
        """RAS mm to pixels of the view, y upwards; z is the distance from the slice in slices."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.mrmlSliceNode().GetXYToRAS(), inverse)
        return list(inverse.MultiplyPoint((*ras, 1.0))[:3])

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Give slice and render window the widget's size."""
        super().resizeEvent(event)
        self._fit_node()

    def _fit_node(self) -> None:
        """Give the slice node the size of the window; a scene that is closed or loaded brings another."""
        self._logic.ResizeSliceNode(*self._window.GetSize())


class qMRMLThreeDView(VtkView):
    """The view of one 3D view node."""

    def __init__(self, node: Any) -> None:
        super().__init__(slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), THREED_MANAGERS)
        self._node = node
        self._style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self._style.SetDisplayableManagers(self._managers)
        self._style.SetInteractor(self._interactor)
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyle3D())
        self._managers.SetMRMLDisplayableNode(node)
        self._interactor.Initialize()

    def mrmlViewNode(self) -> Any:
        """The view node."""
        return self._node

    def interactorObserver(self) -> Any:
        """What turns the mouse into rotation and zoom."""
        return self._style

    def cameraNode(self) -> Any:
        """The camera of this view."""
        return self.displayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def resetFocalPoint(self) -> None:
        """Look at the middle of what is visible."""
        self._renderer.ResetCamera()

    def resetCamera(
        self, resetRotation: bool = True, resetTranslation: bool = True, resetDistance: bool = True
    ) -> None:
        """Look at all that is visible."""
        self._renderer.ResetCamera()
