"""The mouse: real Qt mouse events in a view, at positions given in RAS mm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
import vtk
from PySide6 import QtCore
from PySide6.QtTest import QTest

from host.events import process_events

_LEFT = QtCore.Qt.MouseButton.LeftButton
_NO_KEY = QtCore.Qt.KeyboardModifier.NoModifier
Position = Sequence[float]


def pixel(view: Any, ras: Position) -> QtCore.QPoint:
    """Where a RAS point lies in a slice view, in Qt's pixels.

    ``view`` is a slice widget, a slice view or a view's name such as "Red". Raises ValueError for a point that is not
    in the slice or outside the view: nobody could point at it.
    """
    slice_view = _slice_view(view)
    x, y, slices_off = slice_view.convertRASToXYZ(list(ras))
    width, height = slice_view.renderWindow().GetSize()
    name = slice_view.mrmlSliceNode().GetLayoutName()
    if abs(slices_off) > 0.5:
        raise ValueError(f"{tuple(ras)} is {slices_off:.1f} slices off the slice that the view {name} shows")
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"{tuple(ras)} lies outside the view {name}")
    return QtCore.QPoint(round(x), round(height - 1 - y))


def show_slice(view: Any, ras: Position) -> None:
    """Move the slice of a view to a RAS point and the point to the view's middle."""
    _slice_view(view).mrmlSliceNode().JumpSliceByCentering(*ras)
    process_events()


def move(view: Any, to_ras: Position) -> None:
    """Move the mouse to a RAS point of a slice view."""
    slice_view = _slice_view(view)
    slice_view.forceRender()  # displayable managers pick among what is drawn
    QTest.mouseMove(slice_view, pixel(view, to_ras))
    process_events()


def click(view: Any, at_ras: Position) -> None:
    """Move to a RAS point of a slice view and click with the left button."""
    move(view, at_ras)
    slice_view, point = _slice_view(view), pixel(view, at_ras)
    QTest.mousePress(slice_view, _LEFT, _NO_KEY, point)
    QTest.mouseRelease(slice_view, _LEFT, _NO_KEY, point)
    process_events()


def drag(view: Any, from_ras: Position, to_ras: Position, steps: int = 5) -> None:
    """Drag with the left button from one RAS point of a slice view to another, in some steps."""
    move(view, from_ras)
    slice_view, begin, end = _slice_view(view), pixel(view, from_ras), pixel(view, to_ras)
    QTest.mousePress(slice_view, _LEFT, _NO_KEY, begin)
    for step in range(1, steps + 1):
        QTest.mouseMove(slice_view, begin + (end - begin) * (step / steps))
        process_events()
    QTest.mouseRelease(slice_view, _LEFT, _NO_KEY, end)
    process_events()


def _slice_view(view: Any) -> Any:
    if isinstance(view, str):
        view = slicer.app.layoutManager().sliceWidget(view)
    return view.sliceView() if hasattr(view, "sliceView") else view


def pixel_size(view: Any) -> float:
    """Millimetres a pixel of a slice view measures: what a mouse position can be exact to."""
    matrix = _slice_view(view).mrmlSliceNode().GetXYToRAS()
    origin, right = (matrix.MultiplyPoint((x, 0, 0, 1))[:3] for x in (0, 1))
    return vtk.vtkMath.Distance2BetweenPoints(origin, right) ** 0.5
