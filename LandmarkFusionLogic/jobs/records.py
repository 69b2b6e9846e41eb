"""What several jobs take and give: volumes, landmarks and glands as paths, numbers and text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import Landmark

if TYPE_CHECKING:
    from LandmarkFusionLogic.gland import Gland

Matrix = list[list[float]]

Report = Callable[[float, str], None]
"""Called with the fraction done (0..1) and one short sentence."""

MODALITIES = {"mr": "MR", "us": "US"}


@dataclass(frozen=True)
class VolumeSource:
    """Where a job reads a volume: an image file or a DICOM folder, or a ``.npy`` (K, J, I) with its affine beside it.

    ``ijk_to_ras`` is the 4x4 row-major affine to RAS mm, needed for ``.npy`` and forbidden otherwise. ``series`` (1,
    2, …) picks one of several DICOM series in a folder.
    """

    path: str
    ijk_to_ras: Matrix | None = None
    series: int | None = None


@dataclass(frozen=True)
class LandmarkRecord:
    """A landmark as JSON: position (3) RAS mm, covariance 3x3 mm² or None, state detected | edited | placed."""

    name: str
    position: list[float]
    covariance: Matrix | None = None
    state: str = "placed"


@dataclass(frozen=True)
class GlandRecord:
    """The gland of one image: centroid (3) RAS mm with covariance 3x3 mm², volume in ml.

    ``path`` is the ``.npy`` file of its probability, float32 (K, J, I), whose affine is ``ijk_to_ras`` (4x4 to RAS
    mm); None where none was asked for.
    """

    path: str | None
    ijk_to_ras: Matrix
    centroid: list[float]
    centroid_covariance: Matrix
    millilitres: float


def record(landmark: Landmark) -> LandmarkRecord:
    """``landmark`` as JSON-ready record."""
    covariance = None if landmark.covariance is None else np.asarray(landmark.covariance).tolist()
    return LandmarkRecord(landmark.name, [float(value) for value in landmark.position], covariance, landmark.state)


def landmark(item: LandmarkRecord) -> Landmark:
    """The landmark of a record."""
    covariance = None if item.covariance is None else np.array(item.covariance, dtype=np.float64)
    return Landmark(item.name, np.array(item.position, dtype=np.float64), covariance, item.state)


def landmarks(items: Iterable[LandmarkRecord]) -> list[Landmark]:
    """The landmarks of records."""
    return [landmark(item) for item in items]


def gland_record(gland: Gland, out: str | None) -> GlandRecord:
    """``gland`` as JSON-ready record; its probability is written to ``gland.npy`` in the folder ``out``, if given.

    Raises InputError if it cannot be written.
    """
    path = None if out is None else Path(out) / "gland.npy"
    if path is not None:
        try:
            np.save(path, np.asarray(gland.probability.array, dtype=np.float32))
        except OSError as error:
            raise InputError("The gland cannot be written; choose another folder.") from error
    return GlandRecord(
        path=None if path is None else str(path),
        ijk_to_ras=gland.probability.ijk_to_ras.tolist(),
        centroid=gland.centroid.tolist(),
        centroid_covariance=gland.centroid_covariance.tolist(),
        millilitres=gland.millilitres,
    )


def part(report: Report, start: float, end: float) -> Report:
    """A report whose 0..1 is the stretch ``start``..``end`` of ``report``."""
    return lambda fraction, text: report(start + fraction * (end - start), text)
