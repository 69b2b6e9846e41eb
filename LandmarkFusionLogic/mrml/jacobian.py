"""The Jacobian map of a deformation: how much each place grows or shrinks and where it folds, in its own colors."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import LPS_TO_RAS
from LandmarkFusionLogic.mrml import transforms
from LandmarkFusionLogic.volume import Volume

Node = Any

KIND = "jacobian-colors"
RANGE = (0.0, 2.0)
"""What the colors span: folded or gone to twice the size; 1, no change, is white."""


def read(path: str) -> Volume:
    """The Jacobian determinants of a file. Raises InputError where it cannot be read."""
    # Not `read_volume`: where nothing was deformed every voxel is 1, which is no fault here.
    try:
        image = sitk.ReadImage(path)
    except RuntimeError as error:
        raise InputError("The Jacobian map cannot be read; register again.") from error
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image), LPS_TO_RAS @ affine)


def color(node: Node) -> None:
    """Show the volume ``node`` in the colors of a Jacobian map."""
    scene = node.GetScene()
    colors = _find_colors(scene) or _add_colors(scene)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(colors.GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*RANGE)


def _find_colors(scene: Node) -> Node:
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorTableNode")
        if node.GetAttribute(transforms.KIND) == KIND:
            return node
    return None


def _add_colors(scene: Node) -> Node:
    """Blue where it shrinks, white where nothing changes, red where it grows, magenta where it folds."""
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "Jacobian")
    node.SetAttribute(transforms.KIND, KIND)
    node.SetTypeToUser()
    count = 256
    node.SetNumberOfColors(count)
    low, high = RANGE
    for index in range(count):
        value = low + (high - low) * index / (count - 1)
        away = min(abs(value - 1.0), 1.0)
        color = (1.0 - 0.85 * away, 1.0 - 0.75 * away, 1.0) if value < 1 else (1.0, 1.0 - 0.8 * away, 1.0 - 0.9 * away)
        node.SetColor(index, f"{value:.2f}", *((1.0, 0.0, 1.0) if index == 0 else color), 1.0)
    return node


def unused_colors(scene: Node) -> Node:
    """The colors, where no volume of the scene is shown in them any more, or None."""
    colors = _find_colors(scene)
    kind = "vtkMRMLScalarVolumeNode"
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        display = scene.GetNthNodeByClass(index, kind).GetDisplayNode()
        if display is not None and display.GetColorNode() is colors:
            return None
    return colors
