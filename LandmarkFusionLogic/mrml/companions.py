"""Nodes that LandmarkFusion keeps beside a volume: its gland, its regions of confidence, its map of errors.

A companion knows its volume by a node reference and lies under the same transform, so that its own coordinates are
the volume's.
"""

from __future__ import annotations

from typing import Any

from LandmarkFusionLogic.mrml import transforms

Node = Any

VOLUME_ROLE = "LandmarkFusion.volume"


def find(volume: Node, kind: str, node_class: str) -> Node:
    """The companion of ``volume`` of this kind, or None."""
    if volume is None or volume.GetScene() is None:
        return None
    scene = volume.GetScene()
    for index in range(scene.GetNumberOfNodesByClass(node_class)):
        node = scene.GetNthNodeByClass(index, node_class)
        if node.GetAttribute(transforms.KIND) == kind and node.GetNodeReference(VOLUME_ROLE) is volume:
            return node
    return None


def create(volume: Node, kind: str, node_class: str, name: str) -> Node:
    """A new companion of ``volume``, with default display, under the volume's transform."""
    scene = volume.GetScene()
    node = scene.AddNewNodeByClass(node_class, scene.GenerateUniqueName(name))
    node.SetAttribute(transforms.KIND, kind)
    node.SetNodeReferenceID(VOLUME_ROLE, volume.GetID())
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    return node


def all_of(volume: Node) -> list[Node]:
    """Every companion of ``volume`` but its landmark lists."""
    if volume is None or volume.GetScene() is None:
        return []
    found = []
    for node_class in ("vtkMRMLSegmentationNode", "vtkMRMLModelNode"):
        scene = volume.GetScene()
        for index in range(scene.GetNumberOfNodesByClass(node_class)):
            node = scene.GetNthNodeByClass(index, node_class)
            if node.GetNodeReference(VOLUME_ROLE) is volume and node.GetAttribute(transforms.KIND):
                found.append(node)
    return found
