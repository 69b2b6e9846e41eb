"""Export of the result, and the worker's log."""

from typing import Any

import qt
from slicer.i18n import tr as _

from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import setEnabled

DIRECTORIES = 1
"""ctkPathLineEdit::Dirs, the same as QDir::Dirs: ask for a folder, not for a file."""


class ReportPanel:
    """Shows and serves ``Report.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        self._folder = ""
        self._log = ""
        self._logged = 0
        ui.exportPath.filters = DIRECTORIES
        ui.exportPath.currentPathChanged.connect(self._onFolder)
        ui.exportButton.clicked.connect(lambda: controller.export(self._folder))
        ui.copyLogButton.clicked.connect(lambda: qt.QApplication.clipboard().setText(self._log))

    def update(self) -> None:
        """Show what there is now."""
        missing = ""
        if self._controller.live.fit is None:
            missing = _("There is no fit to export yet.")
        elif not self._folder:
            missing = _("Choose a folder first.")
        setEnabled(
            self._ui.exportButton,
            missing,
            _("Write the transform, landmarks, glands, targets and the report into the folder."),
        )
        if self._controller.engine.logged != self._logged:
            self._logged = self._controller.engine.logged
            self._log = self._controller.engine.log()
            self._ui.logText.setPlainText(self._log)
        setEnabled(
            self._ui.copyLogButton,
            "" if self._log else _("The worker has not run yet."),
            _("Copy what the worker process wrote, for a bug report."),
        )

    def _onFolder(self, path: str) -> None:
        self._folder = path
        self.update()
