"""Whether a refinement is to be used: what it changed, compared before and after, and what speaks against it.

Where anything does, the rigid alignment stays the one to be used. Gland masks that a person drew are believed unless
the images contradict; those of a network only where the images agree, since what its border is off by is as large as
what a refinement mends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRAWN_LIMIT = 0.05
"""The images may be less alike by this share where the masks were drawn."""
NETWORK_GAIN = 0.02
"""They must be more alike by this share where they were not, or where there are none."""
FARTHEST_MM = 12.0
"""More than this is no refinement: the start was wrong, or a mask is."""
JACOBIAN_RANGE = (0.5, 2.0)
VOLUME_RATIO = 1.6
"""Masks of one gland that differ by more do not show the same thing."""
LANDMARK_MM = 2.0
"""The landmarks may come apart by this in the mean."""


@dataclass(frozen=True)
class Comparison:
    """Figures before and after; NaN where there is nothing to measure them by.

    ``difference_*``: mean squared difference of the MIND descriptors in and around the gland. ``border_*``: mean
    distance of the glands' borders, mm. ``landmark_*``: mean distance of the landmarks that guided, mm.
    ``moved_mm``: mean and ``farthest_mm``: greatest distance that the refinement moves the gland by beyond the start.
    ``bent_mm``: mean of that part that is no rigid motion. ``jacobian_min`` and ``jacobian_max`` in the gland, and
    ``folded`` the share of it that folds. ``volume_ratio`` of the glands, the larger over the smaller.
    """

    difference_before: float
    difference_after: float
    border_before: float = float("nan")
    border_after: float = float("nan")
    landmark_before: float = float("nan")
    landmark_after: float = float("nan")
    moved_mm: float = 0.0
    farthest_mm: float = 0.0
    bent_mm: float = 0.0
    jacobian_min: float = 1.0
    jacobian_max: float = 1.0
    folded: float = 0.0
    volume_ratio: float = float("nan")

    @property
    def change(self) -> float:
        """By which share the images differ more than before; negative is better."""
        return self.difference_after / self.difference_before - 1


def doubts(found: Comparison, drawn: bool) -> list[str]:
    """What speaks against using the refinement, each as a sentence; ``drawn``: a person drew both glands."""
    told = []
    limit = DRAWN_LIMIT if drawn else -NETWORK_GAIN
    if not np.isfinite(found.change):
        told.append("the images show too little of the gland in common to judge it by")
    elif found.change > limit:
        told.append(
            f"the images are not more alike than before (MIND difference {found.change:+.1%})"
            if not drawn
            else f"the images contradict the masks (MIND difference {found.change:+.1%})"
        )
    if found.border_after > found.border_before:
        told.append(f"the glands' borders come apart ({found.border_before:.1f} → {found.border_after:.1f} mm)")
    if found.landmark_after > found.landmark_before + LANDMARK_MM:
        told.append(
            f"the landmarks come apart ({found.landmark_before:.1f} → {found.landmark_after:.1f} mm): "
            "they and the masks disagree, look at both"
        )
    if found.farthest_mm > FARTHEST_MM:
        told.append(
            f"it moves the gland by up to {found.farthest_mm:.0f} mm: correct the landmarks or the masks first"
        )
    if found.folded > 0:
        told.append(f"it folds in {found.folded:.1%} of the gland")
    elif not JACOBIAN_RANGE[0] <= found.jacobian_min <= found.jacobian_max <= JACOBIAN_RANGE[1]:
        told.append(
            f"it presses or stretches tissue too much (Jacobian {found.jacobian_min:.2f} to {found.jacobian_max:.2f})"
        )
    if found.volume_ratio > VOLUME_RATIO:
        told.append(f"the gland masks differ in volume by a factor of {found.volume_ratio:.1f}")
    return told
