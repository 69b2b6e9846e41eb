"""What speaks for a motion: borders of the glands, landmarks, matches; each says it along directions, with errors.

Everything lies in the frame of the fixed volume: what belongs to the moving one has been brought there by the
transform to start from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.deformable.refinement.motion import Motion
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.masks import Border

FARTHEST_MM = 15.0
"""A border's distance is believed up to here; beyond, the nearest border may be another part of it."""


@dataclass(frozen=True)
class Rows:
    """N statements about the displacement u of fixed points: ``directions`` · u(``points``) = ``values`` mm.

    ``deviations`` (N,) mm are of errors that are independent of each other, ``common`` (N,) of those that border
    points near each other share.
    """

    points: FloatArray = field(compare=False)
    directions: FloatArray = field(compare=False)
    values: FloatArray = field(compare=False)
    deviations: FloatArray = field(compare=False)
    common: FloatArray = field(compare=False)


@dataclass(frozen=True)
class Borders:
    """The borders of two glands, ``moving`` brought; of their points ``fixed_seen`` and ``moving_seen`` (N,) count.

    ``deviation_mm`` is the error of a border, shared by its near points.
    """

    fixed: Border = field(compare=False)
    moving: Border = field(compare=False)
    fixed_seen: npt.NDArray[np.bool_] = field(compare=False)
    moving_seen: npt.NDArray[np.bool_] = field(compare=False)
    deviation_mm: float

    def rows(self, motion: Motion) -> Rows:
        """At each border point of either gland both borders should be equally far."""
        ours, own = self.fixed.points[self.fixed_seen], self.fixed.offsets[self.fixed_seen]
        distance, slope = self.moving.at(motion.forward(ours))
        there = _unit(slope @ motion.rotation)
        brought, theirs = self.moving.points[self.moving_seen], self.moving.offsets[self.moving_seen]
        places = motion.back(brought)
        back, back_slope = self.fixed.at(places)
        here = _unit(back_slope)
        points, directions = np.concatenate([ours, places]), np.concatenate([there, here])
        # A fixed point moved along the normal comes farther out in the moving gland; a moving point comes farther in.
        missing = np.concatenate([own - distance, back - theirs]).clip(-FARTHEST_MM, FARTHEST_MM)
        values = np.einsum("nx,nx->n", directions, motion.linear(points)) + missing
        known = np.any(directions != 0, axis=1)
        count = int(known.sum())
        return Rows(
            points[known],
            directions[known],
            values[known],
            np.full(count, 0.5),
            np.full(count, self.deviation_mm),
        )

    def distance(self, motion: Motion) -> float:
        """Mean distance of the borders, mm, both ways, each counting half."""
        ours = np.abs(
            self.moving.at(motion.forward(self.fixed.points[self.fixed_seen]))[0] - self.fixed.offsets[self.fixed_seen]
        )
        theirs = np.abs(
            self.fixed.at(motion.back(self.moving.points[self.moving_seen]))[0] - self.moving.offsets[self.moving_seen]
        )
        return float((ours.mean() + theirs.mean()) / 2)


@dataclass(frozen=True)
class Pairs:
    """N pairs of points: ``fixed`` (N, 3), ``moving`` (N, 3) brought, ``covariances`` (N, 3, 3) mm² of both together.

    ``dof``: degrees of freedom of the Student distribution of the errors; None where all are to be believed.
    """

    fixed: FloatArray = field(compare=False)
    moving: FloatArray = field(compare=False)
    covariances: FloatArray = field(compare=False)
    dof: float | None = None

    def rows(self, motion: Motion) -> Rows:
        """Each fixed point should come to its moving one, along the axes of its covariance."""
        goal = (self.moving - motion.pivot - motion.shift) @ motion.rotation + motion.pivot
        missing = goal - self.fixed - motion.field.at(self.fixed)
        values, axes = np.linalg.eigh(self.covariances)  # (N, 3), (N, 3, 3) in columns
        weights = np.ones(len(self.fixed))
        if self.dof is not None:
            along = np.einsum("nx,nxa->na", missing, axes)
            weights = (self.dof + 3) / (self.dof + (along**2 / values).sum(axis=1))
        total = motion.linear(self.fixed) + missing
        return Rows(
            np.repeat(self.fixed, 3, axis=0),
            axes.transpose(0, 2, 1).reshape(-1, 3),
            np.einsum("nx,nxa->na", total, axes).ravel(),
            np.sqrt(values / weights[:, None]).ravel(),
            np.zeros(3 * len(self.fixed)),
        )

    def distances(self, motion: Motion) -> FloatArray:
        """(N,) mm that are left between the points."""
        return np.asarray(np.linalg.norm(motion.forward(self.fixed) - self.moving, axis=1), dtype=np.float64)


def gathered(parts: list[Rows]) -> Rows:
    """All of them in one."""
    names = ("points", "directions", "values", "deviations", "common")
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _unit(vectors: FloatArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), 0.0)
