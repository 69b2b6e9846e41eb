"""Help for hard cases: one click into the gland, or a mask of it, and the landmarks are looked for there."""

from typing import TYPE_CHECKING, Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from LandmarkFusionLib import checks
from LandmarkFusionLib.detection import NAMES, Hint
from LandmarkFusionLib.status import INFO
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import glands, volumes
from LandmarkFusionLogic.mrml.clicking import Clicking

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller


class Hints(VTKObservationMixin):
    """Arms the click, takes it, and starts the detection that it asks for."""

    def __init__(self, controller: "Controller"):
        VTKObservationMixin.__init__(self)
        self._controller = controller
        self._clicking: Clicking | None = None
        self._modality = ""
        self._opacity = 0.5
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._finish)

    def start(self) -> None:
        """Follow the views' mode of placing."""
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        self.addObserver(interaction, interaction.InteractionModeChangedEvent, self._onInteractionMode)

    def stop(self) -> None:
        """Let go of the scene."""
        self.removeObservers()
        self.disarm()

    def armed(self) -> str:
        """The image that waits for a click, "mr" or "us", or ""."""
        return self._modality

    def click(self, modality: str) -> None:
        """Have the next click in a view say where the gland is in this image."""
        controller = self._controller
        with controller.sayingErrors():
            problem = checks.problem(controller, modality)
            if problem:
                raise InputError(problem)
            controller.stopPlacing()
            # The click belongs to one image: only that one is shown until it has come.
            self._opacity = controller.parameters.opacity
            controller.setOpacity(1.0 if modality == "mr" else 0.0)
            self._clicking, self._modality = Clicking(slicer.mrmlScene, _("Gland")), modality
            text = _("Click into the middle of the prostate in the {image}; its landmarks are then looked for there.")
            controller.say(INFO, text.format(image=NAMES[modality]))

    def useMask(self, modality: str) -> None:
        """Look for the landmarks at the mask that has been chosen for this image."""
        controller = self._controller
        with controller.sayingErrors():
            node, volume = controller.mask(modality), controller.volume(modality)
            if node is None:
                raise InputError(_("Choose a segmentation of the prostate first."))
            problem = checks.problem(controller, modality)
            if problem:
                raise InputError(problem)
            controller.detect(modality, hints={modality: Hint(mask=glands.mask_for(node, volume))})

    def disarm(self) -> None:
        """Ask for no click any more."""
        self._later.stop()
        clicking, self._clicking = self._clicking, None
        if clicking is None:
            return
        self._modality = ""
        self._controller.setOpacity(self._opacity)
        clicking.end()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _onInteractionMode(self, interaction: Any, event: Any) -> None:
        # The views are still at work with the node that the click made: it goes in the next turn of the event loop.
        if self._clicking is not None and interaction.GetCurrentInteractionMode() != interaction.Place:
            self._later.start(0)

    def _finish(self) -> None:
        controller, modality = self._controller, self._modality
        clicking, self._clicking, self._modality = self._clicking, None, ""
        if clicking is None:
            return
        world = clicking.end()
        controller.setOpacity(self._opacity)
        if world is None:
            controller.say(INFO, _("Nothing was clicked."))
            return
        point = volumes.world_to_volume(controller.volume(modality), world)
        controller.detect(modality, hints={modality: Hint(click=[float(value) for value in np.asarray(point)])})
