"""What the landmark network is trained to make small: Fang 2023, eq. 2 to 5, and the gland mask's loss. In mm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

from LandmarkFusionLogic.landmarks.network import LandmarkOutput, dsnt, heatmap_covariance, voxel_positions


@dataclass(frozen=True)
class LossWeights:
    """``l2`` is Fang's λ1; ``distance`` and ``variance`` are λ2 of eq. 5 and eq. 4; ``mask`` weighs the gland's mask.

    ``target`` weighs the cross entropy to a Gaussian of ``target_sigma_mm`` around the truth, as Nibali 2018
    regularizes DSNT with a target's divergence: from a flat heatmap, expectations alone teach slowly.
    """

    l2: float = 1.0
    distance: float = 0.1
    variance: float = 0.0
    mask: float = 4.0
    target: float = 8.0
    target_sigma_mm: float = 5.0


def total_loss(
    output: LandmarkOutput,
    landmarks: Tensor,
    visible: Tensor,
    gland: Tensor,
    spacing_mm: float,
    weights: LossWeights,
    gland_known: Tensor | None = None,
) -> Tensor:
    """Mean over the batch of Fang eq. 3 plus the mask's loss: a scalar.

    ``landmarks`` (B, L, 3) true positions in voxels k, j, i; ``visible`` (B, L) 1 where a landmark counts, else 0;
    ``gland`` (B, 1, D, H, W) the true mask 0..1, which counts where ``gland_known`` (B,) is 1 (by default everywhere).
    """
    terms = coordinate_loss(dsnt(output.heatmaps), landmarks, spacing_mm, weights.l2)
    if weights.distance:
        terms = terms + weights.distance * distance_map_loss(output.heatmaps, landmarks, spacing_mm)
    if weights.variance:
        terms = terms + weights.variance * variance_loss(output.heatmaps, spacing_mm)
    if weights.target:
        terms = terms + weights.target * target_loss(output.heatmaps, landmarks, weights.target_sigma_mm / spacing_mm)
    landmark_term = (terms * visible).sum() / visible.sum().clamp_min(1)
    return landmark_term + weights.mask * mask_loss(output.gland_logits, gland, gland_known)


def coordinate_loss(predicted: Tensor, true: Tensor, spacing_mm: float, l2: float = 1.0) -> Tensor:
    """L1 + ``l2`` L2 norm of each landmark's error (B, L, 3) in voxels: (B, L) in mm. Fang eq. 2, per landmark."""
    error = (predicted - true) * spacing_mm
    # The square root's slope is infinite at zero.
    return error.abs().sum(dim=-1) + l2 * (error.square().sum(dim=-1) + 1e-8).sqrt()


def distance_map_loss(heatmaps: Tensor, true: Tensor, spacing_mm: float) -> Tensor:
    """Expected distance of the heatmap (B, L, D, H, W) from the true position (B, L, 3): (B, L) in mm. Fang eq. 5."""
    distances = torch.cdist(true, voxel_positions(heatmaps).expand(true.shape[0], -1, -1))
    return (heatmaps.flatten(2) * distances).sum(dim=-1) * spacing_mm


def variance_loss(heatmaps: Tensor, spacing_mm: float) -> Tensor:
    """Total variance of each heatmap (B, L, D, H, W) about its own mean: (B, L) in mm². Fang eq. 4."""
    return heatmap_covariance(heatmaps).diagonal(dim1=-2, dim2=-1).sum(dim=-1) * spacing_mm**2


def target_loss(heatmaps: Tensor, true: Tensor, sigma: float) -> Tensor:
    """Cross entropy of the heatmap (B, L, D, H, W) to a Gaussian of ``sigma`` voxels at ``true`` (B, L, 3): (B, L)."""
    distances = torch.cdist(true, voxel_positions(heatmaps).expand(true.shape[0], -1, -1))
    target = torch.softmax(-0.5 * (distances / sigma).square(), dim=-1)
    return -(target * heatmaps.flatten(2).clamp_min(1e-12).log()).sum(dim=-1)


def mask_loss(logits: Tensor, gland: Tensor, known: Tensor | None = None) -> Tensor:
    """Binary cross entropy + (1 - soft Dice) of (B, 1, D, H, W), mean over the images ``known`` (B,): a scalar."""
    probability = logits.sigmoid()
    overlap = (probability * gland).flatten(1).sum(dim=1)
    sizes = probability.flatten(1).sum(dim=1) + gland.flatten(1).sum(dim=1)
    dice = (2 * overlap + 1) / (sizes + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, gland, reduction="none").flatten(1).mean(dim=1)
    weight = torch.ones_like(dice) if known is None else known
    return ((entropy + 1 - dice) * weight).sum() / weight.sum().clamp_min(1)
