"""Named anatomical points: the three landmarks of the prostate and any extra pairs of the user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError

FloatArray = npt.NDArray[np.float64]

APEX = "Apex"
BLADDER_NECK = "Bladder neck"
POSTERIOR_MEDIAN = "Posterior median"
LANDMARK_NAMES = (APEX, BLADDER_NECK, POSTERIOR_MEDIAN)

DETECTED = "detected"
EDITED = "edited"
PLACED = "placed"
STATES = (DETECTED, EDITED, PLACED)


@dataclass(frozen=True)
class Landmark:
    """A named point.

    ``position`` is (3,), world RAS mm. ``covariance`` is the (3, 3) spread of the detector's heatmap in mm², or None
    for a point placed by hand. ``state`` is one of `STATES`.
    """

    name: str
    position: FloatArray = field(compare=False)
    covariance: FloatArray | None = field(default=None, compare=False)
    state: str = PLACED


def spread(covariance: FloatArray) -> float:
    """The spread shown for a (3, 3) covariance in mm²: the root-mean-square distance from the landmark, mm."""
    return float(np.sqrt(np.trace(covariance)))


def by_name(landmarks: Iterable[Landmark]) -> dict[str, Landmark]:
    """Landmarks keyed by name.

    Raises InputError when two points share a name, since points are matched by name and never by index.
    """
    named: dict[str, Landmark] = {}
    for landmark in landmarks:
        if landmark.name in named:
            raise InputError(f"Two landmarks are named “{landmark.name}”; give each landmark a name of its own.")
        named[landmark.name] = landmark
    return named
