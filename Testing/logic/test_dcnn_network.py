"""DCNN-Match's parts: network, sampling layer, matching heads, losses, against what they are defined to be."""

from __future__ import annotations

import pytest
import torch

from LandmarkFusionLogic.deformable.dcnn.losses import (
    background_loss,
    cross_entropy_loss,
    hinge_loss,
    landmark_loss,
    match_loss,
    true_matches,
)
from LandmarkFusionLogic.deformable.dcnn.matching import (
    VARIANTS,
    Variant,
    match_distances,
    match_logits,
    mutual_matches,
    variant_named,
)
from LandmarkFusionLogic.deformable.dcnn.network import MatchNetwork
from LandmarkFusionLogic.deformable.dcnn.sampling import cell_maxima, descriptors, interior, values_at
from LandmarkFusionLogic.errors import InputError

SIZE = (16, 32, 32)


def test_levels_are_an_eighth_and_a_sixteenth_of_the_grid():
    network = MatchNetwork(4)
    features = network(torch.rand(2, 1, *SIZE))
    assert features.logits.shape == (2, 1, *SIZE)
    assert [tuple(level.shape) for level in features.levels] == [(2, 32, 2, 4, 4), (2, 64, 1, 2, 2)]
    assert network.channels == 96
    assert network.matching.weight.shape == (2, 96)
    assert MatchNetwork(4, cross_entropy=False).matching is None


def test_both_images_pass_through_the_same_weights():
    network = MatchNetwork(2).eval()
    image = torch.rand(1, 1, *SIZE)
    features = network(torch.cat((image, image)))
    torch.testing.assert_close(features.logits[0], features.logits[1])


def test_the_papers_width_has_the_papers_number_of_parameters():
    with torch.device("meta"):
        network = MatchNetwork(64)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(90.3e6, rel=0.01)


def test_sampling_takes_the_highest_of_each_cell_and_the_highest_cells():
    probability = torch.zeros(4, 8, 8)
    probability[1, 2, 3] = 0.9
    probability[1, 3, 3] = 0.8  # The same cell.
    probability[3, 5, 7] = 0.7
    probability[0, 0, 7] = 0.95  # Not allowed.
    allowed = torch.ones_like(probability, dtype=torch.bool)
    allowed[0, 0, 7] = False
    points = cell_maxima(probability, allowed, 4, 2)
    assert points.tolist() == [[1, 2, 3], [3, 5, 7]]
    assert cell_maxima(probability, allowed, 4, threshold=0.75).tolist() == [[1, 2, 3]]
    assert cell_maxima(probability, allowed, 1, threshold=0.75).tolist() == [[1, 2, 3], [1, 3, 3]]
    assert len(cell_maxima(probability, torch.zeros_like(allowed), 4)) == 0


def test_cells_at_the_far_side_may_be_smaller():
    probability = torch.rand(5, 6, 7)
    points = cell_maxima(probability, torch.ones(5, 6, 7, dtype=torch.bool), 4)
    assert len(points) == 8
    assert (points < torch.tensor([5, 6, 7])).all()


def test_interior():
    assert interior((8, 10, 12), 3).sum() == 2 * 4 * 6


@pytest.mark.parametrize("level", [0, 3, 4])
def test_coarse_levels_are_sampled_where_their_voxels_lie(level):
    # A level that holds the position of its voxels in the patch must give every position back.
    step = 2**level
    size = (32, 48, 64)
    axes = [torch.arange(n // step, dtype=torch.float32) * step + (step - 1) / 2 for n in size]
    volume = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(50, 3, generator=generator) * (torch.tensor(size) - step) + (step - 1) / 2
    torch.testing.assert_close(values_at(volume, points, size), points, rtol=1e-4, atol=1e-3)


def test_descriptors_are_the_levels_one_after_the_other():
    levels = [torch.rand(3, 4, 4, 4), torch.rand(5, 2, 2, 2)]
    points = torch.tensor([[3.5, 3.5, 3.5], [11.5, 3.5, 27.5]])
    found = descriptors(levels, points, (32, 32, 32))
    assert found.shape == (2, 8)
    torch.testing.assert_close(found[0, :3], levels[0][:, 0, 0, 0])
    torch.testing.assert_close(found[1, :3], levels[0][:, 1, 0, 3])


def test_the_cross_entropy_head_is_the_linear_layer_on_the_product():
    head = torch.nn.Linear(6, 2)
    fixed, moving = torch.rand(4, 6), torch.rand(5, 6)
    slow = head(fixed[:, None] * moving[None]).softmax(dim=-1)[..., 1]
    torch.testing.assert_close(match_logits(head, fixed, moving).sigmoid(), slow)


def test_the_hinge_head_is_the_distance_of_unit_descriptors():
    fixed, moving = torch.rand(4, 6), torch.rand(5, 6)
    unit = fixed / fixed.norm(dim=1, keepdim=True), moving / moving.norm(dim=1, keepdim=True)
    torch.testing.assert_close(match_distances(fixed, moving), torch.cdist(*unit), rtol=1e-3, atol=1e-3)


def test_a_match_is_mutual_and_in_every_head():
    # By direction the first has the first; by scalar product the longer second. The second has no mutual partner.
    fixed = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    moving = torch.tensor([[1.0, 0.1, 0.0], [9.0, 5.0, 0.0], [0.0, 0.0, 2.0]])
    head = torch.nn.Linear(3, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0] * 3, [1.0] * 3]))
        head.bias.zero_()
    hinge = mutual_matches(Variant(True, False), None, fixed, moving)
    assert dict(zip(hinge.fixed.tolist(), hinge.moving.tolist(), strict=True)) == {0: 0, 2: 2}
    entropy = mutual_matches(Variant(False, True), head, fixed, moving)
    assert dict(zip(entropy.fixed.tolist(), entropy.moving.tolist(), strict=True)) == {0: 1, 2: 2}
    both = mutual_matches(Variant(True, True), head, fixed, moving)
    assert both.fixed.tolist() == both.moving.tolist() == [2]
    assert ((both.score > 0) & (both.score <= 1)).all()


def test_matching_in_blocks_changes_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    fixed, moving = torch.rand(50, 8, generator=generator), torch.rand(40, 8, generator=generator)
    head = torch.nn.Linear(8, 2)
    whole = mutual_matches(Variant(True, True), head, fixed, moving)
    monkeypatch.setattr("LandmarkFusionLogic.deformable.dcnn.matching.BLOCK", 7)
    blocks = mutual_matches(Variant(True, True), head, fixed, moving)
    for one, other in zip(whole, blocks, strict=True):
        torch.testing.assert_close(one, other)


def test_no_points_make_no_matches():
    assert len(mutual_matches(Variant(True, False), None, torch.zeros(0, 4), torch.rand(3, 4)).fixed) == 0


def test_true_matches_are_mutual_and_near():
    fixed = torch.tensor([[0.0, 0, 0], [3.0, 0, 0], [50.0, 0, 0]])
    moving = torch.tensor([[2.0, 0, 0], [55.0, 0, 0], [3.1, 0, 0]])
    # The first fixed point's nearest is taken by a nearer one; the third's is too far.
    assert true_matches(fixed, moving).nonzero().tolist() == [[1, 2]]


def test_eq_3():
    logits = torch.tensor([0.0, 2.0])
    p = logits.sigmoid()
    expected = ((1 - p[0]) - p[0].log() + (1 - p[1]) - (1 - p[1]).log()) / 2
    torch.testing.assert_close(landmark_loss(logits, torch.tensor([True, False])), expected)


def test_eq_5_averages_both_classes_apart_and_spares_what_is_within_the_margins():
    distances = torch.tensor([[0.1, 1.2], [0.4, 0.3]])
    matches = torch.tensor([[True, False], [False, True]])
    torch.testing.assert_close(hinge_loss(distances, matches, 0.0), torch.tensor(0.2 + 0.3))
    torch.testing.assert_close(hinge_loss(distances, matches, 0.2), torch.tensor(0.05 + 0.3))


def test_eq_6_weights_each_class_by_the_others_frequency():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    matches = torch.zeros(5, 7, dtype=torch.bool)
    matches[2, 3] = matches[4, 1] = True
    weight = torch.where(matches, 33 / 35, 2 / 35)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, matches.float(), reduction="none")
    torch.testing.assert_close(cross_entropy_loss(logits, matches), (weight * entropy).sum() / weight.sum())


def test_losses_stand_patches_without_a_match():
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    assert torch.isfinite(hinge_loss(torch.rand(3, 4), nothing, 0.0))
    assert torch.isfinite(cross_entropy_loss(torch.randn(3, 4), nothing))
    assert background_loss(torch.randn(2, 2, 2), torch.ones(2, 2, 2, dtype=torch.bool)) == 0


@pytest.mark.parametrize("name", VARIANTS)
def test_the_loss_of_each_variant_has_the_parts_of_its_name(name):
    variant = variant_named(name)
    found = torch.rand(6, 8, requires_grad=True), torch.rand(5, 8, requires_grad=True)
    matches = torch.zeros(6, 5, dtype=torch.bool)
    matches[0, 0] = True
    head = torch.nn.Linear(8, 2) if variant.cross_entropy else None
    loss = match_loss(variant, head, (torch.zeros(6, requires_grad=True), torch.zeros(5)), found, matches)
    assert (loss.hinge > 0) == ("hinge" in name)
    assert (loss.cross_entropy > 0) == name.endswith("ce")
    assert loss.total.item() == pytest.approx(loss.landmarks + loss.hinge + loss.cross_entropy, rel=1e-5)


def test_an_unknown_variant_is_told():
    with pytest.raises(InputError, match=r"no variant “triplet”.*hinge0\.1-ce"):
        variant_named("triplet")
