"""The refinement of one pair: evidence gathered, the most probable motion found, and compared with the start.

First the glands' borders and the landmarks, then, seen through the motion that they give, matches on MIND, and all of
them together once more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import binary_dilation

from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.preparation import check_overlap
from LandmarkFusionLogic.deformable.quality import folding
from LandmarkFusionLogic.deformable.refinement.borders import borders
from LandmarkFusionLogic.deformable.refinement.check import Comparison, doubts
from LandmarkFusionLogic.deformable.refinement.evidence import Borders, Pairs
from LandmarkFusionLogic.deformable.refinement.likeness import Surroundings, surroundings
from LandmarkFusionLogic.deformable.refinement.matches import as_pairs, matches
from LandmarkFusionLogic.deformable.refinement.motion import Motion, still
from LandmarkFusionLogic.deformable.refinement.solver import Prior, Source, most_probable
from LandmarkFusionLogic.deformable.refinement.transform import deformation
from LandmarkFusionLogic.deformable.transforms import Deformation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

DRAWN_MM, NETWORK_MM = 0.7, 3.0
"""How far the border of a gland is off, standard deviation, where a person drew both masks, and where not."""
DRAWN_PRIOR = Prior()
CAUTIOUS_PRIOR = Prior(shift_mm=6.0, turn_degrees=10.0)
"""Where no border is known well, the start is trusted more. Both were chosen on validation seeds of the simulator and
on the development cases of mrus-27."""
STIFF_MM = 1e-3
"""A deformation as small as this is none."""
AROUND_MM = 6.0
"""How far around the gland the images are compared."""
NO_GLAND_MM = 30.0
"""Half the side of what is compared where no gland is known."""
LANDMARK_DOF = 4.0
"""Landmarks may be grossly misplaced: their errors follow a Student distribution."""

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Pair:
    """What is to be refined: ``moving`` lies on ``fixed`` by ``initial`` (4, 4), moving to fixed, RAS mm.

    ``landmarks`` are pairs of both volumes with ``covariances`` (N, 3, 3) mm² of each pair together, in the frame of
    the fixed one. ``drawn``: a person drew both glands, no network.
    """

    fixed: Volume
    moving: Volume
    initial: FloatArray = field(compare=False)
    fixed_gland: Gland | None = None
    moving_gland: Gland | None = None
    landmarks: Correspondences | None = None
    covariances: FloatArray | None = field(default=None, compare=False)
    drawn: bool = True


@dataclass(frozen=True)
class Refinement:
    """``deformation`` maps fixed points to moving ones, ``start`` is the rigid alignment alone.

    ``comparison`` of the two; ``doubts``, sentences, say why the start is to be used, [] recommends the refinement.
    ``matches`` are what was found on MIND and believed, in the frames of both volumes.
    """

    deformation: Deformation
    start: Deformation
    comparison: Comparison
    doubts: tuple[str, ...]
    matches: Correspondences

    @property
    def recommended(self) -> bool:
        """Whether nothing speaks against using it."""
        return not self.doubts


def refine(
    pair: Pair, report: Report = lambda fraction, text: None, use_matches: bool = True, bending: bool = True
) -> Refinement:
    """Refine ``pair``; ``use_matches``: look for matches on MIND too; ``bending`` False: rigidly.

    Raises InputError where the volumes do not overlap, a gland is empty, or nothing is there to go by.
    """
    initial = np.asarray(pair.initial, dtype=np.float64)
    check_overlap(pair.fixed, pair.moving, initial)
    report(0.05, "Comparing the glands")
    glands, landmarks = _borders(pair, initial), _landmarks(pair, initial)
    trusted = glands is not None and pair.drawn
    prior = DRAWN_PRIOR if trusted else CAUTIOUS_PRIOR
    if not bending:
        prior = replace(prior, deformation_mm=STIFF_MM)
    middle = _middle(pair, initial)
    near = _surroundings(pair, initial, middle)
    before = still(middle, prior.reach_mm)
    sources: list[Source] = [source for source in (glands, landmarks) if source is not None]
    motion = most_probable(sources, middle, prior) if sources else before
    found = Correspondences(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    if use_matches:
        report(0.3, "Looking for matches")
        found = matches(near, motion)
        if len(found):
            motion = most_probable([*sources, as_pairs(found)], middle, prior, motion)
    if not sources and not len(found):
        raise InputError(
            "Nothing guides the refinement: give gland masks or landmarks; too few matches were found in the images."
        )
    report(0.6, "Comparing before and after")
    transform, start = deformation(motion, initial), deformation(before, initial)
    compared = _compared(pair, near, glands, landmarks, before, motion, transform)
    in_moving = Correspondences(found.fixed, apply(np.linalg.inv(initial), found.moving), found.confidence)
    return Refinement(transform, start, compared, tuple(doubts(compared, trusted)), in_moving)


def _borders(pair: Pair, initial: FloatArray) -> Borders | None:
    if pair.fixed_gland is None or pair.moving_gland is None:
        return None
    deviation = DRAWN_MM if pair.drawn else NETWORK_MM
    return borders(pair.fixed, pair.moving, pair.fixed_gland, pair.moving_gland, initial, deviation)


def _landmarks(pair: Pair, initial: FloatArray) -> Pairs | None:
    if pair.landmarks is None or len(pair.landmarks) == 0:
        return None
    assert pair.covariances is not None
    return Pairs(pair.landmarks.fixed, apply(initial, pair.landmarks.moving), pair.covariances, LANDMARK_DOF)


def _middle(pair: Pair, initial: FloatArray) -> FloatArray:
    """(3,) RAS mm in the fixed volume: where the gland is, as far as anything says."""
    if pair.fixed_gland is not None and not pair.fixed_gland.empty:
        return pair.fixed_gland.centroid
    if pair.moving_gland is not None and not pair.moving_gland.empty:
        return apply(initial, pair.moving_gland.centroid)
    if pair.landmarks is not None and len(pair.landmarks):
        return np.asarray(pair.landmarks.fixed.mean(axis=0))
    return pair.fixed.centre


def _surroundings(pair: Pair, initial: FloatArray, middle: FloatArray) -> Surroundings:
    mask, place = pair.fixed_gland, np.eye(4)
    if mask is None or mask.empty:
        mask, place = pair.moving_gland, initial
    if mask is None or mask.empty:
        return surroundings(pair.fixed, pair.moving, initial, middle, NO_GLAND_MM, None)
    inside = mask.mask()
    around, affine = _widened(inside, place)
    places = apply(affine, np.argwhere(around.array)[:, ::-1])
    low, high = places.min(axis=0), places.max(axis=0)
    return surroundings(pair.fixed, pair.moving, initial, (low + high) / 2, (high - low) / 2, around)


def _widened(mask: Volume, place: FloatArray) -> tuple[Volume, FloatArray]:
    """The mask with `AROUND_MM` about it, where ``place`` (4, 4) brings it."""
    steps = np.ceil(AROUND_MM / mask.spacing).astype(int)[::-1]
    wide = np.pad(np.asarray(mask.array) > 0, [(int(n), int(n)) for n in steps])
    # One voxel further with each step, along the axes by turns, so that thick slices are not left behind.
    for step in range(int(steps.max())):
        structure = np.zeros((3, 3, 3), dtype=bool)
        structure[1, 1, 1] = True
        for axis in range(3):
            if step < steps[axis]:
                index: list[int | slice] = [1, 1, 1]
                index[axis] = slice(None)
                structure[tuple(index)] = True
        wide = binary_dilation(wide, structure)
    affine = place @ mask.ijk_to_ras
    affine[:3, 3] -= affine[:3, :3] @ steps[::-1]
    return Volume(wide.astype(np.uint8), affine), affine


def _compared(
    pair: Pair,
    near: Surroundings,
    glands: Borders | None,
    landmarks: Pairs | None,
    before: Motion,
    after: Motion,
    transform: Deformation,
) -> Comparison:
    inside = near.places[near.near.ravel()]
    moved = np.linalg.norm(after.forward(inside) - inside, axis=1)
    grid = Volume(np.zeros(near.shape, dtype=np.uint8), _affine(near))
    least, greatest, folded = folding(transform.jacobian(grid), near.near)
    nothing = (float("nan"),) * 2
    border = nothing if glands is None else (glands.distance(before), glands.distance(after))
    marks = (
        nothing
        if landmarks is None
        else (float(landmarks.distances(before).mean()), float(landmarks.distances(after).mean()))
    )
    ratio = float("nan")
    if pair.fixed_gland is not None and pair.moving_gland is not None:
        ours, theirs = pair.fixed_gland.millilitres, pair.moving_gland.millilitres
        ratio = max(ours, theirs) / max(min(ours, theirs), 1e-6)
    return Comparison(
        difference_before=near.difference(before, after),
        difference_after=near.difference(after, before),
        border_before=border[0],
        border_after=border[1],
        landmark_before=marks[0],
        landmark_after=marks[1],
        moved_mm=float(moved.mean()),
        farthest_mm=float(moved.max()),
        bent_mm=float(np.linalg.norm(after.field.at(inside), axis=1).mean()),
        jacobian_min=least,
        jacobian_max=greatest,
        folded=folded,
        volume_ratio=ratio,
    )


def _affine(near: Surroundings) -> FloatArray:
    grid = near.places.reshape(*near.shape, 3)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([grid[0, 0, 1], grid[0, 1, 0], grid[1, 0, 0]], axis=1) - grid[0, 0, 0][:, None]
    affine[:3, 3] = grid[0, 0, 0]
    return affine
