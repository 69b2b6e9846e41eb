"""Where source and detector of a C-arm stand: the pinhole camera of an X-ray image.

Camera frame, mm, right-handed: the source is the origin, z runs to the detector, x along the columns of the image
and y along its rows (downwards). The detector is the plane z = sdd.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic import jsondata
from LandmarkFusionLogic.errors import InputError

FloatArray = npt.NDArray[np.float64]

ISOCENTER_SHARE = 0.7
"""Where the isocenter stands between source and detector unless it is given."""
SDD_RANGE_MM = (200.0, 5000.0)
SPACING_RANGE_MM = (0.01, 200.0)
LARGEST_SIDE = 8192


@dataclass(frozen=True)
class Geometry:
    """The geometry of one X-ray image.

    ``sdd``: source to detector, mm. ``spacing``: (row, column), mm between the centers of neighboring pixels, at the
    detector. ``principal_point``: [row, column] in pixels where the central ray meets the detector, 0 at the center
    of the first pixel; None is the detector's center. ``source_to_isocenter``: mm, None is 0.7 · sdd; it says only
    where a pose of zeros puts the patient. ``mirrored``: columns run the other way, as seen from the detector.
    Raises InputError, one sentence, for values that no C-arm has.
    """

    sdd: float
    rows: int
    columns: int
    spacing: tuple[float, float]
    principal_point: tuple[float, float] | None = None
    source_to_isocenter: float | None = None
    mirrored: bool = False

    def __post_init__(self) -> None:
        low, high = SDD_RANGE_MM
        if not low <= self.sdd <= high:  # NaN too
            raise InputError(
                f"The distance from source to detector is {self.sdd:g} mm; give one of {low:g} to {high:g} mm."
            )
        if not (2 <= self.rows <= LARGEST_SIDE and 2 <= self.columns <= LARGEST_SIDE):
            raise InputError(
                f"The detector has {self.rows} × {self.columns} pixels; give 2 to {LARGEST_SIDE} rows and columns."
            )
        low, high = SPACING_RANGE_MM
        if len(self.spacing) != 2 or not all(low <= value <= high for value in self.spacing):
            raise InputError(
                f"The spacing of the detector's pixels must be two numbers of {low:g} to {high:g} mm: row, column."
            )
        point = self.principal_point
        if point is not None and (len(point) != 2 or not all(math.isfinite(value) for value in point)):
            raise InputError("The principal point must be two numbers, row and column in pixels.")
        distance = self.source_to_isocenter
        if distance is not None and not 0 < distance < self.sdd:
            raise InputError(
                f"The isocenter must lie between source and detector, at 0 to {self.sdd:g} mm from the source."
            )

    @property
    def center(self) -> tuple[float, float]:
        """The principal point (row, column) in pixels, the detector's center unless another is given."""
        return self.principal_point or ((self.rows - 1) / 2, (self.columns - 1) / 2)

    @property
    def isocenter_distance(self) -> float:
        """Source to isocenter, mm."""
        return ISOCENTER_SHARE * self.sdd if self.source_to_isocenter is None else self.source_to_isocenter

    @property
    def steps(self) -> tuple[float, float]:
        """Mm along camera y a row and along camera x a column; the second is negative for a mirrored image."""
        return self.spacing[0], -self.spacing[1] if self.mirrored else self.spacing[1]

    def resized(self, rows: int, columns: int) -> Geometry:
        """The same detector, read out with ``rows`` × ``columns`` pixels."""
        down, right = self.rows / rows, self.columns / columns
        point = self.principal_point
        if point is not None:
            point = (point[0] + 0.5) / down - 0.5, (point[1] + 0.5) / right - 0.5
        spacing = self.spacing[0] * down, self.spacing[1] * right
        return replace(self, rows=rows, columns=columns, spacing=spacing, principal_point=point)

    def to_pixels(self, points: npt.ArrayLike) -> FloatArray:
        """(N, 2) row and column where rays through ``points`` (N, 3), camera mm, meet the detector; NaN behind it."""
        places = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        down, right = self.steps
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(places[:, 2] > 0, self.sdd / places[:, 2], np.nan)
        row = places[:, 1] * scale / down + self.center[0]
        column = places[:, 0] * scale / right + self.center[1]
        return np.stack([row, column], axis=1)

    def on_detector(self, pixels: npt.ArrayLike) -> FloatArray:
        """(N, 3) camera mm of ``pixels`` (N, 2), row and column: points of the plane z = sdd."""
        places = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        down, right = self.steps
        x = (places[:, 1] - self.center[1]) * right
        y = (places[:, 0] - self.center[0]) * down
        return np.stack([x, y, np.full(len(places), self.sdd)], axis=1)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {key: value for key, value in jsondata.to_json(self).items() if value is not None}

    @staticmethod
    def from_json(data: Any) -> Geometry:
        """The geometry of parsed JSON: sdd, rows, columns, spacing [row, column] and, optional, the other fields.

        Raises InputError for missing or unknown fields and for values that cannot be.
        """
        return jsondata.from_json(Geometry, data)


def read_geometry(path: str | Path) -> Geometry:
    """The geometry in the JSON file ``path``. Raises InputError where it cannot be read or used."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"The geometry “{path.name}” cannot be opened ({error.strerror or 'no access'}); choose a JSON file."
        ) from error
    except ValueError as error:
        raise InputError(f"The geometry “{path.name}” is not JSON; see README for what it holds.") from error
    return Geometry.from_json(data)
