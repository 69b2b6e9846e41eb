"""Wrong pairs planted on purpose among those that were found, and removed again by local consistency."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.deformable import consistency
from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.evaluation.deformableoutcome import Planted
from LandmarkFusionLogic.evaluation.deformablepairs import DeformedPair
from LandmarkFusionLogic.points import FloatArray

OUTLIERS = (0.0, 0.1, 0.2, 0.3)
"""Shares of pairs that are made wrong."""
OUTLIER_MM = (5.0, 25.0)
"""By how much, in a random direction."""
MATCH_MM = 4.0
"""A pair is right below this error, as in the paper."""


def plant(seed: int, pair: DeformedPair, found: Correspondences, share: float) -> Planted:
    """Make ``share`` of the pairs ``found`` wrong, and say what `consistency.consistent` makes of that."""
    random = np.random.default_rng([seed, zlib.crc32(b"outliers")])
    wrong = random.random(len(found)) < share
    direction = random.normal(size=(len(found), 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    shift = direction * random.uniform(*OUTLIER_MM, (len(found), 1)) * wrong[:, None]
    planted = Correspondences(found.fixed, found.moving + shift, found.confidence)
    kept = consistency.consistent(planted)
    errors = matching_errors(pair, planted)
    right = errors < MATCH_MM
    return Planted(share, _part(~kept[wrong]), _part(~kept[right]), _part(errors[kept] >= MATCH_MM))


def matching_errors(pair: DeformedPair, points: Correspondences) -> FloatArray:
    """(N,) mm, section 2.7.1: the moving landmarks, projected on the fixed volume by the known deformation."""
    return np.asarray(np.linalg.norm(pair.deformation.to_fixed(points.moving) - points.fixed, axis=1))


def _part(of: npt.NDArray[np.bool_]) -> float:
    return float(np.mean(of)) if len(of) else float("nan")
