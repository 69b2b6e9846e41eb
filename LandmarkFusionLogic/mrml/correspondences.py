"""Pairs of corresponding points as two markups lists, with lines between them, and read back as plain data.

A pair is two points of the same name, one in each list; each list lies under the transform of its volume, so that its
own coordinates are the volume's. A point deleted by hand takes its partner along (`prune`); pairs below a confidence
are hidden and left out, not deleted. The lines are derived from the lists and not saved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.matching import PointPair
from LandmarkFusionLogic.mrml import landmarks, transforms, volumes
from LandmarkFusionLogic.points import FloatArray

Node = Any

CLASS = landmarks.CLASS
FIXED, MOVING, LINES = "fixed-pairs", "moving-pairs", "pair-lines"
FIXED_ROLE = "LandmarkFusion.fixed"
MOVING_ROLE = "LandmarkFusion.moving"
METHOD = "LandmarkFusion.method"
MOST = 1500
"""More points than this make the views slow; of more pairs the most confident ones are kept."""

_COLORS = {FIXED: (0.2, 0.75, 1.0), MOVING: (1.0, 0.6, 0.1), LINES: (0.95, 0.9, 0.55)}
_CONFIDENCE = re.compile(r"confidence (\d+(?:\.\d+)?)")


def create(fixed: Node, moving: Node, pairs: Sequence[PointPair], method: str) -> tuple[Node, Node]:
    """Two new lists of ``pairs`` between two volumes: the one in the fixed volume, the one in the moving volume.

    ``pairs`` are RAS mm of each volume itself; of more than `MOST` the most confident ones are taken. ``method`` is
    what found them.
    """
    kept = sorted(pairs, key=lambda pair: -pair.confidence)[:MOST]
    lists = []
    for kind, volume, name in ((FIXED, fixed, "Landmarks in fixed"), (MOVING, moving, "Landmarks in moving")):
        scene = volume.GetScene()
        node = scene.AddNewNodeByClass(CLASS, scene.GenerateUniqueName(name))
        node.SetAttribute(transforms.KIND, kind)
        node.SetAttribute(METHOD, method)
        node.SetNodeReferenceID(FIXED_ROLE, fixed.GetID())
        node.SetNodeReferenceID(MOVING_ROLE, moving.GetID())
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSelectedColor(*_COLORS[kind])
        display.SetColor(*_COLORS[kind])
        display.SetGlyphTypeFromString("Diamond2D" if kind == MOVING else "ThickCross2D")
        display.SetGlyphScale(2.0)
        display.SetPointLabelsVisibility(False)
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        _fill(node, [(pair.moving if kind == MOVING else pair.fixed, pair.confidence) for pair in kept])
        lists.append(node)
    return lists[0], lists[1]


def find(fixed: Node, moving: Node) -> tuple[Node, Node] | None:
    """The newest lists of pairs between two volumes that are both still there, or None."""
    if fixed is None or moving is None or fixed.GetScene() is None:
        return None
    scene = fixed.GetScene()
    found: dict[str, Node] = {}
    for index in range(scene.GetNumberOfNodesByClass(CLASS)):
        node = scene.GetNthNodeByClass(index, CLASS)
        ends = node.GetNodeReference(FIXED_ROLE), node.GetNodeReference(MOVING_ROLE)
        if ends[0] is fixed and ends[1] is moving:
            found[node.GetAttribute(transforms.KIND)] = node
    return (found[FIXED], found[MOVING]) if FIXED in found and MOVING in found else None


def method(node: Node) -> str:
    """What found the points of a list."""
    return node.GetAttribute(METHOD) or ""


def read(fixed_list: Node, fixed: Node, moving_list: Node, moving: Node, least: float = 0.0) -> list[PointPair]:
    """The pairs of two lists, matched by name, with at least this confidence; RAS mm of each volume itself.

    Names that only one list has are left out.
    Raises InputError where no list is given, a name occurs twice or no name is in both.
    """
    if fixed_list is None or moving_list is None:
        raise InputError("Choose a point list for each of the two volumes.")
    here, there = _points(fixed_list, fixed), _points(moving_list, moving)
    names = [name for name in here if name in there]
    if not names:
        raise InputError(
            f"No point has the same name in “{fixed_list.GetName()}” and “{moving_list.GetName()}”; "
            "name the points of a pair alike."
        )
    pairs = [
        PointPair(here[name][0].tolist(), there[name][0].tolist(), min(here[name][1], there[name][1]), name)
        for name in names
    ]
    return [pair for pair in pairs if pair.confidence >= least]


def unpaired(fixed_list: Node, moving_list: Node) -> list[str]:
    """Names that only one of the lists has, in the order of the lists."""
    names = [_labels(node) for node in (fixed_list, moving_list)]
    return [name for name in dict.fromkeys([*names[0], *names[1]]) if (name in names[0]) != (name in names[1])]


def prune(fixed_list: Node, moving_list: Node) -> None:
    """Delete the points of both lists whose partner has been deleted."""
    for node, other in ((fixed_list, moving_list), (moving_list, fixed_list)):
        names = set(_labels(other))
        for index in reversed(range(node.GetNumberOfControlPoints())):
            if node.GetNthControlPointLabel(index) not in names:
                node.RemoveNthControlPoint(index)


def filter_shown(fixed_list: Node, moving_list: Node, least: float) -> None:
    """Show only the points with at least this confidence."""
    for node in (fixed_list, moving_list):
        modified = node.StartModify()
        for index in range(node.GetNumberOfControlPoints()):
            shown = _confidence(node, index) >= least
            if bool(node.GetNthControlPointVisibility(index)) != shown:
                node.SetNthControlPointVisibility(index, shown)
        node.EndModify(modified)


def count_shown(node: Node) -> int:
    """How many points of the list are shown."""
    return sum(bool(node.GetNthControlPointVisibility(index)) for index in range(node.GetNumberOfControlPoints()))


def draw_lines(fixed_list: Node, moving_list: Node, least: float) -> Node:
    """Draw a line from each shown point to its partner, where the views show the two; returns the model."""
    scene = fixed_list.GetScene()
    node = find_lines(fixed_list)
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLModelNode", scene.GenerateUniqueName("Landmark pairs"))
        node.SetAttribute(transforms.KIND, LINES)
        node.SetNodeReferenceID(FIXED_ROLE, fixed_list.GetID())
        node.SetSaveWithScene(False)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetColor(*_COLORS[LINES])
        display.SetLineWidth(2)
        display.SetOpacity(0.7)
        display.SetVisibility2D(True)
        display.SetSliceDisplayModeToProjection()
        display.SetSliceIntersectionThickness(1)
    ends = [_world(each, least) for each in (fixed_list, moving_list)]
    names = [name for name in ends[0] if name in ends[1]]
    node.SetAndObservePolyData(_segments(np.array([[ends[0][name], ends[1][name]] for name in names])))
    return node


def find_lines(fixed_list: Node) -> Node:
    """The model of the lines that begin in this list, or None."""
    scene = fixed_list.GetScene()
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLModelNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLModelNode")
        if node.GetAttribute(transforms.KIND) == LINES and node.GetNodeReference(FIXED_ROLE) is fixed_list:
            return node
    return None


def _fill(node: Node, points: Iterable[tuple[Sequence[float], float]]) -> None:
    modified = node.StartModify()
    for number, (position, confidence) in enumerate(points, start=1):
        index = node.AddControlPoint(*[float(value) for value in position], str(number))
        node.SetNthControlPointDescription(index, f"confidence {confidence:.3f}")
    node.EndModify(modified)


def _labels(node: Node) -> list[str]:
    return [
        node.GetNthControlPointLabel(index)
        for index in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined
    ]


def _confidence(node: Node, index: int) -> float:
    """What the point's description says of its confidence; 1 for a point that a person has placed."""
    found = _CONFIDENCE.search(node.GetNthControlPointDescription(index) or "")
    return float(found[1]) if found is not None else 1.0


def _points(node: Node, volume: Node) -> dict[str, tuple[FloatArray, float]]:
    """Position (3,) in RAS mm of ``volume`` itself and confidence, by name."""
    same = node.GetParentTransformNode() is volume.GetParentTransformNode()
    found: dict[str, tuple[FloatArray, float]] = {}
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) != node.PositionDefined:
            continue
        name = node.GetNthControlPointLabel(index)
        if name in found:
            raise InputError(f"Two points of “{node.GetName()}” are named “{name}”; give each a name of its own.")
        # A round trip through a transform that bends space would cost accuracy.
        position = (
            np.array(node.GetNthControlPointPosition(index))
            if same
            else volumes.world_to_volume(volume, np.array(node.GetNthControlPointPositionWorld(index)))
        )
        found[name] = position, _confidence(node, index)
    return found


def _world(node: Node, least: float) -> dict[str, FloatArray]:
    return {
        node.GetNthControlPointLabel(index): np.array(node.GetNthControlPointPositionWorld(index))
        for index in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined and _confidence(node, index) >= least
    }


def _segments(ends: FloatArray) -> vtk.vtkPolyData:
    """Line segments between ``ends`` (N, 2, 3)."""
    found, places, cells = vtk.vtkPolyData(), vtk.vtkPoints(), vtk.vtkCellArray()
    places.SetData(numpy_to_vtk(np.ascontiguousarray(ends.reshape(-1, 3), dtype=np.float32), deep=True))
    for index in range(len(ends)):
        cells.InsertNextCell(2)
        cells.InsertCellPoint(2 * index)
        cells.InsertCellPoint(2 * index + 1)
    found.SetPoints(places)
    found.SetLines(cells)
    return found
