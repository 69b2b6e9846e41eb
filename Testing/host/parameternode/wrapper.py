"""``@parameterNodeWrapper``: a class whose annotated names are parameters of a MRML node."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtWidgets

from host.parameternode.gui import GuiConnector, createGuiConnector
from host.parameternode.pack import Parameter, data_type, declared

SlicerParameterNamePropertyName = "SlicerParameterName"


def parameterNodeWrapper(classtype: Any = None) -> Any:
    """Class decorator: ``Wrapper(node)`` gives typed attributes kept in the node, and binds them to widgets."""
    return _wrapper_class if classtype is None else _wrapper_class(classtype)


def isParameterNodeWrapper(classOrObj: Any) -> bool:
    """Whether a class or object was made by `parameterNodeWrapper`."""
    return getattr(classOrObj, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget: Any, parameter: str) -> Any:
    """The child widget bound to a parameter, or None."""
    return _bound_widgets(widget.findChildren(QtWidgets.QWidget)).get(parameter)


def _bound_widgets(widgets: Any) -> dict[str, Any]:
    named = ((widget.property(SlicerParameterNamePropertyName), widget) for widget in widgets)
    return {name: widget for name, widget in named if name}


def _wrapper_class(cls: Any) -> Any:
    parameters = declared(cls)
    for name, parameter in parameters.items():
        setattr(cls, name, _attribute(parameter))
    for name, member in vars(_Methods).items():
        if not name.startswith("__") or name == "__init__":
            if name != "__init__" and name in vars(cls):
                raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
            setattr(cls, name, member)
    cls.allParameters = parameters
    cls._is_parameter_node_wrapper = True
    cls.dataType = staticmethod(lambda membername: data_type(parameters, membername))
    return cls


def _attribute(parameter: Parameter) -> property:
    name, codec = parameter.basename, parameter.codec

    def read(self: Any) -> Any:
        if not codec.is_in(self.parameterNode, self._prefix + name):
            codec.write(self.parameterNode, self._prefix + name, parameter.default.value)
        return codec.read(self.parameterNode, self._prefix + name)

    def write(self: Any, value: Any) -> None:
        codec.write(self.parameterNode, self._prefix + name, value)

    return property(read, write)


class _Methods:
    """The methods that every wrapper class gets."""

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._guis: dict[int, tuple[dict[str, GuiConnector], int]] = {}
        self._next_tag = 0
        self._updating_gui = False
        for name, parameter in self.allParameters.items():
            if not parameter.codec.is_in(parameterNode, self._prefix + name):
                parameter.codec.write(parameterNode, self._prefix + name, parameter.default.value)

    def getValue(self, name: str) -> Any:
        """A parameter by its dotted name."""
        data_type(self.allParameters, name)
        value: Any = self
        for part in name.split("."):
            value = getattr(value, part)
        return value

    def setValue(self, name: str, value: Any) -> None:
        """Set a parameter by its dotted name."""
        data_type(self.allParameters, name)
        owner, _, last = name.rpartition(".")
        setattr(self.getValue(owner) if owner else self, last, value)

    def default(self, paramName: str) -> Any:
        """The default of a parameter, as an object with ``value``."""
        return self.allParameters[paramName].default

    def isCached(self, paramName: str) -> bool:
        """No: every read goes to the node."""
        return False

    def connectGui(self, gui: Any) -> int:
        """Bind all widgets of ``gui`` (a widget, or an object with widgets as attributes) that name a parameter.

        Returns a tag for `disconnectGui`.
        """
        is_widget = getattr(gui, "isWidgetType", lambda: False)()
        return self.connectParametersToGui(
            _bound_widgets(gui.findChildren(QtWidgets.QWidget) if is_widget else vars(gui).values())
        )

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Bind parameters to widgets or connectors. Returns a tag for `disconnectGui`."""
        connectors = {
            name: item if isinstance(item, GuiConnector) else createGuiConnector(item, self.dataType(name))
            for name, item in mapping.items()
        }
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(self._gui_callback(name, connector))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update_gui())
        tag = self._next_tag
        self._next_tag += 1
        self._guis[tag] = (connectors, observer)
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Undo `connectGui`."""
        connectors, observer = self._guis.pop(tag, ({}, None))
        for connector in connectors.values():
            connector.onChanged(None)
        if observer is not None:
            self.RemoveObserver(observer)

    def _gui_callback(self, name: str, connector: GuiConnector) -> Any:
        def changed() -> None:
            if not self._updating_gui:
                with slicer.util.NodeModify(self):
                    self.setValue(name, connector.read())

        return changed

    def _update_gui(self) -> None:
        if self._updating_gui:
            return
        self._updating_gui = True
        try:
            for connectors, _observer in list(self._guis.values()):
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updating_gui = False

    def StartModify(self) -> int:
        """As of the node."""
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> None:
        """As of the node."""
        self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        """As of the node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """As of the node."""
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        """As of the node."""
        self.parameterNode.Modified()
