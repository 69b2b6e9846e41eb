"""The losses of the paper: eq. 4 to 7, and the gradient difference of Penney 1998 that eq. 5 uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

SMALL = 1e-6


class RtpiLoss(NamedTuple):
    """``total`` of eq. 5 and its parts, unweighted."""

    total: Tensor
    similarity: Tensor
    pose: Tensor
    size: Tensor


def gradient_difference(fixed: Tensor, moving: Tensor) -> Tensor:
    """1 - the gradient difference, 0 (alike) to 1, of images (B, H, W): Penney 1998, mean over pixels and directions.

    The difference d of the gradients counts A / (A + d²) with A the variance of the fixed image's gradients.
    """
    parts = []
    for axis in (1, 2):
        first, second = fixed.diff(dim=axis), moving.diff(dim=axis)
        spread = first.var(dim=(1, 2), keepdim=True) + SMALL
        parts.append((spread / (spread + (first - second).square())).mean((1, 2)))
    return 1 - torch.stack(parts).mean()


def pose_error(found: Tensor, truth: Tensor) -> Tensor:
    """Eq. 4: the mean over the batch of the length of the difference of normalized parameters (B, 6)."""
    return (found - truth).square().sum(1).add(1e-12).sqrt().mean()


def rtpi_loss(
    images: tuple[Tensor, Tensor], found: Tensor, truth: Tensor, weights: tuple[float, float, float]
) -> RtpiLoss:
    """Eq. 5 of ``images`` fixed and moving (B, H, W) and normalized parameters (B, 6); weights alpha, beta, lambda."""
    similarity, pose = gradient_difference(*images), pose_error(found, truth)
    size = found.square().sum(1).mean()
    alpha, beta, decay = weights
    return RtpiLoss(alpha * similarity + beta * pose + decay * size, similarity, pose, size)


def embedded_loss(moving: Sequence[Tensor], fixed: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Eq. 6, (B,): the distance of embedded features where ``mask`` (B, h, w), 0 or 1, is one, mean over the scales.

    The norm is taken over the channels of a place. An empty mask gives zero.
    """
    total = torch.zeros(len(mask), dtype=mask.dtype, device=mask.device)
    for one, other in zip(moving, fixed, strict=True):
        inside = functional.adaptive_max_pool2d(mask[:, None], one.shape[-2:])[:, 0]
        distance = ((one - other).square().mean(1) + SMALL).sqrt()
        total = total + (inside * distance).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1.0)
    return total / len(moving)


def direction_loss(gradient: Tensor, geodesic: Tensor) -> Tensor:
    """Eq. 7, (B,): how far the directions of two gradients (B, 6) differ, rotation and translation apart; 0 to 4."""
    parts = []
    for part in (slice(0, 3), slice(3, 6)):
        one, other = _unit(geodesic[:, part]), _unit(gradient[:, part])
        parts.append(((one - other).square().sum(1) + SMALL**2).sqrt())
    return torch.stack(parts).sum(0)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / (vectors.square().sum(1, keepdim=True) + 1e-24).sqrt()
