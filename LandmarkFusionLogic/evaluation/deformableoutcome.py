"""What was measured of one deformed pair, and its file, so that an evaluation can go on where it ended."""

from __future__ import annotations

import json
import os
import re
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.errors import InputError

NONE = "none"
"""The name of the registration without landmarks."""
BINS_MM = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0)
"""Sizes of the underlying deformation, limits of the bins."""


@dataclass(frozen=True)
class Matching:
    """What one source found: matching errors and true displacement of each pair (mm), the errors before any removal.

    ``seconds`` are CPU seconds of the search, without the affine alignment before it. Of a network: the beginning of
    its weights' SHA-256 in ``network``, its ``title`` and its ``steps`` of training.
    """

    errors: list[float]
    motion: list[float]
    unchecked: list[float]
    seconds: float
    network: str = ""
    title: str = ""
    steps: int = 0


@dataclass(frozen=True)
class Registration:
    """TRE of the validation landmarks (mm), least Jacobian and folded share of the body, CPU seconds of elastix.

    ``weights`` are those that were chosen for the pair, if they were.
    """

    errors: list[float]
    least: float
    folded: float
    seconds: float
    weights: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Planted:
    """``share`` of the pairs made wrong: how many of these were removed, and how many right ones with them."""

    share: float
    found: float
    lost: float
    left: float


@dataclass
class Outcome:
    """All figures of one case.

    ``voxels`` counts the body's voxels in each bin of `BINS_MM`, ``shape`` is the fixed volume's (K, J, I).
    ``registration`` is keyed by the name of a row, see `deformable.rows`; ``initial`` (4, 4) is the affine map from
    moving to fixed points, RAS mm, that all rows start from.
    """

    dataset: str
    seed: int
    motion: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    affine: Registration | None = None
    voxels: list[int] = field(default_factory=list)
    matching: dict[str, Matching] = field(default_factory=dict)
    registration: dict[str, Registration] = field(default_factory=dict)
    planted: list[Planted] = field(default_factory=list)
    initial: list[list[float]] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)


def file_of(folder: str | None, dataset: str, seed: int, preset: str) -> Path | None:
    """Where the outcome of a case is kept; None without a folder."""
    return Path(folder) / f"{dataset}-{seed}-{preset}.json" if folder else None


def write_outcome(file: Path, outcome: Outcome) -> None:
    """Write ``outcome`` as JSON, in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(outcome)), encoding="ascii")
    part.replace(file)


def read_outcome(file: Path) -> Outcome:
    """Raises InputError where ``file`` is no outcome."""
    try:
        data = json.loads(file.read_text(encoding="ascii"))
        data["affine"] = Registration(**data["affine"]) if data["affine"] else None
        data["matching"] = {name: Matching(**values) for name, values in data["matching"].items()}
        data["registration"] = {name: Registration(**values) for name, values in data["registration"].items()}
        data["planted"] = [Planted(**values) for values in data["planted"]]
        return Outcome(**data)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"“{file.name}” in the run's folder is damaged; delete it.") from error


def write_pairs(file: Path, source: str, pairs: Correspondences) -> None:
    """Keep the pairs that ``source`` found beside the outcome's ``file``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(_pairs_file(file, source), fixed=pairs.fixed, moving=pairs.moving, confidence=pairs.confidence)


def read_pairs(file: Path, source: str) -> Correspondences | None:
    """The pairs that were kept, or None where there are none (or half-written ones)."""
    try:
        with np.load(_pairs_file(file, source)) as kept:
            return Correspondences(kept["fixed"], kept["moving"], kept["confidence"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _pairs_file(file: Path, source: str) -> Path:
    return file.with_name(f"{file.stem}-{re.sub('[^A-Za-z0-9.-]+', '_', source)}.npz")
