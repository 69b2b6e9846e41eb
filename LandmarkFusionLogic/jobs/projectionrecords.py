"""What the jobs "drr", "align" and "xray" take and give: paths, numbers and text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from LandmarkFusionLogic.jobs.records import Matrix, VolumeSource

GeometryData = dict[str, Any]
"""A C-arm as its JSON file says it: sdd, rows, columns, spacing [row, column], mm at the detector, and optional
principal_point, source_to_isocenter, mirrored, primary_angle, secondary_angle, name."""


@dataclass(frozen=True)
class XRaySource:
    """Where a job reads an X-ray image: an image or DICOM file, or a ``.npy`` (rows, columns) or (1, rows, columns).

    ``bones``: auto, bright or dark in the file. ``intensity``: auto; linear where the gray values are proportional to
    the beam, so that their logarithm is taken; or log where they are not. ``frame`` (1, 2, …) picks one of several.
    ``ijk_to_ras`` says nothing here: the geometry says where pixels lie.
    """

    path: str
    ijk_to_ras: Matrix | None = None
    series: int | None = None
    bones: str = "auto"
    intensity: str = "auto"
    frame: int | None = None


@dataclass(frozen=True)
class DrrRequest:
    """Project ``ct`` with the pose rx, ry, rz (degrees), tx, ty, tz (mm).

    ``out`` is a picture or image file, beside which a ``.json`` of the same stem appears. ``live`` is a raw file of
    rows · columns little-endian float32, written in place through a memory map and made where it is missing.
    ``quality`` fast projects a CT that is averaged down once to at most 128 voxels a side.
    """

    ct: VolumeSource
    geometry: GeometryData
    pose: list[float]
    out: str | None = None
    live: str | None = None
    quality: str = "fine"


@dataclass(frozen=True)
class DrrResult:
    """The projection that was written: its size, smallest and largest line integral, and share of rays that meet CT.

    ``ct_to_camera`` is 4x4 row-major, RAS mm to camera mm.
    """

    pose: list[float]
    ct_to_camera: Matrix
    rows: int
    columns: int
    low: float
    high: float
    seen: float
    image: str | None = None
    report: str | None = None
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class AlignRequest:
    """Find the pose of ``ct`` that explains ``xray``, and ``xray2`` where there is one; results go to ``out``.

    ``geometry`` None takes that of the DICOM tags, ``geometry2`` None that of the second X-ray's tags or the first's.
    Where the second camera stands: ``from_first`` (4x4, first camera mm to second camera mm), or ``pose`` and
    ``pose2`` as set on the device, or the positioner angles of both. ``model`` is the folder of networks of one's own.
    """

    ct: VolumeSource
    xray: XRaySource
    out: str
    geometry: GeometryData | None = None
    xray2: XRaySource | None = None
    geometry2: GeometryData | None = None
    pose: list[float] | None = None
    pose2: list[float] | None = None
    from_first: Matrix | None = None
    method: str = "ours"
    model: str | None = None
    device: str = "auto"


@dataclass(frozen=True)
class AlignResult:
    """The pose found, how good it is, and what was written (paths in the request's folder).

    ``curve`` holds pairs of iteration and similarity. ``geometry`` is that of ``drr`` and ``xray``, which lie on one
    grid; those of a second view end in 2 and are None without one.
    """

    pose: list[float]
    ct_to_camera: Matrix
    start: list[float]
    method: str
    similarity_before: float
    similarity_after: float
    curve: list[list[float]]
    geometry: GeometryData
    transform: str
    drr: str
    xray: str
    overlay: str
    report: str
    similarity: str
    geometry2: GeometryData | None = None
    ct_to_camera2: Matrix | None = None
    drr2: str | None = None
    xray2: str | None = None
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class ReadXRayRequest:
    """Read an X-ray image into the folder ``out``, and what its file says of the C-arm."""

    xray: XRaySource
    out: str


@dataclass(frozen=True)
class ReadXRayResult:
    """``image`` is a ``.npy`` (rows, columns) float32 with bright bones, ``mask`` one of bool, None: all is valid.

    ``geometry`` is None where the file holds none; ``sources`` says for its fields which tag they come from.
    ``bones`` says how they were in the file, and ``guessed`` whether that was guessed from the image.
    """

    image: str
    rows: int
    columns: int
    bones: str
    guessed: bool
    mask: str | None = None
    geometry: GeometryData | None = None
    sources: dict[str, str] = field(default_factory=dict)
    modality: str | None = None
    warnings: list[str] = field(default_factory=list)
