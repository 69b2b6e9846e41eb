"""The expected error of the alignment on the surface of the MR's gland, as colors of a model.

Derived from gland and fit, not saved with the scene. The surface is thinned once, so that the colors follow a
landmark that is being dragged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from LandmarkFusionLogic.mrml import companions, glands
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.rigid.landmarks import LandmarkFit

Node = Any

KIND = "error-map"
CLASS = "vtkMRMLModelNode"
SCALARS = "Expected error (mm)"
RANGE_MM = (0.0, 10.0)
"""What the colors span: blue to red. It is the same for every case, so that colors can be compared."""
POINTS = 400
"""About how many points the thinned surface has."""


class ErrorMap:
    """Follows one gland; `update` is called with every fit."""

    def __init__(self) -> None:
        self.mean: float | None = None
        """Expected error in mm, root mean square over the gland's voxels; None while there is no gland or fit."""
        self._gland: Node = None
        self._stamp: Any = None
        self._surface: vtk.vtkPolyData | None = None
        self._inside = np.zeros((0, 3))

    def update(self, volume: Node, gland: Node, fit: LandmarkFit | None, wanted: bool) -> Node:
        """Bring `mean` and, where it is ``wanted``, the model in line with the MR's gland and with ``fit``.

        Returns the model, or None.
        """
        self._take(gland)
        if fit is None or not len(self._inside):
            self.mean = None
        else:
            self.mean = float(np.sqrt(np.mean(fit.expected_error(self._inside) ** 2)))
        node = companions.find(volume, KIND, CLASS)
        if wanted and fit is not None and self.mean is not None:
            node = node or _create(volume)
            self._paint(node, fit)
        return node

    def forget(self) -> None:
        """Let go of the gland."""
        self._gland = self._stamp = self._surface = self.mean = None
        self._inside = np.zeros((0, 3))

    def _take(self, gland: Node) -> None:
        stamp = glands.stamp(gland)
        if (gland, stamp) == (self._gland, self._stamp):
            return
        self.forget()
        self._gland = gland
        found = glands.surface(gland) if gland is not None else None
        if found is not None:
            self._surface = thinned(found)
            self._inside = sample(gland)
        self._stamp = stamp

    def _paint(self, node: Node, fit: LandmarkFit) -> None:
        if node.GetPolyData() is not self._surface:
            node.SetAndObservePolyData(self._surface)
        points = vtk_to_numpy(self._surface.GetPoints().GetData()).astype(np.float64)
        values = np.ascontiguousarray(fit.expected_error(points), dtype=np.float32)
        scalars = self._surface.GetPointData().GetArray(SCALARS)
        if scalars is None:
            scalars = numpy_to_vtk(values, deep=True)
            scalars.SetName(SCALARS)
            self._surface.GetPointData().SetScalars(scalars)
        else:
            vtk_to_numpy(scalars)[:] = values
            scalars.Modified()
        self._surface.Modified()


def thinned(surface: vtk.vtkPolyData, points: int = POINTS) -> vtk.vtkPolyData:
    """A copy of ``surface`` with about so many points."""
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(surface)
    thin = vtk.vtkQuadricDecimation()
    thin.SetInputConnection(triangles.GetOutputPort())
    thin.SetTargetReduction(max(0.0, 1.0 - points / max(surface.GetNumberOfPoints(), 1)))
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(thin.GetOutputPort())
    normals.SplittingOff()
    normals.Update()
    found = vtk.vtkPolyData()
    found.DeepCopy(normals.GetOutput())
    return found


def sample(gland: Node, count: int = 300) -> FloatArray:
    """(N, 3) RAS mm: about ``count`` voxels spread evenly over the gland, in the frame of its node."""
    mask = glands.read(gland)
    index = np.argwhere(mask.array)[:, ::-1].astype(np.float64)
    index = index[np.linspace(0, len(index) - 1, min(count, len(index))).astype(int)]
    return np.asarray(index @ mask.ijk_to_ras[:3, :3].T + mask.ijk_to_ras[:3, 3])


def _create(volume: Node) -> Node:
    node = companions.create(volume, KIND, CLASS, "Expected error of the alignment")
    node.SetSaveWithScene(False)
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetVisibility2D(True)
    display.SetSliceIntersectionThickness(3)
    display.SetOpacity(0.8)
    display.SetActiveScalarName(SCALARS)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeFileColdToHotRainbow.txt")
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(*RANGE_MM)
    display.SetScalarVisibility(True)
    return node
