"""The matching heads, the five variants of DCNN-Match, and the match of two sets of descriptors.

Cross entropy (CE): the product of two descriptors goes through a fully connected layer with two outputs and softmax.
That is one weighted scalar product a class, so no tensor of all pairs times all channels is made. Hinge: the distance
of the normalized descriptors, without parameters. A pair matches where each is the other's best in every head that the
variant has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name torch's own documentation uses

from LandmarkFusionLogic.errors import InputError

BLOCK = 4096
"""Descriptors that are compared at a time with all others: bounds the memory."""


@dataclass(frozen=True)
class Variant:
    """Which heads are trained; ``positive_margin`` is m_pos of eq. 5."""

    hinge: bool
    cross_entropy: bool
    positive_margin: float = 0.0


VARIANTS = {
    "hinge": Variant(True, False),
    "ce": Variant(False, True),
    "hinge-ce": Variant(True, True),
    "hinge0.1-ce": Variant(True, True, 0.1),
    "hinge0.2-ce": Variant(True, True, 0.2),
}


def variant_named(name: str) -> Variant:
    """Raises InputError for a name that there is not."""
    if name not in VARIANTS:
        raise InputError(f"There is no variant “{name}” of DCNN-Match; choose from {', '.join(VARIANTS)}.")
    return VARIANTS[name]


def match_logits(head: nn.Linear, fixed: Tensor, moving: Tensor) -> Tensor:
    """(K, M) log odds that descriptors (K, C) and (M, C) match: the softmax of two classes is their sigmoid."""
    weight, bias = head.weight[1] - head.weight[0], head.bias[1] - head.bias[0]
    return torch.addmm(bias, fixed * weight, moving.T)


def match_distances(fixed: Tensor, moving: Tensor) -> Tensor:
    """(K, M) distances (0 to 2) of the descriptors (K, C) and (M, C) once each has length one."""
    cosine = F.normalize(fixed, dim=1) @ F.normalize(moving, dim=1).T
    return (2 - 2 * cosine).clamp_min(1e-6).sqrt()


class Matches(NamedTuple):
    """Pairs of indices ``fixed`` and ``moving`` (N,), and ``score`` (N,) 0..1: how sure the heads are of each."""

    fixed: Tensor
    moving: Tensor
    score: Tensor


def mutual_matches(variant: Variant, head: nn.Linear | None, fixed: Tensor, moving: Tensor) -> Matches:
    """The pairs that every head of ``variant`` finds to be each other's best among (K, C) and (M, C) descriptors."""
    rows = torch.arange(len(fixed), device=fixed.device)
    if len(fixed) == 0 or len(moving) == 0:
        none = rows[:0]
        return Matches(none, none, fixed.new_zeros(0))
    agreed = torch.ones(len(fixed), dtype=torch.bool, device=fixed.device)
    score = fixed.new_ones(len(fixed))
    chosen: Tensor | None = None
    for best, of_column, value in _heads(variant, head, fixed, moving):
        agreed &= of_column[best] == rows
        agreed &= best == chosen if chosen is not None else agreed
        chosen = best
        score = torch.minimum(score, value)
    assert chosen is not None
    return Matches(rows[agreed], chosen[agreed], score[agreed])


def _heads(
    variant: Variant, head: nn.Linear | None, fixed: Tensor, moving: Tensor
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each head: the best column of each row, the best row of each column, and the score of each row's best."""
    found = []
    if variant.cross_entropy and head is not None:
        best, of_column, value = _best(lambda rows: match_logits(head, rows, moving), fixed, len(moving))
        found.append((best, of_column, torch.sigmoid(value)))
    if variant.hinge:
        best, of_column, value = _best(lambda rows: -match_distances(rows, moving), fixed, len(moving))
        found.append((best, of_column, 1 + 0.5 * value))
    return found


def _best(similarity: Callable[[Tensor], Tensor], fixed: Tensor, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    best, values = [], []
    column_value = fixed.new_full((columns,), -torch.inf)
    column_row = torch.zeros(columns, dtype=torch.long, device=fixed.device)
    for start in range(0, len(fixed), BLOCK):
        block = similarity(fixed[start : start + BLOCK])
        value, index = block.max(dim=1)
        best.append(index)
        values.append(value)
        value, index = block.max(dim=0)
        column_row = torch.where(value > column_value, index + start, column_row)
        column_value = torch.maximum(value, column_value)
    return torch.cat(best), column_row, torch.cat(values)
