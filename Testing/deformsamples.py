"""A small pair of volumes with a known deformation between them, for real runs of elastix that take seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from LandmarkFusionLogic.volume import Volume

SHAPE = (30, 34, 38)
SPACING = 4.0


@dataclass(frozen=True)
class DeformedPair:
    """``fixed`` and ``moving``, points of both that correspond (N, 3), RAS mm, and what `to_fixed` is made of."""

    fixed: Volume
    moving: Volume
    fixed_points: np.ndarray
    moving_points: np.ndarray


def affine(directions=None):
    """(4, 4) of a volume about the origin whose axes are the columns of ``directions``."""
    directions = np.eye(3) if directions is None else directions
    matrix = np.eye(4)
    matrix[:3, :3] = directions * SPACING
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(SHAPE[::-1]) - 1) / 2)
    return matrix


def to_fixed(points, amplitude=6.0):
    """The truth: RAS mm points of the moving volume as points of the fixed volume."""
    r, a, s = np.asarray(points, dtype=np.float64).T
    shift = np.stack([np.sin(a / 25) * np.cos(s / 30), np.cos(r / 25 + 1), np.sin(r / 30 + a / 30)], axis=1)
    return points + amplitude * shift * np.array([1.0, 0.8, 0.9]) + np.array([2.0, -1.5, 1.0])


def pair(directions=None, shift=(0.0, 0.0, 0.0), count=200, amplitude=6.0):
    """A body with blobs and streaks, and the same body deformed; the moving volume is moved by ``shift`` mm more."""
    matrix = affine(directions)
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)[..., ::-1]
    world = grid.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    centres, sizes, values = rng.uniform(-45, 45, (60, 3)), rng.uniform(6, 16, 60), rng.uniform(-300, 500, 60)

    def anatomy(points):
        inside = 1 / (1 + np.exp((np.linalg.norm(points / np.array([62, 54, 56]), axis=1) - 1) * 25))
        distances = ((points[:, None] - centres) ** 2).sum(axis=2)
        return -900 + inside * (900 + (np.exp(-distances / (2 * sizes**2)) * values).sum(axis=1))

    fixed = anatomy(world).reshape(SHAPE) + rng.normal(0, 8, SHAPE)
    moving = anatomy(to_fixed(world, amplitude)).reshape(SHAPE) + rng.normal(0, 8, SHAPE)
    points = rng.normal(0, 1, (count, 3))
    points *= (rng.uniform(0, 1, (count, 1)) ** (1 / 3)) * 45 / np.linalg.norm(points, axis=1, keepdims=True)
    moved = matrix.copy()
    moved[:3, 3] += shift
    return DeformedPair(
        Volume(ndimage.gaussian_filter(fixed, 0.4).astype(np.float32), matrix),
        Volume(ndimage.gaussian_filter(moving, 0.4).astype(np.float32), moved),
        to_fixed(points, amplitude),
        points + np.asarray(shift),
    )
