"""Volume nodes as plain data, and which volume is which."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import transforms
from LandmarkFusionLogic.orientation import flip_matrix
from LandmarkFusionLogic.volume import FloatArray, Volume, check_volume

Node = Any
"""A MRML node; Slicer's classes carry no type information."""

ORIENTATION = "LandmarkFusion.orientation"
FLIPS = "LandmarkFusion.flips"

_WORDS = {"mr": {"mr", "mri", "t2", "t2w"}, "us": {"us", "trus", "ultrasound"}}


def volume_from_node(node: Node, what: str) -> Volume:
    """The voxels and the place of a volume node, once both have been found usable.

    The array (K, J, I) is a view into the node's image, no copy; the affine maps voxel indices to the RAS mm of the
    volume itself, without a transform above it. ``what`` names the volume in messages, for instance "MR volume".
    Raises InputError for no volume, a volume under a transform which is not ours, and all that `check_volume` refuses.
    """
    if node is None:
        raise InputError(f"No {what} is chosen; choose one first.")
    if node.GetImageData() is None:
        raise InputError(f"The {what} “{node.GetName()}” holds no image; choose another volume.")
    parent = node.GetParentTransformNode()
    if parent is not None and not transforms.is_ours(parent):
        raise InputError(
            f"The {what} “{node.GetName()}” is under the transform “{parent.GetName()}”; "
            "harden the transform or take the volume out of it first."
        )
    return check_volume(array_view(node), ijk_to_ras(node), what)


def array_view(node: Node) -> np.ndarray:
    """The node's voxels, (K, J, I), or (K, J, I, components) where a voxel has several values; a view, no copy."""
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars()
    if scalars is None:
        return np.empty((0, 0, 0))
    shape = image.GetDimensions()[::-1]
    components = scalars.GetNumberOfComponents()
    return vtk_to_numpy(scalars).reshape(shape if components == 1 else (*shape, components))


def ijk_to_ras(node: Node) -> FloatArray:
    """(4, 4) affine from voxel indices (i, j, k) to the RAS mm of the volume, without a transform above it."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return transforms.to_array(matrix)


def set_ijk_to_ras(node: Node, affine: FloatArray) -> None:
    """Place the volume by ``affine`` (4, 4), voxel indices to RAS mm."""
    node.SetIJKToRASMatrix(transforms.to_matrix(affine))


def add_volume(scene: Node, volume: Volume, name: str) -> Node:
    """A new volume node with a copy of ``volume``, its display node included."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(image(volume.array))
    set_ijk_to_ras(node, volume.ijk_to_ras)
    node.CreateDefaultDisplayNodes()
    return node


def stamp(node: Node) -> Any:
    """What changes when the volume gets other voxels or another place; None while it has no image."""
    image = node.GetImageData()
    if image is None:
        return None
    scalars = image.GetPointData().GetScalars()
    return scalars, scalars.GetMTime(), image.GetDimensions(), ijk_to_ras(node).tobytes()


def world_center(node: Node) -> FloatArray:
    """(3,) RAS mm of the middle of the volume as the views show it, transforms included."""
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    return (bounds[0::2] + bounds[1::2]) / 2


def orientation_confirmed(node: Node) -> bool:
    """Whether somebody has confirmed that left is left in this volume."""
    return node is not None and node.GetAttribute(ORIENTATION) == "confirmed"


def flips(node: Node) -> list[str]:
    """The flips ("lr", "ap", "si") that this volume has had since it was loaded; each at most once."""
    return [name for name in (node.GetAttribute(FLIPS) or "").split(",") if name]


def remember_orientation(node: Node, names: list[str], confirmed: bool) -> None:
    """Note on the volume which flips it has had and whether its orientation is confirmed."""
    node.SetAttribute(FLIPS, ",".join(names) or None)
    node.SetAttribute(ORIENTATION, "confirmed" if confirmed else None)


def flip(node: Node, name: str) -> FloatArray:
    """Turn a volume round about its centre ("lr", "ap" or "si") and remember it; its voxels stay as they are.

    Returns the (4, 4) reflection of the volume's RAS mm, for whatever lies on the volume to follow.
    """
    affine = ijk_to_ras(node)
    matrix = flip_matrix(Volume(array_view(node), affine).centre, [name])
    set_ijk_to_ras(node, matrix @ affine)
    remember_orientation(node, sorted(set(flips(node)) ^ {name}), orientation_confirmed(node))
    return matrix


def guess_modality(node: Node) -> str:
    """ "mr" or "us" where the volume's name says which it is ("MRProstate", "patient 3 TRUS"), else ""."""
    spaced = re.sub(r"([A-Z]+)([A-Z][a-z])|([a-z0-9])([A-Z])", r"\1\3 \2\4", node.GetName() or "")
    words = set(re.split(r"[^a-z0-9]+", spaced.lower()))
    found = [modality for modality, names in _WORDS.items() if words & names]
    return found[0] if len(found) == 1 else ""


def by_modality(scene: Node) -> dict[str, Node]:
    """The one volume that is an MR by its name ("mr"), and the one that is an ultrasound ("us"); None if in doubt."""
    found: dict[str, list[Node]] = {"mr": [], "us": []}
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode")
        modality = guess_modality(node)
        if modality:
            found[modality].append(node)
    return {modality: nodes[0] if len(nodes) == 1 else None for modality, nodes in found.items()}


def image(array: np.ndarray) -> vtk.vtkImageData:
    """A copy of ``array`` (K, J, I) as VTK keeps it, at unit spacing."""
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    found = vtk.vtkImageData()
    found.SetDimensions(*array.shape[::-1])
    scalars = numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    found.GetPointData().SetScalars(scalars)
    return found


def world_to_volume(node: Node, position: FloatArray) -> FloatArray:
    """(3,) RAS mm of the volume itself for a position as the views show it, transforms undone."""
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.asarray(position, dtype=np.float64)
    general = vtk.vtkGeneralTransform()
    parent.GetTransformFromWorld(general)
    return np.array(general.TransformPoint([float(value) for value in position]))
