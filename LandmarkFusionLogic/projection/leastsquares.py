"""Levenberg-Marquardt on the correlation of edges, with the projector's own derivatives.

The correlation ρ of two images' edges a and b, each scaled to unit length, is 1 - |a - b|² / 2: least squares, whose
Jacobian follows from the image's. Steps are turns about the CT's center and shifts, in the first view's camera.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from LandmarkFusionLogic.projection.alignment import Array, FloatArray, Mask, View
from LandmarkFusionLogic.projection.edges import EdgeScale, edges
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import step_matrix
from LandmarkFusionLogic.projection.projector import Projector
from LandmarkFusionLogic.projection.pyramid import geometry_for, image_for, inner, volume_for
from LandmarkFusionLogic.volume import Volume

LONGEST_TURN = 0.2
"""Radians that one step turns at most."""
LONGEST_SHIFT_MM = 40.0
_FIRST_DAMPING, _LAST_DAMPING = 1e-2, 1e3


@dataclass(frozen=True)
class System:
    """The similarity at a pose, and the normal equations of the step that raises it most."""

    similarity: float
    curvature: FloatArray
    slope: FloatArray
    center: FloatArray


@dataclass(frozen=True)
class _Side:
    """One view at one resolution: what is projected, with what, and the edges it is to show."""

    projector: Projector
    geometry: Geometry
    from_first: FloatArray
    target: Array
    mask: Mask


class Level:
    """All views at one resolution.

    ``side``: pixels along the longer side of a detector. ``robust``: how many times the mean square disagreement a
    pixel may have before it counts half; 0 counts all alike.
    """

    def __init__(self, mu: Volume, views: Sequence[View], side: int, scale: EdgeScale, robust: float = 0.0) -> None:
        self.scale, self.robust, self.isocenter = scale, robust, mu.centre
        self.sides = [self._side(mu, view, side) for view in views]

    def _side(self, mu: Volume, view: View, side: int) -> _Side:
        geometry = geometry_for(view.geometry, side)
        image, seen = image_for(view, geometry)
        mask = inner(seen, 1 + int(np.ceil(2 * self.scale.blur)))[1:-1, 1:-1]
        projector = Projector(volume_for(mu, geometry))
        return _Side(projector, geometry, view.from_first, edges(image[None], mask, self.scale)[0], mask)

    def similarity(self, matrix: FloatArray) -> float:
        """Mean correlation of the views' edges at ``matrix`` (4, 4), CT to the first camera; -1 to 1."""
        found = []
        for side in self.sides:
            image = side.projector.project(side.geometry, side.from_first @ matrix)
            found.append(_correlation(side.target, edges(image[None], side.mask, self.scale)[0]))
        return float(np.mean(found))

    def system(self, matrix: FloatArray) -> System:
        """Similarity and normal equations at ``matrix`` (4, 4)."""
        center = matrix[:3, :3] @ self.isocenter + matrix[:3, 3]
        similarity, curvature, slope = 0.0, np.zeros((6, 6)), np.zeros(6)
        for side in self.sides:
            rho, part, pull = self._one(side, matrix, center)
            similarity += rho / len(self.sides)
            curvature += part
            slope += pull
        return System(similarity, curvature, slope, center)

    def _one(self, side: _Side, matrix: FloatArray, center: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        turn, shift = side.from_first[:3, :3], side.from_first[:3, 3]
        image, jacobian = side.projector.project_with_jacobian(
            side.geometry, side.from_first @ matrix, turn @ center + shift
        )
        found = edges(np.concatenate([image[None], jacobian]), side.mask, self.scale)
        target, rho = side.target, _correlation(side.target, found[0])
        if self.robust > 0:
            weight = _weights(target, found[0], rho, self.robust)
            target, found = target * weight, found * weight
        wanted, shown = target.ravel().astype(np.float64), found[0].ravel().astype(np.float64)
        length = np.linalg.norm(shown) + 1e-12
        wanted, shown = wanted / (np.linalg.norm(wanted) + 1e-12), shown / length
        # In the first camera's axes: a turn or shift there is turned into this camera's.
        rows = found[1:].reshape(6, -1).astype(np.float64) / length
        rows = np.concatenate([turn.T @ rows[:3], turn.T @ rows[3:]])
        along = rows @ shown
        return rho, rows @ rows.T - np.outer(along, along), rows @ wanted - along * (shown @ wanted)


def _correlation(one: Array, other: Array) -> float:
    size = float(np.sqrt(np.sum(one**2, dtype=np.float64) * np.sum(other**2, dtype=np.float64)))
    return float(np.sum(one * other, dtype=np.float64)) / size if size > 0 else 0.0


def _weights(target: Array, shown: Array, rho: float, robust: float) -> Array:
    """Square roots of Cauchy's weights of each pixel's disagreement."""
    lengths = [float(np.sqrt(np.sum(part**2))) + 1e-12 for part in (target, shown)]
    error = ((target / lengths[0] - rho * shown / lengths[1]) ** 2).sum(axis=0)
    return np.asarray(1 / np.sqrt(1 + error / (robust * error.mean() + 1e-20)), dtype=np.float32)


Visit = Callable[[FloatArray, float], None]
"""Told a pose's matrix and similarity whenever a step has been taken."""


def climb(
    level: Level,
    matrix: FloatArray,
    iterations: int,
    inside: Callable[[FloatArray], bool],
    visit: Visit,
    gain: float = 1e-5,
    free: FloatArray | None = None,
) -> tuple[FloatArray, float]:
    """The pose (4, 4) where ``level`` is most similar, from ``matrix``, and its similarity; at most ``iterations``.

    ``inside`` says whether a pose is allowed; a step beyond is shortened. Ends where a step gains less than ``gain``.
    ``free`` (6,) is 0 for the parts of a step that stay as they are.
    """
    here, damping = level.system(matrix), _FIRST_DAMPING
    held = np.zeros(6) if free is None else 1.0 - free
    for _ in range(iterations):
        step = _step(here, damping, held)
        ahead = step_matrix(step, here.center) @ matrix
        there = level.system(ahead) if inside(ahead) else None
        if there is None or there.similarity <= here.similarity:
            damping *= 6
            if damping > _LAST_DAMPING:
                break
            continue
        gained = there.similarity - here.similarity
        matrix, here, damping = ahead, there, max(damping / 5, 1e-7)
        visit(matrix, here.similarity)
        if gained < gain:
            break
    return matrix, here.similarity


def _step(system: System, damping: float, held: FloatArray) -> FloatArray:
    diagonal = np.diag(system.curvature)
    damped = system.curvature + damping * np.diag(diagonal + 1e-6 * diagonal.mean() + 1e-20)
    free = held == 0
    step = np.zeros(6)
    step[free] = np.linalg.solve(damped[np.ix_(free, free)], system.slope[free])
    turn, shift = np.linalg.norm(step[:3]), np.linalg.norm(step[3:])
    step[:3] *= min(1.0, LONGEST_TURN / max(float(turn), 1e-12))
    step[3:] *= min(1.0, LONGEST_SHIFT_MM / max(float(shift), 1e-12))
    return step
