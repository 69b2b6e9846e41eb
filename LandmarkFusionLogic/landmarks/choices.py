"""What the user chooses between: the networks that ship, and folders of the user's own, MR and US together.

Reads metadata only, never weights; needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.networks import METADATA, default_name, read_metadata

MODALITIES = ("mr", "us")
RECOMMENDED = "recommended"
SIMULATION, RESEARCH, OWN = "simulation", "research", "own"
SHIPPED = {SIMULATION: "{modality}-landmarks", RESEARCH: "{modality}-landmarks-research"}
TITLES = {SIMULATION: "Simulation only", RESEARCH: "Research"}


@dataclass(frozen=True)
class NetworkChoice:
    """What the user chooses between: a network for each modality.

    ``key`` tells choices apart and is kept in scenes, so it says nothing of the disk; ``kind`` is simulation, research
    or own. ``folders`` maps "mr" and "us" to the folder of a network; a modality that is missing takes the default
    network. ``kinds`` says of each modality what its network is.
    """

    key: str
    title: str
    kind: str
    folders: dict[str, Path] = field(compare=False)
    kinds: dict[str, str] = field(compare=False, default_factory=dict)


def shipped() -> list[NetworkChoice]:
    """The networks that ship and are there, the default one first."""
    found = []
    for kind, pattern in SHIPPED.items():
        folders = {
            modality: folder for modality in MODALITIES if (folder := _shipped(pattern.format(modality=modality)))
        }
        if folders:
            found.append(NetworkChoice(kind, _title(folders, TITLES[kind]), kind, folders))
    defaults = {modality: default_name(modality) for modality in MODALITIES}
    first = [each for each in found if {key: folder.name for key, folder in each.folders.items()} == defaults]
    if found and not first:  # The best network of each modality is of another kind.
        folders = {modality: folder for modality, name in defaults.items() if (folder := _shipped(name))}
        first = [NetworkChoice(RECOMMENDED, _title(folders, RECOMMENDED), _kind(folders), folders, _kinds(folders))]
    return [*first, *(each for each in found if each not in first)]


def own(folder: str | Path) -> NetworkChoice:
    """The networks in a folder of the user's: one network, or a folder that holds one for each modality.

    Raises InputError where there is none.
    """
    folder = Path(folder)
    places = [folder]
    if not (folder / METADATA).is_file() and folder.is_dir():
        places = sorted(child for child in folder.iterdir() if (child / METADATA).is_file())
    folders: dict[str, Path] = {}
    for place in places:
        modality = str(_metadata(place).get("modality"))
        if modality in MODALITIES:
            folders.setdefault(modality, place)
    if not folders:
        raise InputError(f"The folder “{folder.name}” holds no network; choose one that Landmark Fusion has made.")
    sums = "".join(str(_metadata(place).get("sha256", "")) for place in folders.values())
    key = f"{OWN}:{hashlib.sha256(sums.encode()).hexdigest()[:16]}"
    return NetworkChoice(key, _title(folders, folder.name), OWN, folders)


def choices(own_folders: Iterable[str]) -> list[NetworkChoice]:
    """Everything that can be chosen; folders that are gone or damaged are left out."""
    found = shipped()
    for folder in own_folders:
        with suppress(InputError):
            found.append(own(folder))
    return found


def _shipped(name: str) -> Path | None:
    try:
        return assets.path("models", name, *METADATA.parts).parents[1]
    except InputError:
        return None


def _title(folders: dict[str, Path], otherwise: str) -> str:
    """What the networks call themselves; where MR and US differ both are named."""
    titles = dict.fromkeys(str(_metadata(folder).get("title") or otherwise) for folder in folders.values())
    return " / ".join(titles)


def _kind(folders: dict[str, Path]) -> str:
    """Research where any of the networks is."""
    return RESEARCH if RESEARCH in _kinds(folders).values() else SIMULATION


def _kinds(folders: dict[str, Path]) -> dict[str, str]:
    return {modality: str(_metadata(folder).get("kind") or SIMULATION) for modality, folder in folders.items()}


def _metadata(folder: Path) -> dict[str, Any]:
    """What a network says of itself; {} for one that says nothing."""
    try:
        return read_metadata(folder)
    except InputError:
        return {}
