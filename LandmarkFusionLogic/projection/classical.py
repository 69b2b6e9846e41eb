"""Opt-NCCL, Opt-NGI and Opt-GC: the methods that Chen 2023 compares with, by a standard optimizer.

The paper names similarities, not optimizers. Here SciPy's L-BFGS-B climbs each with the projector's derivatives, on
images of 64, 128 and 256 pixels after one another, from the one start, bounded in all six parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from LandmarkFusionLogic.projection.alignment import FloatArray, Mask, View
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera, steps_of_parameters
from LandmarkFusionLogic.projection.progress import Progress
from LandmarkFusionLogic.projection.projector import Projector
from LandmarkFusionLogic.projection.pyramid import geometry_for, image_for, inner, volume_for
from LandmarkFusionLogic.projection.similarity import SIMILARITIES, Similarity
from LandmarkFusionLogic.volume import Volume

METHODS = {"opt-nccl": "nccl", "opt-ngi": "ngi", "opt-gc": "gc"}
"""Methods and their similarities (`similarity.SIMILARITIES`)."""

UNITS = np.array([3.0, 3.0, 3.0, 3.0, 3.0, 15.0])
"""Degrees and mm that change an image about as much as each other: what the optimizer counts in."""
BOUNDS = np.array([60.0, 60.0, 60.0, 100.0, 100.0, 250.0])
"""How far each parameter may be from the start's."""
SIDES, ITERATIONS = (64, 128, 256), 60


@dataclass(frozen=True)
class _Side:
    projector: Projector
    geometry: Geometry
    view: View
    image: FloatArray
    mask: Mask


class Objective:
    """A similarity of all views at one resolution, as a function of a pose's six parameters."""

    def __init__(self, mu: Volume, views: Sequence[View], side: int, similarity: Similarity) -> None:
        self.mu, self.similarity = mu, similarity
        self.sides = []
        for view in views:
            geometry = geometry_for(view.geometry, side)
            image, seen = image_for(view, geometry)
            mask = inner(seen, 1)
            projector = Projector(volume_for(mu, geometry))
            self.sides.append(_Side(projector, geometry, view, np.where(mask, image, 0).astype(np.float64), mask))

    def matrix(self, parameters: FloatArray) -> FloatArray:
        """(4, 4) from the CT to the first camera."""
        return ct_to_camera(Pose.of(parameters), self.mu.centre, self.sides[0].geometry)

    def __call__(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """The similarity and its derivatives (6,) by degrees and mm."""
        pose = Pose.of(parameters)
        matrix = self.matrix(parameters)
        center = matrix[:3, :3] @ self.mu.centre + matrix[:3, 3]
        value, slope = 0.0, np.zeros(6)
        for side in self.sides:
            turn, shift = side.view.from_first[:3, :3], side.view.from_first[:3, 3]
            image, jacobian = side.projector.project_with_jacobian(
                side.geometry, side.view.from_first @ matrix, turn @ center + shift
            )
            found, by_pixel = self.similarity(side.image, np.where(side.mask, image, 0).astype(np.float64))
            by_step = np.einsum("srk,rk->s", jacobian, np.where(side.mask, by_pixel, 0))
            value += found / len(self.sides)
            slope += np.concatenate([turn.T @ by_step[:3], turn.T @ by_step[3:]]) / len(self.sides)
        return value, steps_of_parameters(pose).T @ slope


def align(mu: Volume, views: Sequence[View], start: Pose, method: str, progress: Progress) -> Pose:
    """The pose at the end of the climb of ``method``, one of `METHODS`, from ``start``."""
    similarity = SIMILARITIES[METHODS[method]]
    parameters = start.parameters
    longest = max(max(view.image.shape) for view in views)
    sides = [side for side in SIDES if side <= longest] or [longest]
    for number, side in enumerate(sides):
        objective = Objective(mu, views, side, similarity)
        calls = 0

        def negative(
            units: FloatArray, objective: Objective = objective, number: int = number
        ) -> tuple[float, FloatArray]:
            nonlocal calls
            calls += 1
            share = min(calls / ITERATIONS, 1.0)
            progress.report((number + share) / len(sides), f"{method} at {sides[number]} pixels")
            place = start.parameters + units * UNITS
            value, slope = objective(place)
            progress.step(objective, objective.matrix(place), value)
            return -value, -slope * UNITS

        limits = np.stack([-BOUNDS, BOUNDS], axis=1) / UNITS[:, None]
        found = minimize(
            negative,
            (parameters - start.parameters) / UNITS,
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            options={"maxiter": ITERATIONS, "ftol": 1e-7},
        )
        parameters = start.parameters + found.x * UNITS
    return Pose.of(parameters)
