"""Named landmarks of both volumes as pairs that guide a refinement, each with its own uncertainty."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.points import FloatArray, Landmark, by_name
from LandmarkFusionLogic.rigid.landmarks import MODEL, covariance_of


def paired(
    fixed: Iterable[Landmark], moving: Iterable[Landmark], initial: FloatArray
) -> tuple[Correspondences, FloatArray, list[str]]:
    """The landmarks of both volumes matched by name, (N, 3, 3) mm² of each pair in the fixed frame, and the names.

    ``initial`` (4, 4), moving to fixed, says how the moving covariances lie. Those without a finite position are left
    out. Raises InputError where two of one volume share a name.
    """
    ours, theirs = (by_name(point for point in side if np.isfinite(point.position).all()) for side in (fixed, moving))
    names = [name for name in ours if name in theirs]
    turn = initial[:3, :3]
    own = MODEL.deformation_mm**2 * np.eye(3)
    covariances = [covariance_of(ours[name]) + turn @ covariance_of(theirs[name]) @ turn.T + own for name in names]
    places = [np.array([side[name].position for name in names]).reshape(-1, 3) for side in (ours, theirs)]
    pairs = Correspondences(places[0], places[1], np.ones(len(names)))
    return pairs, np.array(covariances).reshape(-1, 3, 3), names
