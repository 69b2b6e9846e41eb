"""How well a network in training finds the landmarks of examples, beside the mean position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from LandmarkFusionLogic.landmarks.network import LandmarkNetwork, dsnt
from LandmarkFusionLogic.landmarks.trainingdata import Example, mean_position_errors, radial_errors
from LandmarkFusionLogic.points import LANDMARK_NAMES


@dataclass(frozen=True)
class Scores:
    """Errors in mm per landmark, of the network and of always answering the mean position; the gland's mean Dice."""

    errors: npt.NDArray[np.float64]
    baseline: npt.NDArray[np.float64]
    dice: float

    def text(self) -> str:
        """One line for a log: mean/median against the mean position's mean, per landmark."""
        parts = []
        for row, name in enumerate(LANDMARK_NAMES):
            known = self.errors[:, row][np.isfinite(self.errors[:, row])]
            base = self.baseline[:, row][np.isfinite(self.baseline[:, row])]
            if known.size and base.size:
                parts.append(f"{name} {known.mean():.1f}/{np.median(known):.1f} (mean pos. {base.mean():.1f})")
        return "; ".join(parts) + f"; MRE {self.mre:.2f} vs {self.baseline_mre:.2f}; Dice {self.dice:.2f}"

    @property
    def mre(self) -> float:
        """Mean radial error over all known landmarks, mm."""
        return float(np.nanmean(self.errors))

    @property
    def baseline_mre(self) -> float:
        """The same for the mean position."""
        return float(np.nanmean(self.baseline))


def evaluate(network: LandmarkNetwork, examples: Sequence[Example], spacing_mm: float) -> Scores:
    """How well ``network`` does on ``examples``."""
    device = next(network.parameters()).device
    network.eval()
    predicted, dice = [], []
    with torch.inference_mode():
        for example in examples:
            output = network(torch.from_numpy(example.image).to(device)[None, None])
            predicted.append(dsnt(output.heatmaps)[0].cpu().numpy())
            mask = output.gland_logits[0, 0].cpu().numpy() > 0
            true = example.gland > 0.5
            dice.append(2 * float((mask & true).sum()) / max(int(mask.sum() + true.sum()), 1))
    errors = radial_errors(np.stack(predicted), examples, spacing_mm)
    return Scores(errors, mean_position_errors(examples, spacing_mm), float(np.mean(dice)))
