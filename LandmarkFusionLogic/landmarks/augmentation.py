"""Random poses and appearances of a case, so that a few dozen images teach as many as can be made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import zoom
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.datasets.cases import ImageCase
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing
from LandmarkFusionLogic.landmarks.trainingdata import Example, Float32Array, FloatArray, make_example
from LandmarkFusionLogic.volume import Volume

WHOLE, CROP = "whole", "crop"


@dataclass(frozen=True)
class Augmentation:
    """How far an example may be moved and changed.

    Rotation about a random axis: normal with ``rotation_degrees``, or uniform up to ``wide_degrees`` in a share
    ``wide`` of the examples. ``shift_mm`` bounds each axis of the grid's centre, ``scale`` the relative change of
    size. ``appearance`` (0..1) is the strength of changes to contrast, shading, noise and sharpness.
    """

    rotation_degrees: float = 8.0
    wide: float = 0.25
    wide_degrees: float = 45.0
    shift_mm: float = 10.0
    scale: float = 0.1
    appearance: float = 1.0


def augmented(
    case: ImageCase,
    grid: InputGrid,
    settings: Preprocessing,
    ranges: Augmentation,
    generator: np.random.Generator,
    stage: str = WHOLE,
) -> Example:
    """``case`` in a random pose, mirrored in half of the draws, as a network of ``stage`` sees it.

    The grid lies around the volume's centre ("whole") or around the gland ("crop"), shifted at random.
    """
    middle = case.image.centre if stage == WHOLE else gland_centre(case)
    pose = _random_pose(middle, ranges, generator)
    centre = middle + generator.uniform(-ranges.shift_mm, ranges.shift_mm, 3)
    blurred = replace(
        settings,
        lowpass_sigma_mm=settings.lowpass_sigma_mm * (1 + 0.6 * ranges.appearance * float(generator.random()) ** 2),
    )
    example = make_example(
        Volume(case.image.array, pose @ case.image.ijk_to_ras),
        None if case.gland is None else Volume(case.gland.array, pose @ case.gland.ijk_to_ras),
        {name: pose[:3, :3] @ point + pose[:3, 3] for name, point in case.positions.items()},
        grid,
        blurred,
        case.name,
        centre,
    )
    return replace(example, image=_changed(example.image, ranges.appearance, generator))


def gland_centre(case: ImageCase) -> FloatArray:
    """(3,) RAS mm: the centroid of the gland's mask, else the middle of the landmarks, else of the volume."""
    if case.gland is not None:
        kji = np.argwhere(np.asarray(case.gland.array) > 0)
        if len(kji):
            return np.asarray(case.gland.ijk_to_ras[:3, :3] @ kji.mean(axis=0)[::-1] + case.gland.ijk_to_ras[:3, 3])
    if case.positions:
        return np.asarray(np.mean(list(case.positions.values()), axis=0))
    return case.image.centre


def _random_pose(middle: FloatArray, ranges: Augmentation, generator: np.random.Generator) -> FloatArray:
    """(4, 4) RAS mm about ``middle``: rotation, scale, and left-right mirror in half of the draws."""
    axis = generator.normal(size=3)
    wide = generator.random() < ranges.wide
    degrees = generator.uniform(0, ranges.wide_degrees) if wide else abs(generator.normal(0, ranges.rotation_degrees))
    turn = Rotation.from_rotvec(degrees * axis / np.linalg.norm(axis), degrees=True).as_matrix()
    mirror = np.diag([-1.0 if generator.random() < 0.5 else 1.0, 1.0, 1.0])
    linear = turn @ mirror * (1 + generator.uniform(-ranges.scale, ranges.scale))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = linear, middle - linear @ middle
    return pose


def _changed(image: Float32Array, strength: float, generator: np.random.Generator) -> Float32Array:
    """Another contrast, shading and noise for a network's input (K, J, I); what lies outside the volume stays."""
    if strength <= 0:
        return image
    level = np.clip((image + 1) / 2, 0, None)
    level = level ** float(np.exp(strength * generator.normal(0, 0.25)))
    coarse = generator.normal(0, 0.15 * strength, (3, 3, 3))
    level = level * np.exp(zoom(coarse, np.array(image.shape) / 3, order=1))
    level = level + generator.normal(0, 0.03 * strength * generator.random(), image.shape)
    return np.where(image <= -1, image, np.clip(2 * level - 1, -1, 1.4)).astype(np.float32)
