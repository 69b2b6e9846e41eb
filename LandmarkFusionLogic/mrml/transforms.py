"""The transform node MR to US of a pair of volumes, and matrices as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

from LandmarkFusionLogic.rigid.fit import FloatArray, invert

Node = Any

KIND = "LandmarkFusion.kind"
MR_TO_US = "mr-to-us"


def is_ours(node: Node) -> bool:
    """Whether ``node`` is a transform MR to US which LandmarkFusion keeps up to date."""
    return node is not None and node.GetAttribute(KIND) == MR_TO_US


def find(mr: Node, us: Node) -> Node:
    """The transform node that belongs to this pair of volumes, or None. Provenance: moving is the MR, fixed the US."""
    if mr is None or us is None:
        return None
    scene = mr.GetScene()
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLLinearTransformNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLLinearTransformNode")
        if is_ours(node) and _moving(node) is mr and _fixed(node) is us:
            return node
    return None


def create(mr: Node, us: Node) -> Node:
    """A new transform node "MR to US" for this pair of volumes: the identity, until `set_matrix`."""
    scene = mr.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", scene.GenerateUniqueName("MR to US"))
    node.SetAttribute(KIND, MR_TO_US)
    _set_provenance(node, mr, us)
    return node


def create_inverse(node: Node) -> Node:
    """A new, independent transform node "US to MR": the inverse of ``node`` as it is now."""
    scene = node.GetScene()
    inverse = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", scene.GenerateUniqueName("US to MR"))
    _set_provenance(inverse, _fixed(node), _moving(node))
    set_matrix(inverse, invert(matrix(node)))
    return inverse


def matrix(node: Node) -> FloatArray:
    """(4, 4) RAS matrix to the parent of a linear transform node; for ours it maps MR points to US points."""
    found = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(found)
    return to_array(found)


def set_matrix(node: Node, mr_to_us: FloatArray) -> None:
    """Set the (4, 4) RAS matrix to the parent; tells nobody where it is that already."""
    if np.array_equal(matrix(node), mr_to_us):
        return
    node.SetMatrixTransformToParent(to_matrix(mr_to_us))


def apply(node: Node, *moved: Node) -> bool:
    """Put the nodes under the transform ``node``, or with None out of our transform; None among them is passed over.

    A node under a transform which is not ours stays where it is. Returns whether any was moved.
    """
    changed = False
    for each in moved:
        if each is None:
            continue
        parent = each.GetParentTransformNode()
        if parent is node or (parent is not None and not is_ours(parent)):
            continue
        each.SetAndObserveTransformNodeID(node.GetID() if node is not None else None)
        changed = True
    return changed


def to_array(matrix: vtk.vtkMatrix4x4) -> FloatArray:
    """A VTK matrix as a (4, 4) float64 array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def to_matrix(array: FloatArray) -> vtk.vtkMatrix4x4:
    """A (4, 4) array as a VTK matrix."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy([float(value) for value in np.asarray(array).ravel()])
    return matrix


def _set_provenance(node: Node, moving: Node, fixed: Node) -> None:
    for role, volume in ((node.GetMovingNodeReferenceRole(), moving), (node.GetFixedNodeReferenceRole(), fixed)):
        node.SetNodeReferenceID(role, volume.GetID() if volume is not None else None)


def _moving(node: Node) -> Node:
    return node.GetNodeReference(node.GetMovingNodeReferenceRole())


def _fixed(node: Node) -> Node:
    return node.GetNodeReference(node.GetFixedNodeReferenceRole())
