"""Surfaces of gland masks, and the rigid motion between two of them by iterative closest points. Needs VTK.

Slicer brings VTK along, and so does slicer-core; it is imported when it is needed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.rigid.fit import FloatArray, apply, invert
from LandmarkFusionLogic.volume import Volume

SMOOTHING_MM = 1.0
"""Standard deviation of the Gaussian that takes the steps of the voxels off a mask before its surface is made."""
ICP_POINTS = 600
"""How many points of the moving surface look for their closest point."""
Mapping = Callable[[FloatArray], FloatArray]
DISTANCE_POINTS = 1500
"""From how many points of a surface the distance to another one is measured."""
ICP_ITERATIONS = 200


@dataclass(frozen=True)
class Surface:
    """A closed triangle mesh: ``points`` (N, 3) RAS mm, ``triangles`` (M, 3) indices into them."""

    points: FloatArray = field(compare=False)
    triangles: npt.NDArray[np.int64] = field(compare=False)

    def moved(self, matrix: npt.ArrayLike) -> Surface:
        """The surface with its points mapped by ``matrix`` (4, 4), RAS mm."""
        return Surface(apply(matrix, self.points), self.triangles)


def surface_of(mask: Volume, level: float = 0.5, smoothing_mm: float = SMOOTHING_MM) -> Surface:
    """The surface where ``mask`` (0 outside, 1 inside, or a probability) passes ``level``, closed at its borders.

    Raises InputError where nothing lies inside, and without VTK.
    """
    _require_vtk()
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    # A border of zeros closes the surface, wide enough for what the Gaussian carries over the edge.
    sigmas = smoothing_mm / mask.spacing[::-1]
    border = int(np.ceil(2 * sigmas.max())) + 1
    values = np.pad(np.asarray(mask.array, dtype=np.float32), border)
    if smoothing_mm > 0:
        values = gaussian_filter(values, sigmas, mode="constant")
    if not (values > level).any():
        raise InputError("The gland mask is empty; choose another mask.")
    image = vtkImageData()
    image.SetDimensions(*values.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, level)
    contour.ComputeNormalsOff()
    contour.ComputeGradientsOff()
    contour.ComputeScalarsOff()
    contour.Update()
    mesh = contour.GetOutput()
    indices = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64) - border
    triangles = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).astype(np.int64).reshape(-1, 3)
    return Surface(apply(mask.ijk_to_ras, indices), triangles)


def closest_points(moving: Surface, fixed: Surface, start: npt.ArrayLike) -> FloatArray:
    """The rigid motion (4, 4), RAS mm, that iterative closest points (Besl, McKay 1992) find from ``start``.

    Points of ``moving`` look for the closest point of the surface ``fixed``; no randomness. Raises InputError without
    VTK.
    """
    _require_vtk()
    from vtkmodules.vtkCommonDataModel import vtkIterativeClosestPointTransform

    begin = np.asarray(start, dtype=np.float64)
    # Around the origin: single precision inside VTK costs nothing there, whatever frame the scanner chose.
    origin = np.eye(4)
    origin[:3, 3] = -fixed.points.mean(axis=0)
    search = vtkIterativeClosestPointTransform()
    search.SetSource(_polydata(moving.moved(origin @ begin)))
    search.SetTarget(_polydata(fixed.moved(origin)))
    search.GetLandmarkTransform().SetModeToRigidBody()
    search.StartByMatchingCentroidsOff()
    search.SetMaximumNumberOfLandmarks(ICP_POINTS)
    search.SetMaximumNumberOfIterations(ICP_ITERATIONS)
    search.CheckMeanDistanceOn()
    search.SetMaximumMeanDistance(1e-3)
    search.Update()
    found = search.GetMatrix()
    step = np.array([[found.GetElement(row, column) for column in range(4)] for row in range(4)])
    step[:3, :3] = _nearest_rotation(step[:3, :3])
    return np.asarray(np.linalg.inv(origin) @ step @ origin @ begin)


class SurfaceDistance:
    """The symmetric mean distance of two surfaces, for many motions of the first. Raises InputError without VTK."""

    def __init__(self, moving: Surface, fixed: Surface) -> None:
        _require_vtk()
        self._sides = [(_Distance(surface), _thinned(surface)) for surface in (moving, fixed)]

    def mean(self, motion: npt.ArrayLike) -> float:
        """Mean distance, mm, from about `DISTANCE_POINTS` points of each surface to the triangles of the other.

        ``motion`` (4, 4), rigid, RAS mm, maps points of the moving surface to the fixed one. Each direction counts
        half.
        """
        (to_moving, moving), (to_fixed, fixed) = self._sides
        there, back = to_fixed(apply(motion, moving)), to_moving(apply(invert(motion), fixed))
        return (float(there.mean()) + float(back.mean())) / 2

    def deformed(self, to_fixed: Mapping, to_moving: Mapping) -> float:
        """The same for a motion that bends: its two directions, each of points (N, 3), RAS mm."""
        (from_moving, moving), (from_fixed, fixed) = self._sides
        there, back = from_fixed(to_fixed(moving)), from_moving(to_moving(fixed))
        return (float(there.mean()) + float(back.mean())) / 2


class _Distance:
    """Distances from points (N, 3) to a surface, mm; the search structure is made once."""

    def __init__(self, surface: Surface) -> None:
        from vtkmodules.vtkFiltersCore import vtkImplicitPolyDataDistance

        # Around the origin: single precision inside VTK costs nothing there, whatever frame the scanner chose.
        self._middle = surface.points.mean(axis=0)
        self._measure = vtkImplicitPolyDataDistance()
        self._measure.SetInput(_polydata(Surface(surface.points - self._middle, surface.triangles)))

    def __call__(self, points: FloatArray) -> FloatArray:
        from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkDoubleArray

        found = vtkDoubleArray()
        self._measure.FunctionValue(numpy_to_vtk(np.ascontiguousarray(points - self._middle), deep=True), found)
        return np.asarray(np.abs(vtk_to_numpy(found)), dtype=np.float64)


def _thinned(surface: Surface) -> FloatArray:
    # Points of a contour follow each other over the surface: every n-th is spread over all of it.
    return surface.points[:: max(1, len(surface.points) // DISTANCE_POINTS)]


def _polydata(surface: Surface) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(surface.points), deep=True))
    cells = vtkCellArray()
    count = len(surface.triangles)
    offsets = numpy_to_vtkIdTypeArray(np.arange(0, 3 * count + 1, 3, dtype=np.int64), deep=True)
    cells.SetData(offsets, numpy_to_vtkIdTypeArray(np.ascontiguousarray(surface.triangles).ravel(), deep=True))
    mesh = vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetPolys(cells)
    return mesh


def _nearest_rotation(matrix: FloatArray) -> FloatArray:
    u, _, vt = np.linalg.svd(matrix)
    return np.asarray(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)


def _require_vtk() -> None:
    if importlib.util.find_spec("vtkmodules") is None:
        raise InputError("Surfaces need VTK, which is not installed; install the Python package “vtk”.")
