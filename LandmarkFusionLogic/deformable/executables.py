"""Where elastix is: what the user has set, the extension SlicerElastix, the search path, the package itk-elastix."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from LandmarkFusionLogic.errors import InputError

NOT_FOUND = (
    "The deformable registration needs elastix, which was not found: install the extension SlicerElastix in Slicer, "
    "or the Python package itk-elastix, or the elastix program (in the search path, or set its folder)."
)
_NAME = "elastix.exe" if sys.platform == "win32" else "elastix"
_LIBRARIES = {"win32": "PATH", "darwin": "DYLD_LIBRARY_PATH"}.get(sys.platform, "LD_LIBRARY_PATH")
_OF_SLICER = (
    "ITK_AUTOLOAD_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "QT_PLUGIN_PATH",
)
"""What Slicer sets for itself and another program must not load: libraries and plugins of another ITK and Python."""


@dataclass(frozen=True)
class Elastix:
    """How to call elastix: the first words of its command line, where it was found, its environment."""

    command: tuple[str, ...]
    origin: str
    environment: dict[str, str]


def find(setting: str | None = None) -> Elastix:
    """elastix, looked for in this order: ``setting`` (folder or program), SlicerElastix, search path, itk-elastix.

    Raises InputError, naming the ways to get it, where there is none, or where ``setting`` is none.
    """
    if setting:
        path = Path(setting)
        chosen = path / _NAME if path.is_dir() else path
        if not _runs(chosen):
            raise InputError(
                f"“{path.name}” holds no elastix program; set the folder of elastix again, or leave it empty to have "
                "it looked for."
            )
        return _program(chosen, "the program that was set")
    for candidate in _of_slicerelastix():
        if _runs(candidate):
            return _program(candidate, "SlicerElastix")
    on_path = shutil.which("elastix")
    if on_path:
        return _program(Path(on_path), "the search path")
    if _has_package():
        return _child()
    raise InputError(NOT_FOUND)


def clean_environment() -> dict[str, str]:
    """This process's environment without what points to Slicer's own libraries."""
    left = {name: value for name, value in os.environ.items() if not name.startswith("ITK_AUTOLOAD")}
    if "SLICER_HOME" in os.environ:
        left = {name: value for name, value in left.items() if name not in _OF_SLICER}
    return left


def _program(path: Path, origin: str) -> Elastix:
    environment = clean_environment()
    path = path.resolve() if path.is_symlink() else path.absolute()
    # The program's own libraries lie beside it, or in the folder lib beside its folder.
    folders = [folder for folder in (path.parent, path.parent.parent / "lib") if any(folder.glob("*ANNlib*"))]
    if folders:
        before = filter(None, [environment.get(_LIBRARIES)])
        environment[_LIBRARIES] = os.pathsep.join([*map(str, folders), *before])
    return Elastix((str(path),), origin, environment)


def _child() -> Elastix:
    environment = clean_environment()
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    environment["ITK_GLOBAL_DEFAULT_THREADER"] = "Pool"
    # Python inside Slicer runs only from its launcher, which sets the environment that was taken away above.
    python = (shutil.which("PythonSlicer") if "SLICER_HOME" in os.environ else None) or sys.executable
    command = (python, "-m", "LandmarkFusionLogic.deformable.elastixchild")
    return Elastix(command, "the Python package itk-elastix", environment)


def _has_package() -> bool:
    try:
        importlib.metadata.version("itk-elastix")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _of_slicerelastix() -> Iterator[Path]:
    """Where the extension puts its program: in the folder bin of its own, above the folder of its module's file."""
    for entry in sys.path:
        module = Path(entry)
        if module.name == "qt-scripted-modules" and (module / "Elastix.py").exists():
            for up in module.parents[2:4]:
                yield up / "bin" / _NAME
    for parent in list(Path(__file__).resolve().parents)[2:8]:
        if (parent / "SlicerElastix").is_dir():
            yield parent / "SlicerElastix" / "bin" / _NAME
            yield from sorted((parent / "SlicerElastix").glob(f"lib/Slicer-*/{_NAME}"))


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
