"""Correspondences without a network: Förstner corners, MIND-SSC, coarse to fine, checked forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from LandmarkFusionLogic.deformable.coarse import block_costs, choose, displacements, spread
from LandmarkFusionLogic.deformable.corners import find_corners
from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.lattice import Lattice, halved, make_lattice, sample, smoothed
from LandmarkFusionLogic.deformable.mind import mind_ssc
from LandmarkFusionLogic.deformable.search import Found, search
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Report = Callable[[float, str], None]

COUNT = 2000
"""Corners that are looked for."""
COARSE_REACH = 5
"""Displacements tried first, in steps of four voxels of the working grid: ± 40 mm at 2 mm."""
MIDDLE_REACH = 2
"""Then, in steps of two voxels."""
FINE_REACH = 3
"""At last, in voxels, for each corner."""
PATCH = 2
"""Corners are compared over (2 PATCH + 1)³ voxels."""
TOLERANCE_VOXELS = 1.0
"""Forward and back again, a point must come home to this distance."""


def find(
    fixed: Volume,
    moving: Volume,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    initial: FloatArray | None = None,
    region: Sequence[float] | None = None,
    report: Report | None = None,
    count: int = COUNT,
) -> Correspondences:
    """Pairs of points that show the same anatomy, RAS mm, each in its own volume's world.

    ``initial`` (4, 4) maps points of the moving volume to the fixed one; what is left then must be at most 20 voxels
    of the working grid (40 mm at 2 mm) and turned by less than some 15°. Masks (0 outside, any grid) say where points
    may lie, ``region`` [R0, R1, A0, A1, S0, S1] where in the fixed volume. ``confidence`` (0..1) falls with the
    distance by which a point misses itself on its way there and back, and with how many other places look as good.
    Raises InputError where the volumes do not overlap, a mask holds nothing, or nothing is found.
    """
    tell = report or (lambda fraction, text: None)
    to_fixed = np.eye(4) if initial is None else np.asarray(initial, dtype=np.float64)
    lattice = make_lattice(fixed, region)
    tell(0.0, "Preparing the volumes")
    images = _Images(fixed, moving, to_fixed, lattice)
    allowed = images.fixed_inside & _on_lattice(fixed_mask, lattice, "fixed")
    field = _large_displacements(images, tell)
    tell(0.4, "Finding corners")
    places = find_corners(images.fixed, allowed, count)
    warped, seen = images.warped(field)
    places = places[seen[tuple(places.T)]]
    tell(0.5, "Comparing corners")
    ours, theirs = mind_ssc(images.fixed), mind_ssc(warped)
    there = search(ours, theirs, places, FINE_REACH, PATCH)
    reached = places + np.rint(there.shift).astype(int)
    tell(0.75, "Comparing back")
    back = search(theirs, ours, np.clip(reached, 0, np.array(lattice.shape) - 1), FINE_REACH, PATCH)
    miss = np.linalg.norm(there.shift + back.shift, axis=1)
    kept = there.inner & back.inner & (miss < TOLERANCE_VOXELS)
    # Both ways see the same shift with errors of their own; their mean has a smaller one.
    shift = (there.shift - back.shift) / 2
    partners = images.moving_points(places + shift, field)
    kept &= _inside(partners, moving, moving_mask)
    tell(1.0, "Done")
    if not kept.any():
        raise InputError(
            "No corresponding points were found; check that both volumes show the same anatomy, and align them first."
        )
    confidence = _confidence(miss, there, back)
    return Correspondences(lattice.to_ras(places[kept]), partners[kept], confidence[kept])


class _Images:
    """Both volumes, smoothed for the working grid, with gray levels cut where hardly any voxels are."""

    def __init__(self, fixed: Volume, moving: Volume, to_fixed: FloatArray, lattice: Lattice) -> None:
        self.lattice = lattice
        self._to_fixed = to_fixed
        to_array = np.linalg.inv(fixed.ijk_to_ras) @ lattice.ijk_to_ras
        self.fixed, self.fixed_inside = sample(_levels(smoothed(fixed, lattice.spacing)), to_array, lattice.shape)
        self._moving = _levels(smoothed(moving, lattice.spacing))
        self._to_moving = np.linalg.inv(moving.ijk_to_ras) @ np.linalg.inv(to_fixed) @ lattice.ijk_to_ras
        inside = self.warped(None)[1]
        if not np.any(inside & self.fixed_inside):
            raise InputError(
                "The volumes do not overlap; align them first (give an initial transform), or check their positions."
            )

    def warped(self, field: Array | None, margin: int = 0) -> tuple[Array, Mask]:
        """The moving image on the grid, seen through ``field`` (3, K, J, I) in voxels; ``margin`` voxels round it."""
        shape = tuple(n + 2 * margin for n in self.lattice.shape)
        return sample(self._moving, self._to_moving, shape, field, -float(margin))

    def moving_points(self, places: FloatArray, field: Array) -> FloatArray:
        """(N, 3) RAS mm in the moving volume of ``places`` (N, 3) of the image that `warped` makes of ``field``."""
        shift = np.stack([ndimage.map_coordinates(part, places.T, order=1, mode="nearest") for part in field], axis=1)
        back = np.linalg.inv(self._to_fixed)
        return np.asarray(self.lattice.to_ras(places + shift) @ back[:3, :3].T + back[:3, 3], dtype=np.float64)


def _large_displacements(images: _Images, tell: Report) -> Array:
    """(3, K, J, I) smooth displacements in voxels of the grid, from the fixed image to the moving one."""
    shape = images.lattice.shape
    tell(0.05, "Looking for large displacements")
    ours = mind_ssc(halved(images.fixed))
    steps = displacements(COARSE_REACH)
    theirs = halved(mind_ssc(halved(images.warped(None, 4 * COARSE_REACH)[0])))
    found = choose(block_costs(halved(ours), theirs, steps), steps)
    field = spread(found, shape, 2, 4)
    steps = displacements(MIDDLE_REACH)
    for number in range(2):
        tell(0.2 + 0.1 * number, "Looking for smaller displacements")
        seen = mind_ssc(halved(images.warped(field)[0]))
        padding = ((0, 0), *((MIDDLE_REACH, MIDDLE_REACH),) * 3)
        more = spread(choose(block_costs(ours, np.pad(seen, padding, mode="edge"), steps), steps), shape, 2, 2)
        field = _composed(more, field)
    return field


def _composed(first: Array, second: Array) -> Array:
    """The field of going by ``first``, then by ``second``, each (3, K, J, I) in voxels."""
    result = np.empty_like(first)
    for k in range(first.shape[1]):
        j, i = np.meshgrid(np.arange(first.shape[2]), np.arange(first.shape[3]), indexing="ij")
        places = np.stack([np.full(j.shape, k), j, i]) + first[:, k]
        for axis, part in enumerate(second):
            ndimage.map_coordinates(part, places, order=1, mode="nearest", output=result[axis, k])
        result[:, k] += first[:, k]
    return result


def _levels(array: Array) -> Array:
    low, high = np.percentile(array[::2, ::2, ::2], (0.1, 99.9))
    return np.clip(array, low, high, out=array)


def _on_lattice(mask: Volume | None, lattice: Lattice, what: str) -> Mask:
    if mask is None:
        return np.ones(lattice.shape, dtype=bool)
    to_array = np.linalg.inv(mask.ijk_to_ras) @ lattice.ijk_to_ras
    values, inside = sample((np.asarray(mask.array) > 0).astype(np.float32), to_array, lattice.shape)
    found = np.asarray(inside & (values >= 0.5))
    if not found.any():
        raise InputError(f"The mask of the {what} volume holds nothing where points are looked for; draw it anew.")
    return found


def _inside(points: FloatArray, moving: Volume, mask: Volume | None) -> Mask:
    """Which ``points`` (N, 3) lie in the moving volume, and in its mask."""

    def index(volume: Volume) -> FloatArray:
        back = np.linalg.inv(volume.ijk_to_ras)
        return np.asarray((points @ back[:3, :3].T + back[:3, 3])[:, ::-1], dtype=np.float64)

    places = index(moving)
    result = np.all((places >= -0.5) & (places <= np.array(moving.array.shape) - 0.5), axis=1)
    if mask is not None:
        if not np.any(mask.array):
            raise InputError("The mask of the moving volume holds nothing; draw it anew.")
        values = (np.asarray(mask.array) > 0).astype(np.float32)
        result &= ndimage.map_coordinates(values, index(mask).T, order=1, cval=0.0) >= 0.5
    return np.asarray(result)


def _confidence(miss: FloatArray, there: Found, back: Found) -> FloatArray:
    """(N,) 0..1. A cost that is far below the window's mean says that no other place looks as good."""
    distinct = 1 - np.maximum(there.cost / there.mean.clip(1e-9), back.cost / back.mean.clip(1e-9))
    return np.asarray(np.exp(-0.5 * (miss / TOLERANCE_VOXELS) ** 2) * np.clip(distinct, 0, 1), dtype=np.float64)
