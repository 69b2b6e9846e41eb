"""Keeping corrected cases, and training on them."""

from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import setEnabled
from LandmarkFusionLogic.jobs import FineTuneResult

DIRECTORIES = 1
"""ctkPathLineEdit::Dirs: ask for a folder, not for a file."""


class LearningPanel:
    """Shows and serves ``Learning.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        self._folder = ""
        ui.casesPath.filters = DIRECTORIES
        ui.casesPath.currentPathChanged.connect(self._onFolder)
        ui.keepButton.clicked.connect(lambda: controller.learning.keep(self._folder))
        ui.trainButton.clicked.connect(lambda: controller.learning.train(self._folder))
        ui.trainingCancelButton.clicked.connect(lambda: controller.cancel())

    def update(self) -> None:
        """Show what there is now."""
        ui, controller, learning = self._ui, self._controller, self._controller.learning
        running = _("A job is running; wait for it or cancel it.") if controller.isBusy() else ""
        folder = "" if self._folder else _("Choose a folder for the training cases first.")
        setEnabled(
            ui.keepButton,
            running or learning.missing() or folder,
            _(
                "Keep both images with their landmarks in the folder, and glands that you have drawn or corrected; "
                "a gland that was found and not corrected is left out."
            ),
        )
        setEnabled(
            ui.trainButton,
            running or folder,
            _("Fine-tune the networks on the kept cases: minutes on a CPU, at least three patients."),
        )
        ui.trainingRow.setVisible(learning.isBusy())
        ui.trainingBar.setValue(round(100 * learning.fraction))
        done = [*(_outcome(each) for each in learning.outcome), *learning.problems]
        text = learning.text if learning.isBusy() else "\n".join(done)
        ui.trainingLabel.setText(text)
        ui.trainingLabel.setVisible(bool(text))

    def _onFolder(self, path: str) -> None:
        self._folder = path
        self.update()


def _outcome(result: FineTuneResult) -> str:
    """Old against new, as cross-validation found them."""
    parts = []
    if result.old_mm is not None and result.new_mm is not None:
        parts.append(
            _("landmarks {old:.1f} mm before, {new:.1f} mm after").format(old=result.old_mm, new=result.new_mm)
        )
    if result.old_dice is not None and result.new_dice is not None:
        parts.append(
            _("gland Dice {old:.2f} before, {new:.2f} after").format(old=result.old_dice, new=result.new_dice)
        )
    verdict = _("better, can be chosen") if result.out is not None else _("not better, not kept")
    return _("{image}, {count} cases, cross-validated: {figures}: {verdict}.").format(
        image=result.modality.upper(), count=result.cases, figures="; ".join(parts), verdict=verdict
    )
