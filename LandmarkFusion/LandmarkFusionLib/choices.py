"""The networks that this user can choose: those that ship, and folders kept in the application's settings."""

from collections.abc import Iterable

import slicer

from LandmarkFusionLogic.landmarks import choices as networks
from LandmarkFusionLogic.landmarks.choices import NetworkChoice

SETTING = "LandmarkFusion/networkFolders"


def available() -> list[NetworkChoice]:
    """Everything that can be chosen, the default first."""
    return networks.choices(_folders())


def add(folder: str) -> NetworkChoice:
    """Keep a folder of networks in the settings. Raises InputError where it holds none."""
    choice = networks.own(folder)
    kept = [each for each in _folders() if each != folder]
    _keep([*kept, folder])
    return choice


def _folders() -> list[str]:
    # A list of one comes back as a text.
    value = slicer.app.userSettings().value(SETTING)
    return [value] if isinstance(value, str) else [str(each) for each in value or [] if each]


def _keep(folders: Iterable[str]) -> None:
    slicer.app.userSettings().setValue(SETTING, list(folders))
