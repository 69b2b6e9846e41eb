"""PythonQt's calling conventions on top of PySide6, for the whole process.

Slicer binds Qt with PythonQt: a Qt property is a plain attribute (``spin.value``, ``label.text = "…"``), a signal is
connected by its C++ signature (``button.connect("clicked(bool)", f)``), and a name that a class does not have is
refused when it is set as well as when it is read. Slicer's own ``slicer/util.py`` relies on this, so the conventions
are laid over PySide6's classes here. Where PythonQt prints a warning (an unknown signal), the host raises: a test
should not pass over it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets

from host.standin import StandIn

QObject = QtCore.QObject
_MODULES = (QtCore, QtGui, QtWidgets, QtNetwork)
# PythonQt has no counterpart of these.
_NOT_IN_PYTHONQT = {"Signal", "Slot", "Property", "ClassInfo", "QEnum", "QFlag"}
loading: set[str] = set()
"""Names of the widgets of the ``.ui`` file that is being loaded: PySide6's loader sets them as attributes of the top
widget, PythonQt's does not, so they are passed over."""
_native_get: dict[type, Callable[[Any, str], Any]] = {}
_properties: dict[type, dict[str, QtCore.QMetaProperty]] = {}
_connections: dict[tuple[int, str], list[tuple[Callable[..., Any], Any, Callable[..., Any]]]] = {}


def qt_module() -> types.ModuleType:
    """The module ``qt``: all names of the Qt modules that PythonQt exposes in Slicer."""
    qt = types.ModuleType("qt")
    for module in _MODULES:
        for name in dir(module):
            if not name.startswith("_") and name not in _NOT_IN_PYTHONQT:
                setattr(qt, name, getattr(module, name))
    return qt


def install() -> None:
    """Lay the conventions over PySide6's classes. Call once, before any module is loaded."""
    _lay_over(QObject)
    for module in (*_MODULES, QtUiTools):
        for name in dir(module):  # not vars(): PySide6 makes its classes when they are first asked for
            cls = getattr(module, name)
            if isinstance(cls, type) and issubclass(cls, QObject):
                _lay_over(cls)


def _lay_over(cls: Any) -> None:
    # Most classes take getting over from QObject; some, such as QFile, have ways of their own. Setting is never taken
    # over.
    if cls.__getattribute__ is not _getattribute:
        _native_get[cls] = cls.__getattribute__
        cls.__getattribute__ = _getattribute
    cls.__setattr__ = _setattr


@functools.cache
def _native_get_of(cls: type) -> Callable[[Any, str], Any]:
    return next(_native_get[base] for base in cls.__mro__ if base in _native_get)


def _plain_get(obj: QObject, name: str) -> Any:
    """An attribute as PySide6 gives it."""
    return _native_get_of(type(obj))(obj, name)


# --- attributes -----------------------------------------------------------------------------------------------------


def _is_bound(cls: type) -> bool:
    return cls is object or cls.__module__.startswith(("PySide6", "Shiboken", "shiboken6"))


@functools.cache
def _python_attribute(cls: type, name: str) -> Any:
    """What a class written in Python defines under a name, else None."""
    return next((c.__dict__[name] for c in cls.__mro__ if not _is_bound(c) and name in c.__dict__), None)


def properties(obj: QObject) -> dict[str, QtCore.QMetaProperty]:
    """The declared Qt properties of an object by name."""
    cls = type(obj)
    if cls not in _properties:
        meta = _plain_get(obj, "metaObject")()
        declared = (meta.property(i) for i in range(meta.propertyCount()))
        _properties[cls] = {entry.name(): entry for entry in declared}
    return _properties[cls]


def _has_dynamic_property(obj: QObject, name: str) -> bool:
    return name.encode() in [bytes(n.data()) for n in _plain_get(obj, "dynamicPropertyNames")()]


def _getattribute(self: QObject, name: str) -> Any:
    if name.startswith("_") or _python_attribute(type(self), name) is not None:
        return _plain_get(self, name)
    if name == "connect":
        return functools.partial(connect, self)
    if name == "disconnect":
        return functools.partial(disconnect, self)
    if name == "className":
        return lambda: _plain_get(self, "metaObject")().className()
    if name == "name":
        return _plain_get(self, "objectName")()
    if name in properties(self):
        return _read_property(self, name)
    try:
        return _plain_get(self, name)
    except AttributeError:
        if _has_dynamic_property(self, name):
            return _plain_get(self, "property")(name)
        if name == "exec_":
            return _plain_get(self, "exec")
        raise


def _read_property(obj: QObject, name: str) -> Any:
    """The value of a declared property.

    By its getter where there is one: reading a property whose getter is virtual (``sizeHint``) through the
    meta-object makes PySide6 look for an override under this very name, without end.
    """
    capital = name[0].upper() + name[1:]
    for getter in (name, "is" + capital, "has" + capital):
        # No such method, or one that takes arguments, such as QTimer.singleShot: the next.
        with contextlib.suppress(AttributeError, TypeError):
            return _plain_get(obj, getter)()
    return properties(obj)[name].read(obj)


def _setattr(self: QObject, name: str, value: Any) -> None:
    cls = type(self)
    declared = _python_attribute(cls, name)
    if isinstance(declared, QtCore.Property):
        if declared.fset is None:
            raise AttributeError(f"Property '{name}' of {cls.__name__} is not writable")
        declared.fset(self, value)
    elif hasattr(type(declared), "__set__"):
        declared.__set__(self, value)
    elif isinstance(value, QtCore.SignalInstance) or (name.startswith("_") and not _is_bound(cls)):
        self.__dict__[name] = value
    elif name == "name":
        _plain_get(self, "setObjectName")(value)
    elif name in properties(self):
        _set_property(self, name, value)
    elif not _is_bound(cls) and not issubclass(cls, StandIn):
        self.__dict__[name] = value
    elif _has_dynamic_property(self, name):
        _plain_get(self, "setProperty")(name, value)
    elif not (isinstance(value, QtWidgets.QWidget) and name in loading):
        raise AttributeError(
            f"Attribute '{name}' does not exist on {cls.__name__}, and new attributes on Qt objects are not allowed"
        )


def _set_property(obj: QObject, name: str, value: Any) -> None:
    if not properties(obj)[name].isWritable():
        raise AttributeError(f"Property '{name}' of {type(obj).__name__} is not writable")
    try:
        setter = _plain_get(obj, "set" + name[0].upper() + name[1:])
    except AttributeError:
        setter = None
    if setter is not None:
        setter(value)
    elif not properties(obj)[name].write(obj, value):
        raise TypeError(f"Property '{name}' of {type(obj).__name__} does not take {value!r}")


# --- signals --------------------------------------------------------------------------------------------------------


def _signal(obj: QObject, signature: str) -> tuple[QtCore.SignalInstance, str, int]:
    """The signal of a C++ signature, the signature in Qt's normal form, and how many arguments it has."""
    normal = bytes(QtCore.QMetaObject.normalizedSignature(signature.lstrip("2")).data()).decode()
    name, _, arguments = normal.rstrip(")").partition("(")
    count = len(arguments.split(",")) if arguments else 0
    for cls in type(obj).__mro__:
        if normal in cls.__dict__.get("cxx_signals", ()):
            overload = f"_{name}_{arguments}"
            return _plain_get(obj, overload if hasattr(cls, overload) else name), normal, count
    if _python_attribute(type(obj), name) is None and _plain_get(obj, "metaObject")().indexOfSignal(normal) >= 0:
        return _plain_get(obj, name), normal, count
    raise RuntimeError(f"{type(obj).__name__} has no signal {signature!r}")


def _accepted_arguments(slot: Callable[..., Any]) -> int | None:
    """How many positional arguments a callable takes at most; None when there is no limit."""
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _slot(arguments: tuple[Any, ...]) -> Callable[..., Any]:
    """The callable of ``connect(signal, callable)`` or ``connect(signal, receiver, "slot(…)")``."""
    if len(arguments) == 1 and callable(arguments[0]):
        return arguments[0]
    if len(arguments) == 2:
        receiver, slot = arguments
        return getattr(receiver, slot.lstrip("1").partition("(")[0])
    raise TypeError("connect takes a signal and either a callable or a receiver and the name of its slot")


def _of_fixed_arity(call: Callable[..., Any], count: int) -> Callable[..., Any]:
    """``call`` with ``count`` named arguments: to one that takes any number, PySide6 passes no default argument."""
    return (
        lambda: call(),
        lambda a: call(a),
        lambda a, b: call(a, b),
        lambda a, b, c: call(a, b, c),
        lambda a, b, c, d: call(a, b, c, d),
    )[count]


def connect(obj: QObject, signature: Any, *arguments: Any) -> Any:
    """``obj.connect("signal(type)", callable)`` or ``obj.connect("signal(type)", receiver, "slot(type)")``.

    The callable gets as many of the signal's arguments as it can take. Raises RuntimeError for an unknown signal.
    """
    if not isinstance(signature, str):  # PySide6 itself, for QTimer.singleShot
        return _plain_get(obj, "connect")(signature, *arguments)
    signal, normal, count = _signal(obj, signature)
    slot = _slot(arguments)
    limit = _accepted_arguments(slot)
    taken = count if limit is None else min(count, limit)

    call = _of_fixed_arity(lambda *values: slot(*values[:taken]), count)
    signal.connect(call)
    pointer = shiboken6.getCppPointer(obj)[0]
    if not any(key[0] == pointer for key in _connections):
        _plain_get(obj, "destroyed").connect(functools.partial(_forget, pointer))
    _connections.setdefault((pointer, normal), []).append((slot, signal, call))
    return True


def disconnect(obj: QObject, signature: str, *arguments: Any) -> bool:
    """Undo `connect`; without a callable every connection of the signal. False when there was none."""
    _, normal, _ = _signal(obj, signature)
    slot = _slot(arguments) if arguments else None
    made = _connections.get((shiboken6.getCppPointer(obj)[0], normal), [])
    gone = [entry for entry in made if slot is None or entry[0] == slot]
    for entry in gone:
        entry[1].disconnect(entry[2])
        made.remove(entry)
    return bool(gone)


def _forget(pointer: int, *_: object) -> None:
    for key in [key for key in _connections if key[0] == pointer]:
        del _connections[key]
