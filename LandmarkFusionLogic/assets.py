"""The one place that finds ``models/`` and ``Resources/``: in a clone, a wheel and an installed extension."""

from __future__ import annotations

from pathlib import Path

from LandmarkFusionLogic.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


def path(*parts: str) -> Path:
    """The file or folder ``parts``, for instance ``path("models", "mr-landmarks")``.

    Looked for inside the package (wheel, installed extension), then beside it (clone).
    Raises InputError if it is in neither place.
    """
    for root in (_PACKAGE, _PACKAGE.parent):
        found = root.joinpath(*parts)
        if found.exists():
            return found
    raise InputError(f"“{'/'.join(parts)}” is not installed; install LandmarkFusion again.")
