"""Gland masks: a segmentation beside each volume, and masks taken from any segmentation or label map of the user."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import OBSERVER_MM, Gland
from LandmarkFusionLogic.mrml import companions, transforms, volumes
from LandmarkFusionLogic.volume import FloatArray, Volume

Node = Any

CLASS = "vtkMRMLSegmentationNode"
LABEL_MAP_CLASS = "vtkMRMLLabelMapVolumeNode"
SEGMENT = "Prostate"
PREDICTION = "LandmarkFusion.gland"
_COLORS = {"mr": (1.0, 0.6, 0.1), "us": (0.2, 0.75, 1.0)}
_NAMES = ("prostate", "gland", "wg", "whole gland", "prostate gland")


@dataclass(frozen=True)
class Prediction:
    """What a network said of a gland: centroid (3) RAS mm of the volume, its covariance (3, 3) mm², volume in ml.

    ``drawn`` tells the mask that it drew from one that was edited since; `write` fills it in.
    """

    centroid: FloatArray
    covariance: FloatArray
    millilitres: float
    drawn: str = ""


def find(volume: Node, modality: str) -> Node:
    """The gland's segmentation of ``volume`` as "mr" or "us", or None."""
    return companions.find(volume, _kind(modality), CLASS)


def write(volume: Node, modality: str, mask: Volume, prediction: Prediction) -> Node:
    """Show ``mask`` (0 outside) as the gland of ``volume``, in the place of the one it had.

    Segments that the user has drawn beside it stay.
    """
    node = find(volume, modality) or companions.create(volume, _kind(modality), CLASS, f"{modality.upper()} gland")
    segmentation = node.GetSegmentation()
    modified = node.StartModify()
    for former in _own_segments(node):
        segmentation.RemoveSegment(former)
    identifier = segmentation.AddEmptySegment(SEGMENT, SEGMENT, _COLORS[modality])
    segmentation.SetSegmentIndex(identifier, 0)
    segment = segmentation.GetSegment(identifier)
    segment.SetLabelValue(1)
    segment.AddRepresentation(_names().GetSegmentationBinaryLabelmapRepresentationName(), oriented_image(mask))
    node.RemoveClosedSurfaceRepresentation()
    node.CreateClosedSurfaceRepresentation()
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    display.SetOpacity3D(0.25)
    display.SetPreferredDisplayRepresentationName2D(_names().GetSegmentationClosedSurfaceRepresentationName())
    display.SetSliceIntersectionThickness(2)
    _remember(node, prediction if prediction.drawn else replace(prediction, drawn=_digest(mask)))
    node.EndModify(modified)
    return node


def remove(volume: Node, modality: str) -> None:
    """Take the gland of ``volume`` away: the segmentation with it, unless the user has drawn segments beside it."""
    node = find(volume, modality)
    if node is None:
        return
    own = _own_segments(node)
    segmentation = node.GetSegmentation()
    if not segmentation.GetNumberOfSegments() - len(own):
        node.GetScene().RemoveNode(node)
        return
    for former in own:
        segmentation.RemoveSegment(former)
    node.RemoveAttribute(PREDICTION)


def _own_segments(node: Node) -> list[str]:
    """The segment that `write` made; where the user has deleted it, the one named after the prostate instead."""
    segmentation = node.GetSegmentation()
    if segmentation.GetSegment(SEGMENT) is not None:
        return [SEGMENT]
    try:
        found = _segment(node)
    except InputError:
        return []
    return [found] if _is_named(segmentation, found) else []


def _remember(node: Node, said: Prediction) -> None:
    node.SetAttribute(
        PREDICTION,
        json.dumps(
            {
                "centroid": np.asarray(said.centroid).tolist(),
                "covariance": np.asarray(said.covariance).tolist(),
                "millilitres": said.millilitres,
                "drawn": said.drawn,
            }
        ),
    )


def _digest(mask: Volume) -> str:
    """Tells masks apart by their voxels, not by where they lie; a flip, which may turn the array round, is nothing."""
    inside = np.asarray(mask.array, dtype=np.uint8) > 0
    index = np.argwhere(inside)
    if not len(index):
        return ""
    box = tuple(slice(low, high + 1) for low, high in zip(index.min(axis=0), index.max(axis=0), strict=True))
    inside = inside[box]
    return min(
        hashlib.sha256(repr(inside.shape).encode() + np.packbits(each).tobytes()).hexdigest()
        for each in (inside, inside[:, :, ::-1])
    )


def prediction(node: Node) -> Prediction | None:
    """What the network said of the gland that ``node`` shows; None for no node or none of ours."""
    try:
        found = json.loads((node.GetAttribute(PREDICTION) if node is not None else None) or "null")
        centroid, covariance = np.array(found["centroid"]), np.array(found["covariance"])
        return Prediction(centroid, covariance, float(found["millilitres"]), str(found.get("drawn") or ""))
    except (ValueError, KeyError, TypeError):
        return None


def known(node: Node) -> Gland | None:
    """The gland that the segmentation shows, as edited since; None for no node, none of ours, or an empty one."""
    said = prediction(node)
    if said is None:
        return None
    try:
        mask = read(node)
    except InputError:
        return None
    # What the prediction says of its centroid includes what `Gland` adds to every spread.
    spread = said.covariance - OBSERVER_MM**2 * np.eye(3)
    return Gland(Volume(mask.array.astype(np.float32), mask.ijk_to_ras), spread=spread)


def edited(node: Node) -> bool:
    """Whether somebody has changed the gland since the network drew it; not where it was emptied."""
    said = prediction(node)
    if said is None or not said.drawn:
        return False
    try:
        return _digest(read(node)) != said.drawn
    except InputError:
        return False


def move(volume: Node, matrix: FloatArray) -> None:
    """Move the glands of ``volume`` by ``matrix`` (4, 4), every segment beside them too: the volume was moved so."""
    for modality in _COLORS:
        node, said = find(volume, modality), prediction(find(volume, modality))
        if node is None:
            continue
        _move_segments(node, matrix)
        if said is None:
            continue
        rotation = matrix[:3, :3]
        centroid, covariance = rotation @ said.centroid + matrix[:3, 3], rotation @ said.covariance @ rotation.T
        _remember(node, Prediction(centroid, covariance, said.millilitres, said.drawn))


def _move_segments(node: Node, matrix: FloatArray) -> None:
    """Move all segments that have voxels; in one that was emptied there is nothing to move."""
    segmentation = node.GetSegmentation()
    masks = {}
    for index in range(segmentation.GetNumberOfSegments()):
        identifier = segmentation.GetNthSegmentID(index)
        with suppress(InputError):
            masks[identifier] = read(node, identifier)
    if not masks:
        return
    modified = node.StartModify()
    node.RemoveClosedSurfaceRepresentation()
    for identifier, mask in masks.items():
        # Segments may share an image; from now on each has its own.
        segment = segmentation.GetSegment(identifier)
        segment.SetLabelValue(1)
        segment.AddRepresentation(
            _names().GetSegmentationBinaryLabelmapRepresentationName(),
            oriented_image(Volume(mask.array, matrix @ mask.ijk_to_ras)),
        )
    node.CreateClosedSurfaceRepresentation()
    node.EndModify(modified)


def read(node: Node, segment: str | None = None) -> Volume:
    """The mask of a segment (by its ID; None: the gland's), uint8, in the frame of the segmentation ``node``.

    Raises InputError where there is none.
    """
    image = _import("vtkOrientedImageData")
    if not node.GetBinaryLabelmapRepresentation(segment or _segment(node), image):
        raise InputError(f"The segmentation “{node.GetName()}” cannot be read as a mask.")
    scalars = image.GetPointData().GetScalars()
    extent = image.GetExtent()
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    if scalars is None or min(shape) < 1:
        raise InputError(f"The segmentation “{node.GetName()}” is empty; choose another one.")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = transforms.to_array(matrix)
    affine[:3, 3] = affine[:3, :3] @ [extent[0], extent[2], extent[4]] + affine[:3, 3]
    array = (vtk_to_numpy(scalars).reshape(shape) > 0).astype(np.uint8)
    if not array.any():
        raise InputError(f"The segmentation “{node.GetName()}” is empty; choose another one.")
    return Volume(array, affine)


def mask_for(node: Node, volume: Node) -> Volume:
    """The gland mask that a segmentation or a label map of the user shows, in the frame of ``volume``.

    Raises InputError for an empty mask, one of several segments of which none is named after the prostate, and one
    that lies under a transform which bends space.
    """
    if node.IsA(LABEL_MAP_CLASS):
        if node.GetImageData() is None or not np.any(volumes.array_view(node)):
            raise InputError(f"The label map “{node.GetName()}” is empty; choose another one.")
        mask = Volume((volumes.array_view(node) > 0).astype(np.uint8), volumes.ijk_to_ras(node))
    else:
        mask = read(node)
    return Volume(mask.array, to_volume(node, volume) @ mask.ijk_to_ras)


def to_volume(node: Node, volume: Node) -> FloatArray:
    """(4, 4) from the own frame of ``node`` to that of ``volume``.

    Raises InputError for transforms that bend space.
    """
    if node.GetParentTransformNode() is volume.GetParentTransformNode():
        return np.eye(4)
    matrices = []
    for each in (node, volume):
        parent = each.GetParentTransformNode()
        matrix = vtk.vtkMatrix4x4()
        if parent is not None:
            if not parent.IsTransformToWorldLinear():
                raise InputError(f"“{each.GetName()}” is under a transform that bends space; harden it first.")
            parent.GetMatrixTransformToWorld(matrix)
        matrices.append(transforms.to_array(matrix))
    return np.asarray(np.linalg.inv(matrices[1]) @ matrices[0])


def stamp(node: Node) -> tuple[Any, ...]:
    """What changes with every edit of a segmentation; the time of the segmentation itself does not."""
    if node is None:
        return ()
    segmentation = node.GetSegmentation()
    found = []
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        image = segment.GetRepresentation(_names().GetSegmentationBinaryLabelmapRepresentationName())
        found.append(
            (segmentation.GetNthSegmentID(index), segment.GetName(), image.GetMTime() if image is not None else 0)
        )
    return tuple(found)


def surface(node: Node) -> vtk.vtkPolyData | None:
    """The closed surface of the gland in the node's own frame; None where there is none."""
    try:
        identifier = _segment(node)
    except InputError:
        return None
    found = vtk.vtkPolyData()
    node.CreateClosedSurfaceRepresentation()
    if not node.GetClosedSurfaceRepresentation(identifier, found) or not found.GetNumberOfPoints():
        return None
    return found


def oriented_image(mask: Volume) -> Any:
    """A mask as segmentations keep it: right-handed, or its surface would be inside out."""
    array, affine = np.asarray(mask.array, dtype=np.uint8), mask.ijk_to_ras
    if np.linalg.det(affine[:3, :3]) < 0:
        turn = np.diag([-1.0, 1.0, 1.0, 1.0])
        turn[0, 3] = array.shape[2] - 1
        array, affine = array[:, :, ::-1], affine @ turn
    image = _import("vtkOrientedImageData")
    image.DeepCopy(volumes.image(array))
    image.SetImageToWorldMatrix(transforms.to_matrix(affine))
    return image


def _segment(node: Node) -> str:
    """The segment that is the gland: the only one, or the one that is named after it."""
    segmentation = node.GetSegmentation()
    identifiers = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    if not identifiers:
        raise InputError(f"The segmentation “{node.GetName()}” has no segment; choose another one.")
    if len(identifiers) == 1:
        return str(identifiers[0])
    for identifier in identifiers:
        if _is_named(segmentation, identifier):
            return str(identifier)
    raise InputError(
        f"The segmentation “{node.GetName()}” has several segments; name the one of the gland “{SEGMENT}”."
    )


def _is_named(segmentation: Any, identifier: str) -> bool:
    return segmentation.GetSegment(identifier).GetName().strip().lower() in _NAMES


def _kind(modality: str) -> str:
    return f"{modality}-gland"


def _names() -> Any:
    import slicer

    return slicer.vtkSegmentationConverter


def _import(name: str) -> Any:
    import slicer

    return getattr(slicer, name)()
