"""Undo for landmarks, since undo is switched off in Slicer."""

from typing import Any

from LandmarkFusionLogic.mrml import landmarks

STEPS = 50


class History:
    """What the landmark lists were before each step."""

    def __init__(self):
        self._steps: list[list[tuple[Any, list[dict[str, Any]]]]] = []

    def remember(self, *nodes: Any) -> None:
        """Keep the lists as they are now; None among them is passed over."""
        self._steps.append([(node, landmarks.snapshot(node)) for node in nodes if node is not None])
        del self._steps[:-STEPS]

    def canUndo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._steps)

    def undo(self) -> None:
        """Bring the lists back to what they were before the last step; a list that was deleted stays deleted."""
        for node, points in self._steps.pop():
            if node.GetScene() is not None:
                landmarks.restore(node, points)

    def clear(self) -> None:
        """Forget every step."""
        self._steps.clear()
