"""Cases of 2D/3D registration whose pose is known: an X-ray simulated from a CT, that CT, and a start away from it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.projectionerrors import moved
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.projection.attenuation import attenuation
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.projection.projector import Projector
from LandmarkFusionLogic.simulation.seeds import TEST, VALIDATION
from LandmarkFusionLogic.volume import Volume

PHANTOM, SPINE, PELVIS = "phantom", "ct-spine", "ct-pelvis"
DATASETS = (PHANTOM, SPINE, PELVIS)
_FILES = {
    SPINE: ("ct-spine/spine-ct.nrrd", "ct-spine/vertebrae-mask.nrrd"),
    PELVIS: ("ct-pelvis/example_ct.nii.gz", "ct-pelvis/example_ct_totalseg.nii.gz"),
}
_VERTEBRAE = {SPINE: (1, 1), PELVIS: (26, 33)}
"""First and last label of the vertebrae in the mask."""

FULL, SPINE_ONLY, MISMATCH, DEGRADED = "full", "spine", "mismatch", "degraded"
CONTENTS = {
    FULL: "the whole CT in both",
    SPINE_ONLY: "the spine alone in both",
    MISMATCH: "the whole CT in the X-ray, the spine alone in the moving volume",
    DEGRADED: "the whole CT in both, the X-ray degraded",
}
"""What X-ray and moving volume show."""

ROTATION_DEGREES = (6.0, 6.0, 6.0)
TRANSLATION_MM = (9.0, 4.5, 30.0)
"""Standard deviations of true and start pose about the AP view, 0.3 · (20, 20, 20)° and 0.3 · (100, 30, 15) mm as in
the code of SOPI, its largest for the depth (our z)."""
PERLOVE = Geometry(sdd=1011.7, rows=256, columns=256, spacing=(0.79836, 0.79836))
"""Perlove PLX118F: 1024² pixels of 0.19959 mm, joined four by four along each axis."""
PHOTONS = 1e5
"""Quanta a pixel without a patient; makes the noise of the X-ray."""
FINER = 2
"""The X-ray is made of rays, and of samples along each, this many times as dense as those of the DRR, then averaged to
its pixels, so that it is not the very image that the projector makes of the moving volume at the true pose."""
DILATION_MM = 2.0
"""The vertebrae's mask is made larger by this before the spine is cut out of the CT."""
POINTS = 300
LATERAL_DEGREES = 90.0
"""Between the first and the second view, about the patient's long axis."""


@dataclass(frozen=True)
class Scan:
    """A CT in HU, its vertebrae (K, J, I), and points (N, 3) in them, RAS mm."""

    ct: Volume
    vertebrae: npt.NDArray[np.bool_]
    points: FloatArray


@dataclass(frozen=True)
class Case:
    """What a method is given, ``images`` (one for each camera, (rows, columns), line integrals), and the truth.

    ``moving`` holds attenuation in mm⁻¹, ``cameras`` (4, 4) lead from the first camera to each; ``points`` (N, 3) of
    the vertebrae, RAS mm, are those that the first image shows at the true pose.
    """

    moving: Volume
    vertebrae: npt.NDArray[np.bool_]
    images: tuple[npt.NDArray[np.float32], ...]
    cameras: tuple[FloatArray, ...]
    geometry: Geometry
    start: Pose
    truth: Pose
    points: FloatArray


def seeds_of(cases: int, development: bool = False) -> list[int]:
    """The seeds of the first ``cases`` cases, of those for tests or for ``development``.

    Raises InputError for an impossible number.
    """
    seeds = VALIDATION if development else TEST
    if not 1 <= cases <= len(seeds):
        raise InputError(f"The number of cases must lie between 1 and {len(seeds)}.")
    return list(seeds[:cases])


def draw_poses(dataset: str, seed: int) -> tuple[Pose, Pose]:
    """True pose and start of a case, both from the same normal distribution, neither from the other."""
    random = np.random.default_rng([seed, zlib.crc32(dataset.encode())])
    truth, start = (Pose.of(random.normal(0, [*ROTATION_DEGREES, *TRANSLATION_MM])) for _ in range(2))
    return truth, start


def make_case(
    dataset: str,
    seed: int,
    content: str,
    data: Path | None = None,
    views: int = 1,
    geometry: Geometry = PERLOVE,
) -> Case:
    """The case ``seed`` of ``dataset`` with ``content``, one of `CONTENTS`; ``data`` is the folder of the real CTs.

    Raises InputError for an unknown set or content, or where the CTs are missing.
    """
    if content not in CONTENTS:
        raise InputError(f"There are no cases “{content}”; choose from {', '.join(CONTENTS)}.")
    scan = read_scan(dataset, seed, data)
    whole, spine = _attenuations(dataset, seed, data)
    truth, start = draw_poses(dataset, seed)
    pictured = spine if content == SPINE_ONLY else whole
    moving = spine if content in (SPINE_ONLY, MISMATCH) else whole
    to_camera = ct_to_camera(truth, moving.centre, geometry)
    cameras = (np.eye(4), lateral(geometry))[:views]
    images = tuple(
        _xray(pictured, geometry, camera @ to_camera, [seed, number], content == DEGRADED)
        for number, camera in enumerate(cameras)
    )
    points = scan.points[_seen(scan.points, geometry, to_camera)]
    return Case(
        moving, scan.vertebrae, images, cameras, geometry, start, truth, points if len(points) else scan.points
    )


def lateral(geometry: Geometry) -> FloatArray:
    """(4, 4) from the camera of an AP view to that of a lateral one about the same isocenter."""
    angle = np.deg2rad(LATERAL_DEGREES)
    turn, away = np.eye(4), np.eye(4)
    turn[0, 0] = turn[2, 2] = np.cos(angle)
    turn[0, 2], turn[2, 0] = np.sin(angle), -np.sin(angle)
    away[2, 3] = geometry.isocenter_distance
    return np.asarray(away @ turn @ np.linalg.inv(away), dtype=np.float64)


def read_scan(dataset: str, seed: int, data: Path | None) -> Scan:
    """The CT of a case: another phantom for each seed, but one real CT for all of them.

    Raises InputError for an unknown set, or where the CT is missing.
    """
    if dataset == PHANTOM:
        return _phantom(seed)
    if dataset not in _FILES:
        raise InputError(f"There is no set of CTs “{dataset}”; choose from {', '.join(DATASETS)}.")
    if data is None:
        raise InputError("The folder of the images is not known; give it with --data.")
    return _real(dataset, data)


@lru_cache(maxsize=1)
def _phantom(seed: int) -> Scan:
    from LandmarkFusionLogic.simulation.spine import make_spine

    spine = make_spine(seed)
    return Scan(spine.ct, np.asarray(spine.bone.array) > 0, np.asarray(spine.vertebra_points, dtype=np.float64))


@lru_cache(maxsize=2)
def _real(dataset: str, data: Path) -> Scan:
    ct, mask = (read_volume(data / file, "CT") for file in _FILES[dataset])
    low, high = _VERTEBRAE[dataset]
    vertebrae = (np.asarray(mask.array) >= low) & (np.asarray(mask.array) <= high)
    voxels = np.argwhere(vertebrae)
    chosen = voxels[np.random.default_rng(0).choice(len(voxels), POINTS, replace=False)][:, ::-1]
    return Scan(ct, vertebrae, chosen @ ct.ijk_to_ras[:3, :3].T + ct.ijk_to_ras[:3, 3])


@lru_cache(maxsize=2)
def _attenuations(dataset: str, seed: int, data: Path | None) -> tuple[Volume, Volume]:
    """Attenuation of the whole CT and of its spine alone."""
    scan = read_scan(dataset, seed, data)
    whole = attenuation(scan.ct)
    # The spacing of an index axis runs (i, j, k), the array's axes (k, j, i).
    away = ndimage.distance_transform_edt(~scan.vertebrae, sampling=scan.ct.spacing[::-1])
    spine = np.where(away <= DILATION_MM, whole.array, 0).astype(np.float32)
    return whole, Volume(spine, whole.ijk_to_ras)


def _xray(
    mu: Volume, geometry: Geometry, to_camera: FloatArray, seed: list[int], degraded: bool
) -> npt.NDArray[np.float32]:
    """An X-ray (rows, columns) of ``mu`` as line integrals, with the noise of its quanta, or degraded."""
    rays = geometry.resized(FINER * geometry.rows, FINER * geometry.columns)
    fine = Projector(mu, samples=FINER * max(mu.array.shape)).project(rays, to_camera)
    image = fine.reshape(geometry.rows, FINER, geometry.columns, FINER).mean(axis=(1, 3))
    if degraded:
        from LandmarkFusionLogic.simulation.xray import degrade

        return np.asarray(degrade(image.astype(np.float32), seed[0]), dtype=np.float32)
    random = np.random.default_rng([*seed, zlib.crc32(b"quanta")])
    quanta = random.poisson(PHOTONS * np.exp(-image.astype(np.float64)))
    return np.asarray(np.log(PHOTONS / np.maximum(quanta, 1)), dtype=np.float32)


def _seen(points: FloatArray, geometry: Geometry, to_camera: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of ``points`` (N, 3) fall on the detector."""
    pixels = geometry.to_pixels(moved(points, to_camera))
    last = np.array([geometry.rows, geometry.columns]) - 1
    return np.asarray(np.all((pixels >= 0) & (pixels <= last), axis=1))
