"""Holds the test host, the module and its ``.ui`` files to the names and signatures of Slicer 5.12.

What passes here uses no name that Slicer does not have; it has not thereby run in Slicer.
"""

from __future__ import annotations

import ast
import inspect
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import slicerapi

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "LandmarkFusion"
FIXTURE_MODULE = Path(__file__).parent / "fixturemodule"
UI_FILES = sorted([*MODULE.rglob("*.ui"), *FIXTURE_MODULE.rglob("*.ui")])
SOURCES = sorted(MODULE.rglob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- (a) the stand-ins of C++ classes -------------------------------------------------------------------------------


def stand_ins() -> list[type]:
    """The host's classes that stand in for a class of which the facts are known."""
    from host.standin import StandIn

    def below(cls: type) -> set[type]:
        return {cls}.union(*(below(child) for child in cls.__subclasses__()))

    return sorted((cls for cls in below(StandIn) if cls.__name__ in slicerapi.widgets()), key=lambda cls: cls.__name__)


def own_names(cls: type) -> dict[str, object]:
    """Public names that a stand-in and its bases in the host define, Qt's own virtual methods left out."""
    names: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("host."):
            names |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    qt_base = next(base for base in cls.__mro__ if base.__module__.startswith("PySide6"))
    for name in ("cxx_signals", "className", "staticMetaObject"):
        names.pop(name, None)
    from PySide6.QtCore import Property

    return {
        n: v for n, v in names.items() if isinstance(v, Property) or n == "setMRMLScene" or not hasattr(qt_base, n)
    }


def test_the_stand_ins_are_found(app):
    assert {"qMRMLNodeComboBox", "ctkSliderWidget", "qSlicerMarkupsPlaceWidget"} <= {c.__name__ for c in stand_ins()}


def test_stand_ins_derive_from_the_same_kind_of_qt_class(app):
    for cls in stand_ins():
        qt_base = next(base for base in cls.__mro__ if base.__module__.startswith("PySide6"))
        assert qt_base.__name__ == slicerapi.lineage(cls.__name__)[-1], cls.__name__


def test_stand_ins_have_only_properties_of_the_real_class_and_of_its_type(app):
    from PySide6.QtCore import Property

    comparable = {"QString": "QString", "bool": "bool", "int": "int", "double": "double", "QStringList": "QStringList"}
    for cls in stand_ins():
        real = slicerapi.property_types(cls.__name__)
        meta = cls.staticMetaObject
        for name, value in own_names(cls).items():
            if isinstance(value, Property):
                assert name in real, f"{cls.__name__}.{name} is no property in Slicer"
                if real[name] in comparable:
                    index = meta.indexOfProperty(name)
                    assert meta.property(index).typeName() == comparable[real[name]], f"{cls.__name__}.{name}"


def test_stand_ins_have_only_signals_of_the_real_class(app):
    from PySide6.QtCore import Signal

    for cls in stand_ins():
        declared = {s for base in cls.__mro__ for s in vars(base).get("cxx_signals", ())}
        assert declared <= slicerapi.signal_signatures(cls.__name__), cls.__name__
        python_signals = {name for name, value in own_names(cls).items() if isinstance(value, Signal)}
        assert python_signals == {signature.partition("(")[0] for signature in declared}, cls.__name__


def test_stand_ins_have_only_methods_that_python_reaches_in_slicer(app):
    for cls in stand_ins():
        real = slicerapi.methods(cls.__name__)
        for name, value in own_names(cls).items():
            if inspect.isfunction(value):
                assert name in real, f"{cls.__name__}.{name} is no slot or invokable in Slicer"
                counts = {count for declaration in real[name] for count in slicerapi.argument_counts(declaration)}
                taken = inspect.signature(value).parameters.values()
                least = sum(p.default is p.empty for p in taken) - 1
                if counts:
                    assert set(range(least, len(taken))) <= counts, f"{cls.__name__}.{name} takes other arguments"
            elif isinstance(value, int) and not isinstance(value, bool):
                assert name in slicerapi.enum_values(cls.__name__), f"{cls.__name__}.{name} is no enumerator in Slicer"


# --- (b) the .ui files ----------------------------------------------------------------------------------------------


def qt_class(name: str) -> type:
    from PySide6 import QtWidgets

    return QtWidgets.QFrame if name == "Line" else getattr(QtWidgets, name)


def check_properties(element: ElementTree.Element, class_name: str, where: str) -> None:
    known = slicerapi.property_types(class_name) if class_name in slicerapi.widgets() else {}
    meta = qt_class(slicerapi.lineage(class_name)[-1]).staticMetaObject
    for entry in element.findall("property"):
        name = entry.get("name")
        if entry.get("stdset") == "0":
            continue  # a dynamic property, such as SlicerParameterName
        if class_name == "Line" and name == "orientation":
            continue
        assert name in known or meta.indexOfProperty(name) >= 0, f"{where}: {class_name} has no property {name!r}"


def has_member(class_name: str, signature: str, kind: str) -> bool:
    normal = slicerapi.normalized(signature)
    if class_name in slicerapi.widgets():
        if kind == "signal" and normal in slicerapi.signal_signatures(class_name):
            return True
        slots = (d for declarations in slicerapi.methods(class_name).values() for d in declarations)
        if kind == "slot" and normal in {slicerapi.normalized(declaration) for declaration in slots}:
            return True
    meta = qt_class(slicerapi.lineage(class_name)[-1]).staticMetaObject
    return (meta.indexOfSignal(normal) if kind == "signal" else meta.indexOfSlot(normal)) >= 0


@pytest.mark.parametrize("path", UI_FILES, ids=relative)
def test_ui_file_names_only_what_slicer_has(app, path):
    from host.uiloader import widget_classes
    from PySide6 import QtWidgets

    root = ElementTree.parse(path).getroot()
    classes: dict[str, str] = {}
    for element in root.iter("widget"):
        name = element.get("class", "")
        classes[element.get("name", "")] = name
        is_qt = name == "Line" or hasattr(QtWidgets, name)
        assert is_qt or name in slicerapi.widgets(), f"{path.name}: no widget class {name} is known"
        assert is_qt or name in widget_classes, f"{path.name}: the host has no stand-in of {name}"
        if name == "Line":
            continue
        check_properties(element, name, path.name)
    for custom in root.iter("customwidget"):
        name, extends = custom.findtext("class", ""), custom.findtext("extends", "")
        assert name in slicerapi.widgets(), f"{path.name}: no widget class {name} is known"
        assert extends in slicerapi.lineage(name) or extends == "QWidget", f"{path.name}: {name} is no {extends}"
    for connection in root.iter("connection"):
        sender, signal, receiver, slot = (
            connection.findtext(part, "") for part in ("sender", "signal", "receiver", "slot")
        )
        assert has_member(classes[sender], signal, "signal"), f"{path.name}: {sender} has no signal {signal}"
        assert has_member(classes[receiver], slot, "slot"), f"{path.name}: {receiver} has no slot {slot}"


@pytest.mark.parametrize("path", UI_FILES, ids=relative)
def test_ui_names_are_unique_and_mrml_widgets_get_their_scene(path):
    root = ElementTree.parse(path).getroot()
    names = [element.get("name") for element in root.iter("widget")]
    assert len(names) == len(set(names))
    given = {connection.findtext("receiver") for connection in root.iter("connection")}
    for element in root.iter("widget"):
        name, cls = element.get("name"), element.get("class")
        if cls in slicerapi.widgets() and cls != "qMRMLWidget" and "setMRMLScene" in slicerapi.methods(cls):
            assert name in given, f"{path.name}: {name} gets no scene"


# --- (c) the Python modules that the host brings --------------------------------------------------------------------

PYTHON_MODULES = ("ScriptedLoadableModule", "i18n", "packaging", "parameterNodeWrapper")


def host_modules() -> list[str]:
    names = [f"slicer.{name}" for name in PYTHON_MODULES]
    return [key for key in slicerapi.python_api() if key in sys.modules and key.startswith(tuple(names))]


def test_python_functions_of_the_host_have_slicers_signatures(app):
    checked = 0
    for module_name in host_modules():
        real = slicerapi.python_functions(module_name)
        for name, value in vars(sys.modules[module_name]).items():
            if inspect.isfunction(value) and name in real:
                assert slicerapi.without_annotations(value) == real[name], f"{module_name}.{name}"
                checked += 1
    assert checked >= 15


def test_python_modules_of_the_host_have_no_names_of_their_own(app):
    for module_name in host_modules():
        real = slicerapi.python_names(module_name)
        for name, value in vars(sys.modules[module_name]).items():
            if inspect.isfunction(value) or inspect.isclass(value):
                assert name in real, f"{module_name} has no {name}"


def test_python_classes_of_the_host_have_slicers_methods(app):
    for module_name in host_modules():
        for cls_name, declarations in slicerapi.python_api()[module_name]["classes"].items():
            cls = vars(sys.modules[module_name]).get(cls_name)
            if cls is None or not declarations["methods"]:
                continue
            real = slicerapi.python_methods(module_name, cls_name)
            own = {n: v for n, v in vars(cls).items() if inspect.isfunction(v) and (n[0] != "_" or n == "__init__")}
            assert set(own) <= set(real), f"{module_name}.{cls_name}"
            for name, function in own.items():
                where = f"{module_name}.{cls_name}.{name}"
                assert slicerapi.without_annotations(function) == real[name], where
            if module_name == "slicer.ScriptedLoadableModule":
                assert set(real) <= set(own) | {"onReload"}, f"{cls_name} lacks {set(real) - set(own)}"


# --- (d) the module's Python source ---------------------------------------------------------------------------------


def dotted(node: ast.expr) -> str:
    """``slicer.util.x`` of an attribute chain, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def reachable_from_app() -> set[str]:
    from PySide6 import QtWidgets

    real = slicerapi.methods("qSlicerApplication") | slicerapi.property_types("qSlicerApplication")
    signals = {signature.partition("(")[0] for signature in slicerapi.signal_signatures("qSlicerApplication")}
    return set(real) | signals | set(dir(QtWidgets.QApplication)) | slicerapi.enum_values("qSlicerApplication")


def used_names(tree: ast.AST) -> set[str]:
    """Dotted names that begin with ``slicer.`` and what is imported from Slicer's modules."""
    names = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("slicer"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("slicer.")}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_source_uses_only_slicers_python_names(app, path):
    for name in used_names(ast.parse(path.read_text(encoding="utf-8"))):
        parts = name.split(".")
        module = ".".join(parts[:2])
        if module == "slicer.app" and len(parts) > 2:
            assert parts[2] in reachable_from_app(), f"slicer.app has no {parts[2]}"
        elif module in slicerapi.python_api() and len(parts) > 2 and parts[2] != "*":
            assert parts[2] in slicerapi.python_names(module), f"{module} has no {parts[2]}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_calls_of_slicers_functions_fit_their_signatures(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        module, _, name = dotted(call.func).rpartition(".")
        if module not in slicerapi.python_api() or any(isinstance(a, ast.Starred) for a in call.args):
            continue
        real = slicerapi.python_functions(module).get(name)
        if real is not None and all(keyword.arg for keyword in call.keywords):
            real.bind(*call.args, **{keyword.arg: keyword.value for keyword in call.keywords})


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_source_keeps_to_what_both_bindings_have(path):
    """What works under PySide6 but not under PythonQt, or the other way round."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = {"qt.Signal", "qt.Slot", "qt.Property", "qt.QThread", "qt.QSignalBlocker", "qt.QTextCodec"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert dotted(node) not in forbidden, f"line {node.lineno}: {dotted(node)}"
            assert not (dotted(node).startswith("qt.") and node.attr == "exec_"), f"line {node.lineno}"
        if isinstance(node, ast.Call) and dotted(node.func) == "isinstance":
            kind = dotted(node.args[1])
            assert not kind.startswith(("qt.", "ctk.")), f"line {node.lineno}: isinstance of a Qt type"
