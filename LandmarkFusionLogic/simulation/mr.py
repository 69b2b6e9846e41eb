"""T2-weighted MR: acquisition and appearance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from LandmarkFusionLogic.simulation.anatomy import BACKGROUND, TISSUES, Anatomy
from LandmarkFusionLogic.simulation.condition import Condition
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.fields import blur, texture
from LandmarkFusionLogic.simulation.gland import blend_zones
from LandmarkFusionLogic.simulation.pose import FloatArray, Grid, Placement, keep_inside, rigid
from LandmarkFusionLogic.simulation.shapes import Points

BRIGHTNESS = {
    "visceral fat": (0.4, 0.9), "ischiorectal fat": (0.65, 1.1), "muscle": (0.08, 0.25), "cortex": (0.02, 0.12),
    "bone": (0.15, 0.55), "cartilage": (0.05, 0.5), "perineum": (0.15, 0.5), "levator": (0.08, 0.28),
    "retropubic fat": (0.2, 1.0), "veins": (0.2, 0.9), "bulb": (0.5, 1.1), "sphincter": (0.1, 0.35),
    "urethra": (0.3, 0.9), "urethral wall": (0.15, 0.6), "bladder wall": (0.1, 0.32), "urine": (0.7, 1.4),
    "rectal wall": (0.18, 0.5), "gas": (0.0, 0.06), "stool": (0.05, 0.5), "gel": (0.6, 1.2),
    "seminal wall": (0.12, 0.35), "seminal vesicle": (0.4, 1.1), "capsule": (0.08, 0.35),
    "peripheral zone": (0.35, 0.95), "pseudocapsule": (0.12, 0.45), "transition zone": (0.25, 0.6),
    "fibromuscular stroma": (0.08, 0.3), "nodule": (0.15, 0.8), "lesion": (0.12, 0.4), "cyst": (0.7, 1.2),
    "calcification": (0.02, 0.15), "clutter 1": (0.05, 1.0), "clutter 2": (0.05, 1.0), "clutter 3": (0.05, 1.0),
}  # fmt: skip
"""Range of each tissue's brightness in T2w, fat about 1."""

TEXTURED = {
    "stool": 0.9, "seminal vesicle": 0.5, "transition zone": 0.25, "nodule": 0.25, "visceral fat": 0.2,
    "veins": 0.4, "peripheral zone": 0.2, "perineum": 0.3, "ischiorectal fat": 0.12, "retropubic fat": 0.3,
}  # fmt: skip
"""Relative amplitude of the texture where it is not the usual tenth."""


@dataclass(frozen=True)
class Acquisition:
    """The slab: ``fov`` mm in the slice, ``slab`` mm across it, ``slice_spacing`` mm, tilted by ``rotation`` (3, 3).

    ``thickness`` mm is the slice profile's width; ``blur_mm`` a blur after the scan and ``margin_mm`` a black border
    before it, as publishers of anonymised data apply.
    """

    fov: float
    slab: float
    slice_spacing: float
    thickness: float
    rotation: FloatArray
    blur_mm: float
    margin_mm: float


def sample_acquisition(draw: Draw) -> Acquisition:
    """Mostly 3 to 4 mm transverse slices, a third tilted; some nearly isotropic; some blurred."""
    isotropic = draw.chance(0.2)
    spacing = draw.uniform(1.0, 2.0) if isotropic else draw.uniform(3.0, 4.0)
    tilt = draw.normal(0, 12) if draw.chance(0.35) else 0.0
    blurred = draw.chance(0.5)
    return Acquisition(
        fov=draw.uniform(95, 210),
        slab=draw.uniform(58, 105),
        slice_spacing=spacing,
        thickness=spacing * draw.uniform(0.85, 1.15),
        rotation=np.asarray(Rotation.from_euler("x", tilt, degrees=True).as_matrix()),
        blur_mm=draw.uniform(0.5, 4.5) if blurred else 0.0,
        margin_mm=draw.uniform(0, 12) if blurred and draw.chance(0.6) else 0.0,
    )


def place(
    draw: Draw, anatomy: Anatomy, acquisition: Acquisition, rotation: FloatArray, spacing_mm: float, widest: float
) -> tuple[Grid, Placement]:
    """Lay the patient, turned by ``rotation`` (3, 3), into the scanner: the gland roughly in the middle, landmarks
    inside.

    ``spacing_mm`` is the voxel size in the slice; the slice is cut to ``widest`` mm.
    """
    offset = np.array([draw.normal(0, 5), draw.normal(0, 10), draw.normal(0, 9)])
    placement = Placement(rigid(rotation, offset))
    landmarks = placement.from_anatomy(np.stack(list(anatomy.landmarks.values()), axis=1))
    margin = 3.0 + acquisition.margin_mm
    # Radiographers plan the slab so that the whole gland is in it.
    slab = max(acquisition.slab, float(np.ptp((acquisition.rotation.T @ landmarks)[2])) + 2 * margin)
    in_slice = max(8, round(min(acquisition.fov, widest) / spacing_mm))
    shape = (math.ceil(slab / acquisition.slice_spacing), in_slice, in_slice)
    grid = Grid(shape, (spacing_mm, spacing_mm, acquisition.slice_spacing), acquisition.rotation, np.zeros(3))
    shift = keep_inside(landmarks, grid, margin)
    # The image's middle is its frame's origin: the patient is moved, not the table.
    return grid, Placement(rigid(rotation, offset - shift))


def render(
    draw: Draw,
    anatomy: Anatomy,
    acquisition: Acquisition,
    grid: Grid,
    placement: Placement,
    device: torch.device | str,
    condition: Condition,
) -> tuple[Tensor, Tensor]:
    """The image and the gland's mask, (K, J, I) float32 and bool, on ``grid``. Intensities are arbitrary, from 0."""
    softness = 0.25 * float(np.prod(grid.spacing)) ** (1 / 3) + 0.1
    points = Points(anatomy.straighten(placement.to_anatomy(grid.points(device))), softness)
    distance = anatomy.gland_distance(points)
    image = _tissues(draw, anatomy, points, distance, grid, device)
    image = condition.signal(_receive(draw, image, points, grid, device), points, anatomy)
    steps = grid.spacing[::-1]
    # A slice averages over its thickness; the layers are already soft by about a voxel.
    profile = 0.29 * max(acquisition.thickness, 0.0) / acquisition.slice_spacing
    image = blur(image, (profile, 0.3, 0.3))
    # The scanner's noise, as it is at 0.6 x 0.6 x 3.5 mm; larger voxels average it.
    averaged = math.sqrt(min(1.0, 1.26 / math.prod(steps)))
    level = draw.uniform(0.005, 0.09) * averaged
    real = image + level * draw.noise(grid.shape, device)
    image = (real.square() + (level * draw.noise(grid.shape, device)).square()).sqrt()
    image = publish(image, steps, acquisition.blur_mm, acquisition.margin_mm)
    return image * draw.uniform(150, 900), distance <= 0


def _tissues(
    draw: Draw, anatomy: Anatomy, points: Points, distance: Tensor, grid: Grid, device: torch.device | str
) -> Tensor:
    anything = draw.chance(0.25)
    brightness = {t: draw.uniform(0.0, 1.0) if anything else draw.uniform(*BRIGHTNESS[t]) for t in TISSUES}
    blend_zones(draw, brightness)
    rough = draw.uniform(0.4, 1.6)
    steps = grid.spacing[::-1]
    grain = 0.6 * texture(draw, grid.shape, steps, 2.2, device) + 0.6 * texture(draw, grid.shape, steps, 7.0, device)
    cloud = texture(draw, grid.shape, steps, 22.0, device)
    image = brightness[BACKGROUND] * (1 + rough * (TEXTURED[BACKGROUND] * grain + 0.12 * cloud))
    for tissue, coverage in anatomy.layers(points, distance):
        value = brightness[tissue] * (1 + (rough * TEXTURED.get(tissue, 0.1)) * grain)
        image = torch.lerp(image, value, coverage)
    contrast = draw.uniform(0.75, 1.35)
    return image.clamp_min(0).pow(contrast)


def _receive(draw: Draw, image: Tensor, points: Points, grid: Grid, device: torch.device | str) -> Tensor:
    """Uneven sensitivity of the receive coils, now and then of an endorectal one."""
    bias = torch.exp(draw.uniform(0, 0.35) * texture(draw, grid.shape, grid.spacing[::-1], 70.0, device))
    if draw.chance(0.12):
        behind = -points.y.detach()
        distance = ((behind - draw.uniform(25, 45)).square() + points.x.square() + points.z.square()).sqrt()
        bias = bias * (1 + draw.uniform(0.5, 4.0) * torch.exp(-distance / draw.uniform(12, 30)))
    return image * bias


def publish(image: Tensor, steps: tuple[float, ...], blur_mm: float, margin_mm: float) -> Tensor:
    """Blacken a border of ``margin_mm`` and blur by ``blur_mm``; ``steps`` mm per voxel along (k, j, i)."""
    if margin_mm > 0:
        kept = torch.zeros_like(image)
        border = [min(round(margin_mm / s), n // 3) for s, n in zip(steps, image.shape, strict=True)]
        inner = tuple(slice(b, n - b) for b, n in zip(border, image.shape, strict=True))
        kept[inner] = image[inner]
        image = kept
    if blur_mm > 0:
        image = blur(image, [blur_mm / s for s in steps], outside="constant" if margin_mm > 0 else "replicate")
    return image
