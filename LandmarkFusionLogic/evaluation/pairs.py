"""MR/US pairs with their truth and with what the networks find in them: what the rigid tables are computed from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from LandmarkFusionLogic.datasets.mrus27 import fold_of, true_landmarks
from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.landmarks.detection import detect_landmarks
from LandmarkFusionLogic.landmarks.networks import network_folder
from LandmarkFusionLogic.points import FloatArray, Landmark
from LandmarkFusionLogic.simulation.case import simulate_case
from LandmarkFusionLogic.volume import Volume

SPACING_MM = 1.2
"""In-plane voxel size at which pairs are simulated for the tables; clinical images have about half of it."""


@dataclass(frozen=True)
class Side:
    """One image of a pair: the true gland ``mask`` (0/1) and ``true`` landmarks, as far as they are known, and what
    the network finds: ``found`` landmarks and ``gland``, None where it sees none; ``centre`` (3,) is the middle of the
    volume. All RAS mm.
    """

    mask: Volume
    true: tuple[Landmark, ...]
    found: tuple[Landmark, ...]
    gland: Gland | None
    centre: FloatArray = field(compare=False)


@dataclass(frozen=True)
class DetectedPair:
    """A pair of images of one man."""

    name: str
    mr: Side
    us: Side


@dataclass(frozen=True)
class Networks:
    """Names or folders of the two networks; None stands for the default ones."""

    mr: str | None = None
    us: str | None = None

    def folder(self, modality: str) -> Path:
        """The folder of the network of ``modality``: mr, us. Raises InputError where there is none."""
        return network_folder(modality, self.mr if modality == "mr" else self.us)


def simulated_pair(seed: int, networks: Networks, device: str) -> DetectedPair:
    """The simulated pair of ``seed`` at `SPACING_MM`, with what the networks find in it."""
    case = simulate_case(seed, mr_spacing_mm=SPACING_MM, us_spacing_mm=SPACING_MM)
    return DetectedPair(
        str(seed),
        _side(case.mr, case.mr_gland, case.mr_landmarks, "mr", networks, device),
        _side(case.us, case.us_gland, case.us_landmarks, "us", networks, device),
    )


def real_pair(folder: Path, networks: Networks, device: str) -> DetectedPair:
    """The pair of mrus-27 in ``folder``, with what the networks find in it."""
    sides = []
    for modality in ("mr", "us"):
        volume = read_volume(folder / f"{modality}.nrrd")
        mask = read_volume(folder / f"{modality}-gland.nrrd", "gland mask")
        true = tuple(Landmark(name, place) for name, place in true_landmarks(folder, modality).items())
        sides.append(_side(volume, mask, true, modality, networks, device))
    return DetectedPair(folder.name, sides[0], sides[1])


def fold_networks(folder: Path, case: Path) -> Networks:
    """The networks below ``folder`` (mr-0, us-0, … us-2) that were not trained on the case in the folder ``case``."""
    return Networks(*(str(folder / f"{modality}-{fold_of(case)}") for modality in ("mr", "us")))


def _side(
    volume: Volume, mask: Volume, true: tuple[Landmark, ...], modality: str, networks: Networks, device: str
) -> Side:
    found = detect_landmarks(volume, modality, device, networks.folder(modality))
    return Side(mask, true, found.landmarks, found.gland, volume.centre)
