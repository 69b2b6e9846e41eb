"""Targets marked in the MR, carried to the ultrasound with every fit."""

from typing import TYPE_CHECKING, Any

import vtk
from slicer.util import VTKObservationMixin

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import glands, targets
from LandmarkFusionLogic.targets import CarriedTarget, Target, carry_over

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller

_POINT_EVENTS = ("PointModifiedEvent", "PointRemovedEvent", "PointPositionDefinedEvent", "PointPositionUndefinedEvent")


class Targets(VTKObservationMixin):
    """Reads the chosen node when it changes, and moves what it shows whenever the fit does."""

    def __init__(self, controller: "Controller"):
        VTKObservationMixin.__init__(self)
        self.carried: list[CarriedTarget] = []
        self.problem = ""
        self._controller = controller
        self._node: Any = None
        self._volume: Any = None
        self._read: list[Target] | None = None
        self._stamp: Any = None
        self._busy = False

    def update(self) -> None:
        """Bring the list in the ultrasound in line with targets and fit."""
        if self._busy:
            return
        self._busy = True
        try:
            self._update()
        finally:
            self._busy = False

    def found(self) -> list[Target]:
        """The targets of the MR, as they were read last."""
        return self._read or []

    def stop(self) -> None:
        """Let go of the scene."""
        self.removeObservers()
        self._node = self._volume = self._read = None
        self.carried, self.problem = [], ""

    def _update(self) -> None:
        controller = self._controller
        node, mr, fit = controller.targetsNode(), controller.volume("mr"), controller.live.fit
        if (node, mr) != (self._node, self._volume):
            self._watch(node, mr)
        if node is not None and mr is not None:
            try:
                targets.check(node, mr)
                targets.place(node, mr.GetParentTransformNode())
                self._readNode(node, mr)
                self.problem = ""
            except InputError as error:
                self._read, self.problem = None, str(error)
        self.carried = carry_over(self._read, fit) if self._read and fit is not None else []
        self._show()

    def _watch(self, node: Any, volume: Any) -> None:
        self.stop()
        self._node, self._volume = node, volume
        if node is not None:
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onChange)
            for event in _POINT_EVENTS if node.IsA(targets.POINTS) else ():
                self.addObserver(node, getattr(node, event), self._onChange)

    def _readNode(self, node: Any, volume: Any) -> None:
        """Read the node, unless it is as it was."""
        if node.IsA(targets.SEGMENTATION):
            stamp = node.GetName(), glands.stamp(node)
        elif node.IsA(targets.MODEL):
            stamp = node.GetName(), node.GetPolyData().GetMTime() if node.GetPolyData() is not None else 0
        else:
            stamp = None  # Points are read at once.
        if self._read is None or stamp is None or stamp != self._stamp:
            self._read, self._stamp = targets.read(node, volume), stamp

    def _show(self) -> None:
        controller = self._controller
        node, us = controller.targetsInUs(), controller.volume("us")
        if node is None and self.carried and us is not None:
            node = targets.create(us)
            controller.setNode("targetsInUs", node)
        if node is not None:  # Where nothing is carried, nothing old may stay in the ultrasound.
            targets.write(node, self.carried)

    def _onChange(self, caller: Any, event: Any) -> None:
        if not self._busy and self._controller.parameters is not None:
            self.update()
            self._controller.tell()
