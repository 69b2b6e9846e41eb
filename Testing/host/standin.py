"""What all stand-ins of Slicer's and CTK's Qt classes share."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

_numbers = itertools.count()


class StandIn:
    """Marks a Python class that stands in for a C++ class of the same name.

    ``cxx_signals`` holds the C++ signatures of its signals. The Python signal behind ``changed(bool)`` is
    ``changed``, or ``_changed_bool`` where the C++ class has overloads. Public names are those that Python can reach
    in Slicer: properties, signals, slots and invokables, no more. Names with a leading underscore are the stand-in's
    own.
    """

    cxx_signals: tuple[str, ...] = ()

    def className(self) -> str:
        """Name of the C++ class."""
        return type(self).__name__


class Observers:
    """Observers of VTK objects that end with the Qt object they serve."""

    def __init__(self, owner: QtCore.QObject) -> None:
        self._made: list[tuple[Any, int]] = []
        made = self._made
        owner.destroyed.connect(lambda: _remove(made))

    def add(self, observed: Any, event: Any, callback: Callable[..., Any]) -> None:
        """Call ``callback`` at an event, until `clear` or the owner's end."""
        self._made.append((observed, observed.AddObserver(event, callback)))

    def clear(self) -> None:
        """Remove all."""
        _remove(self._made)


def _remove(made: list[tuple[Any, int]]) -> None:
    for observed, tag in made:
        observed.RemoveObserver(tag)
    made.clear()


def option(type_: Any, default: Any, changed: str = "") -> Any:
    """A Qt property that keeps its value; ``changed`` names a method to call after it was set."""
    key = f"_option_{next(_numbers)}"

    def read(self: Any) -> Any:
        return self.__dict__.get(key, default)

    def write(self: Any, value: Any) -> None:
        self.__dict__[key] = list(value) if type_ == "QStringList" else value
        if changed:
            getattr(self, changed)()

    return QtCore.Property(type_, read, write)


def delegate(type_: Any, child: str, read: Callable[[Any], Any], write: Callable[[Any, Any], None]) -> Any:
    """A Qt property whose value is that of a child widget."""
    return QtCore.Property(
        type_, lambda self: read(getattr(self, child)), lambda self, value: write(getattr(self, child), value)
    )
