"""SOPI's networks have the sizes that the paper and its code give them, and answer within the imaging geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learnedsamples import TINY

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.learned.config import DEEP_REG, FINE, PRESETS, RTPI, STAGES, preset_config
from LandmarkFusionLogic.projection.learned.encoders import (
    Bottleneck,
    CascadeFusion,
    Connection,
    FineNetwork,
    SplitAttention,
)
from LandmarkFusionLogic.projection.learned.rtpi import RtpiNetwork
from LandmarkFusionLogic.projection.learned.training import make_network
from LandmarkFusionLogic.simulation.seeds import TEST, VALIDATION


def _count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_paper_preset_has_the_papers_sizes():
    rtpi = make_network(PRESETS["paper"][RTPI])
    assert _count(rtpi) == pytest.approx(2.0e6, rel=0.1)
    fine = make_network(PRESETS["paper"][FINE])
    assert isinstance(fine, FineNetwork)
    for encoder in (fine.moving, fine.fixed):
        assert _count(encoder) == pytest.approx(5.35e6, rel=0.03)
    with torch.inference_mode():
        features = fine.eval().moving(torch.zeros(1, 2, 256, 256))
    assert [tuple(f.shape[1:]) for f in features] == [(64, 32, 32), (64, 32, 32), (128, 16, 16)]


def test_the_paper_preset_trains_as_the_paper_does():
    rtpi, fine = PRESETS["paper"][RTPI], PRESETS["paper"][FINE]
    assert (rtpi.steps, rtpi.batch, rtpi.momentum, fine.batch) == (200_000, 16, 0.9, 4)
    assert (rtpi.alpha, rtpi.beta, rtpi.decay) == (1.0, 1.0, 0.01)
    assert rtpi.rate(0) == pytest.approx(1e-3)
    assert rtpi.rate(50) == pytest.approx(1e-2)
    assert rtpi.rate(100) == pytest.approx(1e-3)
    assert fine.rate(150) == pytest.approx(1e-3)
    assert rtpi.geometry.spacing[0] == pytest.approx(4 * 0.19959)
    assert (rtpi.geometry.sdd, rtpi.geometry.rows) == (1011.7, 256)
    assert rtpi.truth == pytest.approx((6, 6, 6, 9, 4.5, 30))


def test_an_encoder_has_the_parts_that_the_paper_names():
    fine = make_network(TINY[FINE])
    blocks = [m for m in fine.moving.modules() if isinstance(m, CascadeFusion)]
    assert len(blocks) == 5  # One before the branches, two on each.
    assert sum(isinstance(m, Connection) for m in fine.moving.modules()) == 2
    assert all(any(isinstance(m, SplitAttention) for m in block.modules()) for block in blocks)
    plain = make_network(TINY[DEEP_REG])
    assert not any(isinstance(m, (CascadeFusion, Connection)) for m in plain.modules())


def test_encoders_begin_alike_and_share_nothing():
    fine = make_network(TINY[FINE])
    one, other = (list(encoder.parameters()) for encoder in (fine.moving, fine.fixed))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    with torch.no_grad():
        one[0].add_(1.0)
    assert not torch.equal(one[0], other[0])


def test_the_assistant_branch_reaches_the_leads_first_features():
    fine = make_network(TINY[FINE]).eval()
    image = torch.randn(1, 2, 32, 32)
    before = fine.moving(image)[0]
    with torch.no_grad():  # Untrained, the connection is silent.
        fine.moving.connections[0].unit[-1].weight.fill_(1.0)
    assert not torch.allclose(before, fine.moving(image)[0])


def test_a_composite_encoder_begins_as_a_shallow_one_and_can_wake_up():
    encoder = make_network(TINY[FINE]).moving
    assert all(not m.widen[-1].weight.any() for m in encoder.modules() if isinstance(m, Bottleneck))
    sum(f.square().mean() for f in encoder(torch.randn(2, 2, 32, 32))).backward()
    for layer in (encoder.shared.fine[0].widen, encoder.lead[1].to_fine, encoder.connections[0].unit):
        assert layer[-1].weight.grad.any()


def test_split_attention_weighs_its_splits_to_one():
    layer = SplitAttention(4).eval()
    x = torch.randn(2, 4, 8, 8)
    splits = layer.splits(x).unflatten(1, (2, -1))
    with torch.no_grad():  # The same weight for both splits: the mean of them.
        for value in layer.squeeze.parameters():
            value.zero_()
    torch.testing.assert_close(layer(x), splits.mean(1))


def test_rtpi_answers_within_its_box_and_hears_both_branches():
    network = make_network(TINY[RTPI])
    assert isinstance(network, RtpiNetwork)
    volume = torch.randn(3, 1, 32, 32, 32, requires_grad=True)
    image = torch.randn(3, 2, 32, 32, requires_grad=True)
    answer = network(volume, image)
    assert answer.shape == (3, 6)
    assert float(answer.detach().abs().max()) == 0.0  # The reference pose, before anything is learned.
    with torch.no_grad():
        for head in network.regression:
            head[-1].weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    network(volume, image).sum().backward()
    assert volume.grad.abs().sum() > 0
    assert image.grad.abs().sum() > 0
    with torch.no_grad():
        for head in network.regression:
            head[-1].bias.fill_(50.0)
    assert float(network(volume, image).detach().max()) == 1.0
    with torch.no_grad():
        for head in network.regression:
            head[-1].bias.fill_(-50.0)
    assert float(network(volume, image).detach().min()) == -1.0


def test_a_head_answers_for_its_own_parameter_only():
    network = make_network(TINY[RTPI]).eval()
    volume, image = torch.randn(1, 1, 32, 32, 32), torch.randn(1, 2, 32, 32)
    before = network(volume, image)
    with torch.no_grad():
        network.regression[2][-1].bias.add_(0.1)
    changed = (network(volume, image) - before).abs()[0] > 1e-6
    assert changed.tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("stage", STAGES)
def test_presets_can_be_trained_with_seeds_of_their_own(stage):
    for preset in PRESETS:
        config = preset_config(stage, preset)
        assert config.preset == preset
        last = config.first_seed + config.steps // config.steps_per_phantom + config.pool
        assert not any(seed in VALIDATION or seed in TEST for seed in (config.first_seed, last))


def test_bad_settings_are_told():
    with pytest.raises(InputError, match="preset “huge”"):
        preset_config(RTPI, "huge")
    with pytest.raises(InputError, match="stage “coarse”"):
        preset_config("coarse")
    with pytest.raises(InputError, match="multiples of 32"):
        preset_config(RTPI, pixels=100)
    with pytest.raises(InputError, match="own seeds only"):
        preset_config(FINE, first_seed=TEST.start)
    with pytest.raises(InputError, match="four widths"):
        preset_config(RTPI, widths=(1, 2))
    with pytest.raises(InputError, match="1 or more"):
        preset_config(FINE, steps=0)


def test_the_rate_cycles_and_cools_down():
    config = preset_config(RTPI, steps=1000)
    rates = np.array([config.rate(step) for step in range(1000)])
    assert rates[:700].max() == pytest.approx(config.high_rate)
    assert rates[:700].min() == pytest.approx(config.low_rate)
    assert rates[-1] < 0.1 * config.low_rate
