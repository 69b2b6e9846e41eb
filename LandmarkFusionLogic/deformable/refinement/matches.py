"""Matches between an MR and a US on modality-independent features: most are noise, so few of them are believed.

Corners of the ultrasound are looked for in the MR, seen through the motion as it is known, by MIND-SSC, there and
back; what is left must agree with its neighbors.
"""

from __future__ import annotations

import numpy as np

from LandmarkFusionLogic.deformable.consistency import FEWEST, remove_wrong
from LandmarkFusionLogic.deformable.corners import find_corners
from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.mind import mind_ssc
from LandmarkFusionLogic.deformable.refinement.evidence import Pairs
from LandmarkFusionLogic.deformable.refinement.likeness import Surroundings
from LandmarkFusionLogic.deformable.refinement.motion import Motion
from LandmarkFusionLogic.deformable.search import search

COUNT = 400
"""Corners that are looked for."""
DILATION = 2
REACH = 3
"""They are looked for this many voxels about."""
PATCH = 3
"""And compared over (2 PATCH + 1)³ voxels: ultrasound shows little in less."""
MISS_VOXELS = 1.0
"""Forward and back again a corner must come home to this distance."""
MOST = 100
"""As many as are believed, those that are surest."""
DEVIATION_MM = 3.0
"""Error of a match along each axis, with what it shares with its neighbors: a hundred of them weigh as few."""


def matches(near: Surroundings, motion: Motion) -> Correspondences:
    """Pairs of points, the moving ones brought by the transform to start from; none where too few agree."""
    image, seen = near.warped(motion)
    allowed = near.near & near.fixed_shown & seen
    places = find_corners(near.fixed, allowed, COUNT, cell=2)
    none = Correspondences(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    if len(places) < FEWEST:
        return none
    ours, theirs = mind_ssc(near.fixed, DILATION), mind_ssc(image, DILATION)
    there = search(ours, theirs, places, REACH, PATCH)
    reached = np.clip(places + np.rint(there.shift).astype(int), 0, np.array(near.shape) - 1)
    back = search(theirs, ours, reached, REACH, PATCH)
    miss = np.linalg.norm(there.shift + back.shift, axis=1)
    kept = there.inner & back.inner & (miss < MISS_VOXELS)
    if int(kept.sum()) < FEWEST:
        return none
    shift = (there.shift - back.shift)[kept] / 2
    places = places[kept]
    grid = near.places.reshape(*near.shape, 3)
    fixed = grid[tuple(places.T)]
    spacing = float(grid[0, 0, 1, 0] - grid[0, 0, 0, 0])
    distinct = 1 - np.maximum(there.cost / there.mean.clip(1e-9), back.cost / back.mean.clip(1e-9))[kept]
    confidence = np.exp(-0.5 * (miss[kept] / MISS_VOXELS) ** 2) * np.clip(distinct, 0, 1)
    found = Correspondences(fixed, motion.forward(fixed + spacing * shift[:, ::-1]), confidence.astype(np.float64))
    agreed = remove_wrong(found)
    best = np.argsort(-agreed.confidence, kind="stable")[:MOST]
    return Correspondences(agreed.fixed[best], agreed.moving[best], agreed.confidence[best])


def as_pairs(found: Correspondences) -> Pairs:
    """What the matches say, with errors that are heavy-tailed."""
    covariances = np.broadcast_to(DEVIATION_MM**2 * np.eye(3), (len(found), 3, 3))
    return Pairs(found.fixed, found.moving, covariances, 3.0)
