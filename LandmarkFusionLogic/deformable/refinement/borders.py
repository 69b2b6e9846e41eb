"""The borders of two glands, as far as both images show them, ready to be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from LandmarkFusionLogic.deformable.refinement.evidence import Borders
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.rigid.masks import GRID_MM, Border, border_of
from LandmarkFusionLogic.volume import Volume

POINTS = 200
"""Border points of each gland that are compared; more say nothing new."""
SMOOTHING = 1.5
"""Of the distances, in voxels of their grid: their slope must not jump, or the solver does not settle."""
EDGE_MM = 3.0
"""A border nearer than this to the edge of an image is where the image was cut, not the gland's."""
FEWEST = 50
"""With fewer points in common nothing is compared."""


def borders(
    fixed: Volume, moving: Volume, fixed_gland: Gland, moving_gland: Gland, initial: FloatArray, deviation_mm: float
) -> Borders:
    """The borders of the glands in ``fixed`` and ``moving``, which ``initial`` (4, 4) brings onto the fixed one.

    ``deviation_mm`` is how far a border is off, standard deviation. Raises InputError for an empty gland and where the
    images have too little of the glands in common.
    """
    for gland, what in ((fixed_gland, "fixed"), (moving_gland, "moving")):
        if gland.empty:
            raise InputError(f"The gland mask of the {what} volume is empty; choose another one.")
    brought = brought_by(moving, initial)
    ours = _smooth(border_of(fixed_gland))
    theirs = _smooth(border_of(Gland(brought_by(moving_gland.probability, initial), moving_gland.threshold)))
    seen = [_chosen(border) & _shown(fixed, border) & _shown(brought, border) for border in (ours, theirs)]
    if min(int(part.sum()) for part in seen) < FEWEST:
        raise InputError(
            "The images show too little of both glands in common; check the masks and the transform to start from."
        )
    return Borders(ours, theirs, seen[0], seen[1], deviation_mm)


def brought_by(volume: Volume, initial: FloatArray) -> Volume:
    """The same voxels where ``initial`` (4, 4) brings them."""
    return Volume(volume.array, initial @ volume.ijk_to_ras)


def shown(volume: Volume, points: FloatArray, margin_mm: float = 0.0) -> npt.NDArray[np.bool_]:
    """(N,) which ``points`` (N, 3) RAS mm lie in ``volume``, ``margin_mm`` or more from its edges."""
    index = apply(np.linalg.inv(volume.ijk_to_ras), points)
    margin = margin_mm / volume.spacing - 0.5
    return np.asarray(np.all((index >= margin) & (index <= np.array(volume.shape_ijk) - 1 - margin), axis=1))


def _shown(volume: Volume, border: Border) -> npt.NDArray[np.bool_]:
    return shown(volume, border.points, EDGE_MM)


def _chosen(border: Border) -> npt.NDArray[np.bool_]:
    count = len(border.points)
    chosen = np.zeros(count, dtype=bool)
    chosen[:: max(1, count // POINTS)] = True
    return chosen


def _smooth(border: Border) -> Border:
    distance = np.asarray(gaussian_filter(border.distance, SMOOTHING, mode="nearest"), dtype=np.float64)
    slope = np.array([np.gradient(distance, GRID_MM, axis=axis) for axis in (2, 1, 0)])
    smooth = replace(border, distance=distance, slope=slope)
    return replace(smooth, offsets=smooth.at(border.points)[0])
