"""A second opinion: where a network of another making puts the landmarks. Needs torch.

Fang 2023 proposes to detect outliers by the discrepancy between a network trained with and one trained without
regularization. The second one here is the paper's own, without (`landmarks.comparison`).
"""

from __future__ import annotations

import numpy as np
import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.comparison.bundle import ComparisonBundle, load_bundle, predict
from LandmarkFusionLogic.landmarks.looking import cut, thinned
from LandmarkFusionLogic.landmarks.networks import second_folder
from LandmarkFusionLogic.landmarks.poses import Pose, mirrored
from LandmarkFusionLogic.volume import FloatArray, Volume


def load_second(modality: str) -> ComparisonBundle | None:
    """The second network for ``modality``; None where it is not installed.

    Raises InputError where it is damaged.
    """
    folder = second_folder(modality)
    return None if folder is None else load_bundle(folder)


def second_opinion(
    volume: Volume, bundle: ComparisonBundle, names: tuple[str, ...], centre: FloatArray | None = None
) -> FloatArray:
    """(L, 3) RAS mm: the landmarks ``names`` as ``bundle`` sees them around ``centre`` (3,), upright and mirrored.

    On the CPU. Raises InputError where the network does not know these landmarks.
    """
    if set(names) - set(bundle.landmarks):
        raise InputError(f"The network “{bundle.name}” does not find the same landmarks; install it again.")
    about = volume.centre if centre is None else centre
    settings = bundle.preprocessing
    near = cut(thinned(volume), bundle.source.ijk_to_ras(about), bundle.source.shape, 4 * settings.lowpass_sigma_mm)
    flip = mirrored(Pose()).matrix(about)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        upright = predict(near, bundle, about)
        seen = predict(Volume(near.array, flip @ near.ijk_to_ras), bundle, about)
    finally:
        torch.set_num_threads(threads)
    back = seen @ flip[:3, :3].T + flip[:3, 3]  # a mirror undoes itself
    rows = [bundle.landmarks.index(name) for name in names]
    return np.asarray((upright + back)[rows] / 2)
