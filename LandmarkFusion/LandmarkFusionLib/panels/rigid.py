"""The fit: how well the landmarks agree, what to be careful about, and the transform itself."""

from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from LandmarkFusionLib import checks
from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import Table, setEnabled


class RigidPanel:
    """Shows and serves ``Rigid.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        self._table = Table(ui.freTable, [_("Landmark"), _("FRE (mm)"), _("Expected error (mm)")])
        self._matrix = ""
        ui.copyMatrixButton.clicked.connect(lambda: qt.QApplication.clipboard().setText(self._matrix))
        ui.invertButton.clicked.connect(lambda: controller.makeInverse())

    def update(self) -> None:
        """Show what there is now."""
        ui, fit = self._ui, self._controller.live.fit
        expected = self._controller.expectedErrors()
        rows = (
            []
            if fit is None
            else [
                [name, f"{error:.2f}", f"{expected[name]:.1f}" if name in expected else "–"]
                for name, error in fit.errors.items()
            ]
        )
        ui.errorLabel.setText(self._expected())
        ui.errorLabel.setVisible(fit is not None)
        self._table.show(rows)
        ui.freTable.setVisible(fit is not None)
        ui.fitLabel.setText(self._summary())
        warnings = checks.warnings(self._controller)
        ui.warningsLabel.setText("\n".join("⚠ " + text for text in warnings))
        ui.warningsLabel.setVisible(bool(warnings))
        self._matrix = (
            "" if fit is None else "\n".join("  ".join(f"{value:9.4f}" for value in row) for row in fit.mr_to_us)
        )
        ui.matrixLabel.setText(self._matrix)
        ui.matrixLabel.setVisible(fit is not None)
        missing = "" if fit is not None else _("There is no fit yet.")
        setEnabled(ui.copyMatrixButton, missing, _("Copy the matrix MR to US (RAS, mm) as text."))
        setEnabled(ui.invertButton, missing, _("Make a transform “US to MR”, the inverse of the fit as it is now."))
        setEnabled(
            ui.appliedCheckBox,
            missing,
            _("Put the MR and its landmarks under the transform “MR to US”, or take them out of it."),
        )

    def _expected(self) -> str:
        error = self._controller.overlays.expectedError()
        if error is not None:
            return _("Expected error {error:.1f} mm over the gland.").format(error=error)
        errors = list(self._controller.expectedErrors().values())
        if not errors:
            return ""
        mean = float(np.sqrt(np.mean(np.square(errors))))
        return _("Expected error {error:.1f} mm at the landmarks.").format(error=mean)

    def _summary(self) -> str:
        fit = self._controller.live.fit
        if fit is None:
            kept = "" if self._controller.transform() is None else " " + _("The transform is kept as it was.")
            return (self._controller.live.problem or _("Choose both volumes and place their landmarks.")) + kept
        text = _(
            "FRE {rms:.2f} mm (root mean square of {count} landmarks). FRE says how well the landmarks agree, not how "
            "accurate the alignment is."
        ).format(rms=fit.rms, count=len(fit.errors))
        if fit.unmatched:
            text += " " + _("In one image only, left out: {names}.").format(names=", ".join(fit.unmatched))
        return text
