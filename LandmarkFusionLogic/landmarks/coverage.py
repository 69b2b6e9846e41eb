"""How much of the gland an image really shows: partial views, shadows, what lies outside of the volume or the fan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.landmarks.preprocessing import resample
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume

MARGIN_MM = 6.0
"""How far around the gland the image should show something."""
SIGMA_MM = 2.0
"""Low-pass before dark is told from bright: speckle is no shadow."""
BACKGROUND = 0.03
"""Fraction of the image's range up to which a voxel shows nothing: outside of the fan, behind bone or gas."""
LIMIT = 0.85
"""Below this share the view is partial."""
NEAR_MM = 8.0
"""A landmark is hidden where most of the image within this distance shows nothing."""


@dataclass(frozen=True)
class Coverage:
    """``share`` (0..1) of the gland and its margin that the image shows; ``dark`` of those inside of the volume.

    ``hidden`` (L,) says of each landmark whether most of what lies around it is not shown.
    """

    share: float
    dark: float
    hidden: npt.NDArray[np.bool_]

    @property
    def partial(self) -> bool:
        """Whether too little is shown."""
        return self.share < LIMIT


def coverage(volume: Volume, gland: Gland, positions: FloatArray, intensity: bool) -> Coverage | None:
    """The coverage of ``gland`` and of ``positions`` (L, 3) RAS mm in ``volume``; None where there is no gland.

    With ``intensity`` (ultrasound) what is as dark as the background is not shown either; without it, what lies inside
    of the volume is.
    """
    if gland.empty:
        return None
    mask = _padded(gland.mask(), MARGIN_MM)
    region = _within(mask, MARGIN_MM)
    values, inside = resample(volume, mask.ijk_to_ras, mask.array.shape, SIGMA_MM)
    shown = inside & (values > _background(volume)) if intensity else inside
    within = region & inside
    k, j, i = np.meshgrid(*(np.arange(n) for n in mask.array.shape), indexing="ij")
    affine = mask.ijk_to_ras
    world = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    hidden = []
    for position in positions:
        near = np.linalg.norm(world - position, axis=-1) < NEAR_MM
        hidden.append(not near.any() or float(shown[near].mean()) < 0.5)
    return Coverage(
        share=float(shown[region].mean()),
        dark=float(1 - shown[within].mean()) if within.any() else 1.0,
        hidden=np.array(hidden, dtype=bool),
    )


def _background(volume: Volume) -> float:
    """The grey value up to which the image shows nothing, from a thinned-out copy."""
    thin = volume.array[tuple(slice(None, None, max(1, n // 64)) for n in volume.array.shape)]
    low, high = np.percentile(np.asarray(thin, dtype=np.float32), (0, 99.5))
    return float(low + BACKGROUND * (high - low))


def _padded(mask: Volume, margin_mm: float) -> Volume:
    pad = int(np.ceil(margin_mm / mask.spacing.min())) + 1
    moved = mask.ijk_to_ras.copy()
    moved[:3, 3] -= moved[:3, :3] @ np.full(3, pad)
    return Volume(np.pad(mask.array, pad), moved)


def _within(mask: Volume, distance_mm: float) -> npt.NDArray[np.bool_]:
    """Where the mask is, or is at most ``distance_mm`` away."""
    away = distance_transform_edt(np.asarray(mask.array) == 0, sampling=mask.spacing[::-1])
    return np.asarray(away <= distance_mm)
