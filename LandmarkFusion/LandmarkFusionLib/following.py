"""The chosen pair is followed: its lists and transform become the parameters', its layers are shown, it is fitted."""

from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _
from slicer.util import NodeModify

from LandmarkFusionLib.detection import NAMES
from LandmarkFusionLib.status import ERROR, INFO
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import companions, landmarks, transforms, views
from LandmarkFusionLogic.rigid.landmarks import gland_pair

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller


class Following:
    """Brings lists, transform and views in line with what is chosen."""

    def __init__(self, controller: "Controller"):
        self._controller = controller
        self._pair: tuple[Any, Any] | None = None
        self._shown: tuple[Any, Any, float] | None = None

    def forget(self) -> None:
        """Let go of the scene."""
        self._pair = self._shown = None

    def update(self) -> None:
        """Take up the pair that is chosen now, or the lists chosen for it."""
        pair = (self._controller.volume("mr"), self._controller.volume("us"))
        if pair != self._pair:
            self._choosePair(pair)
        else:
            self._adoptLists()
        self._controller.networks.use()
        self._showLayers()
        self._watch()

    def _choosePair(self, pair: tuple[Any, Any]) -> None:
        controller = self._controller
        controller.stopPlacing()
        for volume in self._pair or ():
            if volume not in pair:
                controller.overlays.hide(volume)
        controller.editing.history.clear()  # Undo must not reach into a pair that is no longer seen.
        mr, us = self._pair = pair
        controller.status = (INFO, "")
        # A volume that was an MR before may still lie under a transform of ours; the ultrasound stays where it is.
        lists = [landmarks.find(us, modality) for modality in landmarks.MODALITIES]
        transforms.apply(None, us, *lists, *companions.all_of(us))
        with NodeModify(controller.parameters.parameterNode):
            controller.parameters.mrLandmarks = landmarks.find(mr, "mr")
            controller.parameters.usLandmarks = landmarks.find(us, "us")
            controller.parameters.mrToUs = transforms.find(mr, us)

    def _adoptLists(self) -> None:
        """A list chosen for a volume becomes its own; one that belongs to another volume is refused."""
        controller = self._controller
        for modality in landmarks.MODALITIES:
            volume, node = controller.volume(modality), controller.landmarkList(modality)
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
                controller.status = (ERROR, str(error))
            setattr(controller.parameters, f"{modality}Landmarks", own)

    def _showLayers(self) -> None:
        """Show what is chosen, once: what the user then does to the layers of a view stays."""
        controller = self._controller
        mr, us, opacity = controller.volume("mr"), controller.volume("us"), controller.parameters.opacity
        former, self._shown = self._shown, (mr, us, opacity)
        if former == self._shown:
            return
        if us is None or mr is None:
            if us is not None or mr is not None:
                views.show(slicer.mrmlScene, us or mr, None, 0.0)
        elif former is not None and former[:2] == (mr, us):
            views.set_opacity(slicer.mrmlScene, opacity)
        else:
            views.show(slicer.mrmlScene, us, mr, opacity)

    def _watch(self) -> None:
        controller = self._controller
        if controller.volume("mr") is not None and controller.volume("mr") is controller.volume("us"):
            controller.live.stop()
        else:
            controller.live.method = controller.parameters.fit.value
            controller.live.extra = self._glandPair()
            controller.live.watch(controller.landmarkList("mr"), controller.landmarkList("us"), controller.transform())

    def onFit(self) -> None:
        """Take up a fit that has changed: its transform, where the MR is shown, and all that is derived."""
        controller = self._controller
        if controller.parameters is None:
            return
        mr, us = controller.volume("mr"), controller.volume("us")
        if controller.live.fit is not None and controller.transform() is None and mr is not None and us is not None:
            with controller.quietly():
                controller.parameters.mrToUs = transforms.create(mr, us)
            self._watch()  # Fits again, into the new node.
            return
        over = controller.transform() if controller.parameters.applied else None
        if transforms.apply(over, mr, controller.landmarkList("mr"), *companions.all_of(mr)):
            # Laid over the ultrasound, both lists would write the same names in the same places.
            landmarks.show_labels(controller.landmarkList("mr"), over is None)
        if not controller.isQuiet:
            controller.overlays.update()
            controller.targets.update()
            controller.tell()

    def _glandPair(self) -> list[Any]:
        """The centroids of both glands, as one more pair for the fit; [] where one of them is not known."""
        controller = self._controller
        mr, us = (controller.overlays.knownGland(each) for each in landmarks.MODALITIES)
        pair = gland_pair(mr, us) if mr is not None and us is not None else None
        return [] if pair is None else [pair]
