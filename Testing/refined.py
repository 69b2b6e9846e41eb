"""A small pair for the refinement after the rigid fit: one structure, gray values inverted, a shift missing."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

SIDE, SPACING = 44, 2.0
START = np.eye(4)
START[:3, 3] = [20.0, -10.0, 5.0]
"""MR to US, as the rigid fit has it."""
SHIFT = np.array([3.0, -3.5, 2.0])
"""What it lacks, in the frame of the US."""


@dataclass(frozen=True)
class RefinedPair:
    """US and MR with the masks of their glands."""

    us: Volume
    mr: Volume
    us_gland: Volume
    mr_gland: Volume


def to_mr(points):
    """Points (N, 3) of the US, RAS mm, where they truly lie in the MR."""
    return apply(np.linalg.inv(START), points + SHIFT)


def pair() -> RefinedPair:
    """The volumes, 44³ voxels of 2 mm."""
    pattern = gaussian_filter(np.random.default_rng(0).normal(size=(SIDE,) * 3), 1.5)
    affine = np.diag([SPACING] * 3 + [1.0])
    affine[:3, 3] = -SPACING * (SIDE - 1) / 2
    places = apply(affine, np.argwhere(np.ones((SIDE,) * 3))[:, ::-1])

    def gland(points):
        return np.linalg.norm(points / [21.0, 15.0, 23.0], axis=1) < 1

    def image(points):
        index = ((points - affine[:3, 3]) / SPACING)[:, ::-1].T
        return map_coordinates(pattern / pattern.std(), index, order=1, mode="wrap") + 1.5 * gland(points)

    def volume(values, place):
        return Volume(values.reshape((SIDE,) * 3), place)

    there = np.linalg.inv(START) @ affine
    return RefinedPair(
        us=volume(-image(places + SHIFT).astype(np.float32), affine),
        mr=volume(image(places).astype(np.float32), there),
        us_gland=volume(gland(places + SHIFT).astype(np.uint8), affine),
        mr_gland=volume(gland(places).astype(np.uint8), there),
    )


def half(mask: Volume) -> Volume:
    """The upper half of a mask: what somebody would draw who has missed the rest."""
    array = np.asarray(mask.array).copy()
    array[: SIDE // 2] = 0
    return Volume(array, mask.ijk_to_ras)
