"""Where corresponding points come from: the classical detector, or a network; wrong ones removed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from LandmarkFusionLogic.deformable.consistency import remove_wrong
from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume

Report = Callable[[float, str], None]

CLASSICAL = "mind"
"""The name of the method that needs no network; every other one is a network's."""
FEW = 50
"""Fewer pairs than this are worth a warning, as is the removal of more than a third of them."""


class Matched(NamedTuple):
    """The pairs that agree with their neighbors, how many did not, and what to tell the user."""

    pairs: Correspondences
    removed: int
    warnings: list[str]


def match_volumes(
    method: str,
    fixed: Volume,
    moving: Volume,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    initial: FloatArray | None = None,
    region: Sequence[float] | None = None,
    report: Report | None = None,
    device: str = "cpu",
) -> Matched:
    """Find pairs by ``method`` (mind, or a network's name or folder) and remove those that contradict their neighbors.

    The other arguments are those of `classical.find`; ``device`` is torch's name of where a network runs.
    Raises InputError as `classical.find` does, for a network that cannot be used, and where no two pairs agree.
    """
    found = find_pairs(method, fixed, moving, fixed_mask, moving_mask, initial, region, report, device)
    pairs = remove_wrong(found)
    if len(pairs) == 0:
        raise InputError(
            "The points that were found contradict each other; align the volumes first (give an initial transform)."
        )
    removed = len(found) - len(pairs)
    return Matched(pairs, removed, _doubts(len(pairs), removed))


def find_pairs(
    method: str,
    fixed: Volume,
    moving: Volume,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    initial: FloatArray | None = None,
    region: Sequence[float] | None = None,
    report: Report | None = None,
    device: str = "cpu",
) -> Correspondences:
    """As `match_volumes`, with wrong pairs left in."""
    if method == CLASSICAL:
        from LandmarkFusionLogic.deformable import classical

        return classical.find(fixed, moving, fixed_mask, moving_mask, initial, region, report)
    from LandmarkFusionLogic.deformable.dcnn import inference

    return inference.find(fixed, moving, fixed_mask, moving_mask, initial, region, report, model=method, device=device)


def _doubts(kept: int, removed: int) -> list[str]:
    told = []
    if kept < FEW:
        told.append(f"Only {kept} corresponding points were found; look at them before you rely on them.")
    if removed > (kept + removed) / 3:
        told.append(
            f"{removed} of {kept + removed} corresponding points contradicted their neighbors and were removed; the "
            "volumes may be far from aligned, or show different anatomy."
        )
    return told
