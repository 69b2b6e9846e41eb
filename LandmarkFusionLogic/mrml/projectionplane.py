"""X-rays and DRRs as volume nodes of one slice: their pixels, and the plane that they are shown in.

An X-ray has no place of its own in the patient's coordinates: the plane is where its file or node happens to lie. A
DRR is laid into the plane of its X-ray, so that the views show them over each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import transforms, volumes
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.volume import FloatArray, Volume

Node = Any
Image = npt.NDArray[np.float32]

LIVE = "projection-live"
COMPARISON = "projection-comparison"
_UPRIGHT = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Columns to the patient's left, rows downwards in an axial view: as image files without a place are shown."""


def xray_problem(node: Node, what: str = "X-ray") -> str:
    """Why ``node`` is no X-ray that can be used, one sentence, or ""."""
    if node is None:
        return f"Choose or load the {what} first."
    name = node.GetName()
    if node.GetImageData() is None:
        return f"The {what} “{name}” holds no image; choose another one."
    shape = volumes.array_view(node).shape
    if len(shape) > 3:
        return f"The {what} “{name}” is a color image; choose one of a single gray value a pixel."
    if shape[0] != 1:
        return f"The {what} “{name}” is a volume of {shape[0]} slices; choose a single image."
    return ""


def read_xray(node: Node, what: str = "X-ray") -> Volume:
    """The image of an X-ray node as a volume (1, rows, columns), in its own RAS mm; a view, no copy.

    Raises InputError, one sentence, for what is no X-ray, for values that are not finite and for an empty image.
    """
    problem = xray_problem(node, what)
    if problem:
        raise InputError(problem)
    array = volumes.array_view(node)
    if not np.all(np.isfinite(array)):
        raise InputError(f"The {what} “{node.GetName()}” has values that are no numbers; choose another one.")
    if array.min() == array.max():
        raise InputError(f"The {what} “{node.GetName()}” has the same value everywhere; choose another one.")
    return Volume(array, volumes.ijk_to_ras(node))


def size(node: Node) -> tuple[int, int] | None:
    """Rows and columns of an X-ray node, or None where it is none."""
    if xray_problem(node):
        return None
    columns, rows, _slices = node.GetImageData().GetDimensions()
    return int(rows), int(columns)


def add_xray(scene: Node, image: Image, spacing: tuple[float, float], name: str) -> Node:
    """A new volume node with ``image`` (rows, columns) and the ``spacing`` (row, column) of its pixels in mm."""
    affine = _UPRIGHT @ np.diag([spacing[1], spacing[0], 1.0, 1.0])
    return volumes.add_volume(scene, Volume(image[None].astype(np.float32), affine), scene.GenerateUniqueName(name))


def plane(xray: Node, geometry: Geometry) -> FloatArray:
    """(4, 4) from column, row, 0 of an image with ``geometry`` to the RAS mm of the X-ray's plane.

    Both images show the same detector, whatever the size of their pixels. Without an X-ray (None) the plane is an
    upright one through the origin.
    """
    found = size(xray)
    if found is None:
        return _UPRIGHT @ np.diag([geometry.spacing[1], geometry.spacing[0], 1.0, 1.0])
    down, right = found[0] / geometry.rows, found[1] / geometry.columns
    step = np.diag([right, down, 1.0, 1.0])
    step[:2, 3] = right / 2 - 0.5, down / 2 - 0.5
    return volumes.ijk_to_ras(xray) @ step


def to_pixels(xray: Node, points: npt.ArrayLike) -> FloatArray:
    """(N, 2) row and column of the X-ray's pixels for ``points`` (N, 3), RAS mm of the X-ray itself."""
    places = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    homogeneous = np.column_stack([places, np.ones(len(places))])
    ijk = homogeneous @ np.linalg.inv(volumes.ijk_to_ras(xray)).T
    return ijk[:, [1, 0]]


class LiveImage:
    """An image that is drawn anew many times a second: a volume node that is neither saved nor offered."""

    def __init__(self, kind: str, name: str) -> None:
        self._kind = kind
        self._name = name
        self._node: Node = None

    @property
    def node(self) -> Node:
        """The volume node, or None while there is none."""
        return self._node if self._node is not None and self._node.GetScene() is not None else None

    def show(self, scene: Node, image: npt.NDArray[Any], affine: FloatArray, parent: Node = None) -> Node:
        """Show ``image`` (rows, columns) in the plane ``affine``, under the transform ``parent`` or none."""
        node = self.node
        if node is None:
            node = self._node = volumes.add_volume(scene, Volume(image[None], affine), self._name)
            node.SetAttribute(transforms.KIND, self._kind)
            node.SetSaveWithScene(False)
            node.SetHideFromEditors(True)
            node.GetDisplayNode().SetSaveWithScene(False)
            node.GetDisplayNode().SetAutoWindowLevel(False)
        else:
            held = volumes.array_view(node)
            if held.shape == (1, *image.shape) and held.dtype == image.dtype:
                held[0] = image
                node.GetImageData().GetPointData().GetScalars().Modified()
                node.GetImageData().Modified()
            else:
                node.SetAndObserveImageData(volumes.image(image[None]))
            if not np.array_equal(volumes.ijk_to_ras(node), affine):
                volumes.set_ijk_to_ras(node, affine)
        identifier = parent.GetID() if parent is not None else None
        if node.GetTransformNodeID() != identifier:
            node.SetAndObserveTransformNodeID(identifier)
        return node

    def remove(self) -> None:
        """Take the node out of the scene."""
        from LandmarkFusionLogic.mrml import deformable

        deformable.remove(self.node)
        self._node = None


def set_range(node: Node, image: npt.NDArray[Any]) -> None:
    """Show the values of ``image`` from black to white, the brightest half a percent left out."""
    low, high = (float(value) for value in np.percentile(image, (0.5, 99.5)))
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high if high > low else low + 1.0)
