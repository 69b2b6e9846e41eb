"""Undo for landmarks and for the glands found with them, since undo is switched off in Slicer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import glands, landmarks

STEPS = 50


@dataclass
class Step:
    """What lists and glands were before a step."""

    lists: list[tuple[Any, list[dict[str, Any]], str | None]]
    """Landmark list, its points, and what was noted of its detection."""
    glands: list[tuple[Any, str, Any, Any]]
    """Volume, modality, mask and prediction; both None where there was no gland."""


class History:
    """What the landmark lists were before each step."""

    def __init__(self):
        self._steps: list[Step] = []

    def remember(self, *nodes: Any, volumes: Sequence[tuple[Any, str]] = ()) -> None:
        """Keep the lists as they are now, and the glands of ``volumes`` (node and modality); None is passed over."""
        lists = [
            (node, landmarks.snapshot(node), node.GetAttribute(landmarks.DETECTION))
            for node in nodes
            if node is not None
        ]
        self._steps.append(Step(lists, [_gland(*each) for each in volumes if each[0] is not None]))
        del self._steps[:-STEPS]

    def canUndo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._steps)

    def undo(self) -> None:
        """Bring everything back to what it was before the last step; what was deleted stays deleted."""
        step = self._steps.pop()
        for node, points, noted in step.lists:
            if node.GetScene() is not None:
                landmarks.restore(node, points)
                node.SetAttribute(landmarks.DETECTION, noted)
        for volume, modality, mask, prediction in step.glands:
            if volume.GetScene() is None:
                continue
            if mask is not None:
                glands.write(volume, modality, mask, prediction)
            else:
                glands.remove(volume, modality)

    def clear(self) -> None:
        """Forget every step."""
        self._steps.clear()


def _gland(volume: Any, modality: str) -> tuple[Any, str, Any, Any]:
    node = glands.find(volume, modality)
    prediction = glands.prediction(node)
    if prediction is None:
        return volume, modality, None, None
    try:
        return volume, modality, glands.read(node), prediction
    except InputError:  # Emptied by hand.
        return volume, modality, None, None
