"""The metric of a running registration as a plot of Slicer's own: tables, series and a chart.

Follows the run and is not saved with the scene. The file has the columns stage, resolution, iteration, metric and
seconds; it may end in the middle of a line while it is being written.
"""

from __future__ import annotations

import os
from typing import Any

from LandmarkFusionLogic.mrml import transforms

Node = Any

KIND = "registration-metric"
_COLORS = {"affine": (0.25, 0.55, 0.95), "deformable": (0.95, 0.55, 0.15)}
_OTHER = (0.5, 0.5, 0.5)


class MetricPlot:
    """Reads what has been added to the file since the last `update` and shows it, one series a stage."""

    name, title, value = "Registration metric", "Registration metric (smaller is better)", "Metric"
    """Of the chart, above it, and beside its axis."""

    def __init__(self, scene: Node, path: str) -> None:
        self.last: tuple[str, int, int, float] | None = None
        """Stage, resolution, iteration and metric of the newest line."""
        self._scene = scene
        self._path = path
        self._offset = 0
        self._count = 0
        self._tables: dict[str, Node] = {}
        self._nodes: list[Node] = []
        self._chart: Node = None

    @property
    def chart(self) -> Node:
        """The chart, or None while there is nothing to show."""
        return self._chart if self._chart is not None and self._chart.GetScene() is not None else None

    def update(self) -> None:
        """Add the new lines of the file."""
        rows = [row for row in map(self.row, self._lines()) if row is not None]
        for stage in dict.fromkeys(row[0] for row in rows):
            table = self._table(stage).GetTable()
            for _stage, resolution, iteration, metric in (row for row in rows if row[0] == stage):
                self._count += 1
                self.last = stage, resolution, iteration, metric
                number = table.InsertNextBlankRow()
                for column, value in enumerate((self._count, metric, resolution)):
                    table.GetColumn(column).SetValue(number, value)
            table.Modified()
            self._tables[stage].Modified()

    def remove(self) -> None:
        """Take the nodes out of the scene."""
        for node in reversed(self._nodes):
            if node.GetScene() is not None:
                self._scene.RemoveNode(node)
        self._nodes, self._tables, self._chart = [], {}, None

    @staticmethod
    def row(line: str) -> tuple[str, int, int, float] | None:
        """Stage, resolution, iteration and metric of a line; None for the heading, or a line that elastix broke."""
        parts = line.split(",")
        try:
            return parts[0].strip(), int(parts[1]), int(parts[2]), float(parts[3])
        except (IndexError, ValueError):
            return None

    def _lines(self) -> list[str]:
        try:
            if os.path.getsize(self._path) <= self._offset:
                return []
            with open(self._path, "rb") as stream:
                stream.seek(self._offset)
                text = stream.read()
        except OSError:
            return []  # Not there yet.
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode("utf-8", "replace").splitlines()

    def _table(self, stage: str) -> Node:
        if stage in self._tables:
            return self._tables[stage]
        table = self._add("vtkMRMLTableNode", f"{self.value} of the {stage} stage")
        for name in ("Iteration", self.value, "Resolution"):
            column = _column()
            column.SetName(name)
            table.AddColumn(column)
        series = self._add("vtkMRMLPlotSeriesNode", stage)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName("Iteration")
        series.SetYColumnName(self.value)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleNone)
        series.SetColor(*_COLORS.get(stage, _OTHER))
        if self._chart is None:
            self._chart = self._add("vtkMRMLPlotChartNode", self.name)
            self._chart.SetTitle(self.title)
            self._chart.SetXAxisTitle("Iteration")
            self._chart.SetYAxisTitle(self.value)
        self._chart.AddAndObservePlotSeriesNodeID(series.GetID())
        self._tables[stage] = table
        return table

    def _add(self, kind: str, name: str) -> Node:
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        node.SetAttribute(transforms.KIND, KIND)
        node.SetSaveWithScene(False)
        self._nodes.append(node)
        return node


def _column() -> Any:
    import vtk

    return vtk.vtkDoubleArray()


class SimilarityPlot(MetricPlot):
    """The same for an alignment of CT and X-ray, whose file has the columns iteration and similarity."""

    name, title, value = "Alignment similarity", "Similarity of DRR and X-ray (larger is better)", "Similarity"

    @staticmethod
    def row(line: str) -> tuple[str, int, int, float] | None:
        """The same of a line of two columns; the stage has the name of what is plotted."""
        parts = line.split(",")
        try:
            return "alignment", 0, int(float(parts[0])), float(parts[1])
        except (IndexError, ValueError):
            return None
