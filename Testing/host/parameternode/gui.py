"""Which widget can show a parameter of which type, and how: Slicer's pairs and no others.

A pair that Slicer does not have raises RuntimeError here as there.
"""

from __future__ import annotations

import enum
import pathlib
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
from PySide6 import QtWidgets

from host import ctkwidgets
from host.nodecombobox import qMRMLNodeComboBox
from host.parameternode.codecs import split_annotations
from host.parameternode.validators import Choice, Maximum, Minimum, WithinRange


@dataclass
class Decimals:
    """Digits after the point of the widget of a number."""

    value: int


@dataclass
class SingleStep:
    """Step of the widget of a number."""

    value: float


class GuiConnector:
    """Reads and writes one widget and tells when the user has changed it."""

    def __init__(self, widget: Any, read: Callable[[], Any], write: Callable[[Any], None], signal: str) -> None:
        self._widget, self._read, self._write, self._signal = widget, read, write, signal
        self._callback: Callable[[], None] | None = None

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback()`` after each change; None ends that."""
        if self._callback is not None:
            self._widget.disconnect(self._signal, self.changed)
        self._callback = callback
        if callback is not None:
            self._widget.connect(self._signal, self.changed)

    def changed(self) -> None:
        """The widget has changed."""
        if self._callback is not None:
            self._callback()

    def widget(self) -> Any:
        """The widget."""
        return self._widget

    def read(self) -> Any:
        """The widget's value."""
        return self._read()

    def write(self, value: Any) -> None:
        """Show a value."""
        self._write(value)


def createGuiConnector(widget: Any, datatype: Any) -> GuiConnector:
    """The connector of a widget for a (possibly annotated) type. Raises RuntimeError when there is none."""
    type_, annotations = split_annotations(datatype)
    for classes, accepts, make in _CONNECTORS:
        if type(widget) in classes and accepts(type_):
            return make(widget, type_, annotations)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{datatype}' to widget type '{type(widget)}'")


def _first(annotations: list[Any], kind: type) -> Any:
    return next((item for item in annotations if isinstance(item, kind)), None)


def _button(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    widget.setCheckable(True)
    return GuiConnector(widget, lambda: widget.checked, widget.setChecked, "toggled(bool)")


def _number(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    decimals, step = _first(annotations, Decimals), _first(annotations, SingleStep)
    if decimals is not None:
        widget.decimals = decimals.value
    if step is not None:
        widget.singleStep = step.value
    within = _first(annotations, WithinRange)
    low = within or _first(annotations, Minimum)
    high = within or _first(annotations, Maximum)
    unlimited = 2**31 - 1 if type(widget) is QtWidgets.QSpinBox else float("inf")
    if type(widget) in (QtWidgets.QSlider, ctkwidgets.ctkSliderWidget) and (low is None or high is None):
        raise RuntimeError(f"Cannot connect a number without bounds to a {type(widget).__name__}")
    widget.minimum = low.minimum if low is not None else -unlimited
    widget.maximum = high.maximum if high is not None else unlimited
    whole = type(widget) in (QtWidgets.QSlider, QtWidgets.QSpinBox)
    signal = "valueChanged(int)" if whole else "valueChanged(double)"
    return GuiConnector(widget, lambda: type_(widget.value), widget.setValue, signal)


def _choice(widget: Any, values: list[Any], labels: list[str]) -> GuiConnector:
    widget.clear()
    widget.addItems(labels)
    return GuiConnector(
        widget,
        lambda: values[widget.currentIndex],
        lambda value: widget.setCurrentIndex(values.index(value)),
        "currentIndexChanged(int)",
    )


def _enum_choice(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    label = getattr(type_, "label", lambda member: member.name)
    return _choice(widget, list(type_), [label(member) for member in type_])


def _plain_choice(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    choice = _first(annotations, Choice)
    if choice is None:
        raise RuntimeError("A combo box for a plain type needs the Choice annotation")
    return _choice(widget, list(choice.choices), [str(value) for value in choice.choices])


def _text(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    return GuiConnector(widget, lambda: widget.text, widget.setText, "textChanged(QString)")


def _long_text(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    return GuiConnector(widget, widget.toPlainText, widget.setPlainText, "textChanged()")


def _label(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    # A label is written only; destroyed is a signal that every widget has.
    return GuiConnector(widget, lambda: widget.text, widget.setText, "windowTitleChanged(QString)")


def _path(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    return GuiConnector(
        widget,
        lambda: type_(widget.currentPath),
        lambda value: widget.setCurrentPath(str(value)),
        "currentPathChanged(QString)",
    )


def _folder(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    return GuiConnector(
        widget,
        lambda: type_(widget.directory),
        lambda value: setattr(widget, "directory", str(value)),
        "directoryChanged(QString)",
    )


def _node(widget: Any, type_: Any, annotations: list[Any]) -> GuiConnector:
    widget.nodeTypes = [node_class.__name__ for node_class in _node_classes(type_)]
    return GuiConnector(widget, widget.currentNode, widget.setCurrentNode, "currentNodeChanged(vtkMRMLNode*)")


def _node_classes(type_: Any) -> list[type]:
    """The node classes of a node type or of a union of such; [] for another type."""
    members = typing.get_args(type_) if typing.get_origin(type_) is typing.Union else (type_,)
    members = [split_annotations(member)[0] for member in members]
    members = [member for member in members if member is not type(None)]
    nodes = [member for member in members if isinstance(member, type) and issubclass(member, slicer.vtkMRMLNode)]
    return nodes if len(nodes) == len(members) else []


def _is(*types: type) -> Callable[[Any], bool]:
    return lambda type_: type_ in types


def _is_kind_of(base: type) -> Callable[[Any], bool]:
    return lambda type_: isinstance(type_, type) and issubclass(type_, base)


# (widget classes, test of the type, maker)
_CONNECTORS: tuple[tuple[tuple[type, ...], Callable[[Any], Any], Callable[..., GuiConnector]], ...] = (
    ((QtWidgets.QCheckBox, QtWidgets.QPushButton, ctkwidgets.ctkCheckablePushButton), _is(bool), _button),
    ((QtWidgets.QSlider, QtWidgets.QSpinBox), _is(int), _number),
    ((QtWidgets.QDoubleSpinBox, ctkwidgets.ctkSliderWidget), _is(float, int), _number),
    ((QtWidgets.QComboBox,), _is_kind_of(enum.Enum), _enum_choice),
    ((QtWidgets.QComboBox,), _is(int, float, str, bool), _plain_choice),
    ((QtWidgets.QLineEdit,), _is(str), _text),
    ((QtWidgets.QTextEdit,), _is(str), _long_text),
    ((QtWidgets.QLabel,), _is(str), _label),
    ((ctkwidgets.ctkPathLineEdit,), _is_kind_of(pathlib.PurePath), _path),
    ((ctkwidgets.ctkDirectoryButton,), _is_kind_of(pathlib.PurePath), _folder),
    ((qMRMLNodeComboBox,), _node_classes, _node),
)
