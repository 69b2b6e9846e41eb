"""What an alignment of CT and X-ray is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose

Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

Report = Callable[[float, str], None]
"""Told the share that is done, 0 to 1, and what is going on; ends the work where it raises."""
Watch = Callable[[int, float, Pose], None]
"""Told iteration, similarity and pose whenever a better pose has been found."""

SMALLEST_SIDE = 16


@dataclass(frozen=True)
class View:
    """An X-ray image and where its C-arm stood.

    ``image`` (rows, columns): like line integrals, bone is bright; its scale does not matter. ``from_first`` (4, 4)
    leads from the first view's camera to this one's, mm. ``mask`` (rows, columns) is true where the image can be
    trusted; None leaves out only the shutters at its borders, rows and columns of one gray value (`trusted`).
    """

    image: Array
    geometry: Geometry
    from_first: FloatArray = field(default_factory=lambda: np.eye(4))
    mask: Mask | None = None


@dataclass(frozen=True)
class Alignment:
    """What was found: ``pose`` and the matrix ``ct_to_camera`` (4, 4), RAS mm to camera mm of the first view.

    ``similarity_before`` and ``_after`` belong to the method and compare start and result; ``curve`` holds
    (iteration, similarity). ``warnings`` are sentences for the user. ``seconds`` are of the clock.
    """

    pose: Pose
    ct_to_camera: FloatArray
    similarity_before: float
    similarity_after: float
    curve: list[tuple[int, float]]
    warnings: list[str]
    seconds: float


def check_views(views: Sequence[View]) -> None:
    """Raise InputError for X-rays that cannot be registered: none, sizes that do not fit, no contrast, not finite."""
    if not views:
        raise InputError("There is no X-ray; give at least one view.")
    for view in views:
        rows, columns = view.geometry.rows, view.geometry.columns
        if view.image.ndim != 2:
            raise InputError("The X-ray must be one 2D gray-level image.")
        if view.image.shape != (rows, columns):
            raise InputError(
                f"The X-ray has {view.image.shape[0]} × {view.image.shape[1]} pixels and its geometry {rows} × "
                f"{columns}; correct the geometry."
            )
        if min(rows, columns) < SMALLEST_SIDE:
            raise InputError(f"The X-ray must have at least {SMALLEST_SIDE} rows and columns.")
        if not np.all(np.isfinite(view.image)):
            raise InputError("The X-ray contains NaN or infinite values; replace them by numbers first.")
        if view.mask is not None and view.mask.shape != view.image.shape:
            raise InputError("The mask of the X-ray must have as many rows and columns as the X-ray.")
        seen = trusted(view)
        if seen.sum() < SMALLEST_SIDE**2 or np.ptp(view.image[seen]) == 0:
            raise InputError("The X-ray shows nothing; choose an image with contrast.")


def trusted(view: View) -> Mask:
    """(rows, columns) where the image is no shutter: the mask, or all but the borders of one gray value."""
    if view.mask is not None:
        return np.asarray(view.mask, dtype=bool)
    seen = np.ones(view.image.shape, dtype=bool)
    for axis in (0, 1):
        varies = np.flatnonzero(np.ptp(view.image, axis=1 - axis) > 0)
        if len(varies):
            border = np.ones(view.image.shape[axis], dtype=bool)
            border[varies[0] : varies[-1] + 1] = False
            seen[border if axis == 0 else (slice(None), border)] = False
    return seen
