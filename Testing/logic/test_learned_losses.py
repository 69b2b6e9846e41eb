"""The losses of Chen 2023 against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from LandmarkFusionLogic.projection.learned.losses import (
    direction_loss,
    embedded_loss,
    gradient_difference,
    pose_error,
    rtpi_loss,
)


def test_gradient_difference_by_hand():
    fixed = torch.tensor([[[0.0, 1.0, 3.0]] * 2])
    assert float(gradient_difference(fixed, fixed)) == pytest.approx(0, abs=1e-6)
    # Along the columns the fixed image's differences are 1, 2, 1, 2: their variance is 1/3; the flat image's are 0.
    spread = 1 / 3
    columns = np.mean([spread / (spread + 1), spread / (spread + 4)])
    found = gradient_difference(fixed, torch.zeros_like(fixed))
    assert float(found) == pytest.approx(1 - (1 + columns) / 2, abs=1e-4)  # Along the rows both are flat: alike.


def test_gradient_difference_does_not_see_brightness():
    image = torch.randn(2, 9, 7, generator=torch.Generator().manual_seed(1))
    assert float(gradient_difference(image, image + 5)) == pytest.approx(0, abs=1e-5)


def test_eq_4_and_5_by_hand():
    found = torch.tensor([[3.0, 0, 0, 4.0, 0, 0], [0, 0, 0, 0, 0, 1.0]])
    truth = torch.zeros(2, 6)
    assert float(pose_error(found, truth)) == pytest.approx((5 + 1) / 2)
    image = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(1))
    loss = rtpi_loss((image, image), found, truth, (2.0, 3.0, 0.01))
    assert float(loss.size) == pytest.approx((25 + 1) / 2)
    assert float(loss.total) == pytest.approx(3 * 3 + 0.01 * 13, abs=1e-5)


def test_eq_6_counts_what_the_mask_shows_only():
    fixed = torch.zeros(1, 2, 4, 4)
    moving = torch.zeros(1, 2, 4, 4)
    moving[0, :, 0, 0] = torch.tensor([3.0, 4.0])  # Mean of squares over two channels: 12.5.
    moving[0, :, 3, 3] = 100.0
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = mask[0, 0, 1] = 1.0
    assert float(embedded_loss([moving], [fixed], mask)) == pytest.approx(np.sqrt(12.5) / 2, abs=1e-3)
    assert float(embedded_loss([moving], [fixed], torch.ones(1, 4, 4))) == pytest.approx(
        (np.sqrt(12.5) + 100) / 16, abs=1e-2
    )
    assert float(embedded_loss([moving], [fixed], torch.zeros(1, 4, 4))) == 0.0


def test_eq_6_brings_the_mask_to_each_scale():
    fine, coarse = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)
    other = torch.zeros(1, 1, 2, 2)
    other[0, 0, 0, 0] = 6.0
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = 1.0
    assert float(embedded_loss([fine, other], [fine, coarse], mask)) == pytest.approx(3.0, abs=1e-2)


def test_eq_7_by_hand():
    gradient = torch.tensor([[2.0, 0, 0, 0, 5.0, 0]])
    assert float(direction_loss(gradient, torch.tensor([[7.0, 0, 0, 0, 0.1, 0]]))) == pytest.approx(0, abs=1e-5)
    opposite = torch.tensor([[-1.0, 0, 0, 0, -1.0, 0]])
    assert float(direction_loss(gradient, opposite)) == pytest.approx(4, abs=1e-5)
    across = torch.tensor([[0.0, 1.0, 0, 0, 1.0, 0]])
    assert float(direction_loss(gradient, across)) == pytest.approx(np.sqrt(2), abs=1e-5)


def test_the_losses_have_finite_slopes_where_nothing_is_wrong():
    values = torch.zeros(1, 2, 4, 4, requires_grad=True)
    embedded_loss([values], [torch.zeros(1, 2, 4, 4)], torch.ones(1, 4, 4)).sum().backward()
    assert torch.isfinite(values.grad).all()
    gradient = torch.tensor([[1.0, 0, 0, 1.0, 0, 0]], requires_grad=True)
    direction_loss(gradient, gradient.detach()).sum().backward()
    assert torch.isfinite(gradient.grad).all()
