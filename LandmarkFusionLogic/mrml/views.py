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
OWN_VIEWS = "LandmarkFusion"
"""What the names of slice views begin with that show X-rays and DRRs, and never the volumes."""
_OF_SLICES = ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode")
_CORONAL = 1
_OBLIQUE = np.array([-0.55, 0.68, 0.48])  # From the left, in front and above: axial and sagittal both face the camera.


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
        _look(node, np.array(point), direction if np.any(direction) else _OBLIQUE)


def jump(scene: Node, position: FloatArray) -> None:
    """Move all slices through ``position`` (3,), world RAS mm; the views keep their centre and zoom."""
    for node in _nodes(scene, "vtkMRMLSliceNode"):
        node.JumpSliceByOffsetting(*[float(value) for value in position])


def show_in_3d(scene: Node) -> None:
    """Show the axial and sagittal slices in the 3D views and look at them from a side where both are seen.

    Nothing happens where the user shows slices there already.
    """
    slices = list(_nodes(scene, "vtkMRMLSliceNode"))
    if any(node.GetSliceVisible() for node in slices):
        return
    for node in slices:
        # By the normal, not by the name of the orientation: a view turned into a volume's own plane has none.
        normal = [abs(node.GetSliceToRAS().GetElement(row, 2)) for row in range(3)]
        node.SetSliceVisible(int(np.argmax(normal)) != _CORONAL)
    for node in _nodes(scene, "vtkMRMLCameraNode"):
        node.SetViewUp(0.0, 0.0, 1.0)
        _look(node, np.array(node.GetFocalPoint()), _OBLIQUE)


def mark_orientation(scene: Node) -> None:
    """Show the patient's axes in a corner of every view, unless the user has chosen a marker already."""
    for kind in ("vtkMRMLSliceNode", "vtkMRMLViewNode"):
        for node in _nodes(scene, kind):
            if node.GetOrientationMarkerType() == node.OrientationMarkerTypeNone:
                node.SetOrientationMarkerType(node.OrientationMarkerTypeAxes)


def _look(camera: Node, point: FloatArray, direction: FloatArray) -> None:
    """Look at ``point`` from where ``direction`` points."""
    camera.SetFocalPoint(*point)
    camera.SetPosition(*(point + CAMERA_DISTANCE_MM * direction / np.linalg.norm(direction)))
    camera.ResetClippingRange()


def _nodes(scene: Node, kind: str) -> Iterator[Node]:
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        node = scene.GetNthNodeByClass(index, kind)
        if kind not in _OF_SLICES or not (node.GetLayoutName() or "").startswith(OWN_VIEWS):
            yield node
