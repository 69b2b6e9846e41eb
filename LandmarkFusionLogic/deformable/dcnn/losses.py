"""The losses of DCNN-Match, eq. 1 to 6 of Grewal 2023, and the truth that they compare with.

K points of the fixed (target) and M of the moving (source) image have been sampled; C[i, j] is 1 where they match.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

from LandmarkFusionLogic.deformable.dcnn.matching import Variant, match_distances, match_logits

MATCH_MM = 4.0
"""A point's match is the nearest one of the other image within this distance."""
NEGATIVE_MARGIN = 1.0


def true_matches(fixed_mm: Tensor, moving_in_fixed_mm: Tensor) -> Tensor:
    """C (K, M) bool: each other's nearest, and within `MATCH_MM`. Points (K, 3), (M, 3) in mm, in the fixed image.

    Mutual, so that a landmark has one match at most.
    """
    distance = torch.cdist(fixed_mm, moving_in_fixed_mm, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distance.min(dim=1)
    rows = torch.arange(len(fixed_mm), device=distance.device)
    mutual = (distance.argmin(dim=0)[nearest.indices] == rows) & (nearest.values <= MATCH_MM)
    result = torch.zeros_like(distance, dtype=torch.bool)
    result[rows[mutual], nearest.indices[mutual]] = True
    return result


class Loss(NamedTuple):
    """``total`` (eq. 2) and its parts, detached."""

    total: Tensor
    landmarks: float
    hinge: float
    cross_entropy: float


def match_loss(
    variant: Variant,
    head: nn.Linear | None,
    logits: tuple[Tensor, Tensor],
    found: tuple[Tensor, Tensor],
    matches: Tensor,
) -> Loss:
    """Eq. 2: ``logits`` (K,), (M,) of the landmark probability and descriptors ``found`` (K, C), (M, C)."""
    # Eq. 1: a landmark is what has a match in the other image.
    landmarks = landmark_loss(logits[0], matches.any(dim=1)) + landmark_loss(logits[1], matches.any(dim=0))
    nothing = landmarks.new_zeros(())
    hinge = hinge_loss(match_distances(*found), matches, variant.positive_margin) if variant.hinge else nothing
    entropy = nothing
    if variant.cross_entropy and head is not None:
        entropy = cross_entropy_loss(match_logits(head, *found), matches)
    total = landmarks + hinge + entropy
    return Loss(total, float(landmarks.detach()), float(hinge.detach()), float(entropy.detach()))


def landmark_loss(logits: Tensor, is_landmark: Tensor) -> Tensor:
    """Eq. 3 for one image: the mean of (1 - p) + cross entropy over the (K,) sampled points."""
    entropy = F.binary_cross_entropy_with_logits(logits, is_landmark.to(logits))
    return (1 - logits.sigmoid()).mean() + entropy


def background_loss(logits: Tensor, body: Tensor) -> Tensor:
    """The valid mask's lesson: no landmarks outside of the ``body``, both (D, H, W). Mean cross entropy there."""
    outside = logits[~body]
    return F.softplus(outside).mean() if outside.numel() else logits.new_zeros(())


def hinge_loss(distances: Tensor, matches: Tensor, positive_margin: float) -> Tensor:
    """Eq. 5 for (K, M) distances of normalized descriptors; matching and other pairs are averaged apart."""
    positive = (distances - positive_margin).clamp_min(0)
    negative = (NEGATIVE_MARGIN - distances).clamp_min(0)
    return _mean(positive, matches) + _mean(negative, ~matches)


def cross_entropy_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """Eq. 6 for (K, M) log odds: each class is weighted by the frequency of the other, weights' sum one.

    With those weights the weighted mean is the mean of both classes' means.
    """
    return 0.5 * (_mean(F.softplus(-logits), matches) + _mean(F.softplus(logits), ~matches))


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp_min(1)
