"""Deformations with a known truth for any volume: translation, rotation, scale, and elastic ones (Grewal 2023, 2.3).

The volume is the fixed image. The moving image is made from it by looking back: ``moving(y) = fixed(S(y))`` with
``S(y) = A (y + u(y))``, where A is affine and u the elastic displacement. Looking back is explicit, so that the image
is exact; a fixed point's place in the moving image, the inverse, is found by iteration to `TOLERANCE_MM`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.volume import Volume

FloatArray = npt.NDArray[np.float64]

KINDS = ("translation", "rotation", "scale", "elastic")
TRANSLATION_MM = 12.0
ROTATION_DEGREES = 20.0
SCALE = (0.9, 1.1)
LARGE_MM = (2.0, 24.0)
"""Displacement along each axis at the center of the large Gaussian: up to 42 mm in all, as in the paper's Table 2."""
LARGE_SIGMA_MM = (64.0, 128.0)
SMALL_MM = (1.0, 12.0)
"""Largest component of the small displacement, which is Gaussian-smoothed noise."""
SMALL_SIGMA_MM = (12.0, 32.0)
"""Width of that smoothing. The paper does not tell it; this is our choice."""
STEEPEST = 0.7
"""Largest change of displacement per millimeter (operator norm): below 1 nothing folds and the inverse exists."""
TOLERANCE_MM = 1e-6


@dataclass(frozen=True)
class Deformation:
    """Maps points of the moving image to the fixed one and back; points are (N, 3) RAS mm.

    ``matrix`` (4, 4) is A. The elastic part is a Gaussian, ``vector`` (3) mm at ``center`` (3) with ``sigma`` mm, and
    a smooth random field, cubic spline coefficients ``lattice`` (3, K, J, I) in mm on ``lattice_to_ras`` (4, 4).
    """

    matrix: FloatArray
    center: FloatArray
    vector: FloatArray
    sigma: float
    lattice: FloatArray
    lattice_to_ras: FloatArray

    def displacement(self, points: FloatArray) -> FloatArray:
        """u, (N, 3) mm, at ``points`` of the moving image."""
        distance = ((points - self.center) ** 2).sum(axis=1)
        result = np.exp(-distance / (2 * self.sigma**2))[:, None] * self.vector
        if self.lattice.any():
            back = np.linalg.inv(self.lattice_to_ras)
            index = _mapped(back, points).T[::-1]
            for axis, coefficients in enumerate(self.lattice):
                result[:, axis] += ndimage.map_coordinates(
                    coefficients, index, order=3, mode="nearest", prefilter=False
                )
        return np.asarray(result, dtype=np.float64)

    def to_fixed(self, points: FloatArray) -> FloatArray:
        """Where points of the moving image lie in the fixed one."""
        places = np.asarray(points, dtype=np.float64)
        return _mapped(self.matrix, places + self.displacement(places))

    def to_moving(self, points: FloatArray) -> FloatArray:
        """Where points of the fixed image lie in the moving one. The iteration contracts by `STEEPEST` at least."""
        goal = _mapped(np.linalg.inv(self.matrix), np.asarray(points, dtype=np.float64))
        found = goal
        for _ in range(200):
            nearer: FloatArray = goal - self.displacement(found)
            if len(found) == 0 or np.abs(nearer - found).max() < TOLERANCE_MM:
                return nearer
            found = nearer
        return found


def draw_deformation(seed: int, volume: Volume, kind: str = "elastic") -> Deformation:
    """The deformation of ``seed`` for ``volume``: one of `KINDS`, with the paper's ranges, about the volume's center.

    The small elastic displacement is made smaller where it would be steeper than `STEEPEST`.
    Raises InputError for an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"There is no deformation “{kind}”; choose from {', '.join(KINDS)}.")
    random = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    matrix = np.eye(4)
    if kind == "translation":
        matrix[:3, 3] = random.uniform(-TRANSLATION_MM, TRANSLATION_MM, 3)
    elif kind == "rotation":
        matrix[:3, :3] = Rotation.from_euler(
            "xyz", random.uniform(-ROTATION_DEGREES, ROTATION_DEGREES, 3), degrees=True
        ).as_matrix()
    elif kind == "scale":
        matrix[:3, :3] = np.diag(random.uniform(*SCALE, 3))
    about = np.eye(4)
    about[:3, 3] = volume.centre
    matrix = about @ matrix @ np.linalg.inv(about)
    low, high = _box(volume)
    if kind != "elastic":
        nothing = np.zeros((3, 2, 2, 2))
        return Deformation(matrix, volume.centre, np.zeros(3), 1.0, nothing, np.eye(4))
    vector = random.uniform(*LARGE_MM, 3) * random.choice([-1.0, 1.0], 3)
    center = random.uniform(low, high)
    sigma = random.uniform(*LARGE_SIGMA_MM)
    size, width = random.uniform(*SMALL_MM), random.uniform(*SMALL_SIGMA_MM)
    field, to_ras = _smooth_noise(random, low, high, width)
    found = Deformation(matrix, center, vector, sigma, field * size, to_ras)
    for _ in range(100):
        if _steepness(found, low, high) <= STEEPEST:
            break
        found = Deformation(matrix, center, vector, sigma, found.lattice * 0.93, to_ras)
    return found


def deform(volume: Volume, deformation: Deformation, grid: Volume | None = None) -> Volume:
    """The moving image, float32: ``volume`` seen through ``deformation`` on the voxels of ``grid`` (default: its own).

    Cubic interpolation, kept within the values of ``volume``, whose smallest one lies outside of it.
    """
    grid = volume if grid is None else grid
    image = np.asarray(volume.array, dtype=np.float32)
    low, high = float(image.min()), float(image.max())
    coefficients = ndimage.spline_filter(image, order=3, output=np.float32, mode="nearest")
    back = np.linalg.inv(volume.ijk_to_ras)
    result = np.empty(grid.array.shape, dtype=np.float32)
    for number in range(len(result)):  # A slice at a time keeps the memory small.
        places = deformation.to_fixed(_points_of_slice(grid, number))
        index = _mapped(back, places).T[::-1]
        values = ndimage.map_coordinates(coefficients, index, order=3, mode="nearest", prefilter=False)
        outside = np.any((index < -0.5) | (index > np.array(image.shape)[:, None] - 0.5), axis=0)
        result[number] = np.where(outside, low, np.clip(values, low, high)).reshape(result.shape[1:])
    return Volume(result, grid.ijk_to_ras)


def jacobian_determinants(deformation: Deformation, points: FloatArray, step_mm: float = 0.5) -> FloatArray:
    """(N,) determinant of the derivative of `Deformation.to_fixed` at ``points`` (N, 3), by central differences."""
    columns = []
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = step_mm
        columns.append((deformation.to_fixed(points + step) - deformation.to_fixed(points - step)) / (2 * step_mm))
    return np.asarray(np.linalg.det(np.stack(columns, axis=-1)), dtype=np.float64)


def _mapped(matrix: npt.NDArray[Any], points: npt.NDArray[Any]) -> FloatArray:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def _points_of_slice(grid: Volume, number: int) -> FloatArray:
    _, rows, columns = grid.array.shape
    j, i = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    index = np.stack([i.ravel(), j.ravel(), np.full(i.size, number)], axis=1)
    return _mapped(grid.ijk_to_ras, index)


def _box(volume: Volume) -> tuple[FloatArray, FloatArray]:
    corners = np.array(np.meshgrid(*([0, n - 1] for n in volume.shape_ijk))).reshape(3, -1).T
    places = _mapped(volume.ijk_to_ras, corners)
    return places.min(axis=0), places.max(axis=0)


def _smooth_noise(
    random: np.random.Generator, low: FloatArray, high: FloatArray, sigma: float
) -> tuple[FloatArray, FloatArray]:
    """Spline coefficients of noise smoothed by ``sigma`` mm, largest component 1, with a margin round the box."""
    step, margin = sigma / 2, 3 * sigma
    shape = np.ceil((high - low + 2 * margin) / step).astype(int) + 1
    noise = random.uniform(-1, 1, (3, *shape[::-1]))
    smooth = np.stack([ndimage.gaussian_filter(part, sigma / step, mode="nearest") for part in noise])
    coefficients = np.stack([ndimage.spline_filter(part, order=3) for part in smooth / np.abs(smooth).max()])
    to_ras = np.diag([step, step, step, 1.0])
    to_ras[:3, 3] = low - margin
    return coefficients, to_ras


def _steepness(deformation: Deformation, low: FloatArray, high: FloatArray, step_mm: float = 6.0) -> float:
    """Largest operator norm of the derivative of u in the box and a margin, by central differences."""
    axes = [np.arange(a - 30, b + 30 + step_mm, step_mm) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    field = deformation.displacement(grid).reshape(*(len(axis) for axis in axes), 3)
    slopes = np.stack([np.gradient(field, step_mm, axis=axis) for axis in range(3)], axis=-1)
    return float(np.linalg.norm(slopes.reshape(-1, 3, 3), ord=2, axis=(1, 2)).max())
