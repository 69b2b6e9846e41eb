"""How much of each image the views show, where they are centred, and what is written into them."""

from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import setEnabled
from LandmarkFusionLogic.mrml.errormap import RANGE_MM


class ViewsPanel:
    """Shows and serves ``Views.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        ui.usOnlyButton.clicked.connect(lambda: controller.setOpacity(0.0))
        ui.bothButton.clicked.connect(lambda: controller.setOpacity(0.5))
        ui.mrOnlyButton.clicked.connect(lambda: controller.setOpacity(1.0))
        ui.centerButton.clicked.connect(lambda: controller.center())

    def update(self) -> None:
        """Show what there is now."""
        ui, mr, us = self._ui, self._controller.volume("mr"), self._controller.volume("us")
        both = "" if mr is not None and us is not None else _("Choose both volumes first.")
        setEnabled(ui.usOnlyButton, both, _("Show the ultrasound alone."))
        setEnabled(ui.bothButton, both, _("Show both, half and half."))
        setEnabled(ui.mrOnlyButton, both, _("Show the MR alone."))
        gland = (
            "" if self._controller.overlays.expectedError() is not None else _("It needs a fit and the MR’s gland.")
        )
        setEnabled(ui.errorMapCheckBox, gland, _("Color the gland of the MR by the expected error of the alignment."))
        shown = not gland and self._controller.parameters is not None and self._controller.parameters.showErrorMap
        low, high = RANGE_MM
        ui.errorMapLabel.setText(
            _("Expected error: blue {low:.0f} mm, green {middle:.0f} mm, red {high:.0f} mm and more.").format(
                low=low, middle=(low + high) / 2, high=high
            )
        )
        ui.errorMapLabel.setVisible(shown)
        ui.opacitySlider.setEnabled(not both)
        ui.opacitySlider.setToolTip(both or _("0 shows the ultrasound alone, 1 the MR alone."))
        setEnabled(
            ui.centerButton,
            "" if mr is not None or us is not None else _("Choose a volume first."),
            _("Center all views on the landmarks."),
        )
