"""The most probable motion, given what speaks for it and a prior: smooth, small, the more so the farther away.

The displacement is a Gaussian process: a rigid motion of unknown turn and shift plus a field whose covariance is
Wendland's function. What border points say has errors that near points share, so that a thousand of them do not count
as a thousand. All is linear in the values, and solved in closed form; Gauss-Newton repeats it, since distances to a
border are not linear in the displacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from LandmarkFusionLogic.deformable.refinement.evidence import Rows, gathered
from LandmarkFusionLogic.deformable.refinement.motion import Field, Motion, bump, rigid_rows, still
from LandmarkFusionLogic.points import FloatArray

ITERATIONS = 12
SETTLED_MM = 0.15


@dataclass(frozen=True)
class Prior:
    """Standard deviations along each axis of what the rigid fit leaves, ``shift_mm`` and ``turn_degrees``, and of the
    deformation, ``deformation_mm``, which places farther apart than ``reach_mm`` do not share.

    ``error_mm``: border points nearer than about this share the border's error.
    """

    shift_mm: float = 8.0
    turn_degrees: float = 15.0
    deformation_mm: float = 1.0
    reach_mm: float = 75.0
    error_mm: float = 12.0


class Source(Protocol):
    """Anything that speaks for a motion."""

    def rows(self, motion: Motion) -> Rows:
        """What it says, as seen from ``motion``."""


def most_probable(sources: Sequence[Source], pivot: FloatArray, prior: Prior, start: Motion | None = None) -> Motion:
    """The maximum of the posterior, given ``sources``; ``pivot`` (3,) is where the gland is, RAS mm, fixed."""
    motion = start or still(pivot, prior.reach_mm)
    scale = np.array([np.radians(prior.turn_degrees)] * 3 + [prior.shift_mm] * 3) ** 2
    for _ in range(ITERATIONS):
        rows = gathered([source.rows(motion) for source in sources])
        former = motion.linear(rows.points)
        motion = _solved(rows, pivot, prior, scale)
        if np.abs(motion.linear(rows.points) - former).max() < SETTLED_MM:
            break
    return motion


def _solved(rows: Rows, pivot: FloatArray, prior: Prior, scale: FloatArray) -> Motion:
    lines = np.einsum("nx,nxp->np", rows.directions, rigid_rows(rows.points, pivot))
    apart = cdist(rows.points, rows.points)
    alike = rows.directions @ rows.directions.T
    system = (lines * scale) @ lines.T + prior.deformation_mm**2 * alike * bump(apart / prior.reach_mm)
    # Only what lies along the same normal can be in error together.
    shared = np.exp(-0.5 * (apart / prior.error_mm) ** 2)
    system += rows.common[:, None] * rows.common[None] * shared
    system[np.diag_indices_from(system)] += rows.deviations**2
    found = cho_solve(cho_factor(system, lower=True, overwrite_a=True, check_finite=False), rows.values)
    rigid = scale * (lines.T @ found)
    weights = prior.deformation_mm**2 * rows.directions * found[:, None]
    return Motion(pivot, rigid[:3], rigid[3:], Field(rows.points, weights, prior.reach_mm))
