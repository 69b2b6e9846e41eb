"""A landmark network as data: a folder in the layout of a MONAI bundle, checked before it is used.

``configs/metadata.json`` says what the network takes and gives, ``models/model.pt`` holds its weights (a state dict,
read with ``weights_only=True``; they may be stored in half precision), whose SHA-256 stands in the metadata. A folder
``fine/`` of the same layout inside of it is the network of the second stage, which sees a crop around the gland.
Needs torch.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.confidence import Calibration
from LandmarkFusionLogic.landmarks.network import LandmarkNetwork
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing

METADATA = Path("configs", "metadata.json")
WEIGHTS = Path("models", "model.pt")
FINE = "fine"
KINDS = ("simulation", "research", "own")


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network ready to run on the CPU, with what its metadata says about it.

    ``fine`` is the network of the second stage, if there is one. ``calibration`` is that of the whole detection.
    """

    name: str
    version: str
    modality: str
    landmarks: tuple[str, ...]
    grid: InputGrid
    preprocessing: Preprocessing
    network: LandmarkNetwork
    metadata: dict[str, Any]
    calibration: Calibration
    fine: Bundle | None = None

    @property
    def caution(self) -> str:
        """What its maker wants said with every result; empty for none."""
        return str(self.metadata.get("caution", ""))

    @property
    def kind(self) -> str:
        """How it came about: simulation, research (fine-tuned on real images), or own (the user's)."""
        return str(self.metadata.get("kind", "own"))

    @property
    def discrepancy_mm(self) -> float | None:
        """The distance to a second network's landmark from which on the two disagree; None where nobody knows."""
        value = self.metadata.get("discrepancy_mm")
        return None if value is None else float(value)

    @property
    def title(self) -> str:
        """Name and version, for reports."""
        return f"{self.name} {self.version}"


def load_bundle(folder: str | Path) -> Bundle:
    """The network in ``folder``, in evaluation mode; loaded once per process and state of its files.

    Raises InputError if files are missing, damaged, or not those the metadata was written for.
    """
    folder = Path(folder)
    bundle = _load(folder.resolve(), _stamps(folder))
    if not (folder / FINE).is_dir():
        return bundle
    return _joined(bundle, _load((folder / FINE).resolve(), _stamps(folder / FINE)))


@lru_cache(maxsize=8)
def _joined(bundle: Bundle, fine: Bundle) -> Bundle:
    if (fine.modality, fine.landmarks) != (bundle.modality, bundle.landmarks):
        raise InputError(f"The two stages of the network “{bundle.name}” do not belong together; install it again.")
    return replace(bundle, fine=fine)


def _stamps(folder: Path) -> tuple[int, ...]:
    """When the files last changed."""
    try:
        return tuple((folder / part).stat().st_mtime_ns for part in (METADATA, WEIGHTS))
    except OSError as error:
        raise InputError(
            f"The network “{folder.name}” is not complete (metadata or weights are missing); install it again."
        ) from error


@lru_cache(maxsize=16)
def _load(folder: Path, stamps: tuple[int, ...]) -> Bundle:
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        grid = metadata["grid"]
        preprocessing = dict(metadata["preprocessing"])
        preprocessing["percentiles"] = tuple(preprocessing["percentiles"])
        _check_sum(folder / WEIGHTS, metadata["sha256"])
        network = LandmarkNetwork(**metadata["network"])
        network.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True))
        bundle = Bundle(
            name=str(metadata["name"]),
            version=str(metadata["version"]),
            modality=str(metadata["modality"]),
            landmarks=tuple(metadata["landmarks"]),
            grid=InputGrid(float(grid["spacing_mm"]), tuple(int(n) for n in grid["shape"])),  # type: ignore[arg-type]
            preprocessing=Preprocessing(**preprocessing),
            network=network.eval().requires_grad_(False),
            metadata=metadata,
            calibration=Calibration.from_metadata(metadata.get("calibration"), len(metadata["landmarks"])),
        )
        _check_kind(bundle)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"The network “{folder.name}” is damaged or made for another version; install it again."
        ) from error
    if len(bundle.landmarks) != network.landmarks:
        raise InputError(f"The network “{folder.name}” does not name each of its landmarks; install it again.")
    return bundle


def _check_kind(bundle: Bundle) -> None:
    if bundle.kind not in KINDS or not (bundle.discrepancy_mm is None or bundle.discrepancy_mm > 0):
        raise ValueError("the metadata says what nobody understands")


def _check_sum(weights: Path, expected: str) -> None:
    if hashlib.sha256(weights.read_bytes()).hexdigest() != expected:
        raise ValueError("the weights are not those that the metadata describes")
