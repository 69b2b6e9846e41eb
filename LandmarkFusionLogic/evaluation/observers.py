"""Simulated observers: the true landmarks as a person would place them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

from LandmarkFusionLogic.points import PLACED, Landmark

OBSERVER_MM = 1.1
"""Standard deviation along each axis. Two such observers differ by 2.5 mm in the mean (2.26 times it), as two people
who mark the same landmarks of a prostate do."""


def placed_by_hand(landmarks: Iterable[Landmark], case: str, modality: str) -> list[Landmark]:
    """``landmarks`` with Gaussian noise of `OBSERVER_MM` along each axis, the same for the same case and modality."""
    generator = np.random.default_rng([zlib.crc32(case.encode()), zlib.crc32(modality.encode())])
    return [
        Landmark(point.name, point.position + generator.normal(scale=OBSERVER_MM, size=3), None, PLACED)
        for point in landmarks
    ]
