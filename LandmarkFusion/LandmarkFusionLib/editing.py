"""Landmarks by hand: what the buttons under the tables do to the selected one."""

from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _
from slicer.util import NodeModify, VTKObservationMixin

from LandmarkFusionLib.detection import NAMES
from LandmarkFusionLib.history import History
from LandmarkFusionLib.status import INFO
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import landmarks, views
from LandmarkFusionLogic.mrml.placing import Placing
from LandmarkFusionLogic.points import DETECTED, LANDMARK_NAMES, spread

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller


class Editing(VTKObservationMixin):
    """Changes the landmark lists of the chosen volumes, one undoable step at a time."""

    def __init__(self, controller: "Controller"):
        VTKObservationMixin.__init__(self)
        self.history = History()
        self._controller = controller
        self._placing: Placing | None = None

    def start(self) -> None:
        """Follow the views' mode of placing."""
        interaction = _interaction()
        self.addObserver(interaction, interaction.InteractionModeChangedEvent, self._onInteractionMode)

    def stop(self) -> None:
        """Let go of the scene."""
        self.stopPlacing()
        self.removeObservers()
        self.history.clear()

    def remember(self, withGlands: bool = False) -> None:
        """Begin an undoable step; ``withGlands`` where it may change the glands, too."""
        controller = self._controller
        volumes = [(controller.volume(each), each) for each in landmarks.MODALITIES] if withGlands else []
        self.history.remember(*(controller.landmarkList(each) for each in landmarks.MODALITIES), volumes=volumes)

    def undo(self) -> None:
        """Take back the last step."""
        self._controller.stopPlacing()
        if self.history.canUndo():
            with self._controller.live.paused():
                self.history.undo()
            self._controller.refresh()

    def select(self, modality: str, name: str) -> None:
        """Choose the landmark that the buttons act on."""
        if self._controller.parameters is not None:
            setattr(self._controller.parameters, f"{modality}Point", name)

    def selected(self, modality: str) -> landmarks.Row | None:
        """The landmark that the buttons act on."""
        parameters = self._controller.parameters
        name = getattr(parameters, f"{modality}Point") if parameters is not None else ""
        return next((row for row in self._controller.rows(modality) if row.name == name), None)

    def place(self, modality: str) -> None:
        """Have the next click in a view place the landmark."""
        controller = self._controller
        with controller.sayingErrors():
            name = getattr(controller.parameters, f"{modality}Point")
            node = controller.ensureList(modality)
            row = self.selected(modality)
            if row is not None and row.locked:
                raise InputError(_("“{name}” is locked; unlock it first.").format(name=name))
            controller.stopPlacing()
            self.remember()
            with controller.live.paused():
                self._placing = Placing(node, name)
            text = _("Click in a view to place “{name}” in the {image}.")
            controller.say(INFO, text.format(name=name, image=NAMES[modality]))

    def stopPlacing(self) -> None:
        """Leave the mode of placing."""
        if self._placing is not None:
            interaction = _interaction()
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def jump(self, modality: str) -> None:
        """Move the views through the landmark, and show the image it lies in where the two are not aligned."""
        controller = self._controller
        row = self.selected(modality)
        if row is None or row.landmark is None:
            return
        if not controller.parameters.applied or controller.live.fit is None:
            controller.setOpacity(1.0 if modality == "mr" else 0.0)
        views.jump(slicer.mrmlScene, landmarks.world_position(controller.landmarkList(modality), row.point_id))

    def toCheck(self) -> list[tuple[str, landmarks.Row]]:
        """The landmarks that the user should look at, least certain first: detected, doubtful, not looked at yet."""
        found = []
        for modality in landmarks.MODALITIES:
            asked = self._controller.found(modality).get("ask_first", [])
            for row in self._controller.rows(modality):
                mark = row.landmark
                if row.name in asked and mark is not None and mark.state == DETECTED and not row.checked:
                    found.append((modality, row, asked.index(row.name)))
        # Within one image the detector's own order counts, between the two images the spread.
        found.sort(key=lambda each: (each[2], -_spread(each[1])))
        return [(modality, row) for modality, row, _order in found]

    def checkNext(self) -> None:
        """Go to the least certain landmark that nobody has looked at, and count it as looked at."""
        waiting = self.toCheck()
        if not waiting:
            return
        modality, row = waiting[0]
        self.select(modality, row.name)
        self.jump(modality)
        landmarks.set_checked(self._controller.landmarkList(modality), row.point_id)
        text = _("Is this the {name} of the {image}? If not, drag it; the next one is asked for by “Check next”.")
        self._controller.say(INFO, text.format(name=row.name, image=NAMES[modality]))

    def reset(self, modality: str) -> None:
        """Move the landmark back to where it was detected."""
        row = self.selected(modality)
        if row is not None and row.detected is not None:
            self.remember()
            landmarks.reset(self._controller.landmarkList(modality), row.point_id)

    def toggleLock(self, modality: str) -> None:
        """Lock or unlock the landmark."""
        row, node = self.selected(modality), self._controller.landmarkList(modality)
        if row is not None and node is not None:
            if node.GetLocked():  # Locked as a whole, elsewhere: from now on it is the points that are locked.
                node.SetLocked(False)
            landmarks.set_locked(node, row.point_id, not row.locked)

    def addPair(self) -> None:
        """Add one more landmark, not yet placed, to both lists."""
        controller = self._controller
        with controller.sayingErrors():
            lists = [controller.ensureList(modality) for modality in landmarks.MODALITIES]
            used = {row.name for modality in landmarks.MODALITIES for row in controller.rows(modality)}
            name = next(f"Pair {number}" for number in range(1, len(used) + 2) if f"Pair {number}" not in used)
            self.remember()
            with controller.live.paused():
                for node in lists:
                    landmarks.add_unplaced(node, name)
            with NodeModify(controller.parameters.parameterNode):
                controller.parameters.mrPoint = controller.parameters.usPoint = name

    def remove(self, modality: str) -> None:
        """Take the position of the landmark away; an extra pair goes from both lists."""
        controller = self._controller
        row = self.selected(modality)
        if row is None or controller.landmarkList(modality) is None:
            return
        extra = row.name not in LANDMARK_NAMES
        concerned = landmarks.MODALITIES if extra else (modality,)
        with controller.sayingErrors():
            if any(each.locked for side in concerned for each in controller.rows(side) if each.name == row.name):
                raise InputError(_("“{name}” is locked; unlock it first.").format(name=row.name))
            self.remember()
            with controller.live.paused():
                for side in concerned:
                    (landmarks.remove if extra else landmarks.unplace)(controller.landmarkList(side), row.name)

    def _onInteractionMode(self, interaction: Any, event: Any) -> None:
        if self._placing is not None and interaction.GetCurrentInteractionMode() != interaction.Place:
            placing, self._placing = self._placing, None
            with self._controller.live.paused():
                placed = placing.end()
            self._controller.say(INFO, "" if placed else _("Nothing was placed."))


def _spread(row: landmarks.Row) -> float:
    return spread(row.landmark.covariance) if row.landmark.covariance is not None else 0.0


def _interaction() -> Any:
    return slicer.app.applicationLogic().GetInteractionNode()
