"""A second opinion: where a network of another making puts the landmarks (Fang 2023, on outliers). Needs torch."""

from __future__ import annotations

import numpy as np
import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.bundle import Bundle
from LandmarkFusionLogic.landmarks.looking import Looker, median_positions, thinned
from LandmarkFusionLogic.landmarks.poses import jitter
from LandmarkFusionLogic.volume import FloatArray, Volume


def second_opinion(
    volume: Volume, bundle: Bundle, names: tuple[str, ...], device: torch.device, centre: FloatArray | None = None
) -> FloatArray:
    """(L, 3) RAS mm: the landmarks ``names`` as ``bundle`` sees them, upright and mirrored, around ``centre``.

    Raises InputError where the network does not know these landmarks.
    """
    if set(names) - set(bundle.landmarks):
        raise InputError(f"The network “{bundle.name}” does not find the same landmarks; install it again.")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        looker = Looker(thinned(volume), bundle, device)
        views = looker.looks(volume.centre if centre is None else centre, jitter(0, np.eye(3)))
    finally:
        torch.set_num_threads(threads)
    rows = [bundle.landmarks.index(name) for name in names]
    return np.asarray(median_positions(views)[rows])
