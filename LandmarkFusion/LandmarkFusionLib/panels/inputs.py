"""Volumes, orientation of the ultrasound, device, and the buttons that start a detection."""

from typing import Any

import qt
from slicer.i18n import tr as _

from LandmarkFusionLib import checks
from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import setEnabled
from LandmarkFusionLib.status import DONE, ERROR, INFO
from LandmarkFusionLogic import orientation
from LandmarkFusionLogic.landmarks import choices as networks
from LandmarkFusionLogic.landmarks.choices import NetworkChoice
from LandmarkFusionLogic.mrml import volumes

KINDS = {
    networks.SIMULATION: "simulation only",
    networks.RESEARCH: "research network",
    networks.OWN: "own network",
}
"""What stands behind a network's name in the result."""

_ONE_NETWORK = {
    networks.SIMULATION: "this network has learned from simulated images only.",
    networks.RESEARCH: "this network was tuned on a few real cases: for research, see its model card.",
}


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
        ui.addNetworkButton.clicked.connect(lambda: self._addNetwork())
        ui.networkSelector.connect("activated(int)", self._onNetwork)
        self._offered: list[tuple[str, str]] = []

    def update(self) -> None:
        """Show what there is now."""
        self._updateDetection()
        self._updateNetworks()
        self._updateStatus()
        self._updateResult()
        for modality, label in (("mr", self._ui.mrAxesLabel), ("us", self._ui.usAxesLabel)):
            label.setText(_axes(self._controller.volume(modality)))
        self._updateOrientation()

    def _updateDetection(self) -> None:
        ui, controller = self._ui, self._controller
        busy = controller.isBusy()
        running = _("A job is running; wait for it or cancel it.") if busy else ""
        setEnabled(
            ui.detectButton,
            running or checks.problem(controller, "mr", "us"),
            _("Find the three landmarks in both images and lay the MR over the ultrasound."),
        )
        setEnabled(
            ui.detectMrButton,
            running or checks.problem(controller, "mr"),
            _("Find the landmarks of the MR; those of the ultrasound stay."),
        )
        setEnabled(
            ui.detectUsButton,
            running or checks.problem(controller, "us"),
            _("Find the landmarks of the ultrasound, for instance of a new sweep; those of the MR stay."),
        )
        ui.progressRow.setVisible(busy)
        ui.progressBar.setValue(round(100 * controller.progress()[0]))

    def _updateStatus(self) -> None:
        kind, text = self._controller.status
        if self._controller.isBusy():
            kind, text = INFO, self._controller.progress()[1] or text
        heading = {INFO: "", DONE: "✓ ", ERROR: _("Error: ")}[kind]
        self._ui.statusLabel.setText(heading + text if text else self._hint())

    def _updateNetworks(self) -> None:
        ui, controller = self._ui, self._controller
        offered = [(each.key, each.title) for each in controller.networks.available]
        chosen = controller.networks.choice()
        if chosen is None:
            offered.append(("", _("not on this computer")))
        if offered != self._offered:
            self._offered = offered
            ui.networkSelector.clear()
            ui.networkSelector.addItems([title for _key, title in offered])
        keys = [key for key, _title in offered]
        ui.networkSelector.setCurrentIndex(keys.index(chosen.key if chosen is not None else ""))
        running = _("A job is running; wait for it or cancel it.") if controller.isBusy() else ""
        setEnabled(ui.networkSelector, running, _tip(chosen))
        setEnabled(ui.addNetworkButton, running, _("Choose a folder with networks of your own."))

    def _onNetwork(self, index: int) -> None:
        if 0 <= index < len(self._offered):
            self._controller.networks.choose(self._offered[index][0])

    def _addNetwork(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(None, _("Choose a folder with networks"))
        if folder:
            self._controller.networks.add(str(folder))

    def _updateResult(self) -> None:
        lines = filter(None, (self._result(modality) for modality in ("mr", "us")))
        text = "\n".join(lines)
        self._ui.resultLabel.setText(text)
        self._ui.resultLabel.setVisible(bool(text))

    def _result(self, modality: str) -> str:
        """What found the landmarks of an image, and what it says of the gland; "" where nothing was detected."""
        controller = self._controller
        found = controller.found(modality)
        if not found:
            return ""
        kind = KINDS.get(found.get("kind", ""), "")
        parts = [f"{modality.upper()}: {found['model']}" + (f" ({_(kind)})" if kind else "")]
        gland = controller.overlays.knownGland(modality)
        if gland is not None:
            parts.append(_("gland {volume:.0f} ml").format(volume=gland.millilitres))
        if found.get("coverage") is not None:
            parts.append(_("{share:.0%} of the gland’s surroundings seen").format(share=found["coverage"]))
        if found.get("disagreement_mm"):
            worst = max(found["disagreement_mm"].values())
            parts.append(_("two networks differ by up to {worst:.0f} mm").format(worst=worst))
        return " · ".join(parts)

    def _hint(self) -> str:
        problem = checks.problem(self._controller, "mr", "us")
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
            button.setEnabled(not self._controller.isBusy())


def _tip(choice: NetworkChoice | None) -> str:
    if choice is None:
        return _("The network that this scene was made with is not on this computer; choose another one.")
    if len(set(choice.kinds.values())) > 1:
        return "\n".join(
            f"{modality.upper()}: {_(_ONE_NETWORK[kind])}"
            for modality, kind in choice.kinds.items()
            if kind in _ONE_NETWORK
        )
    return {
        networks.SIMULATION: _("These networks have learned from simulated images only."),
        networks.RESEARCH: _("These networks were tuned on a few real cases: for research, see their model cards."),
        networks.OWN: _("These networks were trained on this computer or added from a folder."),
    }[choice.kind]


def _axes(node: Any) -> str:
    """Where a volume's axes point in the patient, and its voxel size."""
    if node is None or node.GetImageData() is None:
        return ""
    columns, rows, slices = orientation.axis_marks(volumes.ijk_to_ras(node))
    spacing = " × ".join(f"{size:.3g}" for size in node.GetSpacing())
    return _("Axes i, j, k point to {columns}, {rows}, {slices} · {spacing} mm").format(
        columns=columns, rows=rows, slices=slices, spacing=spacing
    )
