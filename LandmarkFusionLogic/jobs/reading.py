"""What jobs read, checked: volumes, masks of the gland, and points that the user gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.records import VolumeSource
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import ConstantError, Volume

if TYPE_CHECKING:
    from LandmarkFusionLogic.gland import Gland


def load(source: VolumeSource, what: str) -> Volume:
    """The checked volume of ``source``; ``what`` names it in messages.

    Raises InputError if it cannot be read or used.
    """
    from LandmarkFusionLogic import imageio

    if source.path.endswith(".npy"):
        if source.ijk_to_ras is None:
            raise InputError(f"The {what} is a .npy array without its affine; give an image file.")
        return imageio.read_array(source.path, source.ijk_to_ras, what)
    if source.ijk_to_ras is not None:
        raise InputError(f"The {what} has a geometry of its own and an affine beside it; give one of them.")
    return imageio.read_volume(source.path, what, source.series)


def load_mask(source: VolumeSource | None, what: str) -> Volume | None:
    """The checked mask of ``source``, None for None. Raises InputError as `load` does, and where it marks nothing."""
    if source is None:
        return None
    try:
        return load(source, what)
    except ConstantError as error:
        said = "is empty; draw it" if error.value == 0 else "marks the whole volume; leave it out"
        raise InputError(f"The {what} {said}, or choose another one.") from error


def mask_of(source: VolumeSource | None, what: str, turn: FloatArray) -> Gland | None:
    """The gland of a mask file, turned by ``turn`` (4, 4) as its volume was."""
    from LandmarkFusionLogic.gland import gland_of_mask

    if source is None:
        return None
    mask = load(source, what)
    return gland_of_mask(Volume(mask.array, turn @ mask.ijk_to_ras), what)


def click_of(point: list[float] | None, what: str, turn: FloatArray) -> FloatArray | None:
    """A point (3,) RAS mm, turned by ``turn`` (4, 4) as its volume was."""
    if point is None:
        return None
    if len(point) != 3 or not np.all(np.isfinite(point)):
        raise InputError(f"{what} needs three finite coordinates (R, A, S).")
    return apply(turn, point)


def swap_warnings(volume: Volume, modality: str) -> list[str]:
    """What to warn of where ``volume`` looks like an image of the other modality."""
    from LandmarkFusionLogic.landmarks.modality import swap_warning

    warning = swap_warning(volume, modality)
    return [] if warning is None else [warning]
