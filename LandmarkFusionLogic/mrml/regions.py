"""Where a detected landmark may be: 95 % ellipsoids of a list, in one model node beside the volume.

They are derived from the list and not saved; whoever follows the list calls `update`. A point that has been edited or
placed has none: the detector's covariance says nothing about it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

from LandmarkFusionLogic.mrml import companions, landmarks
from LandmarkFusionLogic.points import FloatArray

Node = Any

CLASS = "vtkMRMLModelNode"
SIGNATURE = "LandmarkFusion.shown"
CHI_SQUARE_95 = 7.814727903251179
"""The 95 % point of the chi-square distribution with three degrees of freedom."""
LEAST_MM = 0.3
"""Shorter half axes are drawn this long: a flat ellipsoid has no surface to see."""
_COLORS = {"mr": (1.0, 0.6, 0.1), "us": (0.2, 0.75, 1.0)}


def find(volume: Node, modality: str) -> Node:
    """The model of the ellipsoids of ``volume``, or None."""
    return companions.find(volume, _kind(modality), CLASS)


def update(volume: Node, modality: str, wanted: bool) -> tuple[Node, bool]:
    """Draw the ellipsoids of the landmarks of ``volume`` as they are now; a new model is made where it is ``wanted``.

    Returns the model, or None, and whether there is anything to show.
    """
    marks = landmarks.read(landmarks.find(volume, modality))
    known = [(mark.position, mark.covariance) for mark in marks if mark.covariance is not None]
    node = find(volume, modality)
    if node is None:
        if not known or not wanted:
            return None, False
        node = companions.create(volume, _kind(modality), CLASS, f"{modality.upper()} 95 % regions")
        node.SetSaveWithScene(False)
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetColor(*_COLORS[modality])
        display.SetOpacity(0.35)
        display.SetVisibility2D(True)
        display.SetSliceIntersectionThickness(2)
    signature = repr([(position.tolist(), covariance.tolist()) for position, covariance in known])
    if node.GetAttribute(SIGNATURE) != signature:
        node.SetAttribute(SIGNATURE, signature)
        node.SetAndObservePolyData(ellipsoids(known))
    return node, bool(known)


def ellipsoids(known: list[tuple[FloatArray, FloatArray]]) -> vtk.vtkPolyData:
    """The surface that holds 95 % of a normal distribution, for each position (3,) mm and covariance (3, 3) mm²."""
    sphere = _unit_sphere()
    points = vtk_to_numpy(sphere.GetPoints().GetData()).astype(np.float64)
    triangles = vtk_to_numpy(sphere.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    places, faces = [np.zeros((0, 3))], [np.zeros((0, 3), dtype=np.int64)]
    for number, (position, covariance) in enumerate(known):
        values, axes = np.linalg.eigh(covariance)
        radii = np.maximum(np.sqrt(np.maximum(values, 0.0) * CHI_SQUARE_95), LEAST_MM)
        places.append(points * radii @ axes.T + position)
        faces.append(triangles + number * len(points))
    return surface(np.concatenate(places), np.concatenate(faces))


def surface(points: FloatArray, triangles: np.ndarray) -> vtk.vtkPolyData:
    """A surface of ``points`` (N, 3) and ``triangles`` (M, 3), indices of points."""
    found, places, cells = vtk.vtkPolyData(), vtk.vtkPoints(), vtk.vtkCellArray()
    places.SetData(numpy_to_vtk(np.ascontiguousarray(points, dtype=np.float32), deep=True))
    connectivity = numpy_to_vtkIdTypeArray(np.ascontiguousarray(triangles.ravel(), dtype=np.int64), deep=True)
    cells.SetData(3, connectivity)
    found.SetPoints(places)
    found.SetPolys(cells)
    return found


def _unit_sphere() -> vtk.vtkPolyData:
    source = vtk.vtkSphereSource()
    source.SetRadius(1.0)
    source.SetThetaResolution(20)
    source.SetPhiResolution(14)
    source.Update()
    return source.GetOutput()


def _kind(modality: str) -> str:
    return f"{modality}-regions"
