"""The result of a deformable registration as nodes, made in one step and taken back in one step.

One transform node carries everything: provenance (moving, fixed), what was made with it, what was put under it, and
where that lay before, all by node references, so that undo works in a scene that was saved and loaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.jobs.deformable import DeformResult
from LandmarkFusionLogic.mrml import companions, correspondences, glands, jacobian, transforms, volumes
from LandmarkFusionLogic.volume import Volume

Node = Any

KIND = "deformable"
RESULT = "LandmarkFusion.deformable"
RESULT_ROLE = "LandmarkFusion.result"
MOVED_ROLE = "LandmarkFusion.moved"
FORMER_ROLE = "LandmarkFusion.former"
WARPED, JACOBIAN, COMPARISON = "warped", "jacobian", "comparison"
_MOVABLE = ("vtkMRMLMarkupsNode", "vtkMRMLSegmentationNode", "vtkMRMLModelNode")


@dataclass(frozen=True)
class Loaded:
    """The files of a result, read."""

    result: DeformResult
    warped: Volume
    jacobian: Volume
    transform: Node
    """A transform node that is in no scene yet."""


def load(result: DeformResult) -> Loaded:
    """Read the files of ``result``; no scene is touched.

    Raises InputError where one cannot be read.
    """
    import slicer

    node = slicer.vtkMRMLTransformNode()
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(result.transform)
    if not storage.ReadData(node):
        raise InputError("The deformation that was found cannot be read; register again.")
    warped = read_volume(result.warped, "deformed volume")
    return Loaded(result, warped, jacobian.read(result.jacobian), node)


def is_ours(node: Node) -> bool:
    """Whether ``node`` is a transform of a deformable registration."""
    return node is not None and node.GetAttribute(transforms.KIND) == KIND


def belongings(moving: Node, others: Sequence[Node] = ()) -> list[Node]:
    """The volume itself, and the markups, segmentations, models and volumes that move with it.

    That is what lies under the same transform (if it lies under one), what refers to the volume, points that were
    placed in it, and ``others``; a node that lies elsewhere stays where it is.
    """
    scene, parent = moving.GetScene(), moving.GetParentTransformNode()
    found = [moving]
    for kind in _MOVABLE if parent is None else ("vtkMRMLVolumeNode", *_MOVABLE):
        for index in range(scene.GetNumberOfNodesByClass(kind)):
            node = scene.GetNthNodeByClass(index, kind)
            if node is moving or node.GetParentTransformNode() is not parent:
                continue
            if parent is not None or node in others or _refers(node, moving):
                found.append(node)
    return found


def _refers(node: Node, volume: Node) -> bool:
    if node.GetAttribute(transforms.KIND) in (correspondences.FIXED, correspondences.MOVING):
        end = {correspondences.FIXED: correspondences.FIXED_ROLE, correspondences.MOVING: correspondences.MOVING_ROLE}
        return bool(node.GetNodeReference(end[node.GetAttribute(transforms.KIND)]) is volume)
    if node.GetNodeReference(companions.VOLUME_ROLE) is volume:
        return True
    if node.IsA(glands.CLASS):
        return bool(node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume)
    if node.IsA("vtkMRMLMarkupsNode") and node.GetNumberOfControlPoints():
        owners = {node.GetNthControlPointAssociatedNodeID(index) for index in range(node.GetNumberOfControlPoints())}
        return owners == {volume.GetID()}
    return False


def show(fixed: Node, moving: Node, loaded: Loaded, noted: dict[str, Any], others: Sequence[Node] = ()) -> Node:
    """Put the result into the scene and the moving volume with its belongings under it; returns the transform node.

    ``noted`` is what the panel is to show of it, plain values that JSON takes; ``noted["method"]`` names what found
    the landmarks. Pairs that the job found become lists where the two volumes have none yet.
    """
    scene = fixed.GetScene()
    node = scene.AddNode(loaded.transform)
    node.SetName(scene.GenerateUniqueName(f"{moving.GetName()} to {fixed.GetName()} (deformable)"))
    node.SetAttribute(transforms.KIND, KIND)
    node.SetAttribute(RESULT, json.dumps(noted))
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), moving.GetID())
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixed.GetID())
    node.SetAndObserveTransformNodeID(fixed.GetTransformNodeID())
    for kind, volume, name in (
        (WARPED, loaded.warped, f"{moving.GetName()} (deformed)"),
        (JACOBIAN, loaded.jacobian, "Jacobian of the deformation"),
    ):
        _add_volume(node, kind, volume, name)
    jacobian.color(part(node, JACOBIAN))
    own = noted.get("method") == "points"  # The user has those in lists already.
    if loaded.result.pairs and not own and correspondences.find(fixed, moving) is None:
        for each in correspondences.create(fixed, moving, loaded.result.pairs, str(noted.get("method", ""))):
            node.AddNodeReferenceID(RESULT_ROLE, each.GetID())
    _move(node, belongings(moving, others))
    return node


def part(node: Node, kind: str) -> Node:
    """The volume of this kind (warped, jacobian, comparison) that belongs to the transform ``node``, or None."""
    for index in range(node.GetNumberOfNodeReferences(RESULT_ROLE)):
        each = node.GetNthNodeReference(RESULT_ROLE, index)
        if each is not None and each.GetAttribute(transforms.KIND) == kind:
            return each
    return None


def show_comparison(node: Node, volume: Volume, name: str) -> Node:
    """Show ``volume``, a checkerboard or difference of fixed and warped, in the place of the one there was."""
    found = part(node, COMPARISON)
    if found is None:
        found = _add_volume(node, COMPARISON, volume, name)
        found.SetSaveWithScene(False)
    else:
        found.SetAndObserveImageData(volumes.image(volume.array))
        volumes.set_ijk_to_ras(found, volume.ijk_to_ras)
        found.SetName(name)
    display = found.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(float(np.min(volume.array)), float(np.max(volume.array)))
    return found


def noted(node: Node) -> dict[str, Any]:
    """What `show` was given to note, or {}."""
    try:
        found = json.loads((node.GetAttribute(RESULT) if node is not None else None) or "{}")
    except ValueError:  # A scene may have been edited outside.
        return {}
    return found if isinstance(found, dict) else {}


def ends(node: Node) -> tuple[Node, Node]:
    """The fixed and the moving volume of a transform of ours; None where one is gone."""
    return (
        node.GetNodeReference(node.GetFixedNodeReferenceRole()),
        node.GetNodeReference(node.GetMovingNodeReferenceRole()),
    )


def undo(node: Node) -> None:
    """Put everything back to where it lay before the registration and remove what came with it."""
    scene = node.GetScene()
    back = None
    for index in range(node.GetNumberOfNodeReferences(MOVED_ROLE)):
        moved = node.GetNthNodeReference(MOVED_ROLE, index)
        former = node.GetNodeReference(f"{FORMER_ROLE}{index}")
        if index == 0:
            back = former  # The moving volume's own.
        if moved is not None and moved.GetParentTransformNode() is node:
            moved.SetAndObserveTransformNodeID(former.GetID() if former is not None else None)
    for kind in ("vtkMRMLVolumeNode", *_MOVABLE, "vtkMRMLTransformNode"):  # What the user put under it since.
        for index in range(scene.GetNumberOfNodesByClass(kind)):
            each = scene.GetNthNodeByClass(index, kind)
            if each.GetParentTransformNode() is node:
                each.SetAndObserveTransformNodeID(back.GetID() if back is not None else None)
    made = [node.GetNthNodeReference(RESULT_ROLE, i) for i in range(node.GetNumberOfNodeReferences(RESULT_ROLE))]
    for each in (*made, node):
        remove(each)
    colors = jacobian.unused_colors(scene)
    if colors is not None:
        remove(colors)


def remove(node: Node) -> None:
    """Take a node out of the scene with its display and storage nodes, and lines that begin in it."""
    if node is None or node.GetScene() is None:
        return
    scene = node.GetScene()
    if node.GetAttribute(transforms.KIND) == correspondences.FIXED:
        remove(correspondences.find_lines(node))
    beside = []
    if node.IsA("vtkMRMLDisplayableNode"):
        beside += [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        beside += [node.GetNthStorageNode(index) for index in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for each in beside:
        if each is not None and each.GetScene() is not None:
            scene.RemoveNode(each)


def _add_volume(transform: Node, kind: str, volume: Volume, name: str) -> Node:
    scene = transform.GetScene()
    found = volumes.add_volume(scene, volume, scene.GenerateUniqueName(name))
    found.SetAttribute(transforms.KIND, kind)
    # It lies where the fixed volume lies.
    found.SetAndObserveTransformNodeID(transform.GetTransformNodeID())
    transform.AddNodeReferenceID(RESULT_ROLE, found.GetID())
    return found


def _move(node: Node, moved: Sequence[Node]) -> None:
    for index, each in enumerate(moved):
        node.AddNodeReferenceID(MOVED_ROLE, each.GetID())
        node.SetNodeReferenceID(f"{FORMER_ROLE}{index}", each.GetTransformNodeID())
        each.SetAndObserveTransformNodeID(node.GetID())
