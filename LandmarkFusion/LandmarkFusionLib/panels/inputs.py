"""Volumes, orientation of the ultrasound, device, and the buttons that start a detection."""

from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import setEnabled
from LandmarkFusionLib.status import DONE, ERROR, INFO
from LandmarkFusionLogic import orientation
from LandmarkFusionLogic.mrml import volumes


class InputsPanel:
    """Shows and serves ``Inputs.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        ui.detectButton.clicked.connect(lambda: controller.detect("mr", "us"))
        ui.detectMrButton.clicked.connect(lambda: controller.detect("mr"))
        ui.detectUsButton.clicked.connect(lambda: controller.detect("us"))
        ui.cancelButton.clicked.connect(lambda: controller.cancel())
        ui.flipLrButton.clicked.connect(lambda: controller.flip("lr"))
        ui.flipApButton.clicked.connect(lambda: controller.flip("ap"))
        ui.flipSiButton.clicked.connect(lambda: controller.flip("si"))
        ui.confirmButton.clicked.connect(lambda: controller.toggleOrientation())

    def update(self) -> None:
        """Show what there is now."""
        self._updateDetection()
        self._updateStatus()
        for modality, label in (("mr", self._ui.mrAxesLabel), ("us", self._ui.usAxesLabel)):
            label.setText(_axes(self._controller.volume(modality)))
        self._updateOrientation()

    def _updateDetection(self) -> None:
        ui, controller = self._ui, self._controller
        busy = controller.detection.isBusy()
        running = _("A job is running; wait for it or cancel it.") if busy else ""
        setEnabled(
            ui.detectButton,
            running or controller.problem("mr", "us"),
            _("Find the three landmarks in both images and lay the MR over the ultrasound."),
        )
        setEnabled(
            ui.detectMrButton,
            running or controller.problem("mr"),
            _("Find the landmarks of the MR; those of the ultrasound stay."),
        )
        setEnabled(
            ui.detectUsButton,
            running or controller.problem("us"),
            _("Find the landmarks of the ultrasound, for instance of a new sweep; those of the MR stay."),
        )
        ui.progressRow.setVisible(busy)
        ui.progressBar.setValue(round(100 * controller.detection.fraction))

    def _updateStatus(self) -> None:
        kind, text = self._controller.status
        if self._controller.detection.isBusy():
            kind, text = INFO, self._controller.detection.text or text
        heading = {INFO: "", DONE: "✓ ", ERROR: _("Error: ")}[kind]
        self._ui.statusLabel.setText(heading + text if text else self._hint())

    def _hint(self) -> str:
        problem = self._controller.problem("mr", "us")
        return problem or _("Detect the landmarks, or place them by hand in the tables below.")

    def _updateOrientation(self) -> None:
        ui, node = self._ui, self._controller.volume("us")
        ui.orientationFrame.setVisible(node is not None)
        confirmed = volumes.orientation_confirmed(node)
        flips = [orientation.FLIP_NAMES[name] for name in volumes.flips(node)] if node is not None else []
        flipped = " " + _("Flipped: {flips}.").format(flips=", ".join(flips)) if flips else ""
        if confirmed:
            ui.orientationLabel.setText("✓ " + _("The orientation of the ultrasound is confirmed.") + flipped)
            ui.confirmButton.setText(_("Check again"))
        else:
            ui.orientationLabel.setText(
                "⚠ "
                + _(
                    "Is left left in this ultrasound? The landmarks lie in the midline and fit a mirrored image just "
                    "as well. Compare it with the MR or the probe’s mark; flip it if needed, then confirm."
                )
                + flipped
            )
            ui.confirmButton.setText(_("Orientation is right"))
        for button in (ui.flipLrButton, ui.flipApButton, ui.flipSiButton):
            button.setVisible(not confirmed)
            button.setEnabled(not self._controller.detection.isBusy())


def _axes(node: Any) -> str:
    """Where a volume's axes point in the patient, and its voxel size."""
    if node is None or node.GetImageData() is None:
        return ""
    columns, rows, slices = orientation.axis_marks(volumes.ijk_to_ras(node))
    spacing = " × ".join(f"{size:.3g}" for size in node.GetSpacing())
    return _("Axes i, j, k point to {columns}, {rows}, {slices} · {spacing} mm").format(
        columns=columns, rows=rows, slices=slices, spacing=spacing
    )
