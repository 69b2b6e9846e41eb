"""One table of landmarks an image, and what can be done with the selected one."""

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import Table, setEnabled
from LandmarkFusionLogic.mrml.landmarks import Row
from LandmarkFusionLogic.points import DETECTED, EDITED, LANDMARK_NAMES, PLACED, spread


class LandmarksPanel:
    """Shows and serves ``Landmarks.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        self._images = [_Image(ui, controller, modality) for modality in ("mr", "us")]
        ui.checkButton.clicked.connect(lambda: controller.editing.checkNext())
        ui.addPairButton.clicked.connect(lambda: controller.editing.addPair())
        ui.undoButton.clicked.connect(lambda: controller.editing.undo())

    def update(self) -> None:
        """Show what there is now."""
        for image in self._images:
            image.update()
        self._updateCheck()
        mr, us = self._controller.volume("mr"), self._controller.volume("us")
        setEnabled(
            self._ui.addPairButton,
            "" if mr is not None and us is not None else _("Choose both volumes first."),
            _("Add one more landmark to both images; more pairs make the fit surer."),
        )
        setEnabled(
            self._ui.undoButton,
            "" if self._controller.editing.history.canUndo() else _("No step on the landmarks to take back."),
            _("Take back the last step on the landmarks."),
        )

    def _updateCheck(self) -> None:
        waiting = self._controller.editing.toCheck()
        for widget in (self._ui.checkLabel, self._ui.checkButton):
            widget.setVisible(bool(waiting))
        if waiting:
            modality, row = waiting[0]
            text = _("⚠ {count} to check, least certain first: {name} in the {image}.")
            self._ui.checkLabel.setText(text.format(count=len(waiting), name=row.name, image=modality.upper()))
            self._ui.checkButton.setToolTip(_("Move the views through the least certain landmark."))


class _Image:
    """The half of the panel that belongs to one image."""

    def __init__(self, ui: Any, controller: Controller, modality: str):
        self._controller = controller
        self._modality = modality
        self._table = Table(
            getattr(ui, f"{modality}Table"),
            [_("Landmark"), _("R, A, S (mm)"), _("Error (mm)"), _("State"), _("Lock")],
        )
        self._buttons = {
            name: getattr(ui, f"{modality}{name}Button") for name in ("Place", "Jump", "Reset", "Lock", "Remove")
        }
        for name, action in (
            ("Place", controller.editing.place),
            ("Jump", controller.editing.jump),
            ("Reset", controller.editing.reset),
            ("Lock", controller.editing.toggleLock),
            ("Remove", controller.editing.remove),
        ):
            self._buttons[name].clicked.connect(_pressed(action, modality))
        getattr(ui, f"{modality}Table").cellClicked.connect(self._onCell)

    def update(self) -> None:
        rows = self._controller.rows(self._modality)
        selected = self._controller.editing.selected(self._modality)
        names = [row.name for row in rows]
        current = names.index(selected.name) if selected is not None else -1
        asked = {row.name for modality, row in self._controller.editing.toCheck() if modality == self._modality}
        self._table.show([_texts(row, row.name in asked) for row in rows], current)
        self._updateButtons(selected)

    def _updateButtons(self, row: Row | None) -> None:
        missing = ""
        if self._controller.volume(self._modality) is None:
            missing = _("Choose the {image} volume first.").format(image=self._modality.upper())
        elif row is None:
            missing = _("Choose a landmark in the table first.")
        placed = row is not None and row.landmark is not None
        locked = _("The landmark is locked.") if row is not None and row.locked else ""
        unplaced = "" if placed else _("The landmark is not placed yet.")
        undetected = _("The landmark was not detected.") if row is None or row.detected is None else ""
        buttons = self._buttons
        setEnabled(buttons["Place"], missing or locked, _("Then click in a view: the landmark goes there."))
        setEnabled(buttons["Jump"], missing or unplaced, _("Move the views through the landmark."))
        setEnabled(buttons["Reset"], missing or undetected or locked, _("Put the landmark where it was detected."))
        setEnabled(buttons["Lock"], missing or unplaced, _("Guard the landmark against being moved, or release it."))
        buttons["Lock"].setText(_("Unlock") if locked else _("Lock"))
        extra = row is not None and row.name not in LANDMARK_NAMES
        setEnabled(
            buttons["Remove"],
            missing or locked or ("" if placed or extra else unplaced),
            _("Take the landmark’s position away; an extra pair goes from both images."),
        )

    def _onCell(self, row: int, column: int) -> None:
        rows = self._controller.rows(self._modality)
        if 0 <= row < len(rows):
            self._controller.editing.select(self._modality, rows[row].name)
            self._controller.editing.jump(self._modality)


def _pressed(action: Callable[[str], None], modality: str) -> Callable[[], None]:
    return lambda: action(modality)


def _state(state: str) -> str:
    return {DETECTED: _("detected"), EDITED: _("edited"), PLACED: _("placed")}[state]


def _texts(row: Row, asked: bool) -> list[str]:
    lock = _("locked") if row.locked else "–"
    if row.landmark is None:
        return [row.name, "–", "–", _("not placed"), lock]
    position = ", ".join(f"{value:.1f}" for value in row.landmark.position)
    unsure = "–"
    if row.landmark.covariance is not None:
        unsure = _("±{spread:.1f}").format(spread=spread(row.landmark.covariance))
        unsure += " ⚠" if asked else " ✓" if row.checked else ""
    return [row.name, position, unsure, _state(row.landmark.state), lock]
