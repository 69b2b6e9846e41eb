"""Which networks there are: folders in ``models/``, chosen by name or by path. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError

DEFAULTS = "landmark-networks.json"
METADATA = Path("configs", "metadata.json")


def network_folder(modality: str, model: str | Path | None = None) -> Path:
    """The folder of the network for ``modality`` (mr, us): the default one, or the one that ``model`` says.

    ``model`` is a folder, or the name of one that ships. Raises InputError where there is none.
    """
    if model is None:
        return assets.path("models", default_name(modality))
    if Path(model).is_dir():
        return Path(model)
    name = str(model)
    # A plain name is looked for among those that ship; anything else was meant as a folder.
    if name and Path(name).name == name:
        try:
            return assets.path("models", name)
        except InputError:
            pass
    raise InputError(f"There is no network “{Path(name).name}”; give the folder of one.")


def default_name(modality: str) -> str:
    """The name of the network that is used unless another was chosen.

    Raises InputError where the list of defaults is damaged.
    """
    try:
        path = assets.path("models", DEFAULTS)
    except InputError:
        return f"{modality}-landmarks"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["default"][modality])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"“{DEFAULTS}” is damaged; install LandmarkFusion again.") from error


def second_folder(modality: str) -> Path | None:
    """The folder of the network that the default one is compared with; None where it is not installed."""
    try:
        return assets.path("models", "comparison", f"{modality}-baseline")
    except InputError:
        return None


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """What the network in ``folder`` says of itself.

    Raises InputError where it says nothing that can be read.
    """
    try:
        data = json.loads((Path(folder) / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"“{Path(folder).name}” is no folder of a network, or a damaged one.") from error
    if not isinstance(data, dict):
        raise InputError(f"“{Path(folder).name}” is no folder of a network, or a damaged one.")
    return data
