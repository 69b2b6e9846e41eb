"""X-ray and DRR side by side, each in a slice view of its own, below them both in one, and the similarity's plot.

The views have a layout of their own, so that those of the volumes keep what they show.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from LandmarkFusionLogic.mrml import transforms, volumes
from LandmarkFusionLogic.mrml.views import OWN_VIEWS
from LandmarkFusionLogic.volume import FloatArray

Node = Any

LAYOUT, LAYOUT_WITH_PLOT = 57210, 57211
"""The numbers of the layouts; Slicer's own end far below."""
XRAY, DRR, COMPARISON = (f"{OWN_VIEWS}{name}" for name in ("Xray", "Drr", "Comparison"))
"""The names of the views."""
_LABELS = {XRAY: ("X-ray", "#6FA8DC"), DRR: ("DRR", "#F6B26B"), COMPARISON: ("Both", "#93C47D")}
_MARGIN = 1.03


def register(layout_node: Node) -> None:
    """Make the layouts known; does nothing where they are."""
    xray, drr, both = (_view(name, *_LABELS[name]) for name in (XRAY, DRR, COMPARISON))
    plot = (
        f'<item><view class="vtkMRMLPlotViewNode" singletontag="{OWN_VIEWS}Plot">'
        '<property name="viewlabel" action="default">S</property></view></item>'
    )
    images, with_plot = (_rows(xray + drr, both + more) for more in ("", plot))
    for number, description in ((LAYOUT, images), (LAYOUT_WITH_PLOT, with_plot)):
        if not layout_node.IsLayoutDescription(number):
            layout_node.AddLayoutDescription(number, description)


def is_ours(layout: int) -> bool:
    """Whether this is one of the layouts made here."""
    return layout in (LAYOUT, LAYOUT_WITH_PLOT)


def show(scene: Node, name: str, background: Node, foreground: Node = None, opacity: float = 0.0) -> None:
    """Show these images in one of the views, ``foreground`` over ``background``; nothing where the view is missing."""
    for node in _nodes(scene, "vtkMRMLSliceCompositeNode", name):
        node.SetBackgroundVolumeID(background.GetID() if background is not None else None)
        node.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        node.SetLabelVolumeID(None)
        node.SetForegroundOpacity(opacity)


def look(scene: Node, image: Node) -> None:
    """Turn the views into the plane of ``image`` and show it as a whole, its first row on top."""
    affine = world_plane(image)
    columns, rows, _slices = image.GetImageData().GetDimensions()
    right, down = affine[:3, 0], affine[:3, 1]
    width, height = np.linalg.norm(right) * columns, np.linalg.norm(down) * rows
    plane = np.eye(4)
    plane[:3, 0] = right / np.linalg.norm(right)
    plane[:3, 1] = -down / np.linalg.norm(down)
    plane[:3, 2] = np.cross(plane[:3, 1], plane[:3, 0])  # As in Slicer's axial views, which have names.
    plane[:3, 3] = affine[:3, 3] + right * (columns - 1) / 2 + down * (rows - 1) / 2
    for name in (XRAY, DRR, COMPARISON):
        for node in _nodes(scene, "vtkMRMLSliceNode", name):
            _fit(node, plane, width, height)


def world_plane(image: Node) -> FloatArray:
    """(4, 4) from column, row, 0 of an image to RAS mm as the views show it, transforms included."""
    corners = np.array([[0.0, 0.0, 0.0, 1.0], [1.0, 0, 0, 1], [0, 1.0, 0, 1], [0, 0, 1.0, 1]])
    own = (corners @ volumes.ijk_to_ras(image).T)[:, :3]
    parent = image.GetParentTransformNode()
    if parent is not None and parent.IsTransformToWorldLinear():
        import vtk

        matrix = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(matrix)
        own = (np.column_stack([own, np.ones(4)]) @ transforms.to_array(matrix).T)[:, :3]
    found = np.eye(4)
    found[:3, 3] = own[0]
    found[:3, :3] = (own[1:] - own[0]).T
    return found


def _fit(node: Node, plane: FloatArray, width: float, height: float) -> None:
    across, up = (max(int(value), 1) for value in node.GetDimensions()[:2])
    tall = max(height, width * up / across) * _MARGIN
    modified = node.StartModify()
    node.SetXYZOrigin(0.0, 0.0, 0.0)
    node.SetFieldOfView(tall * across / up, tall, max(node.GetFieldOfView()[2], 1.0))
    node.GetSliceToRAS().DeepCopy(transforms.to_matrix(plane))
    node.UpdateMatrices()
    node.EndModify(modified)


def _rows(*rows: str) -> str:
    inner = "".join(f'<item><layout type="horizontal" split="true">{row}</layout></item>' for row in rows)
    return f'<layout type="vertical" split="true">{inner}</layout>'


def _view(name: str, label: str, color: str) -> str:
    return (
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{label}</property>'
        f'<property name="viewcolor" action="default">{color}</property>'
        f'<property name="viewgroup" action="default">7</property></view></item>'
    )


def _nodes(scene: Node, kind: str, name: str) -> list[Node]:
    found = (scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind)))
    return [node for node in found if node.GetLayoutName() == name]


def show_plot(scene: Node, chart: Node) -> None:
    """Show a chart in the plot view of our layout."""
    for node in _nodes(scene, "vtkMRMLPlotViewNode", f"{OWN_VIEWS}Plot"):
        node.SetPlotChartNodeID(chart.GetID())
