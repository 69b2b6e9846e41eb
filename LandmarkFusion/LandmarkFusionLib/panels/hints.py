"""Help where the prostate was missed: a click into it, or a mask."""

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLib import checks
from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import setEnabled


class HintsPanel:
    """Shows and serves ``Hints.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        for modality in ("mr", "us"):
            getattr(ui, f"{modality}ClickButton").clicked.connect(_pressed(controller.hints.click, modality))
            getattr(ui, f"{modality}MaskButton").clicked.connect(_pressed(controller.hints.useMask, modality))
            getattr(ui, f"{modality}MaskSelector").currentNodeChanged.connect(_chosen(controller, f"{modality}Mask"))

    def update(self) -> None:
        """Show what there is now."""
        controller = self._controller
        running = _("A job is running; wait for it or cancel it.") if controller.isBusy() else ""
        for modality in ("mr", "us"):
            selector = getattr(self._ui, f"{modality}MaskSelector")
            mask = controller.mask(modality)
            if controller.parameters is not None:
                selector.setCurrentNode(mask)
            problem = running or checks.problem(controller, modality)
            setEnabled(
                getattr(self._ui, f"{modality}ClickButton"),
                problem,
                _("Then click into the middle of the prostate; its landmarks are looked for there."),
            )
            setEnabled(
                getattr(self._ui, f"{modality}MaskButton"),
                problem or ("" if mask is not None else _("Choose a segmentation of the prostate first.")),
                _("Look for the landmarks at this mask."),
            )


def _pressed(action: Callable[[str], None], modality: str) -> Callable[[], None]:
    return lambda: action(modality)


def _chosen(controller: Controller, name: str) -> Callable[[Any], None]:
    return lambda node: controller.setNode(name, node)
