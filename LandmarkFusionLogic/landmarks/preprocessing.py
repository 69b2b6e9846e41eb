"""From any volume to a network's input: the one path that training, evaluation and detection share.

A network sees a coarse grid, aligned with the patient (k = superior, j = anterior, i = right) and centred on the
volume.
Everything finer than the grid is removed by a Gaussian low-pass, so that sharp and blurred images look alike to it,
and intensities are scaled by robust percentiles of what lies in the grid, so that their units do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.volume import Volume

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class InputGrid:
    """The grid a network sees: isotropic ``spacing_mm`` and ``shape`` (k, j, i), axes along +S, +A, +R."""

    spacing_mm: float
    shape: tuple[int, int, int]

    def ijk_to_ras(self, centre: FloatArray) -> FloatArray:
        """(4, 4) affine of the grid when its middle lies at ``centre`` (3,), RAS mm."""
        affine = np.diag([self.spacing_mm, self.spacing_mm, self.spacing_mm, 1.0])
        affine[:3, 3] = centre - self.spacing_mm * (np.array(self.shape[::-1], dtype=np.float64) - 1) / 2
        return affine


@dataclass(frozen=True)
class Preprocessing:
    """What is done to the intensities; stored with each network and never changed afterwards.

    ``lowpass_sigma_mm`` is the Gaussian's standard deviation; ``percentiles`` of the foreground become 0 and 1;
    ``background_fraction`` of the intensity range above the minimum counts as background (air, outside a fan).
    """

    lowpass_sigma_mm: float = 2.0
    percentiles: tuple[float, float] = (1.0, 99.0)
    background_fraction: float = 0.02


@dataclass(frozen=True)
class NetworkInput:
    """``array`` (K, J, I) float32, about -1 (dark, outside) to 1 (bright); ``ijk_to_ras`` (4, 4) of its grid."""

    array: Float32Array
    ijk_to_ras: FloatArray


def network_input(
    volume: Volume,
    grid: InputGrid,
    settings: Preprocessing,
    centre: FloatArray | None = None,
) -> NetworkInput:
    """Resample ``volume`` to ``grid`` around ``centre`` (RAS mm; the volume's centre by default) and scale
    intensities.

    Raises InputError when the part of the volume inside the grid is constant or not finite.
    """
    affine = grid.ijk_to_ras(volume.centre if centre is None else np.asarray(centre, dtype=np.float64))
    values, inside = resample(volume, affine, grid.shape, settings.lowpass_sigma_mm)
    return NetworkInput(scale_intensities(values, inside, settings), affine)


def resample(
    volume: Volume,
    ijk_to_ras: FloatArray,
    shape: tuple[int, int, int],
    lowpass_sigma_mm: float,
) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Low-pass ``volume`` and read it at the voxels of a grid of ``shape`` (k, j, i) with affine ``ijk_to_ras``.

    Returns the values (K, J, I) float32 and where they lie inside the volume. Outside, values repeat its edge.
    """
    reduced, start, step = _low_pass(volume, lowpass_sigma_mm)
    ras_to_index = np.linalg.inv(volume.ijk_to_ras)
    to_source = ras_to_index @ ijk_to_ras
    k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape), indexing="ij", sparse=True)
    source = [to_source[a, 0] * i + to_source[a, 1] * j + to_source[a, 2] * k + to_source[a, 3] for a in (2, 1, 0)]
    inside = np.ones(shape, dtype=bool)
    for axis in range(3):
        inside &= (source[axis] >= -0.5) & (source[axis] <= volume.array.shape[axis] - 0.5)
    coordinates = np.stack([(source[axis] - start[axis]) / step[axis] for axis in range(3)])
    values = map_coordinates(reduced, coordinates, output=np.float32, order=1, mode="nearest")
    return np.asarray(values, dtype=np.float32), inside


def scale_intensities(values: Float32Array, inside: npt.NDArray[np.bool_], settings: Preprocessing) -> Float32Array:
    """Map the foreground percentiles of ``values`` (K, J, I) to -1 and 1; clip; -1 where not ``inside``.

    Raises InputError when the values inside are constant or not finite.
    """
    seen = values[inside]
    if seen.size == 0 or not np.isfinite(seen).all():
        raise InputError("The volume contains values that are not numbers; export it again from its source.")
    lowest, highest = float(seen.min()), float(np.percentile(seen, 99.9))
    foreground = seen[seen > lowest + settings.background_fraction * (highest - lowest)]
    # Low-pass filtering leaves rounding errors on a constant.
    if highest - lowest <= 1e-5 * max(abs(lowest), abs(highest)) or foreground.size < 8:
        raise InputError("The volume shows nothing but one grey value; choose another volume.")
    low, high = np.percentile(foreground, settings.percentiles)
    scaled = np.clip((values - low) / max(high - low, 1e-6 * max(abs(high), 1e-6)), 0.0, 1.2) * 2 - 1
    return np.where(inside, scaled, -1.0).astype(np.float32)


def _low_pass(volume: Volume, sigma_mm: float) -> tuple[Float32Array, list[float], list[float]]:
    """Gaussian low-pass along the volume's own axes, thinned to about ``sigma_mm`` per voxel where it is finer.

    Returns the array and, per array axis, the source index of its first voxel and the source step between its voxels.
    One small matrix per axis does both, so the cost is that of a few matrix products.
    """
    array = volume.array
    starts, steps = [0.0] * 3, [1.0] * 3
    spacing = volume.spacing[::-1]
    # Finest axis first: it shrinks the array the most before the other axes are touched.
    for axis in sorted(range(3), key=lambda a: float(spacing[a])):
        n = array.shape[axis]
        step = max(1.0, 0.75 * sigma_mm / float(spacing[axis]))
        count = max(1, int(np.floor((n - 1) / step)) + 1)
        start = ((n - 1) - (count - 1) * step) / 2
        # A voxel is itself a box average of variance spacing²/12: only what is missing to sigma² is added.
        missing = sigma_mm**2 - float(spacing[axis]) ** 2 / 12
        sigma = np.sqrt(max(missing, 0.0)) / float(spacing[axis])
        weights = _gaussian_rows(start + step * np.arange(count), n, float(sigma))
        moved = np.moveaxis(array, axis, -1)
        flat = np.ascontiguousarray(moved, dtype=np.float32).reshape(-1, n)
        array = np.moveaxis((flat @ weights.T).reshape(*moved.shape[:-1], count), -1, axis)
        starts[axis], steps[axis] = start, step
    return np.ascontiguousarray(array, dtype=np.float32), starts, steps


def _gaussian_rows(positions: FloatArray, n: int, sigma: float) -> Float32Array:
    """(len(positions), n) weights of a Gaussian of ``sigma`` voxels around each position; rows sum to one."""
    offsets = np.arange(n)[None, :] - positions[:, None]
    weights = np.clip(1 - np.abs(offsets), 0, None) if sigma < 0.2 else np.exp(-0.5 * (offsets / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
