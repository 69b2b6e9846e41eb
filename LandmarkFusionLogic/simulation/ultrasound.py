"""Transrectal ultrasound: acquisition and appearance.

Echoes are computed in decibels: tissue, gain over depth, shadow and speckle add up, and the display's log compression
maps the dynamic range to grey.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

from LandmarkFusionLogic.simulation.anatomy import BACKGROUND, TISSUES, Anatomy
from LandmarkFusionLogic.simulation.condition import Beams, Condition
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.fields import SmoothField, curve, smooth_field, texture
from LandmarkFusionLogic.simulation.gland import blend_zones
from LandmarkFusionLogic.simulation.mr import publish
from LandmarkFusionLogic.simulation.pose import FloatArray, Grid, Placement, keep_inside, rigid
from LandmarkFusionLogic.simulation.probe import END_FIRE, SIDE_FIRE, Press, Probe, sample_probe
from LandmarkFusionLogic.simulation.shapes import Points

ECHO_DB = {
    "visceral fat": (-32, -10), "ischiorectal fat": (-26, -10), "muscle": (-36, -20), "cortex": (-14, 0),
    "bone": (-45, -20), "cartilage": (-40, -20), "perineum": (-30, -16), "levator": (-34, -18),
    "retropubic fat": (-26, -8), "veins": (-40, -16), "bulb": (-34, -20), "sphincter": (-34, -18),
    "urethra": (-46, -20), "urethral wall": (-36, -16), "bladder wall": (-24, -10), "urine": (-60, -24),
    "rectal wall": (-26, -6), "gas": (-20, 0), "stool": (-30, -10), "gel": (-60, -40),
    "seminal wall": (-26, -12), "seminal vesicle": (-40, -24), "capsule": (-18, -4),
    "peripheral zone": (-26, -8), "pseudocapsule": (-34, -14), "transition zone": (-34, -10),
    "fibromuscular stroma": (-38, -22), "nodule": (-36, -16), "lesion": (-38, -22), "cyst": (-60, -40),
    "calcification": (-8, 4), "clutter 1": (-45, -5), "clutter 2": (-45, -5), "clutter 3": (-45, -5),
}  # fmt: skip
"""Range of each tissue's echo, dB."""


@dataclass(frozen=True)
class Acquisition:
    """``probe``, how it presses, and how the volume is stored: ``aligned`` with the probe's beams or with the patient,
    bordered by ``border`` mm around the fan, at most ``largest`` mm per side, blurred by ``blur_mm`` together with a
    ``black_border`` around it.
    """

    probe: Probe
    push: float
    fade: float
    width: float
    wobble: SmoothField
    gap: float
    aligned: bool
    border: float
    largest: tuple[float, float, float]
    blur_mm: float
    black_border: bool = True


def sample_acquisition(draw: Draw) -> Acquisition:
    """Side-fire or end-fire, pressed up to 9 mm; cropped close to the fan, half of them blurred by their publisher."""
    fade = draw.uniform(18, 35)
    return Acquisition(
        probe=sample_probe(draw),
        push=min(draw.uniform(0, 9), 0.45 * fade),
        fade=fade,
        width=draw.uniform(18, 40),
        wobble=smooth_field(draw, draw.uniform(0, 2.0), (50, 130)),
        gap=draw.uniform(1, 9),
        aligned=draw.chance(0.5),
        border=draw.uniform(0, 8),
        largest=(draw.uniform(85, 120), draw.uniform(62, 100), draw.uniform(60, 92)),
        blur_mm=draw.uniform(1.0, 4.0) if draw.chance(0.5) else 0.0,
    )


def place(
    draw: Draw, anatomy: Anatomy, acquisition: Acquisition, rotation: FloatArray, spacing_mm: float
) -> tuple[Grid, Placement]:
    """Put the gland in front of the probe, turned by ``rotation`` (3, 3), and lay the voxel grid around the fan."""
    probe = acquisition.probe
    press = Press(probe, acquisition.push, acquisition.fade, acquisition.width)

    def shift(points: Tensor) -> Tensor:
        return press(points) + acquisition.wobble(points)

    aside, along = draw.normal(0, 5), draw.normal(0, 8 if probe.kind == SIDE_FIRE else 6)
    surface = anatomy.surface()
    forward = probe.forward
    landmarks = np.stack(list(anatomy.landmarks.values()), axis=1)
    offset = np.array([aside, 0, 0]) + along * probe.along + forward * (probe.radius + acquisition.gap + 20)
    gap = acquisition.gap
    for attempt in range(10):
        placement = Placement(rigid(rotation, offset), shift)
        depth, angle, sweep = probe.polar(torch.from_numpy(placement.from_anatomy(np.hstack([surface, landmarks]))))
        # The operator moves the probe until the landmarks are nearly in view: along, then back.
        excess = _excess(sweep[-3:], probe.sweep) * (
            1.0 if probe.kind == SIDE_FIRE else float(depth[-3:].mean()) + probe.radius
        )
        unseen = bool((angle[-3:].abs() > probe.angle).any()) or abs(excess) > 2
        gap = min(gap + 2.5, acquisition.gap + 12) if attempt > 3 and unseen else gap
        step = forward * (gap - float(depth.min())) - probe.along * excess
        offset = offset + step
        if float(np.abs(step).max()) < 0.3 and not unseen:
            break
    placement = Placement(rigid(rotation, offset), shift)
    return _grid(anatomy, acquisition, placement, spacing_mm), placement


def _excess(values: Tensor, limit: float) -> float:
    """How far ``values`` reach beyond ±``limit``; zero where they fit, their middle where they cannot."""
    low, high = float(values.min()), float(values.max())
    if high - low > 2 * limit:
        return (high + low) / 2
    return max(high - limit, 0.0) + min(low + limit, 0.0)


def _grid(anatomy: Anatomy, acquisition: Acquisition, placement: Placement, spacing_mm: float) -> Grid:
    probe = acquisition.probe
    turn = math.degrees(probe.lift) if acquisition.aligned and probe.kind == END_FIRE else 0.0
    rotation = np.asarray(Rotation.from_euler("x", turn, degrees=True).as_matrix())
    outline = rotation.T @ probe.outline()
    low, high = outline.min(axis=1), outline.max(axis=1)
    sides = np.minimum(high - low, np.array(acquisition.largest)) + 2 * acquisition.border
    i, j, k = (max(8, round(float(side) / spacing_mm)) for side in sides)
    # A crop keeps the near field, as systems do: the far end is cut.
    middle = (low + high) / 2
    middle[1] = low[1] - acquisition.border + sides[1] / 2
    grid = Grid((k, j, i), (spacing_mm,) * 3, rotation, rotation @ middle)
    landmarks = placement.from_anatomy(np.stack(list(anatomy.landmarks.values()), axis=1))
    return Grid(grid.shape, grid.spacing, rotation, grid.centre + keep_inside(landmarks, grid, 2.0))


def render(
    draw: Draw,
    anatomy: Anatomy,
    acquisition: Acquisition,
    grid: Grid,
    placement: Placement,
    device: torch.device | str,
    condition: Condition,
) -> tuple[Tensor, Tensor]:
    """The image 0..255 float32 and the gland's mask bool, (K, J, I) on ``grid``; black outside the fan."""
    probe = acquisition.probe
    positions = grid.points(device)
    depth, angle, sweep = probe.polar(positions)
    beams = Beams(probe, positions, depth, angle, sweep)
    points = Points(anatomy.straighten(placement.to_anatomy(positions)), 0.25 * grid.spacing[0] + 0.1)
    distance = anatomy.gland_distance(points)
    echo = _tissues(draw, anatomy, acquisition, points, distance, depth, grid, device)
    echo = echo + _gain(draw, depth, angle, probe) + _shadow(draw, anatomy, points, placement, probe, depth, angle)
    echo = condition.echo(echo, beams, anatomy, placement)
    echo = echo + _speckle(draw, probe, depth, angle, sweep, grid, device)
    seen = condition.seen(probe.sees(depth, angle, sweep), beams, grid, anatomy, placement)
    # The operator sets the gain so that the image is neither black nor white.
    middle = echo[seen].median()
    grey = (draw.uniform(0.3, 0.68) + (echo - middle) / draw.uniform(42, 75)).clamp(0, 1).pow(draw.uniform(0.8, 1.4))
    grey = condition.grey(grey)
    floor = draw.uniform(0, 0.04)
    image = torch.where(seen, floor + (1 - floor) * grey, torch.zeros_like(grey))
    margin = 0.5 * acquisition.blur_mm if acquisition.black_border else 0.0
    return publish(image, grid.spacing[::-1], acquisition.blur_mm, margin) * 255, distance <= 0


def _tissues(
    draw: Draw,
    anatomy: Anatomy,
    acquisition: Acquisition,
    points: Points,
    distance: Tensor,
    depth: Tensor,
    grid: Grid,
    device: torch.device | str,
) -> Tensor:
    spread = 6.0 if draw.chance(0.3) else 0.0
    echo = {t: draw.uniform(ECHO_DB[t][0] - spread, ECHO_DB[t][1] + spread) for t in TISSUES}
    blend_zones(draw, echo)
    # What shows a gland is that fat around it is brighter or, nearly as often, darker than it is.
    gland = 0.5 * (echo["peripheral zone"] + echo["transition zone"])
    echo[BACKGROUND] = gland + (draw.uniform(3, 14) if draw.chance(0.55) else -draw.uniform(3, 12))
    # The muscles below the apex are darker: that is how its end is seen.
    for muscle in ("perineum", "sphincter", "levator"):
        echo[muscle] = gland - draw.uniform(3, 14)
    steps = grid.spacing[::-1]
    grain = 0.7 * texture(draw, grid.shape, steps, 3.5, device) + 0.7 * texture(draw, grid.shape, steps, 11.0, device)
    rough = draw.uniform(0.8, 3.5)
    # The probe lies in the rectum: its wall is what is left between head and gland.
    bed = points.inside(depth - acquisition.gap * draw.uniform(0.5, 1.1), 1.5)
    image = echo[BACKGROUND] + (1.5 * rough) * grain
    for tissue, coverage in anatomy.layers(points, distance, rectum=[("rectal wall", bed)]):
        image = torch.lerp(image, echo[tissue] + rough * grain, coverage)
    return image


def _gain(draw: Draw, depth: Tensor, angle: Tensor, probe: Probe) -> Tensor:
    """Gain over depth and angle, dB: attenuation that is not fully compensated, a bright near field, uneven beams."""
    inside = depth.clamp_min(0)
    slope = draw.uniform(-0.85, 0.05)
    gain = slope * (inside - 20) + draw.uniform(0, 4) * curve(draw, inside, 0, 85, 6)
    near = draw.uniform(0, 14) * torch.exp(
        -((inside - draw.uniform(0, 8)).clamp_min(0) / draw.uniform(6, 26)).square()
    )
    if draw.chance(0.6):
        near = near * torch.exp(-0.5 * (angle / draw.uniform(0.3, 0.9)).square())
    beams = draw.uniform(0, 3) * curve(draw, angle, -probe.angle, probe.angle, draw.count(4, 9))
    return gain + near + beams


def _shadow(
    draw: Draw, anatomy: Anatomy, points: Points, placement: Placement, probe: Probe, depth: Tensor, angle: Tensor
) -> Tensor:
    """Loss of echo, dB, at most 0: behind the pubis, behind gas at the probe, and at the fan's edges."""
    beam = placement.pose[:3, :3].T @ probe.forward
    hidden = torch.zeros_like(depth)
    for step in (7.0, 15.0, 25.0, 38.0):
        back = torch.stack([points.xyz[axis] - step * float(beam[axis]) for axis in range(3)])
        nearer = Points(back, points.softness)
        hidden = torch.maximum(hidden, nearer.inside(anatomy.pubis.distance(nearer), 1.0))
    loss = -draw.uniform(0, 28) * hidden
    for _ in range(draw.count(0, 2) if draw.chance(0.4) else 0):
        middle, width, start = draw.uniform(-0.9, 0.9), draw.uniform(0.03, 0.18), draw.uniform(0, 30)
        stripe = torch.exp(-((angle - middle) / width).square()) * torch.sigmoid((depth - start) / 2)
        loss = loss - draw.uniform(6, 30) * stripe
    edge = ((angle.abs() / probe.angle - 0.6) / 0.4).clamp_min(0).square()
    return loss - draw.uniform(0, 12) * edge


def _speckle(
    draw: Draw, probe: Probe, depth: Tensor, angle: Tensor, sweep: Tensor, grid: Grid, device: torch.device | str
) -> Tensor:
    """Rayleigh speckle in dB. Where voxels are larger than the resolution cell, what is left of it after averaging."""
    contrast = draw.uniform(0.5, 1.1)
    spacing = grid.spacing[0]
    if spacing > 1.2:
        cells = spacing**3 / (0.6 * 1.5 * 1.5)
        return (5.6 * contrast / math.sqrt(max(cells, 1.0))) * draw.noise(grid.shape, device) - 2.5 * contrast
    reach = (probe.depth / 0.5, 2 * probe.angle / 0.035, 2 * probe.sweep / (1.2 if probe.kind == SIDE_FIRE else 0.035))
    size = [max(4, math.ceil(r)) for r in reach]
    waves = draw.noise((1, 2, size[2], size[1], size[0]), device)
    where = torch.stack([2 * depth / probe.depth - 1, angle / probe.angle, sweep / probe.sweep], dim=-1)[None]
    sampled = F.grid_sample(waves, where, align_corners=True, padding_mode="border")[0]
    amplitude = torch.linalg.vector_norm(sampled, dim=0)
    return contrast * 20 * torch.log10(amplitude.clamp_min(0.02) / 1.25)
