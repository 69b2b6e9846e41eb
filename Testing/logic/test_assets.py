"""Models and resources are found beside the package and inside of it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError

PACKAGE = Path(assets.__file__).parent


def test_in_a_clone_they_lie_beside_the_package():
    assert assets.path("Resources") == PACKAGE.parent / "Resources"


def test_what_is_not_installed_is_told():
    with pytest.raises(InputError, match="“models/ct-landmarks” is not installed"):
        assets.path("models", "ct-landmarks")


def test_in_an_installation_they_lie_inside(tmp_path):
    package = tmp_path / "LandmarkFusionLogic"
    package.mkdir()
    for name in ("__init__.py", "errors.py", "assets.py"):
        shutil.copy(PACKAGE / name, package)
    (package / "models" / "mr-landmarks").mkdir(parents=True)
    code = "from LandmarkFusionLogic import assets; print(assets.path('models', 'mr-landmarks'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env={"PYTHONPATH": "."}
    )
    assert Path(done.stdout.strip()) == package / "models" / "mr-landmarks"
