"""The job that aligns CT and X-ray, or estimates the pose: progress, cancel, its result in the scene."""

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from LandmarkFusionLib import projectionasking, projectiongeometry, projectionoutcome
from LandmarkFusionLib.engine import CANCELLED
from LandmarkFusionLib.handover import Handover
from LandmarkFusionLib.projectionparameters import POSE, ProjectionMethod
from LandmarkFusionLib.projectionviews import SIMILARITY
from LandmarkFusionLib.status import DONE, ERROR, INFO
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs import AlignResult, from_json
from LandmarkFusionLogic.mrml import projectionplane, projectionresult, volumes

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller
    from LandmarkFusionLib.projection import Projection

GOOD_POSE = "pose.json"
"""Holds the best pose so far while the job runs."""


class ProjectionAlignment:
    """One job at a time; the scene changes once it has succeeded, in one step."""

    def __init__(self, owner: "Projection", controller: "Controller"):
        self.good: list[float] | None = None
        """The best pose that the running job has found so far."""
        self._owner = owner
        self._controller = controller
        self._run: Handover | None = None
        self._method = ProjectionMethod.OURS
        self._estimating = False
        self._stamps: Any = None

    def isBusy(self) -> bool:
        """Whether the job is under way."""
        return self._run is not None

    @property
    def fraction(self) -> float:
        """How far it is, 0..1."""
        return self._run.fraction if self._run is not None else 0.0

    @property
    def text(self) -> str:
        """What it is at, and about how long it still takes."""
        if self._run is None:
            return ""
        left = self._run.secondsLeft()
        if left is None:
            return self._run.text
        return _("{text}, about {seconds:.0f} s left").format(text=self._run.text, seconds=max(left, 1.0))

    def start(self, method: ProjectionMethod, estimating: bool) -> None:
        """Begin; ``estimating``: the pose that is found goes to the sliders, and no result into the scene."""
        own = self._owner
        with own.sayingErrors():
            if self._controller.isBusy():
                return
            missing = own.missing()
            if missing:
                raise InputError(missing)
            projectionasking.ensure(method)
            request, inputs = projectionasking.alignment(own, method)
            self._method, self._estimating, self.good = method, estimating, None
            self._stamps = self._stamp()
            self._run = Handover(
                self._controller.engine, "align", request, inputs, self._onProgress, self._onAligned, self._onFailure
            )
            own.views.startPlot()
            own.say(INFO, self._run.text)
            self._run.start()

    def cancel(self) -> None:
        """End it, whatever it is at; the best pose so far is kept."""
        if self._run is not None:
            self._readGood()
            self._run.cancel()

    def stop(self) -> None:
        """End it without telling anybody."""
        if self._run is not None:
            self._run.stop()
            self._run = None
        self.good = None

    def _stamp(self) -> Any:
        nodes = (self._owner.node(name) for name in ("Ct", "Xray", "Xray2"))
        return [(node, volumes.stamp(node)) for node in nodes if node is not None]

    def _onProgress(self) -> None:
        if self._run is not None:
            self._owner.views.followPlot(os.path.join(self._run.out(), SIMILARITY))
            if self._readGood():
                self._owner.wantDrr()
        self._controller.tell()

    def _readGood(self) -> bool:
        """Look for a better pose in the folder of the job; returns whether there is one."""
        try:
            with open(os.path.join(self._run.out(), GOOD_POSE), encoding="utf-8") as stream:
                pose = [float(value) for value in json.load(stream)["pose"]]
        except (OSError, ValueError, KeyError, TypeError):
            return False  # Not there yet, or the job has ended.
        if len(pose) != len(POSE) or pose == self.good or not np.all(np.isfinite(pose)):
            return False
        self.good = pose
        return True

    def _onFailure(self, kind: str, message: str) -> None:
        self._run = None
        good, self.good = self.good, None
        better = good is not None and self._controller.parameters is not None
        if kind == CANCELLED and better and not np.allclose(good, self._owner.pose(), atol=1e-4):
            self._owner.setPose(good)
            message = _("Cancelled; the best pose so far is kept. Undo takes it back.")
        if self._controller.parameters is not None:
            self._controller.refresh()  # The live DRR goes back to the sliders' pose.
        self._owner.say(INFO if kind == CANCELLED else ERROR, message)

    def _onAligned(self, data: dict[str, Any]) -> None:
        run, self._run = self._run, None
        self.good = None
        own = self._owner
        own.views.followPlot(os.path.join(run.out(), SIMILARITY))
        with own.sayingErrors():
            result = from_json(AlignResult, data)
            if self._stamp() != self._stamps:
                raise InputError(
                    _("CT or X-ray was changed, removed or chosen anew while the job ran; start it again.")
                )
            if self._estimating:
                own.setPose(result.pose)
                text = _("Pose estimated in {seconds:.1f} s; similarity {before:.3f} before, {after:.3f} after.")
                more = list(result.warnings)
            else:
                own.take(self._show(result), result.pose)
                text = _("Aligned in {seconds:.1f} s; similarity {before:.3f} before, {after:.3f} after.")
                more = [_("Read the warnings in the panel.")] if own.warnings() else []
            text = text.format(seconds=result.seconds, before=result.similarity_before, after=result.similarity_after)
            self._controller.refresh()
            own.say(DONE, " ".join([text, *more]))

    def _show(self, result: AlignResult) -> Any:
        """Put the result into the scene; returns the transform node."""
        own = self._owner
        image = projectionresult.read_drr(result.drr)
        ct, xray = own.node("Ct"), own.node("Xray")
        geometry = projectiongeometry.read(own.parameters).resized(*image.shape)
        return projectionresult.show(
            ct,
            xray,
            np.array(result.ct_to_camera, dtype=np.float64),
            result.pose,
            image,
            projectionplane.plane(xray, geometry),
            projectionoutcome.note(result, own.pose(), self._method.label().partition(":")[0]),
            own.result(),
        )
