"""elastix's parameter files: the presets that ship, read, changed and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError

PRESETS = ("fast", "paper")
STAGES = ("affine", "bspline")
POINTS_METRIC = "CorrespondingPointsEuclideanDistanceMetric"

_LINE = re.compile(r"^\s*\(\s*(\w+)\s+(.*?)\s*\)\s*(?://.*)?$")


@dataclass(frozen=True)
class Parameters:
    """One stage of a registration: the values of each parameter by name, as they stand in the file."""

    values: dict[str, tuple[str, ...]] = field(compare=True)

    def get(self, name: str, level: int = 0, default: str = "") -> str:
        """The value of ``name`` at resolution ``level``, without quotes; one value counts for every resolution."""
        found = self.values.get(name)
        if not found:
            return default
        return found[level if level < len(found) else 0].strip('"')

    @property
    def resolutions(self) -> int:
        """How many resolutions the stage has."""
        return int(self.get("NumberOfResolutions", default="3"))

    def iterations(self, level: int) -> int:
        """How many iterations the resolution ``level`` makes."""
        return int(self.get("MaximumNumberOfIterations", level, "500"))

    def changed(self, values: Mapping[str, str | float | Iterable[str]]) -> Parameters:
        """A copy with ``values``: text is quoted, numbers are not, several values stand as in a file."""
        new = dict(self.values)
        for name, value in values.items():
            if isinstance(value, str):
                new[name] = (f'"{value}"',)
            elif isinstance(value, (int, float)):
                new[name] = (f"{value:g}",)
            else:
                new[name] = tuple(value)
        return Parameters(new)

    def without_points(self) -> Parameters:
        """A copy without the metric of corresponding points, which elastix cannot run without points."""
        metrics = self.values.get("Metric", ())
        kept = tuple(name for name in metrics if name.strip('"') != POINTS_METRIC)
        samplers = self.values.get("ImageSampler", ())
        new = {**self.values, "Metric": kept}
        if len(samplers) == len(metrics):
            new["ImageSampler"] = samplers[: len(kept)]
        return Parameters(new)

    def write(self, path: Path) -> None:
        """Write the parameter file."""
        lines = [f"({name} {' '.join(values)})" for name, values in self.values.items()]
        path.write_text("\n".join(lines) + "\n", encoding="ascii")


def parse(text: str) -> Parameters:
    """The parameters of a file's ``text``. Raises ValueError for a line that is neither parameter nor comment."""
    values: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        if not line.strip() or line.strip().startswith("//"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ValueError(line)
        values[match.group(1)] = tuple(re.findall(r'"[^"]*"|[^\s"]+', match.group(2)))
    return Parameters(values)


def preset(name: str) -> list[Parameters]:
    """Affine and deformable stage of the preset ``name``, one of `PRESETS`.

    Raises InputError for a name that is none.
    """
    if name not in PRESETS:
        raise InputError(f"There is no preset “{name}” of the deformable registration; choose {' or '.join(PRESETS)}.")
    return [
        parse(assets.path("Resources", "elastix", f"{name}-{stage}.txt").read_text(encoding="utf-8"))
        for stage in STAGES
    ]
