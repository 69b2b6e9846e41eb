"""The iterative fine registration at inference: follow the networks' gradient from a start to where it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from LandmarkFusionLogic.projection.learned.cases import projected_mask
from LandmarkFusionLogic.projection.learned.config import ProjectionConfig
from LandmarkFusionLogic.projection.learned.encoders import FineNetwork
from LandmarkFusionLogic.projection.learned.inputs import prepare
from LandmarkFusionLogic.projection.learned.poses import UNITS
from LandmarkFusionLogic.projection.learned.steps import network_gradient, rendered, stack
from LandmarkFusionLogic.projection.pose import step_matrix
from LandmarkFusionLogic.projection.projector import Projector

FloatArray = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Watch = Callable[[int, float, FloatArray], None]

ITERATIONS = 80
FIRST = (0.02, 1.5)
"""The first steps: radians, and mm in the units of `poses.UNITS`."""
LAST = (0.0008, 0.06)
"""A component whose steps have become as short as this has converged."""
LONGER, SHORTER = 1.1, 0.6


@dataclass(frozen=True)
class Refined:
    """``ct_to_camera`` at the end; ``curve``: iteration and -L_N (eq. 6); ``converged``: both components did."""

    ct_to_camera: FloatArray
    curve: list[tuple[int, float]]
    converged: bool


class _Component:
    """Rotation or translation: steps of a length of their own along the negative gradient.

    The network was taught the direction of the geodesic, not its length: steps grow while the direction stays and
    shrink when it turns about, which is when the end has been passed.
    """

    def __init__(self, first: float, last: float) -> None:
        self.length, self._last = first, last
        self._before = np.zeros(3)
        self.frozen = False

    def step(self, gradient: FloatArray) -> FloatArray:
        size = float(np.linalg.norm(gradient))
        if self.frozen or size == 0:
            return np.zeros(3)
        direction = -gradient / size
        self.length *= SHORTER if direction @ self._before < 0 else LONGER
        self._before = direction
        self.frozen = self.length < self._last
        return direction * self.length


def refine(
    network: FineNetwork,
    config: ProjectionConfig,
    mu: Projector,
    mask: Projector | None,
    xray: Image,
    start: FloatArray,
    watch: Watch | None = None,
    iterations: int = ITERATIONS,
) -> Refined:
    """Follow the gradient of eq. 6 from ``start`` (4, 4).

    ``xray`` (pixels, pixels) is what ``config.geometry`` sees. ``mask`` confines the loss (EL); None: to nothing.
    The rotation is frozen once it has converged, and the translation goes on. ``watch`` is told iteration, -L_N and
    pose.
    """
    device = next(network.parameters()).device
    with torch.no_grad():
        fixed = network.fixed(prepare(stack([xray], device)))
    turn, shift = (_Component(first, last) for first, last in zip(FIRST, LAST, strict=True))
    matrix, curve = start, list[tuple[int, float]]()
    for iteration in range(iterations):
        view = rendered([mu], [matrix], config, device)
        inside = stack([_ones(config) if mask is None else projected_mask(mask, config, matrix)], device)
        loss, gradient = network_gradient(network, view, fixed, inside, False)
        curve.append((iteration, -float(loss[0].detach())))
        if watch is not None:
            watch(*curve[-1], matrix)
        slope = gradient[0].detach().cpu().double().numpy()
        step = np.concatenate([turn.step(slope[:3]), shift.step(slope[3:])]) * UNITS
        matrix = step_matrix(step, mu.center_in_camera(matrix)) @ matrix
        if turn.frozen and shift.frozen:
            break
    return Refined(matrix, curve, turn.frozen and shift.frozen)


def _ones(config: ProjectionConfig) -> Image:
    side = config.pixels // (4 * config.stem_stride)
    return np.ones((side, side), dtype=np.float32)
