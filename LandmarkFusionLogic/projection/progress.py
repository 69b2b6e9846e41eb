"""How an alignment is coming along, for progress bars, plots and a cancel that keeps the last good pose."""

from __future__ import annotations

from collections.abc import Callable

from LandmarkFusionLogic.projection.alignment import FloatArray, Report, Watch
from LandmarkFusionLogic.projection.pose import Pose

Measure = Callable[[FloatArray], float]


class Progress:
    """Keeps the curve of one alignment and tells of every better pose.

    ``measure`` gives the similarity of a pose (4, 4) that is plotted: one and the same all the way, while a method's
    own may change with the resolution. ``to_pose`` turns a matrix into a pose.
    """

    def __init__(
        self, measure: Measure, to_pose: Callable[[FloatArray], Pose], report: Report | None, watch: Watch | None
    ):
        self.measure, self.to_pose = measure, to_pose
        self.report: Report = report or (lambda share, text: None)
        self.watch: Watch = watch or (lambda iteration, similarity, pose: None)
        self.curve: list[tuple[int, float]] = []
        self.best: FloatArray | None = None
        self._highest = -2.0
        self._stage, self._own = -1, -2.0

    def step(self, stage: int, matrix: FloatArray, similarity: float) -> None:
        """A step to ``matrix`` has been taken; ``similarity`` compares only within ``stage``."""
        if stage != self._stage:
            self._stage, self._own = stage, -2.0
        if similarity <= self._own:
            return
        self._own = similarity
        measured = self.measure(matrix)
        if measured > self._highest:
            self._highest, self.best = measured, matrix
            self.curve.append((len(self.curve), measured))
            self.watch(len(self.curve) - 1, measured, self.to_pose(matrix))
