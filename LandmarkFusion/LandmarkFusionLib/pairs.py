"""The pairs of landmarks that guide the deformable registration: filtered by confidence, followed when edited."""

from typing import TYPE_CHECKING, Any

import qt
from slicer.util import VTKObservationMixin

from LandmarkFusionLogic.jobs.matching import PointPair
from LandmarkFusionLogic.mrml import correspondences

if TYPE_CHECKING:
    from LandmarkFusionLib.deformable import Deformable

_POINT_EVENTS = ("PointModifiedEvent", "TransformModifiedEvent")


class Pairs(VTKObservationMixin):
    """Keeps both lists and their lines in line with each other while the user deletes and moves points."""

    def __init__(self, owner: "Deformable"):
        VTKObservationMixin.__init__(self)
        self.lists: tuple[Any, Any] | None = None
        """The list in the fixed and the one in the moving volume, or None where there are none."""
        self._owner = owner
        self._least = -1.0
        self._shown = 0
        self._removed = False
        self._busy = False
        # Many points may change in one go: the lines follow once, when they are done.
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._follow)

    def watch(self, lists: tuple[Any, Any] | None, least: float) -> None:
        """Follow these lists; pairs below the confidence ``least`` are hidden."""
        changed = lists != self.lists
        if changed:
            self.stop()
            self.lists = lists
            for node in lists or ():
                for event in _POINT_EVENTS:
                    self.addObserver(node, getattr(node, event), self._onPoints)
                self.addObserver(node, node.PointRemovedEvent, self._onRemoved)
        if lists is not None and (changed or least != self._least):
            self._least = least
            self._draw()

    def stop(self) -> None:
        """Let go of the lists."""
        self._later.stop()
        self.removeObservers()
        self.lists, self._least, self._removed = None, -1.0, False

    def used(self, fixed: Any, moving: Any) -> list[PointPair]:
        """The pairs that are to guide: those that are shown."""
        if self.lists is None:
            return []
        return correspondences.read(self.lists[0], fixed, self.lists[1], moving, self._least)

    def count(self) -> int:
        """How many pairs there are, hidden ones included."""
        return self.lists[0].GetNumberOfControlPoints() if self.lists is not None else 0

    def shown(self) -> int:
        """How many pairs are shown."""
        return self._shown if self.lists is not None else 0

    def _draw(self) -> None:
        self._busy = True
        try:
            correspondences.filter_shown(*self.lists, self._least)
            correspondences.draw_lines(*self.lists, self._least)
            self._shown = correspondences.count_shown(self.lists[0])
        finally:
            self._busy = False

    def _onPoints(self, caller: Any, event: Any) -> None:
        if not self._busy:
            self._later.start(0)

    def _onRemoved(self, caller: Any, event: Any) -> None:
        if not self._busy:
            self._removed = True
            self._later.start(0)

    def _follow(self) -> None:
        if self.lists is None or any(node.GetScene() is None for node in self.lists):
            return
        self._busy = True
        try:
            if self._removed:
                correspondences.prune(*self.lists)
        finally:
            self._busy = self._removed = False
        self._draw()
        self._owner.tell()
