"""One step of each training: from a batch of cases to a loss whose gradient is that of the networks' weights.

The projector has no weights. Its image and Jacobian J come as numbers from the compiled kernel; the chain rule with
J gives derivatives to the pose, and no backward pass, single or double, ever goes through the projector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from LandmarkFusionLogic.projection.learned.cases import Case, projected_mask
from LandmarkFusionLogic.projection.learned.config import ProjectionConfig
from LandmarkFusionLogic.projection.learned.encoders import FineNetwork
from LandmarkFusionLogic.projection.learned.inputs import prepare
from LandmarkFusionLogic.projection.learned.losses import RtpiLoss, direction_loss, embedded_loss, rtpi_loss
from LandmarkFusionLogic.projection.learned.poses import UNITS, geodesic_step
from LandmarkFusionLogic.projection.learned.rtpi import RtpiNetwork, bounded
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera, steps_of_parameters
from LandmarkFusionLogic.projection.projector import Projector

SIMILARITY_SIDE = 64
"""The similarity of eq. 5 is taken at this resolution, or the network's where that is lower."""


class Rendered(NamedTuple):
    """``image`` (B, H, W) and ``jacobian`` (B, 6, H, W) to steps in the metric's units (`poses.UNITS`)."""

    image: Tensor
    jacobian: Tensor


def stack(arrays: Sequence[object], device: torch.device) -> Tensor:
    """Arrays of one shape as one tensor."""
    return torch.as_tensor(np.stack([np.asarray(a, dtype=np.float32) for a in arrays]), device=device)


def rendered(
    projectors: Sequence[Projector],
    places: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.float64]]],
    config: ProjectionConfig,
    device: torch.device,
) -> Rendered:
    """Image and Jacobian of each projector at its pose."""
    images, jacobians = [], []
    for projector, matrix in zip(projectors, places, strict=True):
        image, jacobian = projector.project_with_jacobian(config.geometry, matrix, projector.center_in_camera(matrix))
        images.append(image)
        jacobians.append(jacobian * UNITS[:, None, None])
    return Rendered(stack(images, device), stack(jacobians, device))


def pose_gradient(loss: Tensor, view: Rendered, create_graph: bool) -> Tensor:
    """(B, 6) derivative of ``loss`` (B,) to the pose's step: J^T dL/dI, differentiable to the weights if asked."""
    (to_image,) = torch.autograd.grad(loss.sum(), view.image, create_graph=create_graph)
    return torch.einsum("bsrc,brc->bs", view.jacobian, to_image)


def network_gradient(
    network: FineNetwork, view: Rendered, fixed: Sequence[Tensor], mask: Tensor, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """L_N of eq. 6, (B,), and its gradient to the pose, (B, 6); ``fixed``: the X-ray's embedded features."""
    image = view.image.detach().requires_grad_(True)
    loss = embedded_loss(network.moving(prepare(image)), fixed, mask)
    return loss, pose_gradient(loss, Rendered(image, view.jacobian), create_graph)


def case_masks(cases: Sequence[Case], config: ProjectionConfig, device: torch.device) -> Tensor:
    """M' of each case at its start; ones without the embedded loss (EL)."""
    masks = [projected_mask(case.mask, config, case.start_matrix) for case in cases]
    found = stack(masks, device)
    return found if config.embedded else torch.ones_like(found)


def fine_loss(network: FineNetwork, cases: Sequence[Case], config: ProjectionConfig) -> Tensor:
    """Eq. 7, (B,), of the network's gradient at each case's start."""
    device = next(network.parameters()).device
    xrays = stack([case.xray for case in cases], device)
    movings = [case.phantom.moving(case.content) for case in cases]
    view = rendered(movings, [case.start_matrix for case in cases], config, device)
    fixed = network.fixed(prepare(xrays))
    _, gradient = network_gradient(network, view, fixed, case_masks(cases, config, device), True)
    steps = [-geodesic_step(case.start_matrix, case.truth_matrix, case.phantom.isocenter) / UNITS for case in cases]
    return direction_loss(gradient, stack(steps, device))


def rtpi_answers(network: RtpiNetwork, cases: Sequence[Case]) -> Tensor:
    """(B, 6) normalized parameters for each case, not yet bounded."""
    device = next(network.parameters()).device
    volumes = stack([case.samples() for case in cases], device)[:, None]
    return network.regressed(volumes, prepare(stack([case.xray for case in cases], device)))


def to_pose(answer: Tensor, config: ProjectionConfig) -> Pose:
    """The pose, degrees and mm, of normalized parameters (6,), which are bounded."""
    return Pose.of(bounded(answer.detach()).cpu().double().numpy() * np.array(config.box))


def rtpi_step_loss(network: RtpiNetwork, cases: Sequence[Case], config: ProjectionConfig) -> RtpiLoss:
    """Eq. 5 for a batch."""
    answers = rtpi_answers(network, cases)
    truth = stack([case.truth.parameters / np.array(config.box) for case in cases], answers.device)
    fixed, moving = [], []
    geometry = config.geometry.resized(*(min(SIMILARITY_SIDE, config.pixels),) * 2)
    for case, answer in zip(cases, answers, strict=True):
        pose = to_pose(answer, config)
        projector = case.phantom.moving(case.content)
        matrix = ct_to_camera(pose, case.phantom.isocenter, geometry)
        image, jacobian = projector.project_with_jacobian(geometry, matrix, projector.center_in_camera(matrix))
        to_answer = steps_of_parameters(pose) * np.array(config.box)
        slope = stack([np.einsum("srk,sp->prk", jacobian, to_answer)], answers.device)[0]
        # Equal to the image; its derivative to the answer is the projector's.
        inside = bounded(answer)
        linear = torch.einsum("prk,p->rk", slope, inside - inside.detach())
        moving.append(stack([image], answers.device)[0] + linear)
        fixed.append(case.phantom.fixed(case.content).project(geometry, case.truth_matrix))
    images = stack(fixed, answers.device), torch.stack(moving)
    return rtpi_loss(images, answers, truth, (config.alpha, config.beta, config.decay))
