"""What is missing before landmarks can be found, and what the user should be careful about."""

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from LandmarkFusionLib.detection import NAMES
from LandmarkFusionLogic.mrml import landmarks, transforms, volumes

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller


def problem(controller: "Controller", *modalities: str) -> str:
    """What is missing before the landmarks of these volumes can be found, or ""."""
    for modality in modalities:
        node = controller.volume(modality)
        if node is None:
            return _("Choose the {image} volume first.").format(image=NAMES[modality])
        parent = node.GetParentTransformNode()
        if parent is not None and not transforms.is_ours(parent):
            return _(
                "The {image} volume is under the transform “{name}”; harden it or take the volume out of it first."
            ).format(image=NAMES[modality], name=parent.GetName())
    if controller.volume("mr") is not None and controller.volume("mr") is controller.volume("us"):
        return _("MR and US are the same volume; choose the ultrasound volume as US.")
    return ""


def warnings(controller: "Controller") -> list[str]:
    """All that the user should be careful about, most important first."""
    mr, us = controller.volume("mr"), controller.volume("us")
    found = []
    if mr is not None and us is not None and _looksSwapped(mr, us):
        found.append(
            _("“{mr}” is chosen as MR and “{us}” as US: by their names they are swapped.").format(
                mr=mr.GetName(), us=us.GetName()
            )
        )
    found += controller.live.warnings()
    if us is not None and controller.live.fit is not None and not volumes.orientation_confirmed(us):
        found.append(_("Left and right of the ultrasound are not confirmed (see Inputs)."))
    for modality in landmarks.MODALITIES:
        found += controller.found(modality).get("warnings", [])
    if controller.parameters is not None and controller.networks.choice() is None:
        found.append(_("The network that this scene was made with is not on this computer; choose another one."))
    return list(dict.fromkeys(found))


def _looksSwapped(mr: Any, us: Any) -> bool:
    return (volumes.guess_modality(mr), volumes.guess_modality(us)) == ("us", "mr")
