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

from LandmarkFusionLib import export, packages
from LandmarkFusionLib.detection import NAMES, Detection
from LandmarkFusionLib.engine import Engine
from LandmarkFusionLib.history import History
from LandmarkFusionLib.parameters import Parameters
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs import DetectResult
from LandmarkFusionLogic.jobs import landmarks as landmarksFrom
from LandmarkFusionLogic.mrml import landmarks, transforms, views, volumes
from LandmarkFusionLogic.mrml.live import LiveFit
from LandmarkFusionLogic.points import LANDMARK_NAMES

INFO, DONE, WARNING, ERROR = "info", "done", "warning", "error"


class Controller(VTKObservationMixin):
    """The one place that changes the scene for the panel. ``changed`` functions are called after every change."""

    def __init__(self, engine: Engine | None = None):
        VTKObservationMixin.__init__(self)
        self.engine = engine or Engine()
        self.history = History()
        self.live = LiveFit(self._onFit, self._rememberBoth)
        self.detection = Detection(self.engine, self.tell, self._onFound, self._onFailed, self._onCancelled)
        self.status: tuple[str, str] = (INFO, "")
        self.parameters: Parameters | None = None
        self._listeners: list[Callable[[], None]] = []
        self._pair: tuple[Any, Any] | None = None
        self._placing: landmarks.Placing | None = None
        self._busy = False
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.refresh)

    def addListener(self, function: Callable[[], None]) -> None:
        """``function`` is called after everything that the panels may have to show."""
        self._listeners.append(function)

    def tell(self) -> None:
        """Have the panels show what there is now."""
        for function in self._listeners:
            function()

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
        self.history.clear()
        self.parameters = parameters
        self._pair = None
        if parameters is not None:
            self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameters)
            interaction = slicer.app.applicationLogic().GetInteractionNode()
            self.addObserver(interaction, interaction.InteractionModeChangedEvent, self._onInteractionMode)
            self.refresh()
        else:
            self.detection.cancel()
            self.tell()

    def chooseByName(self) -> None:
        """Where nothing is chosen yet and the names of the volumes leave no doubt, choose for the user."""
        p = self.parameters
        if p is None or p.mr is not None or p.us is not None:
            return
        found = volumes.by_modality(slicer.mrmlScene)
        with NodeModify(p.parameterNode):
            p.mr, p.us = found["mr"], found["us"]

    def stop(self) -> None:
        """Let go of everything; the worker ends."""
        self.setParameters(None)
        self._listeners.clear()
        self.detection.stop()
        self.engine.stop()

    def refreshSoon(self) -> None:
        """`refresh` in the next turn of the event loop: a node is being removed, the others do not know yet."""
        self._later.start(0)

    def refresh(self) -> None:
        """Bring lists, transform and views in line with what is chosen."""
        self._onParameters()

    def volume(self, modality: str) -> Any:
        """The chosen volume, "mr" or "us", or None."""
        return getattr(self.parameters, modality) if self.parameters is not None else None

    def landmarkList(self, modality: str) -> Any:
        """The landmark list of the chosen volume, or None while it has none."""
        return getattr(self.parameters, f"{modality}Landmarks") if self.parameters is not None else None

    def rows(self, modality: str) -> list[landmarks.Row]:
        """The landmarks of the chosen volume, or the three names while it has no list."""
        found = landmarks.rows(self.landmarkList(modality))
        return found or [landmarks.Row(name, "", False, None, None) for name in LANDMARK_NAMES]

    def selectedRow(self, modality: str) -> landmarks.Row | None:
        """The row of the table that the buttons act on."""
        name = getattr(self.parameters, f"{modality}Point") if self.parameters is not None else ""
        return next((row for row in self.rows(modality) if row.name == name), None)

    def problem(self, *modalities: str) -> str:
        """What is missing before the landmarks of these volumes can be found, or ""."""
        for modality in modalities:
            node = self.volume(modality)
            if node is None:
                return _("Choose the {image} volume first.").format(image=NAMES[modality])
            parent = node.GetParentTransformNode()
            if parent is not None and not transforms.is_ours(parent):
                return _(
                    "The {image} volume is under the transform “{name}”; harden it or take the volume out of it first."
                ).format(image=NAMES[modality], name=parent.GetName())
        if self.volume("mr") is not None and self.volume("mr") is self.volume("us"):
            return _("MR and US are the same volume; choose the ultrasound volume as US.")
        return ""

    def warnings(self) -> list[str]:
        """All that the user should be careful about, most important first."""
        mr, us = self.volume("mr"), self.volume("us")
        found = []
        if mr is not None and us is not None and self._looksSwapped(mr, us):
            found.append(
                _("“{mr}” is chosen as MR and “{us}” as US: by their names they are swapped.").format(
                    mr=mr.GetName(), us=us.GetName()
                )
            )
        found += self.live.warnings()
        if us is not None and self.live.fit is not None and not volumes.orientation_confirmed(us):
            found.append(_("Left and right of the ultrasound are not confirmed (see Inputs)."))
        for modality in landmarks.MODALITIES:
            found += landmarks.detection(self.landmarkList(modality)).get("warnings", [])
        return found

    # Finding landmarks

    def detect(self, *modalities: str) -> None:
        """Find the landmarks of these volumes in the worker; what was there is replaced, except locked points."""
        with self.sayingErrors():
            if self.detection.isBusy():
                return
            problem = self.problem(*modalities)
            if problem:
                raise InputError(problem)
            packages.ensureTorch()
            self.detection.start([(each, self.volume(each)) for each in modalities], self.parameters.device)
            self.say(INFO, _("Finding landmarks…"))

    def cancel(self) -> None:
        """End what is running."""
        self.detection.cancel()
        self.tell()

    def _onFound(self, results: dict[str, DetectResult]) -> None:
        self._rememberBoth()
        kept = []
        with self.live.paused():
            for modality, result in results.items():
                node = self.ensureList(modality)
                kept += landmarks.write(node, landmarksFrom(result.landmarks))
                landmarks.remember_detection(node, result.model, result.device, result.seconds, result.warnings)
        self.refresh()
        self.center()
        seconds = sum(result.seconds for result in results.values())
        device = ", ".join(sorted({result.device for result in results.values()}))
        text = _("Landmarks found in {seconds:.1f} s on {device}.").format(seconds=seconds, device=device)
        if kept:
            text += " " + _("Locked ones were left as they are: {names}.").format(names=", ".join(kept))
        self.say(DONE, text)

    def _onFailed(self, message: str) -> None:
        self.say(ERROR, message)

    def _onCancelled(self, message: str) -> None:
        self.say(INFO, message)

    # Landmarks by hand

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

    def select(self, modality: str, name: str) -> None:
        """Choose the landmark that the buttons act on."""
        if self.parameters is not None:
            setattr(self.parameters, f"{modality}Point", name)

    def place(self, modality: str) -> None:
        """Have the next click in a view place the selected landmark."""
        with self.sayingErrors():
            name = getattr(self.parameters, f"{modality}Point")
            node = self.ensureList(modality)
            if node.GetLocked() or self._isLocked(modality):
                raise InputError(_("“{name}” is locked; unlock it first.").format(name=name))
            self._rememberBoth()
            with self.live.paused():
                landmarks.start_placing(node, name)
            self.say(
                INFO, _("Click in a view to place “{name}” in the {image}.").format(name=name, image=NAMES[modality])
            )

    def stopPlacing(self) -> None:
        """Leave the mode of placing."""
        if self._placing is not None:
            interaction = slicer.app.applicationLogic().GetInteractionNode()
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def jump(self, modality: str) -> None:
        """Move the views through the selected landmark, and show the image it lies in."""
        position = self.worldPosition(modality)
        if position is None:
            return
        if not self.parameters.applied or self.live.fit is None:
            self.parameters.opacity = 1.0 if modality == "mr" else 0.0
        views.jump(slicer.mrmlScene, position)

    def resetPoint(self, modality: str) -> None:
        """Move the selected landmark back to where it was detected."""
        row = self.selectedRow(modality)
        if row is not None and row.detected is not None:
            self._rememberBoth()
            landmarks.reset(self.landmarkList(modality), row.point_id)

    def toggleLock(self, modality: str) -> None:
        """Lock or unlock the selected landmark."""
        with self.sayingErrors():
            node = self.ensureList(modality)
            row = self.selectedRow(modality)
            if row is not None:
                index = node.GetNthControlPointIndexByID(row.point_id)
                node.SetNthControlPointLocked(index, not node.GetNthControlPointLocked(index))

    def addPair(self) -> None:
        """Add one more landmark, not yet placed, to both lists."""
        with self.sayingErrors():
            lists = [self.ensureList(modality) for modality in landmarks.MODALITIES]
            used = {row.name for modality in landmarks.MODALITIES for row in self.rows(modality)}
            number = next(n for n in range(1, len(used) + 2) if f"Pair {n}" not in used)
            self._rememberBoth()
            with self.live.paused():
                for node in lists:
                    landmarks.add_unplaced(node, f"Pair {number}")
            with NodeModify(self.parameters.parameterNode):
                self.parameters.mrPoint = self.parameters.usPoint = f"Pair {number}"

    def removePoint(self, modality: str) -> None:
        """Take the position of the selected landmark away; an extra pair goes from both lists."""
        row = self.selectedRow(modality)
        if row is None or self.landmarkList(modality) is None:
            return
        self._rememberBoth()
        with self.live.paused():
            if row.name in LANDMARK_NAMES:
                landmarks.unplace(self.landmarkList(modality), row.name)
            else:
                for each in landmarks.MODALITIES:
                    landmarks.remove(self.landmarkList(each), row.name)

    def undo(self) -> None:
        """Take back the last step on the landmarks."""
        if self.history.canUndo():
            with self.live.paused():
                self.history.undo()
            self.refresh()

    # The ultrasound's orientation

    def flip(self, name: str) -> None:
        """Turn the ultrasound round ("lr", "ap", "si") with its landmarks."""
        node = self.volume("us")
        if node is None:
            return
        with self.live.paused():
            landmarks.transform_all(node, volumes.flip(node, name))
        self.history.clear()
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
        if self.live.fit is not None and self.parameters.mrToUs is not None:
            node = transforms.create_inverse(self.parameters.mrToUs)
            self.say(DONE, _("Made the transform “{name}”.").format(name=node.GetName()))

    def export(self, folder: str) -> None:
        """Write transform, landmarks and report into a folder, all of them or nothing."""
        with self.sayingErrors():
            files = export.write(
                folder, self.volume("mr"), self.volume("us"), self.landmarkList("mr"), self.landmarkList("us")
            )
            self.say(DONE, _("Wrote {files}.").format(files=", ".join(files)))

    # Views

    def setOpacity(self, opacity: float) -> None:
        """Show the MR over the ultrasound with this opacity (0..1)."""
        if self.parameters is not None:
            self.parameters.opacity = opacity

    def center(self) -> None:
        """Centre the views on the prostate: the landmarks, or the volume while there are none."""
        placed = [self._world("us", row) for row in self.rows("us") if row.landmark is not None]
        placed = placed or [self._world("mr", row) for row in self.rows("mr") if row.landmark is not None]
        if placed:
            views.centre(slicer.mrmlScene, np.mean(placed, axis=0))
        else:
            node = self.volume("us") or self.volume("mr")
            if node is not None:
                bounds = np.zeros(6)
                node.GetRASBounds(bounds)
                views.centre(slicer.mrmlScene, (bounds[0::2] + bounds[1::2]) / 2)

    def worldPosition(self, modality: str) -> Any:
        """Where the selected landmark lies in the views, (3,) RAS mm, or None."""
        row = self.selectedRow(modality)
        return self._world(modality, row) if row is not None and row.landmark is not None else None

    # Following the scene

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        if self._busy or self.parameters is None:
            return
        self._busy = True
        try:
            pair = (self.parameters.mr, self.parameters.us)
            if pair != self._pair:
                self._choosePair(pair)
            else:
                self._adoptLists()
            self._showLayers()
            self._watch()
        finally:
            self._busy = False
        self.tell()

    def _onInteractionMode(self, interaction: Any, event: Any) -> None:
        if self._placing is not None and interaction.GetCurrentInteractionMode() != interaction.Place:
            placing, self._placing = self._placing, None
            with self.live.paused():
                placed = placing.end()
            self.say(INFO, "" if placed else _("Nothing was placed."))

    def _choosePair(self, pair: tuple[Any, Any]) -> None:
        mr, us = self._pair = pair
        self.status = (INFO, "")
        with NodeModify(self.parameters.parameterNode):
            self.parameters.mrLandmarks = landmarks.find(mr, "mr")
            self.parameters.usLandmarks = landmarks.find(us, "us")
            self.parameters.mrToUs = transforms.find(mr, us)

    def _adoptLists(self) -> None:
        """A list chosen for a volume becomes its own; one that belongs to another volume is refused."""
        for modality in landmarks.MODALITIES:
            volume, node = self.volume(modality), self.landmarkList(modality)
            own = landmarks.find(volume, modality)
            if node is own:
                continue
            try:
                if node is not None and volume is not None:
                    landmarks.assign(node, volume, modality)
                    continue
                if node is not None:
                    raise InputError(_("Choose the {image} volume first.").format(image=NAMES[modality]))
            except InputError as error:
                self.status = (ERROR, str(error))
            setattr(self.parameters, f"{modality}Landmarks", own)

    def _showLayers(self) -> None:
        p = self.parameters
        if p.us is not None and p.mr is not None:
            views.show(slicer.mrmlScene, p.us, p.mr, p.opacity)
        elif p.us is not None or p.mr is not None:
            views.show(slicer.mrmlScene, p.us or p.mr, None, 0.0)

    def _watch(self) -> None:
        p = self.parameters
        if p.mr is not None and p.mr is not p.us:
            self.live.watch(p.mrLandmarks, p.usLandmarks, p.mrToUs)
        else:
            self.live.stop()

    def _onFit(self) -> None:
        p = self.parameters
        if p is None:
            return
        if self.live.fit is not None and p.mrToUs is None and p.mr is not None and p.us is not None:
            p.mrToUs = transforms.create(p.mr, p.us)
            transforms.set_matrix(p.mrToUs, self.live.fit.mr_to_us)
            self.live.watch(p.mrLandmarks, p.usLandmarks, p.mrToUs)
            return
        self._lay()
        if not self._busy:
            self.tell()

    def _lay(self) -> None:
        p = self.parameters
        if p.mr is not None and p.mr is not p.us:
            transforms.apply(p.mrToUs if p.applied else None, p.mr, p.mrLandmarks)

    def _rememberBoth(self) -> None:
        self.history.remember(self.landmarkList("mr"), self.landmarkList("us"))

    def _isLocked(self, modality: str) -> bool:
        row = self.selectedRow(modality)
        return row is not None and row.locked

    def _world(self, modality: str, row: landmarks.Row) -> Any:
        position = np.array([0.0, 0.0, 0.0])
        node = self.landmarkList(modality)
        node.GetNthControlPointPositionWorld(node.GetNthControlPointIndexByID(row.point_id), position)
        return position

    @staticmethod
    def _looksSwapped(mr: Any, us: Any) -> bool:
        return (volumes.guess_modality(mr), volumes.guess_modality(us)) == ("us", "mr")
