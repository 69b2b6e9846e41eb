"""What elastix is given: the fixed volume cut to the region of interest, masks on its grid, points that lie in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import LPS_TO_RAS, image_from_volume
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

Mask = npt.NDArray[np.bool_]

SMALLEST_VOXELS = 16
"""Along each axis; with fewer, no pyramid of resolutions can be made."""
SMALLEST_MASK_VOXELS = 500


def crop(volume: Volume, region: Sequence[float] | None) -> Volume:
    """The voxels of ``volume`` in the box ``region`` [R0, R1, A0, A1, S0, S1], RAS mm; all of them for None.

    Of an oblique volume the smallest block of voxels that holds the box.
    Raises InputError where the box is none, lies outside, or leaves too few voxels.
    """
    if region is None:
        return volume
    if len(region) != 6 or not np.all(np.isfinite(region)):
        raise InputError("The region of interest needs six finite numbers: R0 R1 A0 A1 S0 S1, in mm.")
    box = np.sort(np.reshape(np.asarray(region, dtype=np.float64), (3, 2)), axis=1)
    corners = np.stack(np.meshgrid(*box, indexing="ij"), axis=-1).reshape(-1, 3)
    index = apply(np.linalg.inv(volume.ijk_to_ras), corners)
    size = np.array(volume.shape_ijk)
    low = np.clip(np.floor(index.min(axis=0)), 0, size).astype(int)
    high = np.clip(np.ceil(index.max(axis=0)) + 1, 0, size).astype(int)
    if np.any(high <= low):
        raise InputError("The region of interest lies outside the fixed volume; move it.")
    (i0, j0, k0), (i1, j1, k1) = low, high
    moved = volume.ijk_to_ras.copy()
    moved[:3, 3] += moved[:3, :3] @ low
    return Volume(volume.array[k0:k1, j0:j1, i0:i1], moved)


def check_size(volume: Volume, what: str) -> None:
    """Raise InputError where ``volume`` has too few voxels to be registered."""
    if min(volume.array.shape) < SMALLEST_VOXELS:
        text = " × ".join(map(str, volume.shape_ijk))
        raise InputError(
            f"The {what} has only {text} voxels; a deformable registration needs {SMALLEST_VOXELS} along each axis."
        )


def check_overlap(fixed: Volume, moving: Volume, initial: FloatArray) -> None:
    """Raise InputError where ``moving``, seen through ``initial`` (4, 4; moving to fixed), lies outside ``fixed``."""
    size = np.array(fixed.shape_ijk)
    steps = [np.linspace(0, count - 1, 12) for count in size]
    places = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    back = np.linalg.inv(initial @ moving.ijk_to_ras) @ fixed.ijk_to_ras
    index = apply(back, places)
    share = np.mean(np.all((index >= -0.5) & (index <= np.array(moving.shape_ijk) - 0.5), axis=1))
    if share < 0.05:
        raise InputError(
            "The volumes do not overlap, or hardly do; give an initial transform that lays the moving volume on the "
            "fixed one."
        )


def size_warning(fixed: Volume, moving: Volume, initial: FloatArray | None) -> list[str]:
    """What to warn of where the two bodies differ so much in size that they may not be those of one patient.

    Sections across the patient are compared, since one scan may be longer than the other.
    """
    scale = 1.0 if initial is None else abs(float(np.linalg.det(initial[:3, :3]))) ** (2 / 3)
    sections = [_section(fixed), _section(moving) * scale]
    ratio = max(sections) / max(min(sections), 1e-6)
    if ratio < 1.6:
        return []
    text = " and ".join(f"{area / 100:.0f} cm²" for area in sections)
    return [f"What the volumes show differs in size ({text} across): are they of the same patient, and the same part?"]


def _section(volume: Volume) -> float:
    """The largest of the areas in mm² that the body has in the slices nearest to axial."""
    directions = np.abs(volume.ijk_to_ras[2, :3] / volume.spacing)
    across = int(np.argmax(directions))
    inside = body(volume)
    axes = tuple(axis for axis in range(3) if axis != 2 - across)
    area = float(np.prod(np.delete(volume.spacing, across)))
    return float(inside.sum(axis=axes).max()) * area


def body(volume: Volume) -> Mask:
    """Where the patient is, (K, J, I): the largest bright part (Otsu), holes filled.

    All of the volume where nothing can be told apart from a background.
    """
    image = sitk.Cast(image_from_volume(volume), sitk.sitkFloat32)
    bright = sitk.BinaryMorphologicalOpening(sitk.OtsuThreshold(image, 0, 1, 128), [1, 1, 1])
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(bright), sortByObjectSize=True) == 1
    filled = sitk.GetArrayFromImage(sitk.BinaryFillhole(largest)) > 0
    return filled if filled.mean() > 0.05 else np.ones(volume.array.shape, dtype=np.bool_)


def mask_on(mask: Volume | None, volume: Volume, what: str) -> tuple[Mask | None, list[str]]:
    """``mask`` (0 outside) on the voxels of ``volume``, (K, J, I), and what to tell the user of it.

    Raises InputError where nothing of it lies in the volume, or too little for a registration.
    """
    if mask is None:
        return None, []
    same = mask.array.shape == volume.array.shape and np.allclose(mask.ijk_to_ras, volume.ijk_to_ras, atol=1e-3)
    if same:
        inside = np.asarray(mask.array != 0)
    else:
        grid = image_from_volume(Volume(np.broadcast_to(np.uint8(0), volume.array.shape), volume.ijk_to_ras))
        binary = image_from_volume(Volume((mask.array != 0).astype(np.uint8), mask.ijk_to_ras))
        inside = sitk.GetArrayFromImage(sitk.Resample(binary, grid, sitk.Transform(), sitk.sitkNearestNeighbor)) > 0
    count = int(inside.sum())
    if count == 0:
        raise InputError(f"Nothing of the {what} mask lies in the {what} volume; choose the mask of this volume.")
    if count < SMALLEST_MASK_VOXELS:
        raise InputError(f"The {what} mask holds only {count} voxels of the {what} volume; choose a larger mask.")
    told = [] if same else [f"The {what} mask lies on another grid than its volume and was resampled to it."]
    return inside, told


def points_in(pairs: Correspondences, fixed: Volume, moving: Volume) -> tuple[Correspondences, list[str]]:
    """The pairs whose points lie in both volumes, and what to tell the user of the others.

    Raises InputError where none is left.
    """
    inside = _inside(pairs.fixed, fixed) & _inside(pairs.moving, moving)
    if inside.all():
        return pairs, []
    if not inside.any():
        raise InputError(
            "None of the pairs of points lies in both volumes; choose points of these volumes, or a larger region."
        )
    kept = Correspondences(pairs.fixed[inside], pairs.moving[inside], pairs.confidence[inside])
    left = len(pairs) - len(kept)
    return kept, [f"{left} of {len(pairs)} pairs of points lie outside the volumes or the region and were left out."]


def write_image(path: Path, volume: Volume) -> None:
    """Write ``volume`` for elastix, as float; uncompressed, since it is read at once and deleted."""
    sitk.WriteImage(sitk.Cast(image_from_volume(volume), sitk.sitkFloat32), str(path))


def write_mask(path: Path, mask: Mask, volume: Volume) -> None:
    """Write a mask (K, J, I) on the voxels of ``volume`` for elastix."""
    sitk.WriteImage(image_from_volume(Volume(mask.astype(np.uint8), volume.ijk_to_ras)), str(path))


def write_points(path: Path, points: FloatArray) -> None:
    """Write (N, 3) RAS mm points in elastix's format: as positions, since indices are rounded to voxels; LPS."""
    lps = points * np.array([-1.0, -1.0, 1.0])
    lines = ["point", str(len(lps)), *(" ".join(f"{value:.6f}" for value in point) for point in lps)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_initial(path: Path, moving_to_fixed: FloatArray) -> None:
    """Write the initial transform (4, 4), RAS mm, for elastix: an affine map from fixed to moving points, LPS."""
    lps = LPS_TO_RAS @ np.linalg.inv(moving_to_fixed) @ LPS_TO_RAS
    numbers = " ".join(f"{value:.17g}" for value in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    path.write_text(
        '(Transform "AffineTransform")\n(NumberOfParameters 12)\n'
        f"(TransformParameters {numbers})\n(CenterOfRotationPoint 0 0 0)\n"
        '(InitialTransformParameterFileName "NoInitialTransform")\n(HowToCombineTransforms "Compose")\n'
        "(FixedImageDimension 3)\n(MovingImageDimension 3)\n"
        '(FixedInternalImagePixelType "float")\n(MovingInternalImagePixelType "float")\n'
        '(UseDirectionCosines "true")\n',
        encoding="ascii",
    )


def _inside(points: FloatArray, volume: Volume) -> Mask:
    index = apply(np.linalg.inv(volume.ijk_to_ras), points)
    return np.asarray(np.all((index >= -0.5) & (index <= np.array(volume.shape_ijk) - 0.5), axis=1), dtype=np.bool_)
