"""The default method: from many poses around the start to one, coarse to fine, by least squares on edges.

Poses are drawn as far from the start as a first guess may be off, ranked on a thumbnail, and climb there; the best
that differ climb on at twice the resolution, fewer at each. What differs at the end is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import norm, qmc

from LandmarkFusionLogic.projection.alignment import FloatArray, View
from LandmarkFusionLogic.projection.edges import EdgeScale
from LandmarkFusionLogic.projection.leastsquares import Level, climb
from LandmarkFusionLogic.projection.pose import step_matrix
from LandmarkFusionLogic.projection.progress import Progress
from LandmarkFusionLogic.volume import Volume

SPREAD = np.array([10.0, 10.0, 10.0, 15.0, 15.0, 45.0])
"""Standard deviations of the poses tried about a start: degrees, and mm along columns, rows and depth."""
REACH = np.array([60.0, 100.0, 250.0])
"""How far from every start a pose may be: degrees, mm in the image plane, mm of depth."""
POSES, RANKED = 64, 24
"""Poses tried in all, and those of them that climb."""


@dataclass(frozen=True)
class Stage:
    """One resolution: ``side`` in pixels, at most ``iterations`` for each pose, and how many poses go on."""

    side: int
    iterations: int
    keep: int


STAGES = (Stage(32, 12, 8), Stage(64, 10, 3), Stage(128, 10, 1), Stage(256, 10, 1))


@dataclass(frozen=True)
class Found:
    """A pose (4, 4) and its similarity at the resolution where it was found."""

    matrix: FloatArray
    similarity: float


def scale_for(side: int) -> EdgeScale:
    """How edges are compared on an image of ``side`` pixels."""
    return EdgeScale(blur=0.7, window=0.0)


def align(
    mu: Volume, views: Sequence[View], starts: Sequence[FloatArray], progress: Progress
) -> tuple[FloatArray, list[Found]]:
    """The best pose (4, 4), and the poses that were still left at the last resolution but one, best first.

    ``starts`` (4, 4) each lead from the CT to the first camera.
    """
    isocenter = mu.centre

    def inside(matrix: FloatArray) -> bool:
        return any(within_reach(matrix, start, isocenter) for start in starts)

    found = [Found(matrix, 0.0) for matrix in around(starts, isocenter)]
    last = found
    longest = max(max(view.image.shape) for view in views)
    for number, stage in enumerate(STAGES):
        if number and longest <= STAGES[number - 1].side:
            break
        level = Level(mu, views, stage.side, scale_for(stage.side))
        if number == 0:
            found = sorted((Found(one.matrix, level.similarity(one.matrix)) for one in found), key=_order)[:RANKED]

        def visit(matrix: FloatArray, similarity: float, number: int = number) -> None:
            progress.step(number, matrix, similarity)

        climbed = []
        for place, one in enumerate(found):
            progress.report((number + place / len(found)) / len(STAGES), f"Aligning at {stage.side} pixels")
            climbed.append(Found(*climb(level, one.matrix, stage.iterations, inside, visit)))
        last = distinct(climbed, isocenter, max(stage.keep, 2)) if len(climbed) > 1 else last
        found = distinct(climbed, isocenter, stage.keep)
    return found[0].matrix, last


def around(starts: Sequence[FloatArray], isocenter: FloatArray, poses: int = POSES) -> list[FloatArray]:
    """The ``starts`` and poses about them, ``poses`` in all: the same each time, and evenly spread."""
    drawn = qmc.Sobol(6, seed=0).random(poses)
    steps = norm.ppf(np.clip(drawn, 0.01, 0.99)) * SPREAD
    steps[:, :3] = np.deg2rad(steps[:, :3])
    steps[: len(starts)] = 0
    result = []
    for number, step in enumerate(steps):
        start = starts[number % len(starts)]
        result.append(step_matrix(step, start[:3, :3] @ isocenter + start[:3, 3]) @ start)
    return result


def within_reach(matrix: FloatArray, start: FloatArray, isocenter: FloatArray, share: float = 1.0) -> bool:
    """Whether ``matrix`` lies within ``share`` of `REACH` about ``start``, and the CT before the source."""
    angle, shift = apart(matrix, start, isocenter)
    center = matrix[:3, :3] @ isocenter + matrix[:3, 3]
    limit = share * REACH
    return bool(angle < limit[0] and max(abs(shift[:2])) < limit[1] and abs(shift[2]) < limit[2] and center[2] > 0)


def apart(one: FloatArray, other: FloatArray, isocenter: FloatArray) -> tuple[float, FloatArray]:
    """Angle in degrees between two poses, and the shift (3,) in mm between their isocenters."""
    angle = float(np.rad2deg(Rotation.from_matrix(one[:3, :3] @ other[:3, :3].T).magnitude()))
    shift = (one[:3, :3] - other[:3, :3]) @ isocenter + one[:3, 3] - other[:3, 3]
    return angle, np.asarray(shift)


def distinct(found: Sequence[Found], isocenter: FloatArray, count: int) -> list[Found]:
    """The best ``count`` of ``found`` that are no two of them the same pose, best first."""
    kept: list[Found] = []
    for one in sorted(found, key=_order):
        if not any(_same(one.matrix, other.matrix, isocenter) for other in kept):
            kept.append(one)
        if len(kept) == count:
            break
    return kept


def _same(one: FloatArray, other: FloatArray, isocenter: FloatArray) -> bool:
    angle, shift = apart(one, other, isocenter)
    return bool(angle < 1.5 and max(abs(shift[:2])) < 2 and abs(shift[2]) < 8)


def _order(found: Found) -> float:
    return -found.similarity
