"""``slicer.parameterNodeWrapper``: typed parameters of a module, kept in a MRML node and bound to widgets.

Values lie in the node in the form that Slicer gives them, so that a scene saved by one is read by the other.
"""

from __future__ import annotations

import types

from host.parameternode import codecs, gui, pack, validators, wrapper


def python_modules() -> dict[str, types.ModuleType]:
    """The package ``slicer.parameterNodeWrapper`` and those of its modules that the host has."""
    package = types.ModuleType("slicer.parameterNodeWrapper")
    package.__path__ = []
    contents = {
        "default": (validators.Default, validators.extractDefault),
        "validators": (*validators.VALIDATORS, validators.extractValidators),
        "parameterPack": (pack.parameterPack, pack.isParameterPack, pack.nestedParameterNames),
        "guiConnectors": (gui.Decimals, gui.SingleStep, gui.createGuiConnector),
        "wrapper": (wrapper.parameterNodeWrapper, wrapper.isParameterNodeWrapper, wrapper.findChildWidgetForParameter),
    }
    modules = {package.__name__: package}
    for name, members in contents.items():
        module = types.ModuleType(f"{package.__name__}.{name}")
        for member in members:
            setattr(module, member.__name__, member)
            setattr(package, member.__name__, member)
        modules[module.__name__] = module
    package.SlicerParameterNamePropertyName = wrapper.SlicerParameterNamePropertyName
    return modules


__all__ = ["codecs", "python_modules"]
