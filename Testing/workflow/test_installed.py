"""The extension as users get it: CMake lists against the files on disk, and the module run from an installed tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")
PACKAGE_FOLDERS = {"LandmarkFusion": Path(), "LandmarkFusionLogic": Path("LandmarkFusionLogic")}


def listed_files(folder: str) -> list[str]:
    """Files that a CMakeLists.txt lists, as paths relative to its folder."""
    text = (ROOT / folder / "CMakeLists.txt").read_text(encoding="utf8")
    text = text.replace("${MODULE_NAME}", folder)
    lists = re.findall(r"set\(\w+_PYTHON_(?:SCRIPTS|RESOURCES)\n(.*?)\)", text, flags=re.S)
    return [line.strip() for block in lists for line in block.splitlines() if line.strip()]


def files_on_disk(folder: str) -> set[str]:
    """Files below a folder that users need: all but caches and the CMake list itself."""
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    wanted = (path.relative_to(ROOT / folder).as_posix() for path in files if "__pycache__" not in path.parts)
    return {name for name in wanted if name != "CMakeLists.txt"}


@pytest.mark.parametrize("folder", sorted(PACKAGE_FOLDERS))
def test_cmake_lists_every_file_once(folder: str) -> None:
    listed = listed_files(folder)
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) == files_on_disk(folder)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed tree with exactly the files that the CMake lists and install rules name."""
    modules = tmp_path_factory.mktemp("installed") / MODULES
    for folder, place in PACKAGE_FOLDERS.items():
        for name in listed_files(folder):
            target = modules / place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / folder / name, target)
    for assets in ("models", "Resources"):
        shutil.copytree(
            ROOT / assets,
            modules / "LandmarkFusionLogic" / assets,
            ignore=shutil.ignore_patterns("Screenshots", "folds", "*-direct", "*-heatmap", "*-variance", "*-distance"),
        )
    return modules


def tree(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in files}


def test_cmake_installs_the_same_tree(installed: Path, tmp_path: Path) -> None:
    """The extension's own CMake files, run with a stand-in for Slicer's CMake package."""
    cmake = shutil.which("cmake")
    if cmake is None or not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("CMake or a C compiler, which CMake's project() asks for, is not installed")
    build, prefix = tmp_path / "build", tmp_path / "prefix"
    slicer = f"-DSlicer_DIR={ROOT / 'Testing/cmake'}"
    for arguments in (
        ["-S", str(ROOT), "-B", str(build), slicer],
        ["--build", str(build)],
        ["--install", str(build), "--prefix", str(prefix)],
    ):
        run = subprocess.run([cmake, *arguments], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
    assert tree(prefix / MODULES) == tree(installed)
    assert tree(build / MODULES) == tree(installed)


def run_python(code: str, modules: Path, cwd: Path) -> str:
    """Run code in a process of its own that sees the installed tree and not the clone's package."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(modules), str(ROOT / "Testing")])}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_networks_work_in_the_installed_tree(installed: Path, tmp_path: Path) -> None:
    code = """
import sys, numpy, samples, LandmarkFusionLogic
from LandmarkFusionLogic import assets
from LandmarkFusionLogic.landmarks.detection import detect_landmarks
print(LandmarkFusionLogic.__file__)
print(assets.path("models", "mr-landmarks"))
print(len(detect_landmarks(samples.volume(), "mr", "cpu").landmarks))
"""
    package, model, count = run_python(code, installed, tmp_path).splitlines()
    assert Path(package).parent == installed / "LandmarkFusionLogic"
    assert Path(model) == installed / "LandmarkFusionLogic/models/mr-landmarks"
    assert count == "3"


def test_module_runs_in_the_installed_tree(app: object, installed: Path, tmp_path: Path) -> None:
    """The module's own self test on the test host: landmarks by hand, fit, scene saved and loaded."""
    code = f"""
import host
host.start()
module, widget = host.load_module(r"{installed / "LandmarkFusion.py"}")
import LandmarkFusionLogic
print(LandmarkFusionLogic.__file__)
test = module.LandmarkFusionTest()
test.runTest()
assert not host.slot_errors and not host.vtk_errors, (host.slot_errors, host.vtk_errors)
host.stop()
"""
    printed = run_python(code, installed, tmp_path).splitlines()
    assert str(installed / "LandmarkFusionLogic/__init__.py") in printed
