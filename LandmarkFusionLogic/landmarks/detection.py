"""The landmarks of a volume: the network looks at several poses of it, and their median is the answer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.device import choose_device, describe_device
from LandmarkFusionLogic.memory import is_out_of_memory
from LandmarkFusionLogic.orientation import outside
from LandmarkFusionLogic.points import DETECTED, FloatArray, Landmark, spread
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    import torch

    from LandmarkFusionLogic.landmarks.bundle import Bundle
    from LandmarkFusionLogic.landmarks.network import LandmarkNetwork

NAMES = {"mr": "MR", "us": "US"}

_JITTERS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((6.0, 0.0, 0.0), (0.0, 3.0, 3.0)),
    ((-6.0, 0.0, 0.0), (0.0, -3.0, 3.0)),
    ((0.0, 0.0, 6.0), (3.0, 0.0, -3.0)),
)
"""Rotation vector in degrees and shift in mm (RAS) of each pose; each is also seen mirrored left-right."""

MIN_GLAND_ML = 5.0
"""A recognised gland smaller than this is none."""
MAX_SPREAD_MM = 20.0
"""A landmark with a larger spread may lie anywhere in the gland."""


@dataclass(frozen=True)
class Detection:
    """Landmarks in RAS mm with their spread, the network and device that found them, and plain warnings."""

    landmarks: tuple[Landmark, ...]
    model: str
    device: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _View:
    """What one pose of the volume gave: positions (L, 3) RAS mm, covariances (L, 3, 3) mm², gland volume in ml."""

    positions: FloatArray
    covariances: FloatArray
    gland_ml: float


def detect_landmarks(
    volume: Volume,
    modality: str,
    device: str = "auto",
    model: str | Path | None = None,
    report: Callable[[float, str], None] = lambda fraction, text: None,
) -> Detection:
    """Find the landmarks of ``volume``, of any voxel size, orientation, extent and intensity.

    ``modality`` is "mr" or "us"; ``device`` auto, cuda, mps or cpu; ``model`` the folder of a network, by default the
    one that ships. Positions are the component-wise median over poses; a landmark's covariance is the mean of its
    heatmaps' covariances plus that of its positions over the poses. When a GPU's memory runs out, the CPU takes over
    and says so. Raises InputError for a device or network that cannot be used, and where PyTorch is missing.
    """
    chosen = choose_device(device)
    from LandmarkFusionLogic.landmarks.bundle import load_bundle

    report(0.1, f"Loading the {NAMES[modality]} network")
    bundle = load_bundle(assets.path("models", f"{modality}-landmarks") if model is None else model)
    if bundle.modality != modality:
        raise InputError(
            f"The network “{bundle.name}” was made for {NAMES.get(bundle.modality, bundle.modality)} volumes; "
            "choose another."
        )
    return detect_with_bundle(volume, bundle, chosen, report)


def detect_with_bundle(
    volume: Volume, bundle: Bundle, device: torch.device, report: Callable[[float, str], None]
) -> Detection:
    """`detect_landmarks` with a network that has been loaded and a device that has been chosen."""
    # What a network's maker wants said with every result of it.
    warnings = [str(bundle.metadata["caution"])] if "caution" in bundle.metadata else []
    try:
        views = _views(volume, bundle, device, report)
    except RuntimeError as error:
        if device.type == "cpu":
            raise
        # Too little memory, a build for other cards, an operation that a device lacks: the CPU can always do it, and
        # where the fault is not the device's it comes up there again.
        reason = "The memory of the GPU ran out" if is_out_of_memory(error) else "The GPU could not be used"
        warnings.append(f"{reason}; the CPU did the detection instead.")
        device = choose_device("cpu")
        views = _views(volume, bundle, device, report)
    landmarks = _combine(views, bundle.landmarks)
    warnings += _doubts(volume, views, landmarks, NAMES.get(bundle.modality, bundle.modality))
    return Detection(tuple(landmarks), bundle.title, describe_device(device), tuple(warnings))


def _views(volume: Volume, bundle: Bundle, device: torch.device, report: Callable[[float, str], None]) -> list[_View]:
    import torch

    threads = torch.get_num_threads()
    centre = volume.centre
    volume = thinned(volume)
    try:
        # So small a network gains little from threads, and loses much where they wait for a core that is busy.
        torch.set_num_threads(1)
        # A copy goes to the GPU: what may happen there leaves the loaded network as it is.
        network = bundle.network if device.type == "cpu" else copy.deepcopy(bundle.network).to(device)
        views: list[_View] = []
        for number, (rotation, shift) in enumerate(_JITTERS, start=1):
            poses = (_pose(centre, rotation, shift, mirror) for mirror in (False, True))
            views.extend(_look(volume, centre, pose, network, bundle, device) for pose in poses)
            report(0.2 + 0.7 * number / len(_JITTERS), "Looking for the landmarks")
        return views
    finally:
        torch.set_num_threads(threads)


def thinned(volume: Volume, spacing_mm: float = 1.25) -> Volume:
    """``volume`` with blocks of voxels averaged so that none is finer than half of ``spacing_mm``.

    What is finer is filtered out for the network anyhow, for every pose anew: this does the larger part of it once.
    The last block of an axis may be narrower.
    """
    factors = np.maximum(1, np.floor(spacing_mm / volume.spacing)).astype(int)  # i, j, k
    if np.all(factors == 1):
        return volume
    array = volume.array
    for axis, factor in enumerate(factors[::-1]):
        along = np.moveaxis(array, axis, 0)
        total = np.array(along[::factor], dtype=np.float32)
        count = np.ones((len(total), 1, 1), dtype=np.float32)
        for offset in range(1, factor):
            part = along[offset::factor]
            total[: len(part)] += part.astype(np.float32)
            count[: len(part)] += 1
        array = np.moveaxis(total / count, 0, axis)
    step = np.diag([*factors.astype(np.float64), 1.0])
    step[:3, 3] = (factors - 1) / 2
    return Volume(array, volume.ijk_to_ras @ step)


def _pose(
    centre: FloatArray, rotation: tuple[float, float, float], shift: tuple[float, float, float], mirror: bool
) -> FloatArray:
    """(4, 4) RAS mm: turn about ``centre``, shift, and mirror left-right about ``centre``."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rotation, degrees=True).as_matrix()
    if mirror:
        pose[:3, :3] = np.diag([-1.0, 1.0, 1.0]) @ pose[:3, :3]
    pose[:3, 3] = centre + shift - pose[:3, :3] @ centre
    return pose


def _look(
    volume: Volume,
    centre: FloatArray,
    pose: FloatArray,
    network: LandmarkNetwork,
    bundle: Bundle,
    device: torch.device,
) -> _View:
    import torch

    from LandmarkFusionLogic.landmarks.network import dsnt, heatmap_covariance
    from LandmarkFusionLogic.landmarks.preprocessing import network_input

    posed = Volume(volume.array, pose @ volume.ijk_to_ras)
    seen = network_input(posed, bundle.grid, bundle.preprocessing, centre)
    with torch.inference_mode():
        output = network(torch.from_numpy(seen.array)[None, None].to(device))
        heatmaps = output.heatmaps.float().cpu()
        gland_voxels = int((output.gland_logits > 0).sum())
        kji, spread = dsnt(heatmaps)[0].double().numpy(), heatmap_covariance(heatmaps)[0].double().numpy()
    # From the grid's indices i, j, k to the posed world, and from there back to the patient.
    to_ras = np.linalg.inv(pose) @ seen.ijk_to_ras
    linear = to_ras[:3, :3]
    positions = kji[:, ::-1] @ linear.T + to_ras[:3, 3]
    covariances = linear @ spread[:, ::-1, ::-1] @ linear.T
    covariances = (covariances + covariances.transpose(0, 2, 1)) / 2  # exactly symmetric, rounding apart
    return _View(positions, covariances, gland_voxels * bundle.grid.spacing_mm**3 / 1000)


def _combine(views: list[_View], names: tuple[str, ...]) -> list[Landmark]:
    positions = np.stack([view.positions for view in views])
    middle = np.median(positions, axis=0)
    heat = np.mean([view.covariances for view in views], axis=0)
    away = positions - middle
    between = np.einsum("vla,vlb->lab", away, away) / len(views)
    return [Landmark(name, middle[index], heat[index] + between[index], DETECTED) for index, name in enumerate(names)]


def _doubts(volume: Volume, views: list[_View], landmarks: list[Landmark], name: str) -> list[str]:
    """Plain warnings about a detection that is probably wrong."""
    warnings = []
    if float(np.median([view.gland_ml for view in views])) < MIN_GLAND_ML:
        warnings.append(f"No prostate was recognized in the {name} volume; check the volume and its landmarks.")
    unsure = [
        landmark.name
        for landmark in landmarks
        if landmark.covariance is not None and spread(landmark.covariance) > MAX_SPREAD_MM
    ]
    if unsure:
        warnings.append(f"The network is unsure about {', '.join(unsure)} in the {name}; check them.")
    return [*warnings, *outside(volume, landmarks, name)]
