"""What a detection has found becomes nodes: landmarks, what is to be known about them, and the gland."""

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from LandmarkFusionLib.detection import Found
from LandmarkFusionLib.status import DONE
from LandmarkFusionLogic.jobs import landmarks as landmarksFrom
from LandmarkFusionLogic.mrml import glands, landmarks, views

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller


def take(controller: "Controller", results: dict[str, Found], nodes: dict[str, Any]) -> None:
    """Show what was found in the volumes ``nodes``, in one step that can be undone, and say so.

    It belongs to the volume that it was found in, whatever has been chosen meanwhile.
    """
    controller.stopPlacing()
    lists = {each: landmarks.find(node, each) or landmarks.create(node, each) for each, node in nodes.items()}
    controller.refresh()
    controller.editing.remember(withGlands=True)
    kept = []
    with controller.live.paused():
        for modality, found in results.items():
            kept += landmarks.write(lists[modality], landmarksFrom(found.result.landmarks))
            _remember(lists[modality], found)
            _showGland(nodes[modality], modality, found)
    if nodes == {modality: controller.volume(modality) for modality in landmarks.MODALITIES}:
        controller.parameters.applied = True
    controller.refresh()
    controller.center()
    views.show_in_3d(slicer.mrmlScene)
    views.mark_orientation(slicer.mrmlScene)
    seconds = sum(found.result.seconds for found in results.values())
    device = ", ".join(sorted({found.result.device for found in results.values()}))
    text = _("Landmarks found in {seconds:.1f} s on {device}.").format(seconds=seconds, device=device)
    if kept:
        text += " " + _("Locked ones were left as they are: {names}.").format(names=", ".join(kept))
    if controller.editing.toCheck():
        text += " " + _("Some are doubtful: press “Check next”.")
    controller.say(DONE, text)


def _remember(node: Any, found: Found) -> None:
    """Note on the landmark list what found its points and what is to be known about them."""
    result = found.result
    landmarks.remember_detection(
        node,
        result.model,
        result.device,
        result.seconds,
        result.warnings,
        kind=result.kind,
        ask_first=result.ask_first,
        disagreement_mm=result.disagreement_mm,
        coverage=result.coverage,
    )


def _showGland(volume: Any, modality: str, found: Found) -> None:
    """Show the gland that was found, or none where there is none."""
    record = found.result.gland
    if found.gland is not None and record is not None and not found.gland.empty:
        prediction = glands.Prediction(
            np.array(record.centroid), np.array(record.centroid_covariance), record.millilitres
        )
        glands.write(volume, modality, found.gland.mask(), prediction)
    else:
        glands.remove(volume, modality)
