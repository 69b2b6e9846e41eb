"""The metric of the running registration as a plot in the layout, and elastix's log."""

import os

import slicer

from LandmarkFusionLogic.mrml.metricplot import MetricPlot

METRIC, LOG = "metric.csv", "elastix.log"
LOG_BYTES = 2_000_000


class LiveMetric:
    """Follows the files in a job's folder; nothing of it is saved with the scene."""

    def __init__(self):
        self._plot: MetricPlot | None = None
        self._formerLayout: int | None = None
        self._wanted = False

    def start(self) -> None:
        """A registration begins: what the last one has left goes."""
        wanted = self._wanted
        self.remove()
        self._wanted = wanted

    def follow(self, folder: str) -> None:
        """Show what has been added since."""
        if self._plot is None:
            self._plot = MetricPlot(slicer.mrmlScene, os.path.join(folder, METRIC))
        self._plot.update()
        if self._wanted and self._formerLayout is None:
            self.show()

    def canShow(self) -> bool:
        """Whether there is anything to plot."""
        return self._plot is not None and self._plot.chart is not None

    def isShown(self) -> bool:
        """Whether the layout has been changed for the plot."""
        return self._formerLayout is not None

    def toggle(self) -> None:
        """Show the plot in the layout, or bring the layout back that there was."""
        if self.isShown():
            self._wanted = False
            self.hide()
        else:
            self.show()

    def show(self) -> None:
        """Show the plot beside the views."""
        self._wanted = True
        if self.canShow():
            self._formerLayout = slicer.app.layoutManager().layout
            slicer.modules.plots.logic().ShowChartInLayout(self._plot.chart)

    def hide(self) -> None:
        """Bring the layout back that there was."""
        if self._formerLayout is not None:
            slicer.app.layoutManager().setLayout(self._formerLayout)
            self._formerLayout = None

    def remove(self) -> None:
        """Take the plot out of the scene and the layout."""
        self.hide()
        self._wanted = False
        if self._plot is not None:
            self._plot.remove()
            self._plot = None

    @staticmethod
    def log(folder: str) -> str:
        """elastix's log as it is in the folder, or ""."""
        try:
            with open(os.path.join(folder, LOG), "rb") as stream:
                return stream.read(LOG_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""
