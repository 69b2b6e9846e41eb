"""One image with what is known of it: the form in which every data set reaches training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume


@dataclass(frozen=True)
class ImageCase:
    """An MR or US of one man with its truth, as far as it is known.

    ``patient`` tells which images must not be parted between training and test; ``gland`` (0/1) may be missing, and so
    may landmarks in ``positions``, (3,) RAS mm by name.
    """

    name: str
    patient: str
    modality: str
    image: Volume = field(compare=False)
    gland: Volume | None = field(default=None, compare=False)
    positions: dict[str, FloatArray] = field(default_factory=dict, compare=False)
