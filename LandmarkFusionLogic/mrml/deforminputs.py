"""What a deformable registration is given, read from nodes: volumes, where to start, which region, and suggestions."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import resample
from LandmarkFusionLogic.mrml import deformable, glands, landmarks, transforms, volumes
from LandmarkFusionLogic.volume import FloatArray, Volume, check_volume

Node = Any


def read_volume_node(node: Node, what: str, initial: Node = None) -> Volume:
    """The voxels and the place of a volume node, without what lies above it, as the jobs want it.

    Above it may be our transforms and the ``initial`` one, which the job is told of.
    Raises InputError as `volumes.volume_from_node` does.
    """
    parent = node.GetParentTransformNode() if node is not None else None
    if parent is None or (parent is not initial and not deformable.is_ours(parent)) or node.GetImageData() is None:
        return volumes.volume_from_node(node, what)
    return check_volume(volumes.array_view(node), volumes.ijk_to_ras(node), what)


def mask(node: Node, volume: Node, what: str) -> Volume | None:
    """A segmentation or label map on the voxels of ``volume``, uint8; None for no node, and where it covers them all.

    Raises InputError for a mask that is empty or lies elsewhere.
    """
    if node is None:
        return None
    drawn = glands.mask_for(node, volume)
    grid = Volume(volumes.array_view(volume), volumes.ijk_to_ras(volume))
    found = resample(Volume(drawn.array.astype(np.float32), drawn.ijk_to_ras), grid, np.eye(4)).array >= 0.5
    if not found.any():
        raise InputError(f"The {what} “{node.GetName()}” lies outside of its volume; choose another one.")
    return None if found.all() else Volume(found.astype(np.uint8), grid.ijk_to_ras)


def parent_problem(node: Node, what: str, initial: Node = None) -> str:
    """What hinders a volume from being registered where it lies, or ""."""
    parent = node.GetParentTransformNode()
    if parent is None or parent is initial or transforms.is_ours(parent) or deformable.is_ours(parent):
        return ""
    return (
        f"The {what} “{node.GetName()}” is under the transform “{parent.GetName()}”; harden the transform, take the "
        "volume out of it, or start from it."
    )


def initial_matrix(node: Node) -> FloatArray | None:
    """(4, 4) from points of the moving volume to points of the fixed one, RAS mm; None for no node.

    Raises InputError for a transform that bends space.
    """
    if node is None:
        return None
    if not node.IsTransformToWorldLinear():
        raise InputError(f"“{node.GetName()}” bends space; choose a linear transform to start from.")
    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(matrix)
    return transforms.to_array(matrix)


def region(roi: Node, fixed: Node) -> list[float] | None:
    """Bounds [R0, R1, A0, A1, S0, S1] of a region of interest in RAS mm of the fixed volume itself; None for none.

    Raises InputError where it lies outside of the volume.
    """
    if roi is None:
        return None
    bounds = np.zeros(6)
    roi.GetRASBounds(bounds)
    if not np.all(bounds[1::2] > bounds[0::2]):
        raise InputError(f"The region “{roi.GetName()}” has no size; draw it first.")
    corners = [np.array([bounds[i], bounds[2 + j], bounds[4 + k]]) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    inside = np.array([volumes.world_to_volume(fixed, corner) for corner in corners])
    low, high = inside.min(axis=0), inside.max(axis=0)
    affine = volumes.ijk_to_ras(fixed)
    last = np.array(fixed.GetImageData().GetDimensions()) - 1.0
    ends = np.array([[i, j, k] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])])
    volume = ends @ affine[:3, :3].T + affine[:3, 3]
    if np.any(high < volume.min(axis=0)) or np.any(low > volume.max(axis=0)):
        raise InputError(f"The region “{roi.GetName()}” lies outside of the fixed volume; move it there.")
    return [float(value) for pair in zip(low, high, strict=True) for value in pair]


def fit_region(roi: Node, fixed: Node) -> None:
    """Draw a region that has just been made around the fixed volume, to be made smaller by hand."""
    bounds = np.zeros(6)
    fixed.GetRASBounds(bounds)
    roi.SetCenterWorld(*(bounds[0::2] + bounds[1::2]) / 2)
    roi.SetSizeWorld(*(bounds[1::2] - bounds[0::2]))


def suggested_initial(fixed: Node, moving: Node) -> Node:
    """The transform to start from: the rigid fit of the two volumes, or a linear one above the moving volume."""
    rigid = transforms.find(moving, fixed)
    if rigid is not None:
        return rigid
    parent = moving.GetParentTransformNode()
    linear = parent is not None and parent.IsA("vtkMRMLLinearTransformNode") and not transforms.is_ours(parent)
    return parent if linear else None


def suggested_points(volume: Node) -> Node:
    """The landmark list of a volume, if it has placed points, or None."""
    for modality in landmarks.MODALITIES:
        node = landmarks.find(volume, modality)
        if node is not None and landmarks.read(node):
            return node
    return None
