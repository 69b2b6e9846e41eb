"""One look of a network at a volume in one pose, and what several looks say together. Needs torch."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.ndimage import affine_transform

from LandmarkFusionLogic.landmarks.bundle import Bundle
from LandmarkFusionLogic.landmarks.network import dsnt, heatmap_covariance
from LandmarkFusionLogic.landmarks.poses import Pose
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, network_input
from LandmarkFusionLogic.volume import FloatArray, Volume


@dataclass(frozen=True)
class View:
    """What one pose gave: positions (L, 3) RAS mm, covariances (L, 3, 3) mm², the gland's probability and volume.

    ``gland`` lies on the grid that the network saw, which is turned in the patient as the pose was.
    """

    positions: FloatArray = field(compare=False)
    covariances: FloatArray = field(compare=False)
    gland: Volume = field(compare=False)
    millilitres: float


class Looker:
    """A network on its device, with the volume that it looks at."""

    def __init__(self, volume: Volume, bundle: Bundle, device: torch.device) -> None:
        self.bundle = bundle
        self._volume = volume
        self._device = device
        # A copy goes to the GPU: what may happen there leaves the loaded network as it is.
        self._network = bundle.network if device.type == "cpu" else copy.deepcopy(bundle.network).to(device)

    def look(self, centre: FloatArray, pose: Pose) -> View:
        """Look at what lies around ``centre`` (3,), RAS mm, in ``pose`` about it."""
        matrix = pose.matrix(centre)
        grid, settings = self.bundle.grid, self.bundle.preprocessing
        to_patient = np.linalg.inv(matrix) @ grid.ijk_to_ras(centre)
        near = cut(self._volume, to_patient, grid.shape, 4 * settings.lowpass_sigma_mm)
        seen = network_input(Volume(near.array, matrix @ near.ijk_to_ras), grid, settings, centre)
        with torch.inference_mode():
            output = self._network(torch.from_numpy(seen.array)[None, None].to(self._device))
            heatmaps = output.heatmaps.float().cpu()
            gland = torch.sigmoid(output.gland_logits[0, 0].float()).cpu().numpy()
            kji, spread = dsnt(heatmaps)[0].double().numpy(), heatmap_covariance(heatmaps)[0].double().numpy()
        # From the grid's indices i, j, k to the patient.
        linear = to_patient[:3, :3]
        positions = kji[:, ::-1] @ linear.T + to_patient[:3, 3]
        covariances = linear @ spread[:, ::-1, ::-1] @ linear.T
        covariances = (covariances + covariances.transpose(0, 2, 1)) / 2  # exactly symmetric, rounding apart
        millilitres = float((gland > 0.5).sum()) * grid.spacing_mm**3 / 1000
        return View(positions, covariances, Volume(gland, to_patient), millilitres)

    def looks(self, centre: FloatArray, poses: Iterable[Pose]) -> list[View]:
        """`look` in each of ``poses``."""
        return [self.look(centre, pose) for pose in poses]


def median_positions(views: Sequence[View]) -> FloatArray:
    """(L, 3) RAS mm: the component-wise median over the views."""
    return np.asarray(np.median([view.positions for view in views], axis=0))


def heat(views: Sequence[View]) -> FloatArray:
    """(L, 3, 3) mm²: the mean of the heatmaps' covariances."""
    return np.asarray(np.mean([view.covariances for view in views], axis=0))


def between(views: Sequence[View]) -> FloatArray:
    """(L, 3, 3) mm²: the covariance of the positions over the views, about their median."""
    away = np.stack([view.positions for view in views]) - median_positions(views)
    return np.asarray(np.einsum("vla,vlb->lab", away, away) / len(views))


def self_consistency(views: Sequence[View]) -> float:
    """How far the views and their own heatmaps scatter, root mean square over the landmarks, mm."""
    return float(np.sqrt(np.mean(np.trace(heat(views) + between(views), axis1=1, axis2=2))))


def mean_gland(views: Sequence[View], grid: InputGrid, centre: FloatArray) -> Volume:
    """The gland's probability on ``grid``, aligned with the patient, around ``centre``; float32.

    Each voxel is the mean over the views that see it, and 0 where none does.
    """
    affine = grid.ijk_to_ras(centre)
    total = np.zeros(grid.shape, dtype=np.float32)
    count = np.zeros(grid.shape, dtype=np.float32)
    for view in views:
        to_view = np.linalg.inv(view.gland.ijk_to_ras) @ affine
        # Indices are i, j, k in the affine and k, j, i in the array. Outside of the view: -1.
        linear, offset = to_view[:3, :3][::-1, ::-1], to_view[:3, 3][::-1]
        seen = affine_transform(view.gland.array, linear, offset, grid.shape, order=1, mode="constant", cval=-1.0)
        total += np.maximum(seen, 0)
        count += seen >= 0
    return Volume(total / np.maximum(count, 1), affine)


def gland_centroids(views: Sequence[View]) -> FloatArray:
    """(V, 3) RAS mm: the middle of the gland in each view; NaN where it sees none."""
    places = []
    for view in views:
        index = np.argwhere(np.asarray(view.gland.array, dtype=np.float32) > 0.5)
        affine = view.gland.ijk_to_ras
        place = affine[:3, :3] @ index.mean(axis=0)[::-1] + affine[:3, 3] if len(index) else np.full(3, np.nan)
        places.append(place)
    return np.stack(places)


def cut(volume: Volume, ijk_to_ras: FloatArray, shape: tuple[int, int, int], margin_mm: float) -> Volume:
    """The part of ``volume`` around a grid of ``shape`` (k, j, i) with affine ``ijk_to_ras``; no voxel is copied.

    The whole volume where the grid misses it.
    """
    corners = np.array(np.meshgrid(*((0, n - 1) for n in shape[::-1]))).reshape(3, -1).T
    to_index = np.linalg.inv(volume.ijk_to_ras) @ ijk_to_ras
    index = corners @ to_index[:3, :3].T + to_index[:3, 3]
    margin = margin_mm / volume.spacing + 1
    size = np.array(volume.shape_ijk)
    low = np.clip(np.floor(index.min(axis=0) - margin).astype(int), 0, size)
    high = np.clip(np.ceil(index.max(axis=0) + margin).astype(int) + 1, 0, size)
    if np.any(high - low < 2):
        return volume
    i, j, k = (slice(a, b) for a, b in zip(low, high, strict=True))
    moved = volume.ijk_to_ras.copy()
    moved[:3, 3] += moved[:3, :3] @ low
    return Volume(volume.array[k, j, i], moved)


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
