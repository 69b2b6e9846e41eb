"""What tells the five methods apart: the loss that a network learns by, and how its output becomes positions.

Coordinates enter every loss in mm, from the middle of the grid's voxels. The paper does not state its unit; in mm the
weights keep their meaning when the grid changes: eq. 2 and 5 are lengths but eq. 4 is a length squared, so that in
voxels the same λ2 would weigh differently on every grid. Eq. 2 is taken per landmark, and all terms are averaged over
the landmarks and the batch, which leaves their ratios as in eq. 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor, nn

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.comparison.network import CoordinateNetwork, HeatmapNetwork
from LandmarkFusionLogic.landmarks.losses import coordinate_loss, distance_map_loss, variance_loss
from LandmarkFusionLogic.landmarks.network import dsnt, voxel_positions

HEATMAP_SIGMA_MM = 7.5
"""Standard deviation of the heatmap that Payer's method is to match: one voxel of the shared grid."""


@dataclass(frozen=True)
class Method:
    """A row of Table 1. ``weight`` is λ2 per modality, where the method has a regularizer; λ1 is 1 everywhere."""

    key: str
    title: str
    weight: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


METHODS = {
    method.key: method
    for method in (
        Method("direct", "Direct coordinate regression"),
        Method("heatmap", "Heatmap matching"),
        Method("baseline", "Baseline: DSNT, no regularizer"),
        Method("variance", "DSNT, variance regularizer", MappingProxyType({"mr": 5e-4, "us": 2e-3})),
        Method("distance", "DSNT, distance-map regularizer", MappingProxyType({"mr": 5e-3, "us": 1e-2})),
    )
}


def method_of(key: str) -> Method:
    """The method called ``key``; raises InputError if there is none."""
    if key not in METHODS:
        raise InputError(f"There is no method “{key}”; choose from {', '.join(METHODS)}.")
    return METHODS[key]


def new_network(key: str, shape: Sequence[int], widths: Sequence[int], normalize: bool) -> nn.Module:
    """An untrained network for method ``key`` on a grid of ``shape`` (k, j, i)."""
    if key == "direct":
        return CoordinateNetwork(shape, widths, normalize=normalize)
    return HeatmapNetwork(widths, normalize=normalize)


def method_loss(
    method: Method, modality: str, output: Tensor, landmarks: Tensor, visible: Tensor, spacing_mm: float
) -> Tensor:
    """The loss of a network's ``output``: a scalar, mean over the landmarks that are visible.

    ``landmarks`` (B, L, 3) true positions in voxels k, j, i; ``visible`` (B, L) 1 where one lies in the grid, else 0.
    """
    if method.key == "direct":
        terms = coordinate_loss(output, landmarks, spacing_mm)
    elif method.key == "heatmap":
        terms = matching_loss(output, landmarks, HEATMAP_SIGMA_MM / spacing_mm)
    else:
        heatmaps = normalized(output)
        terms = coordinate_loss(dsnt(heatmaps), landmarks, spacing_mm)
        if method.key == "variance":
            terms = terms + method.weight[modality] * variance_loss(heatmaps, spacing_mm)
        elif method.key == "distance":
            terms = terms + method.weight[modality] * distance_map_loss(heatmaps, landmarks, spacing_mm)
    return (terms * visible).sum() / visible.sum().clamp_min(1)


def positions(method: Method, output: Tensor) -> Tensor:
    """Voxel positions (B, L, 3), k, j, i, that a network's ``output`` stands for."""
    if method.key == "direct":
        return output
    if method.key == "heatmap":
        return peaks(output)
    return dsnt(normalized(output))


def normalized(raw: Tensor) -> Tensor:
    """Softmax over the voxels of raw heatmaps (B, L, D, H, W)."""
    return raw.flatten(2).softmax(dim=-1).view_as(raw)


def matching_loss(raw: Tensor, true: Tensor, sigma: float) -> Tensor:
    """Squared distance of heatmaps (B, L, D, H, W) from Gaussians at ``true`` (B, L, 3), summed over voxels: (B, L).

    Payer 2016. The Gaussian has height one and ``sigma`` voxels.
    """
    distances = torch.cdist(true, voxel_positions(raw).expand(true.shape[0], -1, -1))
    target = torch.exp(-0.5 * (distances / sigma).square())
    return (raw.flatten(2) - target).square().sum(dim=-1)


def peaks(raw: Tensor) -> Tensor:
    """Where heatmaps (B, L, D, H, W) are largest: (B, L, 3), k, j, i, between voxels where the neighbours say so.

    Along each axis a parabola through the logarithm of the largest voxel and its two neighbours, which is exact for a
    Gaussian; whole voxels alone would cost 3.6 mm on a grid of 7.5 mm. No neighbour, no refinement.
    """
    shape = raw.shape[2:]
    best = raw.flatten(2).argmax(dim=-1)
    index = torch.stack(torch.unravel_index(best, shape), dim=-1)
    logs = raw.clamp_min(1e-3).log()
    found = index.to(raw.dtype)
    batch, landmark = torch.meshgrid(*(torch.arange(n, device=raw.device) for n in raw.shape[:2]), indexing="ij")
    for axis, side in enumerate(shape):
        # At the border the voxel itself stands in for the neighbour that is missing.
        before, after = index.clone(), index.clone()
        before[..., axis] = (index[..., axis] - 1).clamp_min(0)
        after[..., axis] = (index[..., axis] + 1).clamp_max(side - 1)
        low, middle, high = (logs[(batch, landmark, *at.unbind(-1))] for at in (before, index, after))
        curvature = low - 2 * middle + high
        inner = (index[..., axis] > 0) & (index[..., axis] < side - 1) & (curvature < -1e-6)
        offset = 0.5 * (low - high) / torch.where(inner, curvature, torch.ones_like(curvature))
        found[..., axis] += torch.where(inner, offset.clamp(-0.5, 0.5), torch.zeros_like(offset))
    return found
