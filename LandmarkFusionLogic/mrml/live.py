"""Keeps a transform node equal to the rigid fit of two landmark lists while their points are moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from LandmarkFusionLogic import orientation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import landmarks, transforms
from LandmarkFusionLogic.rigid.fit import FloatArray, apply, invert
from LandmarkFusionLogic.rigid.landmarks import LandmarkFit, Pair, fit_landmarks

Node = Any

_POINT_EVENTS = (
    "PointModifiedEvent",
    "PointAddedEvent",
    "PointRemovedEvent",
    "PointPositionDefinedEvent",
    "PointPositionUndefinedEvent",
    "LockModifiedEvent",
)


class LiveFit:
    """Observes the landmark lists of a pair; on every change fits, sets the transform and tells ``changed``.

    All of it happens inside the event that moved the point. While there are fewer than three pairs the transform stays
    as it was last fitted and `problem` says what is missing.
    """

    def __init__(self, changed: Callable[[], None], before_drag: Callable[[], None] | None = None) -> None:
        self.fit: LandmarkFit | None = None
        self.problem = ""
        self.method = "best"
        """How to fit, and pairs beside the landmarks that take part: as `fit_landmarks` wants them."""
        self.extra: Sequence[Pair] = ()
        self._changed = changed
        self._before_drag = before_drag or (lambda: None)
        self._observations: list[tuple[Node, int]] = []
        self._mr = self._us = self._transform = None
        self._paused = 0
        self._late = False
        self._grab: _Grab | None = None

    def watch(self, mr: Node, us: Node, transform: Node) -> None:
        """Observe these lists from now on and keep ``transform`` equal to their fit; any of them may be None."""
        if (mr, us, transform) != (self._mr, self._us, self._transform):
            self.stop()
            self._mr, self._us, self._transform = mr, us, transform
            for node in (mr, us):
                if node is not None:
                    self._observe(node)
        self.update()

    def stop(self) -> None:
        """Observe nothing any more."""
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations.clear()
        self._mr = self._us = self._transform = None
        self._grab = None
        self.fit, self.problem = None, ""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Many changes as one: fit once, at the end of the block."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1
            if not self._paused and self._late:
                self.update()

    def update(self) -> None:
        """Fit now, set the transform, tell."""
        self._late = False
        mr, us = landmarks.read(self._mr), landmarks.read(self._us)
        try:
            self.fit, self.problem = fit_landmarks(mr, us, self.method, self.extra), ""
        except InputError as error:
            self.fit, self.problem = None, str(error)
        if self.fit is not None and self._transform is not None:
            transforms.set_matrix(self._transform, self.fit.mr_to_us)
        self._changed()

    def warnings(self) -> list[str]:
        """What the user should be careful about: of the fit, and of where the landmarks lie in each image."""
        found = list(self.fit.warnings) if self.fit is not None else []
        for node, image in ((self._mr, "MR"), (self._us, "US")):
            with suppress(InputError):  # Two points of one name, which `problem` says.
                found += orientation.implausible(landmarks.read(node), image)
        return found

    def _observe(self, node: Node) -> None:
        for event in _POINT_EVENTS:
            self._observations.append((node, node.AddObserver(getattr(node, event), self._on_points)))
        self._observations += [
            (node, node.AddObserver(node.PointRemovedEvent, lambda node, event: landmarks.forget_removed(node))),
            (node, node.AddObserver(node.PointStartInteractionEvent, self._on_grab)),
            (node, node.AddObserver(node.PointEndInteractionEvent, self._on_release)),
        ]

    def _on_points(self, node: Node, event: str) -> None:
        if self._paused:
            self._late = True
            return
        with self.paused():
            self._late = True
            self._hold(node)

    def _on_grab(self, node: Node, event: str) -> None:
        self._before_drag()
        if node is self._mr and self._transform is not None and node.GetParentTransformNode() is self._transform:
            self._grab = _Grab(transforms.matrix(self._transform), _positions(node))

    def _on_release(self, node: Node, event: str) -> None:
        self._grab = None

    def _hold(self, node: Node) -> None:
        """Keep a dragged MR point where the mouse is on the MR as it lay when the drag began.

        A point under the transform is put under the mouse through the transform as it is now; but the transform
        follows the point, the point would be put on again, and both would run away from the mouse.
        """
        if self._grab is None or node is not self._mr:
            return
        now, positions = transforms.matrix(self._transform), _positions(node)
        if len(positions) == len(self._grab.positions):
            for index in np.flatnonzero(np.any(positions != self._grab.positions, axis=1)):
                held = apply(invert(self._grab.mr_to_us), apply(now, positions[index]))
                node.SetNthControlPointPosition(int(index), *held)
        self._grab.positions = _positions(node)


@dataclass
class _Grab:
    """The transform when a drag began, and where the points of the list (N, 3) were after its last step."""

    mr_to_us: FloatArray
    positions: FloatArray


def _positions(node: Node) -> FloatArray:
    count = node.GetNumberOfControlPoints()
    return np.array([node.GetNthControlPointPosition(index) for index in range(count)]).reshape(count, 3)
