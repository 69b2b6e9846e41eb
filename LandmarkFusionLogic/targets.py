"""Targets: what was marked in the MR, carried over to the ultrasound with the error to expect. Read, moved, written.

Fiducials (``.mrk.json``, ``.fcsv``), surfaces (``.stl``) and masks (any image file, a segmentation of Slicer too).
Files hold LPS unless they say otherwise; in memory there is RAS only. A file's name, which may name a patient, is not
kept.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import FloatArray

POINT, SEGMENT, MODEL = "point", "segment", "model"
KINDS = (POINT, SEGMENT, MODEL)
UNNAMED = "Target"
MOST_LABELS = 30
"""A mask with more labels than this is an image that was taken for one."""
LARGEST_MM = 300.0
"""A surface larger than this is no target of a prostate, or was stored in another unit."""

_HEADER, _FACET = 84, 50
"""Bytes of a binary STL before its triangles, and of each triangle."""
_FLIP = np.array([-1.0, -1.0, 1.0])
_COLUMNS = ("name", "kind", "us_r_mm", "us_a_mm", "us_s_mm", "expected_error_rms_mm", "mr_r_mm", "mr_a_mm", "mr_s_mm")


class Fit(Protocol):
    """A rigid fit that knows how wrong it may be: `rigid.landmarks.LandmarkFit`."""

    @property
    def mr_to_us(self) -> FloatArray:
        """(4, 4) from RAS mm points of the MR to points of the US."""

    def expected_error(self, points: npt.ArrayLike) -> FloatArray:
        """(N,) root-mean-square error in mm to expect at ``points`` (N, 3), RAS mm of the MR."""


@dataclass(frozen=True)
class Target:
    """Something marked in the MR: its ``points`` (N, 3), N ≥ 1, RAS mm: itself, a surface's or a mask's voxels.

    ``kind`` is one of `KINDS`.
    """

    name: str
    points: FloatArray = field(compare=False)
    kind: str = POINT

    @property
    def centre(self) -> FloatArray:
        """(3,) RAS mm: the mean of its points."""
        return np.asarray(np.asarray(self.points, dtype=np.float64).mean(axis=0))


@dataclass(frozen=True)
class CarriedTarget:
    """A target in the ultrasound.

    ``centre`` (3,) and ``points`` (N, 3) are RAS mm of the US; ``mr_centre`` (3,) is where it was marked, RAS mm of
    the MR; ``expected_error`` is the root-mean-square error to expect at its centre, mm.
    """

    name: str
    centre: FloatArray = field(compare=False)
    expected_error: float
    points: FloatArray = field(compare=False)
    kind: str = POINT
    mr_centre: FloatArray = field(default_factory=lambda: np.full(3, np.nan), compare=False)


def carry_over(targets: Iterable[Target], fit: Fit) -> list[CarriedTarget]:
    """``targets`` of the MR moved by ``fit``, in their order; of equal names the second gets a number.

    Raises InputError for a target without points or with points that are not finite.
    """
    carried = []
    taken: set[str] = set()
    for target in targets:
        points = np.asarray(target.points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1:] != (3,) or len(points) == 0 or not np.all(np.isfinite(points)):
            raise InputError(f"The target “{target.name}” has no usable position; mark it again.")
        name = _free(target.name.strip() or UNNAMED, taken)
        taken.add(name)
        rotation, shift = fit.mr_to_us[:3, :3], fit.mr_to_us[:3, 3]
        centre = points.mean(axis=0)
        error = float(fit.expected_error(centre[None])[0])
        moved = points @ rotation.T + shift
        carried.append(CarriedTarget(name, rotation @ centre + shift, error, moved, target.kind, centre))
    return carried


def read_targets(path: str | Path) -> list[Target]:
    """The targets in a file, RAS mm: each placed point, one surface, or each label of a mask.

    Raises InputError if the file cannot be read or shows no target.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"The file of the targets “{path.name}” does not exist; choose points, a surface or a mask.")
    name = path.name.lower()
    if name.endswith((".json", ".fcsv")):
        return _read_points(path)
    if name.endswith(".stl"):
        return [Target(surface_name(path.name), _read_stl(path), MODEL)]
    return _read_mask(path)


def write_targets(path: str | Path, carried: Iterable[CarriedTarget]) -> None:
    """Write the targets' centres in the US as a Slicer point list (``.mrk.json``, LPS), the expected error with each.

    Raises InputError if the file cannot be written.
    """
    from LandmarkFusionLogic.markupsfile import write_points

    write_points(path, [(t.name, t.centre, f"expected error {t.expected_error:.1f} mm (rms)") for t in carried])


def write_csv(path: str | Path, carried: Iterable[CarriedTarget]) -> None:
    """Write the targets as a table, RAS mm: name, kind, place in the US, expected error, place in the MR.

    Raises InputError if the file cannot be written.
    """
    try:
        with Path(path).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(_COLUMNS)
            for t in carried:
                us, mr = ([f"{value:.3f}" for value in place] for place in (t.centre, t.mr_centre))
                writer.writerow([t.name, t.kind, *us, f"{t.expected_error:.2f}", *mr])
    except OSError as error:
        raise InputError(f"“{Path(path).name}” cannot be written; choose another folder.") from error


def _free(name: str, taken: set[str]) -> str:
    candidates: Iterator[str] = (name if n == 1 else f"{name} {n}" for n in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)


def _read_points(path: Path) -> list[Target]:
    from LandmarkFusionLogic.markupsfile import read_points

    found = [Target(point.name or UNNAMED, point.position[None], POINT) for point in read_points(path, "targets")]
    if not found:
        raise InputError(f"The file of the targets “{path.name}” holds no placed points; place them in the MR first.")
    return found


def surface_name(filename: str) -> str:
    """What a surface's file name says of the target, and nothing of the patient."""
    # Prostate-MRI-US-Biopsy-0126-Target1-seriesUID-….STL: what lies in front of the target's name is the patient's.
    match = re.search(r"(?<![A-Za-z])(Target[ _-]?\d+|ROI[ _-]?\d+|Lesion[ _-]?\d+)(?!\d)", filename, re.IGNORECASE)
    return match.group(1) if match else UNNAMED


def _read_stl(path: Path) -> FloatArray:
    """(N, 3) RAS mm: the different corners of the triangles, as they come."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"The surface “{path.name}” cannot be opened; check its permissions.") from error
    corners, header = _stl_corners(data)
    if len(corners) == 0 or not np.all(np.isfinite(corners)):
        raise InputError(f"The surface “{path.name}” is no STL file or is damaged; export it again.")
    size = float((corners.max(axis=0) - corners.min(axis=0)).max())
    if size > LARGEST_MM:
        raise InputError(f"The surface “{path.name}” measures {size:.0f} mm; choose a target in mm.")
    _, first = np.unique(corners, axis=0, return_index=True)
    corners = corners[np.sort(first)].astype(np.float64)
    # Slicer says in the header which axes it has used; without a word they are LPS.
    return corners if "SPACE=RAS" in header.upper() else corners * _FLIP


def _stl_corners(data: bytes) -> tuple[FloatArray, str]:
    """Corners (3 M, 3) as stored, and the header; no corners where ``data`` is no STL."""
    header = data[: _HEADER - 4].decode("ascii", "replace")
    count = int.from_bytes(data[_HEADER - 4 : _HEADER], "little") if len(data) >= _HEADER else 0
    # "solid" begins a text file, and many a binary one, whose size gives it away.
    if count and len(data) == _HEADER + _FACET * count:
        facets = np.frombuffer(data, np.uint8, offset=_HEADER).reshape(count, _FACET)
        # Normal, three corners, two bytes of nothing.
        numbers = np.ascontiguousarray(facets[:, 12:48]).view("<f4")
        return numbers.reshape(-1, 3).astype(np.float64), header
    if data.lstrip()[:5].lower() != b"solid":
        return np.zeros((0, 3)), header
    text = data.decode("utf-8", "replace")
    found = re.findall(r"^\s*vertex\s+(\S+)\s+(\S+)\s+(\S+)\s*$", text, re.MULTILINE | re.IGNORECASE)
    try:
        corners = np.array([[float(value) for value in row] for row in found]).reshape(-1, 3)
    except ValueError:
        corners = np.zeros((0, 3))
    return corners if len(corners) % 3 == 0 else np.zeros((0, 3)), text.lstrip().partition("\n")[0]


def _read_mask(path: Path) -> list[Target]:
    import SimpleITK as sitk

    from LandmarkFusionLogic.imageio import LPS_TO_RAS

    wrong = f"“{path.name}” holds no targets that can be read; choose points (.mrk.json), a surface (.stl) or a mask."
    if path.is_dir():
        raise InputError(wrong)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(wrong) from error
    if image.GetDimension() != 3:
        raise InputError(f"The mask “{path.name}” is not three-dimensional; choose one on the MR.")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    array = sitk.GetArrayFromImage(image)
    # Segments that overlap lie in layers, one value of a voxel each.
    layers = [array] if image.GetNumberOfComponentsPerPixel() == 1 else list(np.moveaxis(array, -1, 0))
    names = _segment_names(image)
    found: list[Target] = []
    for number, layer in enumerate(layers):
        for label in _labels(layer, path.name):
            index = np.argwhere(layer == label)[:, ::-1].astype(np.float64)
            to_ras = LPS_TO_RAS @ affine
            points = index @ to_ras[:3, :3].T + to_ras[:3, 3]
            found.append(Target(names.get((number, label), f"{UNNAMED} {len(found) + 1}"), points, SEGMENT))
    if not found:
        raise InputError(f"The mask “{path.name}” is empty; mark the targets in it first.")
    return found


def _labels(layer: npt.NDArray[np.generic], name: str) -> Sequence[int]:
    values = np.unique(layer)
    too_many = f"“{name}” is an image and no mask; choose one whose values number the targets."
    if len(values) > MOST_LABELS + 1:
        raise InputError(too_many)
    whole = values.astype(np.float64)
    if not np.all(np.isfinite(whole)) or np.any(whole != np.round(whole)) or whole.min() < 0:
        raise InputError(too_many)
    return [int(value) for value in whole if value > 0]


def _segment_names(image: object) -> dict[tuple[int, int], str]:
    """Names by (layer, label) that a segmentation of Slicer (.seg.nrrd) keeps in its header."""
    keys: Iterable[str] = image.GetMetaDataKeys()  # type: ignore[attr-defined]
    header = {key: image.GetMetaData(key) for key in keys}  # type: ignore[attr-defined]
    names = {}
    for key, name in header.items():
        match = re.fullmatch(r"(Segment\d+)_Name", key)
        if match:
            layer, label = (header.get(f"{match.group(1)}_{part}", "") for part in ("Layer", "LabelValue"))
            if label.isdigit():
                names[int(layer) if layer.isdigit() else 0, int(label)] = name
    return names
