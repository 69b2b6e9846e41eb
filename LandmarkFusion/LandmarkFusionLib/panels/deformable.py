"""The deformable registration: volumes, landmarks that guide, progress, result and what to be careful about."""

from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLib import matchers, outcome, refining
from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.common import Table, setEnabled
from LandmarkFusionLogic.mrml import deforminputs

FILES_AND_FOLDERS = 0x0001 | 0x0002
"""ctkPathLineEdit: Dirs and Files."""


class DeformablePanel:
    """Shows and serves ``Deformable.ui``."""

    def __init__(self, ui: Any, controller: Controller):
        self._ui = ui
        self._controller = controller
        self._deformable = controller.deformable
        self._offered: list[tuple[str, str]] = []
        self._log = ""
        self._logWanted = False
        self._table = Table(ui.deformTable, [_("Point"), _("Before (mm)"), _("After (mm)")])
        ui.deformElastixPath.filters = FILES_AND_FOLDERS
        ui.deformElastixPath.currentPathChanged.connect(self._onElastix)
        ui.deformLandmarksSelector.connect("activated(int)", self._onSource)
        ui.deformFixedMaskSelector.currentNodeChanged.connect(lambda node: controller.setNode("deformFixedMask", node))
        ui.deformMovingMaskSelector.currentNodeChanged.connect(
            lambda node: controller.setNode("deformMovingMask", node)
        )
        ui.deformRegionSelector.nodeAddedByUser.connect(self._onRegion)
        ui.deformFindButton.clicked.connect(lambda: self._deformable.findLandmarks())
        ui.deformRegisterButton.clicked.connect(lambda: self._deformable.register())
        ui.deformUndoButton.clicked.connect(lambda: self._deformable.undo())
        ui.deformCancelButton.clicked.connect(lambda: controller.cancel())
        ui.deformPlotButton.clicked.connect(lambda: self._onPlot())
        ui.deformLogButton.clicked.connect(lambda: self._onLog())

    def update(self) -> None:
        """Show what there is now."""
        ui = self._ui
        if self._controller.parameters is not None:
            ui.deformFixedMaskSelector.setCurrentNode(self._deformable.node("FixedMask"))
            ui.deformMovingMaskSelector.setCurrentNode(self._deformable.node("MovingMask"))
        self._updateSources()
        self._updateButtons()
        self._updateProgress()
        self._updatePairs()
        self._updateResult()
        self._updateLog()

    def _updateSources(self) -> None:
        ui, source = self._ui, self._deformable.source()
        offered = [(each.name, each.title) for each in self._deformable.sources]
        if source is None:
            offered.append(("", _("not on this computer")))
        if offered != self._offered:
            self._offered = offered
            ui.deformLandmarksSelector.clear()
            ui.deformLandmarksSelector.addItems([title for _name, title in offered])
        names = [name for name, _title in offered]
        ui.deformLandmarksSelector.setCurrentIndex(names.index(source.name if source is not None else ""))
        refined = refining.isChosen(self._deformable)
        other = _("The refinement takes the landmarks of the rigid fit.") if refined else ""
        setEnabled(
            ui.deformLandmarksSelector, self._running() or other, _("What guides the registration beside the images.")
        )
        own = source is not None and source.name == matchers.POINTS
        ui.deformPointsHint.setText(
            refining.guides(self._deformable)
            if refined
            else _("Points of equal names guide the registration.")
            if own
            else _("Optional: points of equal names judge the registration (TRE); they do not guide it.")
        )

    def _updateButtons(self) -> None:
        ui, own, running = self._ui, self._deformable, self._running()
        refined = refining.isChosen(own)
        other = _("The refinement finds its matches by itself.") if refined else ""
        setEnabled(
            ui.deformFindButton,
            running or other or own.missing(finding=True),
            _("Find pairs of points that show the same anatomy; delete wrong ones before you register."),
        )
        setEnabled(
            ui.deformRegisterButton,
            running or own.missing(),
            _("Bring the gland of the moving volume nearer to that of the fixed one.")
            if refined
            else _("Guided by the pairs that are shown.")
            if own.hasFound()
            else _("Bring the moving volume onto the fixed one; landmarks are found on the way if need be."),
        )
        undoable = own.undoable()
        setEnabled(ui.deformUndoButton, running or ("" if undoable else _("Nothing to take back.")), undoable)
        done = "" if own.result() is not None else _("There is no result yet.")
        setEnabled(ui.deformShowSelector, done, _("How the fixed and the deformed volume are compared in the views."))
        plotted = "" if own.metric.canShow() else _("Nothing has been registered in this session.")
        setEnabled(ui.deformPlotButton, plotted, _("Show the metric beside the views, live, or hide it."))
        ui.deformPlotButton.setText(_("Hide plot") if own.metric.isShown() else _("Metric plot"))

    def _updateProgress(self) -> None:
        ui, own = self._ui, self._deformable
        ui.deformProgressRow.setVisible(own.isBusy())
        ui.deformProgressBar.setValue(round(100 * own.fraction))
        ui.deformStatusLabel.setText(own.text)
        ui.deformStatusLabel.setVisible(own.isBusy())

    def _updatePairs(self) -> None:
        ui, pairs = self._ui, self._deformable.pairs
        ui.deformPairsRow.setVisible(pairs.lists is not None)
        text = _("{shown} of {count} pairs, confidence ≥")
        ui.deformPairsLabel.setText(text.format(shown=pairs.shown(), count=pairs.count()))

    def _updateResult(self) -> None:
        ui, noted, warnings = self._ui, self._deformable.noted(), self._deformable.warnings()
        ui.deformResultLabel.setText(outcome.summary(noted) if noted else "")
        ui.deformResultLabel.setVisible(bool(noted))
        ui.deformWarningsLabel.setText("\n".join("⚠ " + text for text in warnings))
        ui.deformWarningsLabel.setVisible(bool(warnings))
        rows = outcome.table(noted)
        self._table.show(rows)
        ui.deformTable.setVisible(bool(rows))

    def _updateLog(self) -> None:
        ui, log = self._ui, self._deformable.log
        setEnabled(ui.deformLogButton, "" if log else _("elastix has not run yet."), _("Show or hide elastix’s log."))
        if log != self._log:
            self._log = log
            ui.deformLogText.setPlainText(log)
        ui.deformLogText.setVisible(bool(log) and self._logWanted)

    def _running(self) -> str:
        return _("A job is running; wait for it or cancel it.") if self._controller.isBusy() else ""

    def _onSource(self, index: int) -> None:
        if 0 <= index < len(self._offered) and self._controller.parameters is not None and self._offered[index][0]:
            self._controller.parameters.deformLandmarks = self._offered[index][0]

    def _onRegion(self, node: Any) -> None:
        fixed = self._deformable.node("Fixed")
        if fixed is not None:
            deforminputs.fit_region(node, fixed)

    def _onElastix(self, path: str) -> None:
        self._deformable.elastix = path

    def _onPlot(self) -> None:
        self._deformable.metric.toggle()
        self.update()

    def _onLog(self) -> None:
        self._logWanted = not self._logWanted
        self.update()
