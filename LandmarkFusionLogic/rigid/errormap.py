"""The target registration error to expect, as a picture over the gland."""

from __future__ import annotations

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.rigid.landmarks import LandmarkFit
from LandmarkFusionLogic.volume import Volume


def expected_error_map(fit: LandmarkFit, mask: Volume) -> Volume:
    """Root-mean-square TRE in mm to expect at each voxel of the MR's gland ``mask`` (0 outside), float32; 0 outside.

    On the grid of ``mask``, in the frame of the MR. Raises InputError for an empty mask.
    """
    inside = np.asarray(mask.array) > 0
    if not inside.any():
        raise InputError("The gland mask is empty; choose another mask.")
    values = np.zeros(inside.shape, dtype=np.float32)
    values[inside] = fit.expected_error(apply(mask.ijk_to_ras, np.argwhere(inside)[:, ::-1]))
    return Volume(values, mask.ijk_to_ras)
