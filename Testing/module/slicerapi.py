"""Slicer 5.12's own names and signatures, read from ``Testing/data/slicer-api``."""

from __future__ import annotations

import ast
import inspect
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "slicer-api"

# C++ bases that the extract leaves out: what they derive from, and what they add that Python can reach.
OUTSIDE_BASES = {
    "ctkLayoutFactory": "QObject",
    "ctkVTKRenderView": "ctkVTKAbstractView",
    "ctkVTKSliceView": "ctkVTKAbstractView",
    "ctkVTKAbstractView": "QWidget",
    "qMRMLAbstractViewWidget": "qMRMLWidget",
    "qMRMLViewControllerBar": "qMRMLWidget",
    "qSlicerWidget": "qMRMLWidget",
}
OUTSIDE_METHODS = {
    "ctkVTKAbstractView": {"renderWindow", "interactor", "scheduleRender", "forceRender"},
    # Added to the class by a decorator (…PythonQtDecorators.h) or by Python code of the application.
    "qSlicerCoreApplication": {"testingEnabled", "setAttribute", "testAttribute"},
    "qSlicerApplication": {"layoutManager", "mainWindow"},
    "qSlicerAbstractCoreModule": {"logic", "widgetRepresentation"},
}


@cache
def widgets() -> dict[str, Any]:
    """``widgets.json``."""
    return json.loads((FOLDER / "widgets.json").read_text(encoding="utf-8"))


@cache
def python_api() -> dict[str, Any]:
    """``python.json``."""
    return json.loads((FOLDER / "python.json").read_text(encoding="utf-8"))


# --- C++ classes ----------------------------------------------------------------------------------------------------


def lineage(name: str) -> list[str]:
    """A class and its bases down to the first class of Qt, which comes last."""
    names = [name]
    while not re.match(r"Q[A-Z]", names[-1]):
        names.append(OUTSIDE_BASES.get(names[-1]) or widgets()[names[-1]]["base"])
    return names


def _entries(name: str, *kinds: str) -> list[Any]:
    facts = [widgets()[cls] for cls in lineage(name) if cls in widgets()]
    return [entry for kind in kinds for fact in facts for entry in fact[kind]]


def property_types(name: str) -> dict[str, str]:
    """Property → C++ type, those of the bases included."""
    return {entry["name"]: entry["type"] for entry in reversed(_entries(name, "properties"))}


def signal_signatures(name: str) -> set[str]:
    """Signals in Qt's normal form, those of the bases included."""
    return {normalized(entry) for entry in _entries(name, "signals")}


def methods(name: str) -> dict[str, list[str]]:
    """Slot or invokable → its C++ declarations, those of the bases included."""
    found: dict[str, list[str]] = {}
    for declaration in _entries(name, "slots", "invokable"):
        found.setdefault(re.search(r"(\w+)\s*\(", declaration)[1], []).append(declaration)
    for cls in lineage(name):
        for method in OUTSIDE_METHODS.get(cls, ()):
            found.setdefault(method, [])
    return found


def enum_values(name: str) -> set[str]:
    """Names of all enumerators of a class and its bases."""
    facts = [widgets()[cls] for cls in lineage(name) if cls in widgets()]
    return {value for fact in facts for values in fact["enums"].values() for value in values}


def normalized(declaration: str) -> str:
    """``void changed(const QString& id)`` → ``changed(QString)``."""
    name, arguments = re.search(r"(\w+)\s*\(([^)]*)", declaration).groups()
    return f"{name}({','.join(_normalized_type(a) for a in arguments.split(',') if a.strip())})"


def _normalized_type(argument: str) -> str:
    argument = re.sub(r"=.*", "", argument)
    argument = re.sub(r"\bconst\b|&", " ", argument)
    argument = re.sub(r"\s*\*\s*", "* ", argument).strip()
    words = argument.split()
    # "double value" → double; "unsigned int n" → unsigned int; "double" → double
    if len(words) > 1 and words[0] not in ("unsigned", "long"):
        words = words[:1]
    return " ".join(words)


def argument_counts(declaration: str) -> range:
    """How many arguments a C++ declaration can be called with."""
    arguments = [a for a in re.search(r"\w+\s*\((.*)\)", declaration)[1].split(",") if a.strip()]
    least = sum("=" not in argument for argument in arguments)
    return range(least, len(arguments) + 1)


# --- Python ---------------------------------------------------------------------------------------------------------


def python_names(module: str) -> set[str]:
    """Names of functions and classes of a Python module of Slicer; for a package those of its modules too."""
    names: set[str] = set()
    for key, entry in python_api().items():
        if key == module or key.startswith(module + "."):
            names |= {declaration.split("(")[0] for declaration in entry["functions"]} | set(entry["classes"])
    return names


def python_functions(module: str) -> dict[str, inspect.Signature]:
    """Function → signature, annotations left out."""
    declarations = python_api()[module]["functions"]
    return {declaration.split("(")[0]: signature(declaration) for declaration in declarations}


def python_methods(module: str, cls: str) -> dict[str, inspect.Signature]:
    """Method of a class → signature, annotations left out."""
    declarations = python_api()[module]["classes"][cls]["methods"]
    return {declaration.split("(")[0]: signature(declaration) for declaration in declarations}


def signature(declaration: str) -> inspect.Signature:
    """The signature of ``name(a, b=1) -> T``, annotations left out, defaults as source text."""
    arguments = ast.parse(f"def {declaration}: ...").body[0].args
    kinds = inspect.Parameter
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    parameters = [_parameter(a.arg, kinds.POSITIONAL_OR_KEYWORD, d) for a, d in zip(plain, defaults, strict=True)]
    if arguments.vararg:
        parameters.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    keyword_only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters += [_parameter(a.arg, kinds.KEYWORD_ONLY, d) for a, d in keyword_only]
    if arguments.kwarg:
        parameters.append(kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(parameters)


def _parameter(name: str, kind: Any, default: ast.expr | None) -> inspect.Parameter:
    return inspect.Parameter(name, kind, default=inspect.Parameter.empty if default is None else ast.unparse(default))


def without_annotations(function: Any) -> inspect.Signature:
    """The signature of a Python function in the form of `signature`."""
    parameters = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=parameter.default if parameter.default is inspect.Parameter.empty else repr(parameter.default),
        )
        for parameter in inspect.signature(function).parameters.values()
    ]
    return inspect.Signature(parameters)
