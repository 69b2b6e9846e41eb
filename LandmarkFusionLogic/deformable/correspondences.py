"""Pairs of points that show the same anatomy in two volumes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import FloatArray


@dataclass(frozen=True)
class Correspondences:
    """N pairs: ``fixed`` (N, 3) and ``moving`` (N, 3), RAS mm, each in its volume's world; ``confidence`` (N,) 0..1.

    Raises InputError where the lists do not fit together or hold values that are not finite.
    """

    fixed: FloatArray = field(compare=False)
    moving: FloatArray = field(compare=False)
    confidence: FloatArray = field(compare=False)

    def __post_init__(self) -> None:
        count = len(self.fixed)
        if self.fixed.shape != (count, 3) or self.moving.shape != (count, 3) or self.confidence.shape != (count,):
            raise InputError("Each point of the fixed volume needs one point in the moving volume.")
        if not all(np.isfinite(values).all() for values in (self.fixed, self.moving, self.confidence)):
            raise InputError("The corresponding points hold values that are not finite numbers.")

    def __len__(self) -> int:
        return len(self.fixed)
