"""The result of an alignment of CT and X-ray as nodes, made in one step and taken back in one step.

One transform node carries everything: provenance (moving: the CT, fixed: the X-ray), the pose, what is told of it,
the pose that there was before, and by reference the DRR, so that undo works in a scene that was saved and loaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import deformable, projectionplane, transforms, volumes
from LandmarkFusionLogic.volume import FloatArray, Volume

Node = Any

KIND = "ct-to-xray"
POSE = "LandmarkFusion.pose"
NOTED = "LandmarkFusion.projection"
DRR_ROLE = "LandmarkFusion.drr"
FORMER_ROLE = "LandmarkFusion.former"
DRR = "projection-drr"


def is_ours(node: Node) -> bool:
    """Whether ``node`` is a transform from a CT to the camera of an X-ray."""
    return node is not None and node.GetAttribute(transforms.KIND) == KIND


def read_drr(path: str) -> projectionplane.Image:
    """The DRR (rows, columns) that the job has written. Raises InputError where it cannot be read."""
    import SimpleITK as sitk

    try:
        array = sitk.GetArrayFromImage(sitk.ReadImage(path, sitk.sitkFloat32))
    except RuntimeError as error:
        raise InputError("The DRR that was made cannot be read; align again.") from error
    return np.asarray(array, dtype=np.float32).reshape(array.shape[-2:])


def show(
    ct: Node,
    xray: Node,
    matrix: FloatArray,
    pose: Sequence[float],
    drr: projectionplane.Image,
    affine: FloatArray,
    noted: dict[str, Any],
    former: Node = None,
) -> Node:
    """Put the result into the scene; returns the transform node "CT to X-ray camera".

    ``matrix`` (4, 4) maps RAS mm of the CT itself to mm of the camera frame (source at the origin, z to the detector,
    x along the columns, y along the rows). ``drr`` (rows, columns) lies in the plane ``affine``. ``noted`` is what is
    to be told of it, plain values that JSON takes. ``former`` is the result that this one follows.
    """
    scene = ct.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", scene.GenerateUniqueName("CT to X-ray camera"))
    transforms.set_matrix(node, matrix)
    node.SetAttribute(transforms.KIND, KIND)
    node.SetAttribute(POSE, " ".join(f"{value:.6f}" for value in pose))
    node.SetAttribute(NOTED, json.dumps(noted))
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), ct.GetID())
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), xray.GetID())
    if former is not None:
        node.SetNodeReferenceID(FORMER_ROLE, former.GetID())
    image = volumes.add_volume(scene, Volume(drr[None], affine), scene.GenerateUniqueName(f"DRR of {ct.GetName()}"))
    image.SetAttribute(transforms.KIND, DRR)
    image.SetAndObserveTransformNodeID(xray.GetTransformNodeID())
    projectionplane.set_range(image, drr)
    node.SetNodeReferenceID(DRR_ROLE, image.GetID())
    return node


def ends(node: Node) -> tuple[Node, Node]:
    """The CT and the X-ray of a transform of ours; None where one is gone."""
    return (
        node.GetNodeReference(node.GetMovingNodeReferenceRole()),
        node.GetNodeReference(node.GetFixedNodeReferenceRole()),
    )


def find(ct: Node, xray: Node) -> Node:
    """The newest result for this CT and this X-ray, or None."""
    if ct is None or xray is None or ct.GetScene() is None:
        return None
    scene, kind = ct.GetScene(), "vtkMRMLLinearTransformNode"
    nodes = (scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind)))
    found = [node for node in nodes if is_ours(node) and ends(node) == (ct, xray)]
    return found[-1] if found else None


def drr(node: Node) -> Node:
    """The DRR volume that belongs to the transform ``node``, or None."""
    return node.GetNodeReference(DRR_ROLE) if node is not None else None


def pose(node: Node) -> list[float] | None:
    """The six numbers of the pose in degrees and mm, or None where the node has none."""
    try:
        values = [float(text) for text in (node.GetAttribute(POSE) or "").split()]
    except ValueError:  # A scene may have been edited outside.
        return None
    return values if len(values) == 6 and bool(np.all(np.isfinite(values))) else None


def noted(node: Node) -> dict[str, Any]:
    """What `show` was given to note, or {}."""
    try:
        found = json.loads((node.GetAttribute(NOTED) if node is not None else None) or "{}")
    except ValueError:  # As above.
        return {}
    return found if isinstance(found, dict) else {}


def undo(node: Node) -> Node:
    """Remove the result ``node`` with its DRR; returns the result that there was before, or None."""
    former = node.GetNodeReference(FORMER_ROLE)
    scene = node.GetScene()
    for kind in ("vtkMRMLVolumeNode", "vtkMRMLDisplayableNode"):  # What the user has put under it comes out of it.
        for index in range(scene.GetNumberOfNodesByClass(kind)):
            each = scene.GetNthNodeByClass(index, kind)
            if each.GetParentTransformNode() is node:
                each.SetAndObserveTransformNodeID(None)
    deformable.remove(drr(node))
    deformable.remove(node)
    return former if is_ours(former) else None
