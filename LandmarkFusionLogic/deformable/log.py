"""elastix's output, line by line: which stage and resolution it is in, and the metric's value at each iteration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from LandmarkFusionLogic.deformable.parameters import Parameters

STAGE_NAMES = ("affine", "deformable")
_BSPLINE_COST = 8.0
"""How much longer an iteration of the deformable stage takes than one of the affine stage, roughly."""


@dataclass(frozen=True)
class Iteration:
    """One iteration: stage (affine | deformable), resolution and iteration counted from 0, value of the metric."""

    stage: str
    resolution: int
    iteration: int
    metric: float


class LogReader:
    """Follows elastix's output. ``stages``: its parameter files in order, the last of them deformable."""

    def __init__(self, stages: Sequence[Parameters]) -> None:
        self._stages = stages
        self._stage = -1
        self._resolution = 0
        self._metric_column: int | None = None
        self._done = 0.0
        costs = [
            (_BSPLINE_COST if "BSpline" in stage.get("Transform") else 1.0) * stage.iterations(level)
            for stage in stages
            for level in range(stage.resolutions)
        ]
        self._total = sum(costs)
        self._starts = [sum(costs[:index]) for index in range(len(costs) + 1)]

    @property
    def fraction(self) -> float:
        """The share of all iterations that is done, 0..1, an iteration of the deformable stage counting more."""
        return self._done

    def read(self, line: str) -> Iteration | None:
        """The iteration that ``line`` tells of, or None."""
        words = line.strip().split("\t")
        if line.startswith("Resolution:"):
            self._resolution = int(line.split(":")[1].split()[0])
            self._stage += self._resolution == 0
            self._metric_column = None
        elif line.startswith("1:ItNr"):
            self._metric_column = next((n for n, word in enumerate(words) if word == "2:Metric"), None)
        elif self._metric_column is not None and words[0].isdigit() and len(words) > self._metric_column:
            return self._iteration(int(words[0]), words[self._metric_column])
        return None

    def describe(self) -> str:
        """Where elastix is, for people: ``Deformable registration, resolution 2 of 3``."""
        if self._stage < 0:
            return "Starting elastix"
        stage = self._stages[min(self._stage, len(self._stages) - 1)]
        kind = self._name.capitalize()
        return f"{kind} registration, resolution {self._resolution + 1} of {stage.resolutions}"

    @property
    def _name(self) -> str:
        stage = self._stages[min(self._stage, len(self._stages) - 1)]
        return STAGE_NAMES["BSpline" in stage.get("Transform")]

    def _iteration(self, number: int, value: str) -> Iteration | None:
        try:
            metric = float(value)
        except ValueError:
            metric = math.nan
        index = min(self._stage, len(self._stages) - 1)
        before = sum(stage.resolutions for stage in self._stages[:index]) + self._resolution
        if before + 1 < len(self._starts):
            share = min(1.0, (number + 1) / self._stages[index].iterations(self._resolution))
            start, end = self._starts[before], self._starts[before + 1]
            self._done = (start + share * (end - start)) / self._total
        return Iteration(self._name, self._resolution, number, metric)
