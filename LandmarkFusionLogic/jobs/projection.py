"""The jobs "drr" and "xray": a CT projected at a pose, and an X-ray image read with what its file tells."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from LandmarkFusionLogic import NOTICE, __version__
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.projectionrecords import (
    DrrRequest,
    DrrResult,
    GeometryData,
    ReadXRayRequest,
    ReadXRayResult,
    XRaySource,
)
from LandmarkFusionLogic.jobs.reading import load
from LandmarkFusionLogic.jobs.records import Report, VolumeSource
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLogic.projection.geometry import Geometry
    from LandmarkFusionLogic.projection.pose import Pose
    from LandmarkFusionLogic.projection.projector import Projector
    from LandmarkFusionLogic.projection.xrayfile import XRay

FINE, FAST = "fine", "fast"
FAST_SIDE = 128
"""Voxels a side that a fast projection works with at most."""
CHECKED_SIDE = 32
"""Voxels a side that are enough to find out whether a volume is in the beam."""


@dataclass(frozen=True)
class Projected:
    """A CT made ready for projection: its attenuation in ``projector``, and its center, RAS mm (3,)."""

    projector: Projector
    isocenter: FloatArray

    @cached_property
    def small(self) -> Volume:
        """The attenuation on a few voxels, for checks at every pose."""
        return averaged(self.projector.mu, CHECKED_SIDE)


_kept: dict[tuple[Any, ...], Projected] = {}
"""The last CT, so that the next pose needs neither reading nor conversion; a worker outlives its jobs."""


def drr(request: DrrRequest, report: Report) -> DrrResult:
    """Project the CT and write what is asked for: an image file with its ``.json``, a raw live image, or both.

    Raises InputError for a CT, a geometry or a pose that cannot be used, and where nothing can be written.
    """
    from LandmarkFusionLogic.projection.carm import carm
    from LandmarkFusionLogic.projection.drrfile import kind_of
    from LandmarkFusionLogic.projection.pose import ct_to_camera
    from LandmarkFusionLogic.projection.projector import check_view

    started = time.perf_counter()
    if request.out is None and request.live is None:
        raise InputError("Nothing says where the projection is to be written; give a file.")
    if request.out is not None:
        kind_of(Path(request.out))
    pose = pose_of(request.pose, "pose")
    geometry = carm(request.geometry).geometry
    ready = projected(request.ct, report, request.quality)
    matrix = ct_to_camera(pose, ready.isocenter, geometry)
    check_view(ready.small, geometry, matrix)
    image = ready.projector.project(geometry, matrix)
    if request.live is not None:
        _write_live(Path(request.live), image)
    result = DrrResult(
        pose=pose.parameters.tolist(),
        ct_to_camera=matrix.tolist(),
        rows=geometry.rows,
        columns=geometry.columns,
        low=float(image.min()),
        high=float(image.max()),
        seen=float(np.mean(image > 0)),
        image=request.out,
        report=None if request.out is None else str(_beside(Path(request.out))),
    )
    if request.out is not None:
        _write(Path(request.out), image, geometry, result)
        report(1.0, "Done")
    return DrrResult(**{**vars(result), "seconds": time.perf_counter() - started})


def xray(request: ReadXRayRequest, report: Report) -> ReadXRayResult:
    """Read an X-ray, turn it to bright bones, and write it into the request's folder as ``xray.npy``.

    Raises InputError for what is no X-ray image.
    """
    from LandmarkFusionLogic.projection.carm import carm
    from LandmarkFusionLogic.projection.dicomgeometry import geometry_of
    from LandmarkFusionLogic.projection.polarity import brighten
    from LandmarkFusionLogic.workfolder import replacing

    report(0.0, "Reading the X-ray")
    image = load_xray(request.xray, "X-ray")
    bright = brighten(image, request.xray.bones, request.xray.intensity)
    found = geometry_of(image.tags, *image.values.shape) if image.tags else None
    warnings = list(found.warnings) if found else []
    data = found.data if found else None
    if data is not None:
        try:
            carm(data)
        except InputError as error:
            warnings.append(f"The DICOM tags cannot be used: {error}")
            data = None
    elif found is not None:
        warnings.append(f"The DICOM file does not tell {' and '.join(found.missing)}; enter the geometry.")
    if data is not None and "primary_angle" in data and "mirrored" not in data:
        warnings.append(
            "The DICOM tags do not say whether the X-ray is stored as seen from the source or from the detector; "
            "check left and right, and set “mirrored” in the geometry for the latter."
        )
    if bright.guessed:
        warnings.append(guess_warning("X-ray", bright.bones))
    out = Path(request.out)
    with replacing(out) as folder:
        np.save(folder / "xray.npy", bright.image)
        if bright.mask is not None:
            np.save(folder / "xray-mask.npy", bright.mask)
    report(1.0, "Done")
    return ReadXRayResult(
        image=str(out / "xray.npy"),
        rows=image.values.shape[0],
        columns=image.values.shape[1],
        bones=bright.bones,
        guessed=bright.guessed,
        mask=None if bright.mask is None else str(out / "xray-mask.npy"),
        geometry=data,
        sources=found.sources if found else {},
        modality=image.modality,
        warnings=warnings,
    )


def pose_of(values: list[float], what: str) -> Pose:
    """The pose of six numbers; ``what`` names it in messages. Raises InputError where they are not six finite ones."""
    from LandmarkFusionLogic.projection.pose import Pose

    if len(values) != 6 or not np.all(np.isfinite(values)):
        raise InputError(f"The {what} must be six finite numbers: rx, ry, rz in degrees, tx, ty, tz in mm.")
    return Pose.of(values)


def load_xray(source: XRaySource, what: str) -> XRay:
    """The X-ray of ``source`` as its file holds it. Raises InputError where it cannot be used."""
    from LandmarkFusionLogic.projection.xrayfile import read_xray

    return read_xray(source.path, what, source.frame)


def guess_warning(what: str, bones: str) -> str:
    """What to tell of bones whose brightness was guessed from the image."""
    return f"Nothing says whether bones are bright or dark in the {what}; they look {bones}. Set it if that is wrong."


def projected(source: VolumeSource, report: Report, quality: str = FINE) -> Projected:
    """The CT of ``source``, checked and ready for projection; the last one is kept.

    Raises InputError where it is no CT in Hounsfield units.
    """
    from LandmarkFusionLogic.projection.attenuation import attenuation, check_ct
    from LandmarkFusionLogic.projection.projector import Projector

    if quality not in (FINE, FAST):
        raise InputError(f"There is no quality “{quality}”; choose {FINE} or {FAST}.")
    key = _key(source, quality)
    if key is None or key not in _kept:
        report(0.0, "Reading the CT")
        _kept.clear()
        ct = check_ct(load(source, "CT"))
        mu = attenuation(ct)
        ready = Projected(Projector(mu if quality == FINE else averaged(mu, FAST_SIDE)), ct.centre)
        if key is None:
            return ready
        _kept[key] = ready
    return _kept[key]


def _key(source: VolumeSource, quality: str) -> tuple[Any, ...] | None:
    """What tells one state of a file from another; None where it cannot be looked at."""
    try:
        found = os.stat(source.path)
    except OSError:
        return None
    place = None if source.ijk_to_ras is None else tuple(map(tuple, source.ijk_to_ras))
    return os.path.realpath(source.path), found.st_mtime_ns, found.st_size, source.series, place, quality


def averaged(volume: Volume, side: int) -> Volume:
    """``volume`` with at most ``side`` voxels along each axis, means of blocks; beyond it lies nothing."""
    array = np.asarray(volume.array, dtype=np.float32)
    blocks = [-(-count // side) for count in array.shape]
    if max(blocks) == 1:
        return volume
    array = np.pad(array, [(0, -count % block) for count, block in zip(array.shape, blocks, strict=True)])
    k, j, i = (count // block for count, block in zip(array.shape, blocks, strict=True))
    array = array.reshape(k, blocks[0], j, blocks[1], i, blocks[2]).mean(axis=(1, 3, 5))
    matrix = np.eye(4)
    for axis, block in enumerate(blocks[::-1]):
        matrix[axis, axis], matrix[axis, 3] = block, (block - 1) / 2
    return Volume(array, volume.ijk_to_ras @ matrix)


def _write_live(path: Path, image: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    """Put ``image`` into the raw file, in place, so that who has mapped it sees the new one."""
    try:
        fits = path.exists() and path.stat().st_size == image.nbytes
        live = np.memmap(path, dtype="<f4", mode="r+" if fits else "w+", shape=image.shape)
        live[:] = image
        live.flush()
    except OSError as error:
        raise InputError(
            "The live projection cannot be written; choose another folder for temporary files."
        ) from error


def _beside(out: Path) -> Path:
    from LandmarkFusionLogic.projection.drrfile import stem_of

    return out.with_name(stem_of(out) + ".json")


def _write(out: Path, image: np.ndarray[Any, np.dtype[np.float32]], geometry: Geometry, result: DrrResult) -> None:
    from LandmarkFusionLogic.projection.drrfile import write_drr
    from LandmarkFusionLogic.workfolder import replacing

    with replacing(out.parent) as folder:
        scale = write_drr(folder / out.name, image, geometry)
        told: GeometryData = {
            "pose": result.pose,
            "ct_to_camera": result.ct_to_camera,
            "geometry": geometry.to_json(),
            "gray_values_per_unit": scale,
            "highest": result.high,
            "rays_through_ct": result.seen,
            "notice": NOTICE,
            "version": __version__,
        }
        (folder / _beside(out).name).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
