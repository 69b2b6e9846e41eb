"""Targets of the MR as nodes: points, segments and models that the user marked, and their list in the ultrasound.

What is chosen as targets is put under the transform of the MR and so lies on it; its own coordinates are the MR's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import companions, glands, landmarks, transforms
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.targets import UNNAMED, CarriedTarget, Target, surface_name

Node = Any

POINTS = landmarks.CLASS
SEGMENTATION = glands.CLASS
MODEL = "vtkMRMLModelNode"
KIND = "targets-in-us"


def check(node: Node, volume: Node) -> None:
    """Raises InputError for a node that cannot be targets in the MR ``volume``."""
    ours = node.GetAttribute(transforms.KIND) or node.GetAttribute(landmarks.MODALITY)
    if ours and not node.IsA(SEGMENTATION):
        raise InputError(f"“{node.GetName()}” belongs to the alignment itself; choose what is marked in the MR.")
    owner = node.GetNodeReference(companions.VOLUME_ROLE)
    if owner is not None and owner is not volume:
        raise InputError(f"“{node.GetName()}” is the gland of another image; choose what is marked in the MR.")


def read(node: Node, volume: Node) -> list[Target]:
    """The targets that ``node`` shows, RAS mm of the MR ``volume``; a list without placed points gives none.

    Raises InputError for a node that cannot be used.
    """
    check(node, volume)
    to_volume = glands.to_volume(node, volume)
    found = []
    for name, points, kind in _parts(node):
        if len(points):
            moved = points @ to_volume[:3, :3].T + to_volume[:3, 3]
            found.append(Target(name, moved, kind))
    return found


def place(node: Node, transform: Node) -> None:
    """Lay targets that lie on the MR under the transform that the MR lies under (None: under none)."""
    transforms.apply(transform, node)


def create(us: Node) -> Node:
    """A new, locked point list for the targets in the ultrasound ``us``."""
    scene = us.GetScene()
    node = scene.AddNewNodeByClass(POINTS, scene.GenerateUniqueName("Targets in US"))
    node.SetAttribute(transforms.KIND, KIND)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(0.95, 0.35, 0.75)
    display.SetGlyphTypeFromString("Sphere3D")
    display.SetGlyphScale(3.0)
    display.SetTextScale(3.0)
    node.SetLocked(True)
    return node


def write(node: Node, carried: Sequence[CarriedTarget]) -> None:
    """Have the list ``node`` show these targets; nobody is told of points that stay where they are."""
    modified = node.StartModify()
    while node.GetNumberOfControlPoints() > len(carried):
        node.RemoveNthControlPoint(node.GetNumberOfControlPoints() - 1)
    for index, target in enumerate(carried):
        centre = [float(value) for value in target.centre]
        description = f"expected error {target.expected_error:.1f} mm"
        if index >= node.GetNumberOfControlPoints():
            node.AddControlPoint(*centre, target.name)
        elif not np.allclose(node.GetNthControlPointPosition(index), centre, atol=1e-6):
            node.SetNthControlPointPosition(index, *centre)
        if node.GetNthControlPointLabel(index) != target.name:
            node.SetNthControlPointLabel(index, target.name)
        if node.GetNthControlPointDescription(index) != description:
            node.SetNthControlPointDescription(index, description)
    node.EndModify(modified)


def _parts(node: Node) -> list[tuple[str, FloatArray, str]]:
    """Name, points (N, 3) in the node's own frame and kind of each target."""
    if node.IsA(POINTS):
        return [
            (
                _name(node, node.GetNthControlPointLabel(index), index),
                np.array([node.GetNthControlPointPosition(index)]),
                "point",
            )
            for index in range(node.GetNumberOfControlPoints())
            if node.GetNthControlPointPositionStatus(index) == node.PositionDefined
        ]
    if node.IsA(SEGMENTATION):
        segmentation = node.GetSegmentation()
        identifiers = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
        return [
            (_name(node, segmentation.GetSegment(each).GetName(), index), _segment_points(node, each), "segment")
            for index, each in enumerate(identifiers)
        ]
    if node.IsA(MODEL):
        return [(surface_name(node.GetName() or ""), _points(node.GetPolyData()), "model")]
    raise InputError(f"“{node.GetName()}” cannot hold targets; choose points, a segmentation or a model.")


def _name(node: Node, label: str, index: int) -> str:
    """A label, or a number where it was made from the node's name: that is a file's, which may name a patient."""
    own = node.GetName()
    return f"{UNNAMED} {index + 1}" if own and label.startswith(own) else label


def _segment_points(node: Node, identifier: str) -> FloatArray:
    try:
        mask = glands.read(node, identifier)
    except InputError:  # An empty segment is no target yet.
        return np.zeros((0, 3))
    index = np.argwhere(mask.array)[:, ::-1].astype(np.float64)
    return np.asarray(index @ mask.ijk_to_ras[:3, :3].T + mask.ijk_to_ras[:3, 3])


def _points(surface: vtk.vtkPolyData | None) -> FloatArray:
    if surface is None or not surface.GetNumberOfPoints():
        return np.zeros((0, 3))
    return vtk_to_numpy(surface.GetPoints().GetData()).astype(np.float64)
