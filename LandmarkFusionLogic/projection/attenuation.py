"""Hounsfield units to what X-rays lose on their way."""

from __future__ import annotations

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.volume import Volume, check_volume

WATER_PER_MM = 0.02
"""Linear attenuation of water at about 70 keV, mm⁻¹."""
AIR_HU = -900.0
"""Below this a voxel is air: its noise would add up along a ray."""


def check_ct(volume: Volume) -> Volume:
    """``volume``, found to be a CT in Hounsfield units.

    Raises InputError for what cannot be projected: no volume, or values that are not Hounsfield units.
    """
    checked = check_volume(volume.array, volume.ijk_to_ras, "CT")
    low, high = float(checked.array.min()), float(checked.array.max())
    if low > -50 or high < 150 or low < -40000 or high > 100000:
        raise InputError(
            f"The CT's values run from {low:g} to {high:g}, which are not Hounsfield units (air −1000, water 0, bone "
            "above 300); choose a CT with its rescale slope and intercept applied."
        )
    return checked


def attenuation(ct: Volume) -> Volume:
    """The linear attenuation in mm⁻¹, float32, of ``ct`` in HU: 0.02 (HU + 1000) / 1000, nothing for air."""
    values = np.asarray(ct.array, dtype=np.float32)
    mu = np.where(values < AIR_HU, np.float32(0), (values + np.float32(1000)) * np.float32(WATER_PER_MM / 1000))
    return Volume(np.maximum(mu, 0, out=mu), ct.ijk_to_ras)
