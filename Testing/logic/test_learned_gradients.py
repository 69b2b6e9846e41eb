"""The gradient of the pose and the double backward to the weights are right, though neither passes the projector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from learnedsamples import TINY

from LandmarkFusionLogic.projection.learned.cases import Cases
from LandmarkFusionLogic.projection.learned.config import FINE, RTPI
from LandmarkFusionLogic.projection.learned.inputs import prepare
from LandmarkFusionLogic.projection.learned.losses import direction_loss, embedded_loss
from LandmarkFusionLogic.projection.learned.poses import UNITS, geodesic_step
from LandmarkFusionLogic.projection.learned.steps import (
    case_masks,
    fine_loss,
    network_gradient,
    rendered,
    rtpi_answers,
    rtpi_step_loss,
    stack,
)
from LandmarkFusionLogic.projection.learned.training import make_network
from LandmarkFusionLogic.projection.pose import step_matrix
from LandmarkFusionLogic.projection.torchprojector import project

CPU = torch.device("cpu")


def _network():
    # Smooth, so that finite differences mean something, and with random weights that are not those of the other side.
    network = make_network(replace(TINY[FINE], first_seed=TINY[FINE].first_seed + 1))
    for module in network.modules():
        if isinstance(module, torch.nn.Sequential):
            for index, layer in enumerate(module):
                if isinstance(layer, torch.nn.ReLU):
                    module[index] = torch.nn.SiLU()
    with torch.no_grad():
        for p in network.fixed.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return network.eval()


def _setting():
    config = TINY[FINE]
    case = Cases(config).case(0, 0)
    return config, case, case.phantom.moving(case.content)


def _turned(step, center, matrix):
    """`step_matrix` of a small step, in torch."""
    x, y, z = step[:3]
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    turn = torch.linalg.matrix_exp(cross)
    shift = center - turn @ center + step[3:]
    top = torch.cat([turn, shift[:, None]], 1)
    return torch.cat([top, torch.tensor([[0.0, 0, 0, 1]], dtype=step.dtype)]) @ matrix


def _by_autograd(network, config, case, mu, fixed, mask):
    """L_N's gradient to the step, by autograd through the torch projector; differentiable again where torch can."""
    step = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    matrix = torch.as_tensor(case.start_matrix)
    center = torch.as_tensor(mu.center_in_camera(case.start_matrix))
    scaled = step * torch.as_tensor(UNITS)
    image = project(
        torch.as_tensor(mu.mu.array), mu.mu.ijk_to_ras, config.geometry, _turned(scaled, center, matrix)[None]
    )
    loss = embedded_loss(network.moving(prepare(image.float())), fixed, mask)
    return torch.autograd.grad(loss.sum(), step, create_graph=True)[0]


def test_the_pose_gradient_is_that_of_autograd_through_the_projector():
    config, case, mu = _setting()
    network = _network()
    fixed = network.fixed(prepare(stack([case.xray], CPU)))
    mask = torch.ones(1, 8, 8)
    _, ours = network_gradient(network, rendered([mu], [case.start_matrix], config, CPU), fixed, mask, True)
    theirs = _by_autograd(network, config, case, mu, fixed, mask).float()
    cosine = torch.nn.functional.cosine_similarity(ours[0], theirs, dim=0)
    assert float(cosine.detach()) > 0.999
    torch.testing.assert_close(
        ours[0].detach(), theirs.detach(), rtol=0.02, atol=0.02 * float(theirs.detach().abs().max())
    )


def test_double_backward_is_that_of_autograd_through_the_projector():
    config, case, mu = _setting()
    network = _network()
    weight = network.moving.stem[0][0].weight
    fixed = [f.detach() for f in network.fixed(prepare(stack([case.xray], CPU)))]
    mask = torch.ones(1, 8, 8)
    target = stack([geodesic_step(case.start_matrix, case.truth_matrix, case.phantom.isocenter) / -UNITS], CPU)
    _, ours = network_gradient(network, rendered([mu], [case.start_matrix], config, CPU), fixed, mask, True)
    (by_chain,) = torch.autograd.grad(direction_loss(ours, target).sum(), weight)
    theirs = _by_autograd(network, config, case, mu, fixed, mask).float()[None]
    try:
        (through,) = torch.autograd.grad(direction_loss(theirs, target).sum(), weight)
    except RuntimeError as error:
        pytest.skip(f"this torch has no double backward of grid_sample: {error}")
    cosine = torch.nn.functional.cosine_similarity(by_chain.flatten(), through.flatten(), dim=0)
    assert float(cosine) > 0.99


def test_double_backward_is_the_slope_of_eq_7():
    config, case, _ = _setting()
    network = _network()
    parameter = network.moving.stem[0][0].weight
    draw = torch.Generator().manual_seed(2)
    direction = torch.randn(parameter.shape, generator=draw)

    def loss(amount: float) -> float:
        with torch.no_grad():
            parameter.add_(amount * direction)
        value = float(fine_loss(network, [case], config).detach())
        with torch.no_grad():
            parameter.sub_(amount * direction)
        return value

    (gradient,) = torch.autograd.grad(fine_loss(network, [case], config).sum(), parameter)
    slope = float((gradient * direction).sum())
    numeric = (loss(2e-3) - loss(-2e-3)) / 4e-3
    assert slope == pytest.approx(numeric, rel=0.05, abs=1e-3)


def test_the_mask_is_projected_at_the_start_and_left_out_without_the_embedded_loss():
    config, case, _ = _setting()
    inside = case_masks([case], config, CPU)
    assert set(inside.unique().tolist()) == {0.0, 1.0}
    without = case_masks([case], replace(config, embedded=False), CPU)
    assert without.shape == inside.shape
    assert float(without.min()) == 1.0


def test_the_geodesic_step_leads_to_the_truth():
    _, case, mu = _setting()
    step = geodesic_step(case.start_matrix, case.truth_matrix, case.phantom.isocenter)
    there = step_matrix(step, mu.center_in_camera(case.start_matrix)) @ case.start_matrix
    np.testing.assert_allclose(there, case.truth_matrix, atol=1e-9)


def test_the_similarity_of_eq_5_has_the_projectors_slope():
    config = replace(TINY[RTPI], alpha=1.0, beta=0.0, decay=0.0)
    case = Cases(config).case(0, 0)
    network = make_network(config).eval()
    bias = [head[-1].bias for head in network.regression]
    loss = rtpi_step_loss(network, [case], config)
    slopes = torch.autograd.grad(loss.total, bias)
    assert torch.isfinite(rtpi_answers(network, [case])).all()
    numeric = []
    for parameter in bias:
        values = []
        for change in (0.01, -0.02):
            with torch.no_grad():
                parameter.add_(change)
            values.append(float(rtpi_step_loss(network, [case], config).total.detach()))
        with torch.no_grad():
            parameter.add_(0.01)
        numeric.append((values[0] - values[1]) / 0.02)
    ours = np.array([float(slope) for slope in slopes])
    assert ours @ numeric / np.linalg.norm(ours) / np.linalg.norm(numeric) > 0.97
    assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(numeric), rel=0.2)
