"""Which networks for matching there are: folders in ``models/``, chosen by name or by path. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError

PREFIX = "dcnn"
"""Names of networks begin with this; the bare word is the default network."""
DEFAULTS = "match-networks.json"


def is_network(method: str) -> bool:
    """Whether the name of a matching method is a network's, or the folder of one."""
    return method == PREFIX or method.startswith(f"{PREFIX}-") or Path(method).is_dir()


def default_name() -> str:
    """The name of the network that “dcnn” stands for: the better one on unseen simulated anatomy.

    Raises InputError where it is not installed.
    """
    try:
        return str(json.loads(assets.path("models", DEFAULTS).read_text(encoding="utf-8"))["default"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"“{DEFAULTS}” is damaged; install LandmarkFusion again.") from error


def network_folder(model: str) -> Path:
    """The folder of the network ``model``: a folder, a name of one that ships, or “dcnn”.

    Raises InputError where there is none.
    """
    if Path(model).is_dir():
        return Path(model)
    name = default_name() if model == PREFIX else model
    if is_network(name) and Path(name).name == name:
        try:
            return assets.path("models", name)
        except InputError:
            pass
    raise InputError(
        f"There is no source of corresponding points “{Path(model).name}”; choose mind, dcnn, or the name or folder "
        "of a network."
    )
