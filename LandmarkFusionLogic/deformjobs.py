"""The jobs of the deformable registration: find correspondences, and register with elastix.

As in `LandmarkFusionLogic.jobs`: paths, numbers and text only, so that requests and results turn into JSON and back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from LandmarkFusionLogic.jobs import Matrix, VolumeSource

Report = Callable[[float, str], None]
PRESETS = ("fast", "paper")


@dataclass(frozen=True)
class PointPair:
    """A point of the fixed volume and the one in the moving volume that shows the same anatomy, RAS mm each."""

    fixed: list[float]
    moving: list[float]
    confidence: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class MatchRequest:
    """Find pairs of points. ``initial`` (4x4, row-major, RAS mm) maps points of the moving volume to the fixed one.

    ``method``: mind, or the name of a network. ``region`` bounds the fixed volume: [R0, R1, A0, A1, S0, S1], RAS mm.
    """

    fixed: VolumeSource
    moving: VolumeSource
    method: str = "mind"
    fixed_mask: VolumeSource | None = None
    moving_mask: VolumeSource | None = None
    initial: Matrix | None = None
    region: list[float] | None = None
    device: str = "auto"


@dataclass(frozen=True)
class MatchResult:
    """``pairs`` that passed the check of local consistency, ``removed`` that did not, by ``method``."""

    pairs: list[PointPair]
    removed: int
    method: str
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class TargetError:
    """Distance in mm between points of equal ``name`` in both volumes: at the start, and after the registration."""

    name: str
    before_mm: float
    after_mm: float


@dataclass(frozen=True)
class DeformRequest:
    """Register ``moving`` to ``fixed`` and write the result into the new folder ``out``.

    ``landmarks``: none, points (``pairs`` guide), mind, or the name of a network. ``initial`` as in `MatchRequest`.
    ``targets`` guide nothing: their distances before and after are told. ``elastix`` is a folder or an executable
    that the user has set; None looks for one.
    """

    fixed: VolumeSource
    moving: VolumeSource
    out: str
    landmarks: str = "none"
    preset: str = "fast"
    pairs: list[PointPair] = field(default_factory=list)
    targets: list[PointPair] = field(default_factory=list)
    fixed_mask: VolumeSource | None = None
    moving_mask: VolumeSource | None = None
    initial: Matrix | None = None
    region: list[float] | None = None
    elastix: str | None = None
    choose_weights: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class DeformResult:
    """What was written, and how good it is.

    ``transform``, ``warped``, ``jacobian``, ``report`` and ``log`` are paths in the request's folder. ``folded`` is the
    share of the voxels in the fixed body whose Jacobian determinant is not positive. ``pairs`` guided the
    registration. ``similarity_before`` and ``similarity_after`` are of one image similarity, larger is better.
    """

    transform: str
    warped: str
    jacobian: str
    report: str
    log: str
    pairs: list[PointPair]
    jacobian_min: float
    jacobian_max: float
    folded: float
    similarity_before: float
    similarity_after: float
    targets: list[TargetError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
