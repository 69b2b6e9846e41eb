"""``slicer.packaging`` without pip: looks up what is installed, records what is missing, installs nothing."""

from __future__ import annotations

import importlib.metadata
import re
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement


@dataclass
class Packages:
    """What the module asked to have installed.

    ``requests`` holds (who asked, requirements that are missing). With ``pretend`` the host plays an installation that
    succeeds; else it fails as pip does on a machine without network. ``missing`` names packages to treat as not
    installed.
    """

    requests: list[tuple[str, list[str]]] = field(default_factory=list)
    pretend: bool = False
    missing: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """Forget everything."""
        self.requests.clear()
        self.missing.clear()
        self.pretend = False


packages = Packages()


def load_requirements(path: str | Path) -> list[Requirement]:
    """The requirements of a ``requirements.txt``, comments left out."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def load_pyproject_dependencies(path: str | Path) -> list[Requirement]:
    """The dependencies of a ``pyproject.toml``."""
    import tomllib

    data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    return [Requirement(text) for text in data.get("project", {}).get("dependencies", [])]


def pip_check(
    req: str | Requirement | list[str | Requirement], _seen: set[tuple[str, frozenset[str]]] | None = None
) -> bool:
    """Whether the requirements are installed in a version that fits."""
    return not _missing(req)


def isPipInstallInProgress() -> bool:
    """Never: nothing is installed."""
    return False


def pip_ensure(
    requirements: str | Requirement | list[str | Requirement],
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Ask, then "install" what is missing. Raises RuntimeError when the user declines or the installation fails."""
    import slicer

    missing = _missing(requirements)
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return None
    if prompt_install:
        text = (
            f"{requester or 'A module'} needs Python packages that are not installed: {', '.join(missing)}. Install?"
        )
        if not slicer.util.confirmOkCancelDisplay(text):
            raise RuntimeError("User declined to install required packages.")
    return pip_install(missing, constraints, requester=requester)


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    parent: Any = None,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> list[str] | None:
    """Record the request. Raises RuntimeError unless ``host.packages.pretend`` is set."""
    wanted = [requirements] if isinstance(requirements, str) else list(requirements)
    packages.requests.append((requester or "", wanted))
    if not packages.pretend:
        raise RuntimeError(f"The test host installs no packages: {', '.join(wanted)}")
    if completedCallback is not None:
        completedCallback(0)
    return None


def pip_uninstall(
    requirements: str | list[str],
    blocking: bool = True,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> None:
    """Refuse: the host changes no environment."""
    raise RuntimeError(f"The test host uninstalls no packages: {requirements}")


def _missing(requirements: str | Requirement | list[str | Requirement]) -> list[str]:
    several = requirements if isinstance(requirements, list) else [requirements]
    wanted = [Requirement(str(requirement)) for requirement in several]
    return [str(requirement) for requirement in wanted if not _is_installed(requirement)]


def _is_installed(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    if requirement.name in packages.missing:
        return False
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def python_modules() -> dict[str, types.ModuleType]:
    """The Python module of this file."""
    module = types.ModuleType("slicer.packaging")
    for function in (
        load_requirements,
        load_pyproject_dependencies,
        pip_check,
        isPipInstallInProgress,
        pip_ensure,
        pip_install,
        pip_uninstall,
    ):
        setattr(module, function.__name__, function)
    return {"slicer.packaging": module}
