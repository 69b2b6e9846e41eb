"""Targets of the MR in the ultrasound: which, where they lie, and how far they may be off."""

from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import Table


class TargetsPanel:
    """Shows and serves ``Targets.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        self._table = Table(ui.targetsTable, [_("Target"), _("R, A, S in the US (mm)"), _("Expected error")])
        ui.targetsSelector.currentNodeChanged.connect(lambda node: controller.setNode("targets", node))

    def update(self) -> None:
        """Show what there is now."""
        ui, targets = self._ui, self._controller.targets
        if self._controller.parameters is not None:
            ui.targetsSelector.setCurrentNode(self._controller.targetsNode())
        self._table.show([_texts(target) for target in targets.carried])
        ui.targetsTable.setVisible(bool(targets.carried))
        ui.targetsLabel.setText(self._text())

    def _text(self) -> str:
        controller, targets = self._controller, self._controller.targets
        if targets.problem:
            return "⚠ " + targets.problem
        if controller.targetsNode() is None:
            return _(
                "Choose the lesions that are marked in the MR; they are shown in the ultrasound as “Targets in US”."
            )
        if controller.live.fit is None:
            return _("They are carried over as soon as there is a fit.")
        return _("The expected error holds for the gland as a rigid body; it follows every landmark.")


def _texts(target: Any) -> list[str]:
    position = ", ".join(f"{value:.1f}" for value in target.centre)
    return [target.name, position, _("±{error:.1f} mm").format(error=target.expected_error)]
