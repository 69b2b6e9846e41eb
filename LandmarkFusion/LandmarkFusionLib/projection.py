"""CT and X-ray: what is chosen, the initial pose, the live DRR, undo."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _
from slicer.util import NodeModify

from LandmarkFusionLib import projectionasking, projectiongeometry, projectionoutcome
from LandmarkFusionLib.projectionalignment import ProjectionAlignment
from LandmarkFusionLib.projectionlive import LiveDrr
from LandmarkFusionLib.projectionloading import ProjectionLoading
from LandmarkFusionLib.projectionparameters import DEGREES, DEPTH, MILLIMETERS, POSE, ProjectionMethod
from LandmarkFusionLib.projectionviews import ProjectionViews
from LandmarkFusionLib.status import DONE, ERROR, INFO
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import deforminputs, projectionplane, projectionresult, views
from LandmarkFusionLogic.projection.geometry import Geometry

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller
    from LandmarkFusionLib.parameters import Parameters

_LIMITS = (DEGREES, DEGREES, DEGREES, MILLIMETERS, MILLIMETERS, DEPTH)


class Projection:
    """One job at a time, estimating the pose or aligning; the scene changes once it has succeeded, in one step."""

    def __init__(self, controller: "Controller"):
        self.problem = ""
        """Why there is no live DRR, one sentence, or ""."""
        self.said = (INFO, "")
        """Kind and text of what was said last of CT and X-ray."""
        self._controller = controller
        self._formerPoses: list[list[float]] = []
        self._pair: tuple[Any, Any] | None = None
        self.live = LiveDrr(self._onDrr, self._onNoDrr)
        self.views = ProjectionViews(self)
        self.loading = ProjectionLoading(self, controller)
        self.alignment = ProjectionAlignment(self, controller)

    def say(self, kind: str, text: str) -> None:
        """Say one sentence: in the section itself, and in the panel's status line."""
        self.said = kind, text
        self._controller.say(kind, text)

    @contextlib.contextmanager
    def sayingErrors(self) -> Iterator[None]:
        """Show the sentence of an InputError instead of raising it."""
        try:
            yield
        except InputError as error:
            self.say(ERROR, str(error))

    # Choices

    @property
    def parameters(self) -> "Parameters":
        """What is chosen; ask only while there is a scene."""
        return self._controller.parameters

    def node(self, name: str) -> Any:
        """What is chosen, by the parameter's name after ``projection``, or None."""
        node = getattr(self.parameters, f"projection{name}") if self.parameters is not None else None
        return node if node is not None and node.GetScene() is not None else None

    def pose(self) -> list[float]:
        """The pose of the sliders, degrees and mm."""
        return projectionasking.poseOf(self.parameters)

    def setPose(self, pose: list[float], remember: bool = True) -> None:
        """Set the sliders; the pose that there was can be taken back."""
        if remember:
            self._formerPoses.append(self.pose())
        values = list(pose)
        values[:3] = [(value + 180.0) % 360.0 - 180.0 for value in values[:3]]
        with NodeModify(self.parameters.parameterNode):
            for name, value, limit in zip(POSE, values, _LIMITS, strict=True):
                setattr(self.parameters.projection, name, float(np.clip(value, -limit, limit)))

    def missing(self) -> str:
        """What is missing before CT and X-ray can be aligned, or ""."""
        if self.parameters is None or self.node("Ct") is None:
            return _("Choose the CT first.")
        second = self.node("Xray2")
        try:
            return (
                deforminputs.parent_problem(self.node("Ct"), "CT")
                or projectionplane.xray_problem(self.node("Xray"))
                or projectiongeometry.problem(self.parameters, self.node("Xray"))
                or (projectionplane.xray_problem(second, "second X-ray") if second is not None else "")
            )
        except InputError as error:
            return str(error)

    def missingPoints(self) -> str:
        """What is missing before points can be matched, or ""."""
        lists = self.node("CtPoints"), self.node("XrayPoints")
        return self.missing() or (_("Choose your point lists in the CT and in the X-ray.") if None in lists else "")

    def result(self) -> Any:
        """The transform node of the last alignment of the chosen pair, or None."""
        return projectionresult.find(self.node("Ct"), self.node("Xray"))

    def noted(self) -> dict[str, Any]:
        """What is known of the result that is there, or {}."""
        return projectionresult.noted(self.result())

    def warnings(self) -> list[str]:
        """What to be careful about in the result that is there."""
        return projectionoutcome.warnings(self.noted())

    def undoable(self) -> str:
        """What `undo` would take back, or ""."""
        if self._formerPoses:
            return _("Back to the pose that there was before.")
        if self.result() is not None:
            return _("Take back the alignment: its transform and its DRR go, the pose is what it was.")
        return ""

    def takePreset(self, name: str) -> None:
        """Fill in the geometry of a known C-arm."""
        with self.sayingErrors():
            projectiongeometry.takePreset(self.parameters, name, self.node("Xray"))

    def toggleViews(self) -> None:
        """Show X-ray, DRR and both side by side, or bring back the layout that there was."""
        with self.sayingErrors():
            wanted = not self.parameters.projection.shown
            if wanted and self.node("Ct") is not None:
                projectionasking.ensure()
            self.parameters.projection.shown = wanted

    # Initial pose

    def resetPose(self) -> None:
        """The patient straight in front of the C-arm, or as its angles say."""
        with self.sayingErrors():
            self.setPose(projectionasking.nominalPose(self.parameters))

    def matchPoints(self) -> None:
        """Set the pose by points of equal names in CT and X-ray."""
        with self.sayingErrors():
            missing = self.missingPoints()
            if missing:
                raise InputError(missing)
            pose, count, left = projectionasking.poseOfPoints(self)
            self.setPose(pose)
            text = _("Pose from {count} pairs of points; {left:.1f} mm are left between them on the detector.")
            self.say(DONE, text.format(count=count, left=left))

    def estimate(self) -> None:
        """Have a network estimate the pose (RTPI) in the worker."""
        self.alignment.start(ProjectionMethod.RTPI, True)

    def align(self) -> None:
        """Align CT and X-ray in the worker, beginning with the pose of the sliders."""
        self.alignment.start(self.parameters.projection.method, False)

    # The jobs

    def isBusy(self) -> bool:
        """Whether a job is under way; live DRRs do not count."""
        return self.alignment.isBusy() or self.loading.isBusy()

    @property
    def fraction(self) -> float:
        """How far the job is, 0..1."""
        return self.alignment.fraction if self.alignment.isBusy() else self.loading.fraction

    @property
    def text(self) -> str:
        """What the job is at, and about how long it still takes."""
        return self.alignment.text if self.alignment.isBusy() else self.loading.text

    def cancel(self) -> None:
        """End the job, whatever it is at; the best pose so far is kept."""
        (self.alignment if self.alignment.isBusy() else self.loading).cancel()

    def stop(self) -> None:
        """End everything without telling anybody, and let go of the scene."""
        self.alignment.stop()
        self.loading.stop()
        self.live.forget()
        self.views.forget()
        self._formerPoses.clear()
        self._pair = None
        self.problem, self.said = "", (INFO, "")

    def quit(self) -> None:
        """The panel is closed: the worker of the live DRRs ends."""
        self.live.stop()

    def take(self, node: Any, pose: list[float]) -> None:
        """A new result is in the scene: choose it, and set the sliders to its pose."""
        with self._controller.quietly():
            self.parameters.projectionResult = node
            self.setPose(pose, remember=False)
        self._formerPoses.clear()

    def undo(self) -> None:
        """Take back the last pose that was set, or the last alignment of the chosen pair."""
        if self.isBusy() or self.parameters is None:
            return
        node = self.result()
        if self._formerPoses:
            self.setPose(self._formerPoses.pop(), remember=False)
            self.say(INFO, _("The pose is what it was before."))
        elif node is not None:
            before = projectionresult.noted(node).get("before") or self.pose()
            former = projectionresult.undo(node)
            self.parameters.projectionResult = former
            self.setPose(before, remember=False)
            self.say(INFO, _("The alignment was taken back."))
        self._controller.refresh()

    # Following the scene

    def tell(self) -> None:
        """Have the panels show what there is now."""
        self._controller.tell()

    def update(self) -> None:
        """Bring geometry, live DRR and views in line with what is chosen."""
        pair = self.node("Ct"), self.node("Xray")
        former, self._pair = self._pair, pair
        # What a scene was saved with is not overridden.
        if former is not None and pair != former:
            self._onChosen(former, pair)
        projectiongeometry.followSize(self.parameters)
        self.views.update()
        self.wantDrr()

    def _onChosen(self, former: tuple[Any, Any], pair: tuple[Any, Any]) -> None:
        """A CT or an X-ray was chosen by the user."""
        self._formerPoses.clear()
        self.said = (INFO, "")
        if pair[0] is not former[0]:
            self.views.removeImages()
            if pair[0] is not None and self._controller.volume("mr") is self._controller.volume("us") is None:
                views.show(slicer.mrmlScene, pair[0], None, 0.0)
        if pair[1] is not None and pair[1] is not former[1]:
            nominal = projectionasking.nominalPose(self.parameters)
            untouched = np.allclose(self.pose(), nominal, atol=1e-6)
            projectiongeometry.takeXray(self.parameters, pair[1])
            if untouched:
                self.setPose(projectionasking.nominalPose(self.parameters), remember=False)
        if None not in pair and not self.missing() and projectionasking.canProject():
            self.parameters.projection.shown = True

    def wantDrr(self) -> None:
        """Ask for the DRR of what is chosen now; while a job runs, of the best pose that it has found."""
        ct = self.node("Ct")
        if ct is None or not self.parameters.projection.shown:
            self.live.forget()
            if ct is None:
                self.views.removeImages()
            self.problem = ""
            return
        try:
            projectionasking.requireProjector()
            geometry = projectiongeometry.forLive(projectiongeometry.read(self.parameters))
            self.live.want(ct, geometry, tuple(self.alignment.good or self.pose()))
        except InputError as error:
            self._onNoDrr(str(error))

    def _onDrr(self, image: np.ndarray, geometry: Geometry) -> None:
        if self.parameters is None or not self.parameters.projection.shown:
            return
        self.views.showDrr(image, geometry)
        if self.problem:
            self.problem = ""
            self._controller.tell()

    def _onNoDrr(self, message: str) -> None:
        if message != self.problem:
            self.problem = message
            self._controller.tell()
