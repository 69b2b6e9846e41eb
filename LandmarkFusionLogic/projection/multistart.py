"""The default method: from many poses around the start to one, coarse to fine, by least squares on edges.

Poses are drawn as far from the start as a first guess may be off, ranked on a small image, and climb there; the best
that differ climb on at twice the resolution, fewer at each. Where CT and X-ray do not come to agree, they may not
show the same: then bone alone is looked for, among edges of which those that have no counterpart count little.
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
CLEAR = 0.75
"""Edges that correlate as much at `PLAIN`'s second resolution show the same."""
MARGIN = 0.1
"""Bone alone is preferred unless the whole CT agrees by so much better."""
BONE_PER_MM = 0.022
"""Attenuation of 100 HU: what lies above is bone; less than that is what surrounds it anyway."""
GLOBAL, NEARBY = EdgeScale(blur=0.7, window=0.0), EdgeScale(blur=0.7, window=2.5)
FIXED_DEPTH = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])


@dataclass(frozen=True)
class Stage:
    """One resolution: ``side`` in pixels, at most ``iterations`` for each pose, and how many poses go on.

    ``scale``: how edges are compared; ``robust`` as in `Level`; ``free`` as in `climb`.
    """

    side: int
    iterations: int
    keep: int
    scale: EdgeScale = GLOBAL
    robust: float = 0.0
    free: FloatArray | None = None


@dataclass(frozen=True)
class Plan:
    """``poses`` are tried, ``ranked`` of them climb."""

    poses: int
    ranked: int
    stages: tuple[Stage, ...]


PLAIN = Plan(64, 24, (Stage(32, 12, 8), Stage(64, 10, 3), Stage(128, 10, 1), Stage(256, 10, 1)))
"""For a CT and an X-ray that show the same."""
BONE = Plan(
    256,
    48,
    (
        # Soft shadows without a counterpart pull the depth away: it waits until edges are sharp.
        Stage(64, 10, 12, NEARBY, free=FIXED_DEPTH),
        Stage(128, 12, 3, NEARBY, robust=0.3),
        Stage(256, 8, 1, EdgeScale(blur=0.7, window=3.0), robust=0.1),
    ),
)
"""For an X-ray with soft tissue that the moving volume lacks."""
MEASURED_SIDE = 128


@dataclass(frozen=True)
class Found:
    """A pose (4, 4) and its similarity at the resolution where it was found."""

    matrix: FloatArray
    similarity: float


@dataclass(frozen=True)
class Outcome:
    """The best pose (4, 4), the poses that were ``last`` compared, best first, and by what its similarity is told."""

    matrix: FloatArray
    last: list[Found]
    level: Level


class Search:
    """What stays the same while poses of one volume climb from stage to stage."""

    def __init__(self, mu: Volume, views: Sequence[View], starts: Sequence[FloatArray], progress: Progress) -> None:
        self.mu, self.views, self.starts, self.progress = mu, views, starts, progress
        self.longest = max(max(view.image.shape) for view in views)
        self.found: list[Found] = []
        self.last: list[Found] = []

    def begin(self, plan: Plan) -> None:
        """Draw and rank the first poses."""
        first = plan.stages[0]
        level = Level(self.mu, self.views, first.side, first.scale, first.robust)
        poses = around(self.starts, self.mu.centre, plan.poses)
        self.found = sorted((Found(pose, level.similarity(pose)) for pose in poses), key=_order)[: plan.ranked]

    def climb(self, stage: Stage, shares: tuple[float, float]) -> None:
        """Take the poses through one ``stage``, which makes up these ``shares`` of the whole work."""
        level = Level(self.mu, self.views, stage.side, stage.scale, stage.robust)
        low, high = shares

        def visit(matrix: FloatArray, similarity: float) -> None:
            self.progress.step(level, matrix, similarity)

        climbed = []
        for place, one in enumerate(self.found):
            self.progress.report(low + (high - low) * place / len(self.found), f"Aligning at {stage.side} pixels")
            climbed.append(Found(*climb(level, one.matrix, stage.iterations, self.inside, visit, free=stage.free)))
        if len(climbed) > 1:
            self.last = distinct(climbed, self.mu.centre, max(stage.keep, 2))
        self.found = distinct(climbed, self.mu.centre, stage.keep)

    def inside(self, matrix: FloatArray) -> bool:
        """Whether ``matrix`` lies within reach of a start."""
        return any(within_reach(matrix, start, self.mu.centre) for start in self.starts)

    def finer(self, plan: Plan, done: int) -> list[Stage]:
        """The stages after the first ``done`` that show more than the ones before them."""
        pairs = zip(plan.stages, plan.stages[1:], strict=False)
        return [stage for before, stage in list(pairs)[done - 1 :] if self.longest > before.side]


def align(
    mu: Volume, views: Sequence[View], starts: Sequence[FloatArray], progress: Progress, level: Level
) -> Outcome:
    """The pose of ``mu`` in ``views``, from ``starts`` (4, 4), each from the CT to the first camera.

    ``level`` tells the similarity of the whole CT.
    """
    whole = Search(mu, views, starts, progress)
    whole.begin(PLAIN)
    whole.climb(PLAIN.stages[0], (0.0, 0.1))
    for stage in whole.finer(PLAIN, 1)[:1]:
        whole.climb(stage, (0.1, 0.25))
    bone = bone_alone(mu)
    if whole.found[0].similarity < CLEAR and bone.array.any():
        found = _of_bone(whole, bone)
        if found is not None:
            return found
    rest = whole.finer(PLAIN, 2)
    for number, stage in enumerate(rest):
        whole.climb(stage, (0.5 + 0.5 * number / len(rest), 0.5 + 0.5 * (number + 1) / len(rest)))
    return Outcome(whole.found[0].matrix, whole.last, level)


def _of_bone(whole: Search, volume: Volume) -> Outcome | None:
    """The pose by bone alone, or None where the ``whole`` CT agrees better than its bone."""
    progress = whole.progress
    level = Level(volume, whole.views, MEASURED_SIDE, NEARBY)
    best = whole.found[0].matrix
    progress.measure_by(level.similarity)
    bone = Search(volume, whole.views, whole.starts, progress)
    bone.begin(BONE)
    bone.found = [Found(best, 0.0), *bone.found]
    bone.climb(BONE.stages[0], (0.25, 0.5))
    for stage in bone.finer(BONE, 1)[:1]:
        bone.climb(stage, (0.5, 0.8))
    both = Level(whole.mu, whole.views, MEASURED_SIDE, NEARBY)
    if both.similarity(best) > level.similarity(bone.found[0].matrix) + MARGIN:
        progress.measure_by(None)
        return None
    for stage in bone.finer(BONE, 2):
        bone.climb(stage, (0.8, 1.0))
    return Outcome(bone.found[0].matrix, bone.last, level)


def bone_alone(mu: Volume) -> Volume:
    """What bone attenuates more than the soft tissue around it."""
    return Volume(np.maximum(np.asarray(mu.array, np.float32) - np.float32(BONE_PER_MM), 0), mu.ijk_to_ras)


def around(starts: Sequence[FloatArray], isocenter: FloatArray, poses: int) -> list[FloatArray]:
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
