"""What the slice and 3D views show, through their nodes: works for every view there is, in any layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from LandmarkFusionLogic.volume import FloatArray

Node = Any

FIELD_OF_VIEW_MM = 110.0
"""Width or height, whichever is smaller, of a view centred on the prostate: the gland and what lies around it."""
CAMERA_DISTANCE_MM = 260.0
_CORONAL = 1


def show(scene: Node, background: Node, foreground: Node, opacity: float) -> None:
    """Show two volumes over each other in all slice views; ``opacity`` (0..1) is that of the foreground."""
    for node in _nodes(scene, "vtkMRMLSliceCompositeNode"):
        node.SetBackgroundVolumeID(background.GetID() if background is not None else None)
        node.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        node.SetForegroundOpacity(opacity)


def set_opacity(scene: Node, opacity: float) -> None:
    """Set the opacity (0..1) of the foreground in all slice views."""
    for node in _nodes(scene, "vtkMRMLSliceCompositeNode"):
        node.SetForegroundOpacity(opacity)


def centre(scene: Node, position: FloatArray) -> None:
    """Centre all views on ``position`` (3,), world RAS mm, near enough to see the prostate."""
    point = [float(value) for value in position]
    for node in _nodes(scene, "vtkMRMLSliceNode"):
        width, height, depth = node.GetFieldOfView()
        scale = FIELD_OF_VIEW_MM / min(width, height)
        node.SetFieldOfView(width * scale, height * scale, depth)
        node.JumpSliceByCentering(*point)
    for node in _nodes(scene, "vtkMRMLCameraNode"):
        direction = np.array(node.GetPosition()) - np.array(node.GetFocalPoint())
        length = np.linalg.norm(direction)
        direction = direction / length if length > 0 else np.array([0.0, 1.0, 0.0])
        node.SetFocalPoint(*point)
        node.SetPosition(*(np.array(point) + CAMERA_DISTANCE_MM * direction))
        node.ResetClippingRange()


def jump(scene: Node, position: FloatArray) -> None:
    """Move all slices through ``position`` (3,), world RAS mm; the views keep their centre and zoom."""
    for node in _nodes(scene, "vtkMRMLSliceNode"):
        node.JumpSliceByOffsetting(*[float(value) for value in position])


def show_in_3d(scene: Node) -> None:
    """Show the axial and sagittal slices in the 3D views, unless the user shows slices there already."""
    slices = list(_nodes(scene, "vtkMRMLSliceNode"))
    if not any(node.GetSliceVisible() for node in slices):
        for node in slices:
            # By the normal, not by the name of the orientation: a view turned into a volume's own plane has none.
            normal = [abs(node.GetSliceToRAS().GetElement(row, 2)) for row in range(3)]
            node.SetSliceVisible(int(np.argmax(normal)) != _CORONAL)


def mark_orientation(scene: Node) -> None:
    """Show the patient's axes in a corner of every view, unless the user has chosen a marker already."""
    for kind in ("vtkMRMLSliceNode", "vtkMRMLViewNode"):
        for node in _nodes(scene, kind):
            if node.GetOrientationMarkerType() == node.OrientationMarkerTypeNone:
                node.SetOrientationMarkerType(node.OrientationMarkerTypeAxes)


def _nodes(scene: Node, kind: str) -> Iterator[Node]:
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        yield scene.GetNthNodeByClass(index, kind)
