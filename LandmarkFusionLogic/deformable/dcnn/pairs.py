"""Pairs of patches with a known deformation, made while training (Grewal 2023, section 2.3).

A patch is cut from simulated anatomy: the fixed image. The moving image is the same place seen through a random
deformation: ``moving(x) = fixed(T(x))``. Points are (..., 3) mm in the order k, j, i from the patch's center.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

from LandmarkFusionLogic.deformable.dcnn.preprocessing import body_of, gray_levels
from LandmarkFusionLogic.deformable.dcnn.sampling import interior
from LandmarkFusionLogic.simulation.ct import SPACING_MM, make_ct
from LandmarkFusionLogic.simulation.deformations import (
    LARGE_MM,
    LARGE_SIGMA_MM,
    ROTATION_DEGREES,
    SCALE,
    SMALL_MM,
    TRANSLATION_MM,
)
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.fields import blur, texture

SMALL_STEP_MM = 24.0
"""Distance of the knots of the small displacements: what `SMALL_MM` moves between two of them must not fold."""
OFFSET_MM = 12.0
"""Every pair is shifted by up to so much along each axis besides: else "the same place of the patch" is right so often
that this is all a network learns in few steps. Without it, 585 steps came to just that."""
MARGIN_MM = 60.0
"""The small displacements go on this far outside of the patch."""


@dataclass(frozen=True)
class Warp:
    """T: points of the moving patch to the fixed one, ``(x + u(x)) matrix + shift``; u: a Gaussian and a lattice.

    ``lattice`` (1, 3, D, H, W) mm covers ± ``reach`` (3,) mm, corner knots on the corners.
    """

    matrix: Tensor
    shift: Tensor
    center: Tensor
    vector: Tensor
    sigma: float
    lattice: Tensor
    reach: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """``points`` (N, 3) of the moving image, mm, in the fixed one."""
        away = (points - self.center).square().sum(-1, keepdim=True)
        large = torch.exp(away * (-0.5 / self.sigma**2)) * self.vector
        grid = (points / self.reach).flip(-1)[None, None, None]
        # The knots at the ends lie on the ends: the one place where aligned corners are right.
        small = F.grid_sample(self.lattice, grid, padding_mode="border", align_corners=True)[0, :, 0, 0].T
        return (points + large + small) @ self.matrix.T + self.shift

    def inverse(self, points: Tensor, iterations: int = 12) -> Tensor:
        """Where ``points`` (N, 3) of the fixed image lie in the moving one, to about 0.1 mm."""
        found = points
        for _ in range(iterations):
            found = found + points - self(found)
        return found


@dataclass(frozen=True)
class Pair:
    """``images`` (2, 1, D, H, W): fixed and moving; ``bodies`` and ``valid`` (2, D, H, W) bool.

    Valid are the places in the body that the other patch shows too.
    """

    images: Tensor
    bodies: Tensor
    valid: Tensor
    warp: Warp

    @property
    def size(self) -> tuple[int, int, int]:
        """(D, H, W) of the patches."""
        _, _, d, h, w = self.images.shape
        return d, h, w


def to_mm(positions: Tensor, size: Sequence[int]) -> Tensor:
    """Voxel positions (N, 3) of a patch of ``size`` as mm from its center."""
    return (positions - (torch.tensor(tuple(size), dtype=positions.dtype) - 1) / 2) * SPACING_MM


def make_pair(anatomy_seed: int, seed: int, size: tuple[int, int, int], border: int) -> Pair:
    """The pair of ``seed`` from the anatomy of ``anatomy_seed``; patches of ``size`` (D, H, W) voxels."""
    draw = Draw(seed, "dcnn pair")
    image, body = _anatomy(anatomy_seed)
    flipped = [axis for axis in range(3) if draw.chance(0.5)]
    image, body = image.flip(flipped), body.flip(flipped)
    low = _corner(draw, body, size)
    here = tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))
    warp = draw_warp(draw, size)
    grid = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in size), indexing="ij"), dim=-1)
    places = warp(to_mm(grid.reshape(-1, 3), size)) / SPACING_MM + (torch.tensor(size) - 1) / 2
    both = torch.stack((image, body.float()))
    absolute = (places + torch.tensor(low)).view(*size, 3)
    extent = torch.tensor(image.shape, dtype=torch.float32)
    looked = F.grid_sample(both[None], ((2 * absolute + 1) / extent - 1).flip(-1)[None], align_corners=False)[0]
    bodies = torch.stack((body[here], looked[1] > 0.5))
    inner = interior(size, border)
    # Half a voxel of tolerance: a point may be found in either of two voxels.
    seen = ((places > border - 0.5) & (places < torch.tensor(size) - border - 0.5)).all(-1).view(size)
    valid = torch.stack((bodies[0] & inner & _shown(warp, size, border), bodies[1] & inner & seen))
    images = torch.stack([_appearance(draw, one) for one in (image[here], looked[0])])
    return Pair(images[:, None], bodies, valid, warp)


@lru_cache(maxsize=2)
def _anatomy(seed: int) -> tuple[Tensor, Tensor]:
    anatomy = make_ct(seed)
    body = body_of(anatomy.image)
    return gray_levels(anatomy.image, body), body


def _corner(draw: Draw, body: Tensor, size: tuple[int, int, int]) -> list[int]:
    """The first voxel of a patch that is mostly body."""
    for _ in range(20):
        low = [draw.count(0, n - s) for n, s in zip(body.shape, size, strict=True)]
        sampled = body[tuple(slice(a, a + s, 4) for a, s in zip(low, size, strict=True))]
        if float(sampled.float().mean()) > 0.5:
            break
    return low


def draw_warp(draw: Draw, size: tuple[int, int, int]) -> Warp:
    """A translation, rotation, scaling or elastic deformation with the paper's ranges, about the patch's center.

    Half of them are elastic, which is what is left to find after an affine registration. All are shifted by up to
    `OFFSET_MM` besides.
    """
    kind = draw.uniform(0, 1)
    matrix, vector, sigma, small = torch.eye(3), torch.zeros(3), 64.0, 0.0
    shift = torch.tensor([draw.uniform(-OFFSET_MM, OFFSET_MM) for _ in range(3)])
    center = torch.zeros(3)
    half = (torch.tensor(size, dtype=torch.float32) - 1) / 2 * SPACING_MM
    if kind < 1 / 6:
        shift = shift + torch.tensor([draw.uniform(-TRANSLATION_MM, TRANSLATION_MM) for _ in range(3)])
    elif kind < 2 / 6:
        matrix = _turn(draw)
    elif kind < 3 / 6:
        matrix = torch.diag(torch.tensor([draw.uniform(*SCALE) for _ in range(3)]))
    else:
        sign = [1 if draw.chance(0.5) else -1 for _ in range(3)]
        vector = torch.tensor([s * draw.uniform(*LARGE_MM) / math.sqrt(3) for s in sign])
        sigma = draw.uniform(*LARGE_SIGMA_MM)
        center = torch.tensor([draw.uniform(-1.5, 1.5) for _ in range(3)]) * half
        small = draw.uniform(*SMALL_MM)
    reach = half + MARGIN_MM
    knots = tuple(int(n) for n in (2 * reach / SMALL_STEP_MM).ceil().long() + 1)
    lattice = torch.zeros(1, 3, *knots)
    if small:
        noise = draw.noise((3, *knots), "cpu")
        smooth = torch.stack([blur(part, (0.8, 0.8, 0.8)) for part in noise])
        lattice[0] = small * smooth / smooth.abs().max()
    return Warp(matrix, shift, center, vector, sigma, lattice, reach)


def _turn(draw: Draw) -> Tensor:
    matrix = torch.eye(3)
    for axis in range(3):
        angle = math.radians(draw.uniform(-ROTATION_DEGREES, ROTATION_DEGREES))
        one, two = [other for other in range(3) if other != axis]
        turn = torch.eye(3)
        turn[one, one] = turn[two, two] = math.cos(angle)
        turn[one, two], turn[two, one] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    return matrix


def _shown(warp: Warp, size: tuple[int, int, int], border: int) -> Tensor:
    """(D, H, W) bool: which places of the fixed patch the moving one shows; found on every fourth voxel."""
    step = 4
    axes = [torch.arange(n // step, dtype=torch.float32) * step + (step - 1) / 2 for n in size]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    back = warp.inverse(to_mm(points.view(-1, 3), size)) / SPACING_MM + (torch.tensor(size) - 1) / 2
    shown = ((back > border - 0.5) & (back < torch.tensor(size) - border - 0.5)).all(-1).view(points.shape[:-1])
    for axis in range(3):
        shown = shown.repeat_interleave(step, dim=axis)
    return shown


def _appearance(draw: Draw, image: Tensor) -> Tensor:
    """Gain, offset, curve, blur, shading and noise of its own for each image of a pair, 0..1."""
    low, high = draw.uniform(-0.06, 0.06), 1 + draw.uniform(-0.1, 0.1)
    result = ((image - low) / (high - low)).clamp(0, 1) ** math.exp(draw.uniform(-0.2, 0.2))
    if draw.chance(0.5):
        result = blur(result, (draw.uniform(0, 0.7),) * 3)
    if draw.chance(0.4):
        shade = texture(draw, image.shape, (SPACING_MM,) * 3, draw.uniform(60, 120), "cpu")
        result = result * (1 + draw.uniform(0, 0.12) * shade)
    noise = draw.noise(tuple(image.shape), "cpu")
    if draw.chance(0.5):
        # Noise of reconstructed images is not white.
        noise = blur(noise, (0.0, 0.6, 0.6)) * 1.8
    return (result + draw.uniform(0, 0.03) * noise).clamp(0, 1)
