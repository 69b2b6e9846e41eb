"""CT and X-ray: geometry, initial pose, alignment, result and what to be careful about."""

from typing import Any

import qt
from slicer.i18n import tr as _

from LandmarkFusionLib import projectiongeometry, projectionoutcome
from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import Table, setEnabled
from LandmarkFusionLib.projectionparameters import ProjectionComparison
from LandmarkFusionLib.status import DONE, ERROR, INFO
from LandmarkFusionLogic.projection import carm

_FORM = (
    *("Sdd", "Isocenter", "Rows", "Columns", "RowSpacing", "ColumnSpacing"),
    *("Primary", "Secondary", "Primary2", "Secondary2"),
)
_SLIDERS = ("RX", "RY", "RZ", "TX", "TY", "TZ")


class ProjectionPanel:
    """Shows and serves ``Projection.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        self._own = controller.projection
        self._presets = carm.presets()
        self._table = Table(ui.projectionTable, [_("Pose"), _("Before"), _("After"), _("Change")])
        titles = [str(each.get("name", name)) for name, each in self._presets.items()]
        ui.projectionPresetSelector.addItems([_("Choose a C-arm…"), *titles])
        ui.projectionPresetSelector.connect("activated(int)", self._onPreset)
        ui.projectionLoadButton.clicked.connect(lambda: self._load("Xray"))
        ui.projectionLoad2Button.clicked.connect(lambda: self._load("Xray2"))
        ui.projectionResetButton.clicked.connect(lambda: self._own.resetPose())
        ui.projectionMatchButton.clicked.connect(lambda: self._own.matchPoints())
        ui.projectionEstimateButton.clicked.connect(lambda: self._own.estimate())
        ui.projectionAlignButton.clicked.connect(lambda: self._own.align())
        ui.projectionUndoButton.clicked.connect(lambda: self._own.undo())
        ui.projectionCancelButton.clicked.connect(lambda: controller.cancel())
        ui.projectionViewsButton.clicked.connect(lambda: self._own.toggleViews())
        ui.projectionPlotButton.clicked.connect(lambda: self._onPlot())

    def update(self) -> None:
        """Show what there is now."""
        if self._controller.parameters is None:
            return
        self._updateForm()
        self._updateButtons()
        self._updateProgress()
        self._updateResult()
        self._updateViews()

    def _updateForm(self) -> None:
        ui, p, running = self._ui, self._controller.parameters.projection, self._running()
        parameters = self._controller.parameters
        ui.projectionSourceLabel.setText(projectiongeometry.sourceText(parameters))
        ui.projectionSourceLabel.setToolTip(projectiongeometry.sourceTip(parameters, self._own.node("Xray")))
        names = [str(each.get("name", name)) for name, each in self._presets.items()]
        chosen = p.source == projectiongeometry.PRESET and p.title in names
        ui.projectionPresetSelector.setCurrentIndex(names.index(p.title) + 1 if chosen else 0)
        for name in _FORM:
            getattr(ui, f"projection{name}Box").setEnabled(not running)
        for name in ("PrincipalRow", "PrincipalColumn"):
            getattr(ui, f"projection{name}Box").setEnabled(not running and not p.centered)
        for widget in (ui.projectionPresetSelector, ui.projectionCenteredCheckBox, ui.projectionMirroredCheckBox):
            widget.setEnabled(not running)
        for name in _SLIDERS:
            getattr(ui, f"projection{name}Slider").setEnabled(not running)

    def _updateButtons(self) -> None:
        ui, own, running = self._ui, self._own, self._running()
        load = _("Read an X-ray from a file, DICOM too; its tags fill in the geometry.")
        setEnabled(ui.projectionLoadButton, running, load)
        setEnabled(ui.projectionLoad2Button, running, load)
        setEnabled(ui.projectionResetButton, running, _("The patient on the back, the middle of the CT centered."))
        setEnabled(
            ui.projectionMatchButton,
            running or own.missingPoints(),
            _("Set the pose by points of equal names in CT and X-ray, four at least, better six, far apart."),
        )
        setEnabled(
            ui.projectionEstimateButton,
            running or own.missing(),
            _("Let a network estimate the pose from one look at both images."),
        )
        setEnabled(
            ui.projectionAlignButton,
            running or own.missing(),
            _("Align the CT with the X-ray, beginning with this pose."),
        )
        undoable = own.undoable()
        setEnabled(ui.projectionUndoButton, running or ("" if undoable else _("Nothing to take back.")), undoable)

    def _updateProgress(self) -> None:
        ui, own = self._ui, self._own
        ui.projectionProgressRow.setVisible(own.isBusy())
        ui.projectionProgressBar.setValue(round(100 * own.fraction))
        kind, text = (INFO, own.text) if own.isBusy() else own.said
        text = {INFO: "", DONE: "✓ ", ERROR: _("Error: ")}[kind] + text if text else ""
        if own.problem and own.problem not in text:
            text = "\n".join(filter(None, [text, _("No live DRR: {reason}").format(reason=own.problem)]))
        ui.projectionStatusLabel.setText(text)
        ui.projectionStatusLabel.setVisible(bool(text))

    def _updateResult(self) -> None:
        ui, noted, warnings = self._ui, self._own.noted(), self._own.warnings()
        ui.projectionResultLabel.setText(projectionoutcome.summary(noted) if noted else "")
        ui.projectionResultLabel.setVisible(bool(noted))
        ui.projectionWarningsLabel.setText("\n".join("⚠ " + text for text in warnings))
        ui.projectionWarningsLabel.setVisible(bool(warnings))
        rows = projectionoutcome.table(noted)
        self._table.show(rows)
        ui.projectionTable.setVisible(bool(rows))

    def _updateViews(self) -> None:
        ui, own, p = self._ui, self._own, self._controller.parameters.projection
        missing = "" if own.node("Ct") is not None or own.node("Xray") is not None else _("Choose the CT first.")
        setEnabled(
            ui.projectionViewsButton,
            missing,
            _("X-ray, DRR and both side by side; the DRR follows the sliders."),
        )
        ui.projectionViewsButton.setText(_("Hide views") if p.shown else _("Show views"))
        plotted = "" if own.views.canPlot() else _("Nothing has been aligned in this session.")
        setEnabled(ui.projectionPlotButton, plotted, _("Show the similarity below the views, live, or hide it."))
        ui.projectionPlotButton.setText(_("Hide plot") if own.views.isPlotShown() else _("Similarity plot"))
        ui.projectionOpacitySlider.setEnabled(p.show is ProjectionComparison.BLEND)

    def _running(self) -> str:
        return _("A job is running; wait for it or cancel it.") if self._controller.isBusy() else ""

    def _onPreset(self, index: int) -> None:
        if 0 < index <= len(self._presets) and self._controller.parameters is not None:
            self._own.takePreset(list(self._presets)[index - 1])

    def _onPlot(self) -> None:
        self._own.views.togglePlot()
        self.update()

    def _load(self, name: str) -> None:
        path = qt.QFileDialog.getOpenFileName(None, _("Choose an X-ray: DICOM, PNG, NRRD …"))
        if path:
            self._own.loading.load(str(path), name)
