"""One typed request and result per user action; what the panel, the command line and cohort runs all call.

Requests and results hold paths, numbers and text only, so that each turns into JSON and back (`to_json`, `from_json`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Matrix = list[list[float]]
Report = Callable[[float, str], None]
"""Called with the fraction done (0..1) and one short sentence."""


@dataclass(frozen=True)
class VolumeSource:
    """Where a job reads a volume: an image file or a DICOM folder, or a ``.npy`` (K, J, I) with its affine beside it.

    ``ijk_to_ras`` is the 4x4 row-major affine to RAS mm, needed for ``.npy`` and forbidden otherwise.
    """

    path: str
    ijk_to_ras: Matrix | None = None


@dataclass(frozen=True)
class LandmarkRecord:
    """A landmark as JSON: position (3) RAS mm, covariance 3x3 mm² or None, state detected | edited | placed."""

    name: str
    position: list[float]
    covariance: Matrix | None = None
    state: str = "placed"


@dataclass(frozen=True)
class DetectRequest:
    """Find the landmarks of one volume. ``modality`` is "mr" or "us"; ``device`` auto | cuda | mps | cpu."""

    volume: VolumeSource
    modality: str
    device: str = "auto"


@dataclass(frozen=True)
class DetectResult:
    """The landmarks found, what found them and on what, and plain warnings for the user."""

    modality: str
    landmarks: list[LandmarkRecord]
    model: str
    device: str
    seconds: float
    warnings: list[str] = field(default_factory=list)
