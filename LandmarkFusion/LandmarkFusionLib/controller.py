"""What the panel does: choices become nodes, and what happens to the nodes is told to the panels."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import NodeModify, VTKObservationMixin

from LandmarkFusionLib import checks, export, findings, packages
from LandmarkFusionLib.deformable import Deformable
from LandmarkFusionLib.detection import NAMES, Detection, Found, Hint
from LandmarkFusionLib.editing import Editing
from LandmarkFusionLib.engine import Engine
from LandmarkFusionLib.following import Following
from LandmarkFusionLib.hints import Hints
from LandmarkFusionLib.learning import Learning
from LandmarkFusionLib.networks import Networks
from LandmarkFusionLib.overlays import Overlays
from LandmarkFusionLib.parameters import Parameters
from LandmarkFusionLib.projection import Projection
from LandmarkFusionLib.status import DONE, ERROR, INFO
from LandmarkFusionLib.targets import Targets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import glands, landmarks, transforms, views, volumes
from LandmarkFusionLogic.mrml.live import LiveFit
from LandmarkFusionLogic.points import LANDMARK_NAMES


class Controller(VTKObservationMixin):
    """The one place that changes the scene for the panel; its listeners are called after every change."""

    def __init__(self, engine: Engine | None = None):
        VTKObservationMixin.__init__(self)
        self.engine = engine or Engine()
        self.editing = Editing(self)
        self.hints = Hints(self)
        self.overlays = Overlays(self)
        self.targets = Targets(self)
        self.learning = Learning(self)
        self.deformable = Deformable(self)
        self.projection = Projection(self)
        self.networks = Networks(self)
        self.following = Following(self)
        self.live = LiveFit(self.following.onFit, self.editing.remember)
        self.detection = Detection(self.engine, self.tell, self._onFound, self._onFailed, self._onCancelled)
        self.status: tuple[str, str] = (INFO, "")
        self.parameters: Parameters | None = None
        self._listeners: list[Callable[[], None]] = []
        self._known: dict[Any, Any] | None = None
        self.isQuiet = False
        """Whether changes of the parameter node go unheard."""
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.refresh)

    def addListener(self, function: Callable[[], None]) -> None:
        """``function`` is called after everything that the panels may have to show."""
        self._listeners.append(function)

    def tell(self) -> None:
        """Have the panels show what there is now."""
        # The panels ask for the same rows many times over; nothing changes while they do.
        self._known = {}
        try:
            for function in self._listeners:
                function()
        finally:
            self._known = None

    def say(self, kind: str, text: str) -> None:
        """Show one sentence in the status line."""
        self.status = (kind, text)
        self.tell()

    @contextlib.contextmanager
    def sayingErrors(self) -> Iterator[None]:
        """Show the sentence of an InputError instead of raising it."""
        try:
            yield
        except InputError as error:
            self.say(ERROR, str(error))

    # Choices

    def setParameters(self, parameters: Parameters | None) -> None:
        """Take up a parameter node, or with None let go of the scene."""
        self.removeObservers()
        self.live.stop()
        self.editing.stop()
        self.hints.stop()
        self.overlays.forget()
        self.targets.stop()
        self.deformable.stop()
        self.projection.stop()
        self.parameters = parameters
        self.following.forget()
        if parameters is not None:
            self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameters)
            self.editing.start()
            self.hints.start()
            self.refresh()
        else:
            if not self.learning.isBusy():  # What has been handed over does not depend on the scene.
                self.detection.cancel()
            self.tell()

    def chooseByName(self) -> None:
        """Where nothing is chosen yet and the names of the volumes leave no doubt, choose for the user."""
        p = self.parameters
        if p is None or self.volume("mr") is not None or self.volume("us") is not None:
            return
        found = volumes.by_modality(slicer.mrmlScene)
        with NodeModify(p.parameterNode):
            p.mr, p.us = found["mr"], found["us"]

    def stop(self) -> None:
        """Let go of everything; the worker ends."""
        self.setParameters(None)
        self._listeners.clear()
        self.detection.stop()
        self.learning.stop()
        self.projection.quit()
        self.engine.stop()

    def refreshSoon(self) -> None:
        """`refresh` in the next turn of the event loop: a node is being removed, the others do not know yet."""
        self._later.start(0)

    def refresh(self) -> None:
        """Bring lists, transform and views in line with what is chosen."""
        self._onParameters()

    def volume(self, modality: str) -> Any:
        """The chosen volume, "mr" or "us", or None."""
        return self._alive(modality)

    def mask(self, modality: str) -> Any:
        """The segmentation or label map that the user has chosen as the gland of this image, or None."""
        return self._alive(f"{modality}Mask")

    def setNode(self, name: str, node: Any) -> None:
        """Choose the node of a parameter whose selector offers several kinds."""
        if self.parameters is not None and getattr(self.parameters, name) is not node:
            setattr(self.parameters, name, node)

    def targetsNode(self) -> Any:
        """What the user has chosen as targets in the MR, or None."""
        return self._alive("targets")

    def targetsInUs(self) -> Any:
        """The list of the targets in the ultrasound, or None while there is none."""
        return self._alive("targetsInUs")

    def landmarkList(self, modality: str) -> Any:
        """The landmark list of the chosen volume, or None while it has none."""
        return self._alive(f"{modality}Landmarks")

    def transform(self) -> Any:
        """The transform MR to US of the chosen pair, or None while there is none."""
        return self._alive("mrToUs")

    def _alive(self, name: str) -> Any:
        # A node on its way out of the scene may still be what the parameter node's cache holds.
        node = getattr(self.parameters, name) if self.parameters is not None else None
        return node if node is not None and node.GetScene() is not None else None

    def rows(self, modality: str) -> list[landmarks.Row]:
        """The landmarks of the chosen volume, or the three names while it has no list."""
        return self._once(("rows", modality), lambda: self._rows(modality))

    def found(self, modality: str) -> dict[str, Any]:
        """What was noted of the detection in the chosen volume, or {}."""
        return self._once(("found", modality), lambda: landmarks.detection(self.landmarkList(modality)))

    def _rows(self, modality: str) -> list[landmarks.Row]:
        found = landmarks.rows(self.landmarkList(modality))
        return found or [landmarks.Row(name, "", False, None, None) for name in LANDMARK_NAMES]

    def _once(self, key: Any, function: Callable[[], Any]) -> Any:
        """What ``function`` gives, asked for once while the panels are told of a change."""
        if self._known is None:
            return function()
        if key not in self._known:
            self._known[key] = function()
        return self._known[key]

    # Finding landmarks

    def detect(self, *modalities: str, hints: dict[str, Hint] | None = None) -> None:
        """Find the landmarks of these volumes in the worker; what was there is replaced, except locked points.

        ``hints`` say where the gland is, for each image where the user has told.
        """
        with self.sayingErrors():
            if self.isBusy():
                return
            problem = checks.problem(self, *modalities)
            if problem:
                raise InputError(problem)
            if self.networks.choice() is None:
                raise InputError(_("The chosen network is not on this computer; choose another one."))
            packages.ensureRequirements()
            packages.ensureTorch()
            inputs = [(each, self.volume(each)) for each in modalities]
            self.detection.start(inputs, self.parameters.device, hints)
            self.say(INFO, _("Finding landmarks…"))

    def isBusy(self) -> bool:
        """Whether a job is under way or being ended."""
        return any(each.isBusy() for each in (self.detection, self.learning, self.deformable, self.projection))

    def progress(self) -> tuple[float, str]:
        """How far the running job is (0..1), and what it is at."""
        run = next(
            (each for each in (self.learning, self.deformable, self.projection) if each.isBusy()), self.detection
        )
        return run.fraction, run.text

    def expectedErrors(self) -> dict[str, float]:
        """The expected error of the alignment at each landmark of the fit, mm; {} without a fit."""
        return self._once("errors", self._expectedErrors)

    def _expectedErrors(self) -> dict[str, float]:
        fit = self.live.fit
        placed = (row.landmark for row in self.rows("mr") if row.landmark is not None)
        marks = [mark for mark in placed if fit is not None and mark.name in fit.errors]
        if not marks:
            return {}
        errors = fit.expected_error(np.array([mark.position for mark in marks]))
        return {mark.name: float(error) for mark, error in zip(marks, errors, strict=True)}

    def cancel(self) -> None:
        """End what is running."""
        if self.learning.isBusy() and not self.engine.isBusy():
            self.learning.cancel()
        elif self.deformable.isBusy():
            self.deformable.cancel()
        elif self.projection.isBusy():
            self.projection.cancel()
        else:
            self.detection.cancel()
        self.tell()

    def _onFound(self, results: dict[str, Found], nodes: dict[str, Any]) -> None:
        findings.take(self, results, nodes)

    def _onFailed(self, message: str) -> None:
        self.say(ERROR, message)

    def _onCancelled(self, message: str) -> None:
        self.say(INFO, message)

    def ensureList(self, modality: str) -> Any:
        """The landmark list of the chosen volume, made now if there is none yet.

        Raises InputError where no volume is chosen.
        """
        volume = self.volume(modality)
        if volume is None:
            raise InputError(_("Choose the {image} volume first.").format(image=NAMES[modality]))
        node = self.landmarkList(modality) or landmarks.find(volume, modality) or landmarks.create(volume, modality)
        setattr(self.parameters, f"{modality}Landmarks", node)
        return node

    def stopPlacing(self) -> None:
        """Leave the views' mode of placing, whatever was to be placed."""
        self.editing.stopPlacing()
        self.hints.disarm()

    # The ultrasound's orientation

    def flip(self, name: str) -> None:
        """Turn the ultrasound round ("lr", "ap", "si") with its landmarks."""
        node = self.volume("us")
        if node is None or node.GetImageData() is None:
            return
        self.stopPlacing()
        with self.live.paused():
            matrix = volumes.flip(node, name)
            landmarks.transform_all(node, matrix)
            glands.move(node, matrix)
        self.editing.history.clear()
        self.refresh()

    def toggleOrientation(self) -> None:
        """Note that somebody has checked the left and right of the ultrasound, or that it is open again."""
        node = self.volume("us")
        if node is not None:
            volumes.remember_orientation(node, volumes.flips(node), not volumes.orientation_confirmed(node))
            self.tell()

    # The transform

    def makeInverse(self) -> None:
        """Make a transform node "US to MR", the inverse of the fit as it is now; it does not follow the landmarks."""
        if self.live.fit is not None and self.transform() is not None:
            node = transforms.create_inverse(self.transform())
            self.say(DONE, _("Made the transform “{name}”.").format(name=node.GetName()))

    def export(self, folder: str) -> None:
        """Write transform, landmarks and report into a folder, all of them or nothing."""
        with self.sayingErrors():
            sides = [
                export.Image(self.volume(each), self.landmarkList(each), self.overlays.knownGland(each))
                for each in landmarks.MODALITIES
            ]
            files = export.write(folder, *sides, self.parameters.fit.value, self.targets.found())
            self.say(DONE, _("Wrote {files}.").format(files=", ".join(files)))

    # Views

    def setOpacity(self, opacity: float) -> None:
        """Show the MR over the ultrasound with this opacity (0..1)."""
        if self.parameters is not None:
            self.parameters.opacity = opacity

    def center(self) -> None:
        """Center the views on the prostate: the landmarks, or the volume while there are none."""
        for modality in ("us", "mr"):
            node = self.landmarkList(modality)
            placed = [landmarks.world_position(node, row.point_id) for row in landmarks.rows(node) if row.landmark]
            if placed:
                views.centre(slicer.mrmlScene, np.mean(placed, axis=0))
                return
        node = self.volume("us") or self.volume("mr")
        if node is not None:
            views.centre(slicer.mrmlScene, volumes.world_center(node))

    # Following the scene

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        if self.isQuiet or self.parameters is None:
            return
        with self.quietly():
            self.following.update()
            self.overlays.update()
            self.targets.update()
            self.deformable.update()
            self.projection.update()
        self.tell()

    @contextlib.contextmanager
    def quietly(self) -> Iterator[None]:
        """Change the parameter node without hearing of it."""
        quiet, self.isQuiet = self.isQuiet, True
        try:
            yield
        finally:
            self.isQuiet = quiet
