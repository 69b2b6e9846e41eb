"""How sure a landmark is: heatmaps, poses and independent checks become one calibrated covariance.

The reported covariance is ``scale² · (heatmap + poses) + (floor² + doubt²) · I``: per landmark a scale and a floor,
and a doubt that grows with the distance between the two stages. All are fitted on validation seeds (`landmarkfusion
evaluate confidence --fit`) and stored with the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from LandmarkFusionLogic.points import FloatArray

CHECKS = ("stages",)
"""The checks that enter the covariance, each a distance in mm; "stages" is that between the first and the second
stage, over all landmarks: where the crop was laid wrongly, all suffer.

Two more were tried on the validation seeds and ranked errors worse, not better: the distance to a network of another
making, which warns by itself instead, and that to the surface of the gland's mask.
"""
ASK_MM = 7.0
"""A landmark whose expected error is larger than this is one to be checked."""


@dataclass(frozen=True)
class Evidence:
    """What detection knows of its own errors, a row for each of L landmarks.

    ``heat`` and ``poses`` (L, 3, 3) mm²: spread within the heatmaps and between the poses. ``checks``, (L,) mm each,
    where they could be made: those of `CHECKS`, and "networks", the distance to what a second network says.
    """

    heat: FloatArray = field(compare=False)
    poses: FloatArray = field(compare=False)
    checks: Mapping[str, FloatArray] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Calibration:
    """``scale`` (L,) and ``floor_mm`` (L,); ``doubt`` maps a check to its weight per landmark (L,), mm per mm.

    ``gland_mm`` is the error of the gland's centroid along each axis, standard deviation.
    """

    scale: FloatArray = field(compare=False)
    floor_mm: FloatArray = field(compare=False)
    doubt: Mapping[str, FloatArray] = field(default_factory=dict, compare=False)
    gland_mm: float = 0.0

    @classmethod
    def none(cls, count: int) -> Calibration:
        """That of a network whose confidence nobody has measured: heatmaps and poses as they are."""
        return cls(np.ones(count), np.zeros(count))

    @classmethod
    def from_metadata(cls, data: Mapping[str, Any] | None, count: int) -> Calibration:
        """What a network's metadata says under ``calibration``, for ``count`` landmarks.

        Raises ValueError, KeyError or TypeError where it says it wrongly.
        """
        if data is None:
            return cls.none(count)
        doubt = {name: _row(weights, count) for name, weights in data.get("doubt", {}).items() if name in CHECKS}
        return cls(_row(data["scale"], count), _row(data["floor_mm"], count), doubt, float(data.get("gland_mm", 0.0)))

    def to_metadata(self) -> dict[str, Any]:
        """As it stands in a network's metadata."""

        def rounded(values: FloatArray) -> list[float]:
            return [round(float(value), 4) for value in values]

        return {
            "scale": rounded(self.scale),
            "floor_mm": rounded(self.floor_mm),
            "doubt": {name: rounded(weights) for name, weights in self.doubt.items()},
            "gland_mm": round(self.gland_mm, 3),
        }


def covariances(evidence: Evidence, calibration: Calibration) -> FloatArray:
    """(L, 3, 3) mm²: the calibrated covariance of each landmark."""
    isotropic = calibration.floor_mm**2
    for name, weights in calibration.doubt.items():
        if name in evidence.checks:  # Not where there is one stage only.
            isotropic = isotropic + (weights * evidence.checks[name]) ** 2
    within = evidence.heat + evidence.poses
    return np.asarray(calibration.scale[:, None, None] ** 2 * within + isotropic[:, None, None] * np.eye(3))


def ask_first(
    names: Sequence[str],
    expected_mm: FloatArray,
    disagreement_mm: Mapping[str, float],
    disagreement_limit_mm: float | None,
    hidden: Sequence[str] = (),
) -> tuple[str, ...]:
    """The doubtful landmarks, least certain first.

    Doubtful is one whose expected error (L,) mm is large, about which two networks disagree, or that is ``hidden``:
    near what the image does not show.
    """
    limit = np.inf if disagreement_limit_mm is None else disagreement_limit_mm
    doubtful = [
        (float(expected), name)
        for name, expected in zip(names, expected_mm, strict=True)
        if expected > ASK_MM or disagreement_mm.get(name, 0.0) > limit or name in hidden
    ]
    return tuple(name for _, name in sorted(doubtful, key=lambda item: -item[0]))


def _row(values: Any, count: int) -> FloatArray:
    row = np.array(values, dtype=np.float64)
    if row.shape != (count,) or not np.isfinite(row).all() or np.any(row < 0):
        raise ValueError("a calibration needs one finite number for each landmark")
    return row
