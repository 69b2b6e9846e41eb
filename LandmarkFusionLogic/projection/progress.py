"""How an alignment is coming along, for progress bars, plots and a cancel that keeps the last good pose."""

from __future__ import annotations

from collections.abc import Callable

from LandmarkFusionLogic.projection.alignment import FloatArray, Report, Watch
from LandmarkFusionLogic.projection.pose import Pose

Measure = Callable[[FloatArray], float]


class Progress:
    """Keeps the curve of one alignment and tells of every better pose.

    ``measure`` gives the similarity of a pose (4, 4) that is plotted: one and the same all the way, while a method's
    own changes with the resolution. ``to_pose`` turns a matrix into a pose.
    """

    def __init__(
        self, measure: Measure, to_pose: Callable[[FloatArray], Pose], report: Report | None, watch: Watch | None
    ) -> None:
        self.to_pose, self.report = to_pose, report or (lambda share, text: None)
        self.watch: Watch = watch or (lambda iteration, similarity, pose: None)
        self.curve: list[tuple[int, float]] = []
        self._first, self._measure, self._highest = measure, measure, -2.0
        self._stage: object = None
        self._own = -2.0

    def measure_by(self, measure: Measure | None) -> None:
        """Tell another similarity from now on, or again the first one; what is best begins anew."""
        self._measure, self._highest = measure or self._first, -2.0

    def step(self, stage: object, matrix: FloatArray, similarity: float) -> None:
        """A step to ``matrix`` has been taken; ``similarity`` compares only within one and the same ``stage``."""
        if stage is not self._stage:
            self._stage, self._own = stage, -2.0
        if similarity <= self._own:
            return
        self._own = similarity
        measured = self._measure(matrix)
        if measured > self._highest:
            self._highest = measured
            self.curve.append((len(self.curve), measured))
            self.watch(len(self.curve) - 1, measured, self.to_pose(matrix))
