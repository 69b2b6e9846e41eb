"""What two gland masks say about the rigid motion between their images: their borders should meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, map_coordinates

from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.rigid.bayesian import jacobian_of
from LandmarkFusionLogic.rigid.fit import FloatArray, apply

GRID_MM = 1.5
"""Voxel size at which distances to the border are kept; they change linearly in between."""
MARGIN_MM = 18.0
"""How far around the gland they are known."""
POINTS = 400
"""How many border points of each gland are compared."""


@dataclass(frozen=True)
class Border:
    """Signed distance to a gland's border on a grid aligned with RAS: mm, negative inside.

    ``distance`` (K, J, I) and its gradient ``slope`` (3, K, J, I) along R, A, S; ``ijk_to_ras`` (4, 4); ``points``
    (N, 3) RAS mm near the border with their own ``offsets`` (N,), their distance to it.
    """

    distance: FloatArray
    slope: FloatArray
    ijk_to_ras: FloatArray
    points: FloatArray
    offsets: FloatArray

    def at(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Distance (N,) and slope (N, 3) at ``points`` (N, 3), RAS mm; beyond the grid those of its edge."""
        index = ((points - self.ijk_to_ras[:3, 3]) / GRID_MM)[:, ::-1].T
        fields = (self.distance, *self.slope)
        read = np.array([map_coordinates(field, index, order=1, mode="nearest") for field in fields], dtype=np.float64)
        return read[0], read[1:].T


def border_of(gland: Gland) -> Border:
    """The border of ``gland``, between voxels where its probability passes the threshold. It must not be empty."""
    mask = gland.mask()
    inside = apply(mask.ijk_to_ras, np.argwhere(np.asarray(mask.array) > 0)[:, ::-1])
    low, high = inside.min(axis=0) - MARGIN_MM, inside.max(axis=0) + MARGIN_MM
    count = np.ceil((high - low) / GRID_MM).astype(int) + 1
    affine = np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])
    affine[:3, 3] = low
    k, j, i = np.meshgrid(*(np.arange(n) for n in count[::-1]), indexing="ij")
    to_index = np.linalg.inv(mask.ijk_to_ras) @ affine
    index = apply(to_index, np.stack([i, j, k], axis=-1).reshape(-1, 3))[:, ::-1].T
    # Pieces apart from the gland do not count; a voxel's width around it the probability tells where the border runs.
    near = binary_dilation(np.asarray(mask.array) > 0, iterations=2)
    level = np.where(near, np.asarray(gland.probability.array, dtype=np.float32), 0.0)
    values = map_coordinates(level, index, order=1, mode="constant").reshape(k.shape) - gland.threshold
    distance = _signed_distance(values)
    slope = np.array([np.gradient(distance, GRID_MM, axis=axis) for axis in (2, 1, 0)])
    close = np.argwhere(np.abs(distance) < 1.5 * GRID_MM)
    close = close[:: max(1, len(close) // POINTS)]
    return Border(distance, slope, affine, apply(affine, close[:, ::-1]), np.asarray(distance[tuple(close.T)]))


def _signed_distance(values: FloatArray) -> FloatArray:
    """Signed distance in mm to where ``values`` (K, J, I) pass zero, negative where they are positive."""
    inside = values > 0
    outer = np.asarray(distance_transform_edt(~inside, sampling=GRID_MM))
    inner = np.asarray(distance_transform_edt(inside, sampling=GRID_MM))
    return np.asarray(outer - inner - np.where(inside, -0.5, 0.5) * GRID_MM)


@dataclass(frozen=True)
class MaskTerm:
    """The term that two glands add to the negative log posterior of a rigid motion.

    At each border point of one gland the distances to both borders should agree; ``sigma_mm`` is the standard
    deviation of their difference, and ``independent`` how many such points are worth independent ones: a network errs
    over whole stretches of the border.
    """

    mr: Border
    us: Border
    sigma_mm: float = 3.0
    independent: float = 20.0
    dof: float = 4.0

    def system(
        self, rotations: FloatArray, shifts: FloatArray, pivot: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Information (S, 6, 6), gradient (S, 6) and cost (S,) of S motions x → R (x − pivot) + shift."""
        found = [self._one(r, s, pivot) for r, s in zip(rotations, shifts, strict=True)]
        return np.stack([f[0] for f in found]), np.stack([f[1] for f in found]), np.array([f[2] for f in found])

    def _one(self, rotation: FloatArray, shift: FloatArray, pivot: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        ahead = (self.mr.points - pivot) @ rotation.T  # border points of the MR, seen from where the pivot goes
        distance, slope = self.us.at(ahead + shift)
        behind = (self.us.points - shift) @ rotation + pivot
        back, back_slope = self.mr.at(behind)
        # d distance / d motion: slope · (ω × offset + τ); a US point moves the other way in the MR.
        rows = np.concatenate(
            [
                (slope[:, None] @ jacobian_of(ahead))[:, 0],
                -((back_slope @ rotation.T)[:, None] @ jacobian_of(self.us.points - shift))[:, 0],
            ]
        )
        residuals = -np.concatenate([distance - self.mr.offsets, back - self.us.offsets]) / self.sigma_mm
        rows /= self.sigma_mm
        squares = residuals**2
        weights = (self.dof + 1) / (self.dof + squares)
        share = self.independent / len(residuals)
        weighted = rows * (share * weights)[:, None]
        cost = share * 0.5 * (self.dof + 1) * float(np.log1p(squares / self.dof).sum())
        return weighted.T @ rows, weighted.T @ residuals, cost
