"""Digitally reconstructed radiographs: line integrals of a CT, by the compiled kernel or by torch."""

from __future__ import annotations

import importlib.util
import os
from functools import cached_property

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.volume import Volume

Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

AUTO, NUMBA, TORCH = "auto", "numba", "torch"
BACKENDS = (AUTO, NUMBA, TORCH)


def choose_backend(backend: str = AUTO) -> str:
    """numba where it is installed, else torch; or the one that is named. Raises InputError where that is missing."""
    if backend not in BACKENDS:
        raise InputError(f"There is no projector “{backend}”; choose {', '.join(BACKENDS)}.")
    there = importlib.util.find_spec("numba") is not None
    if backend == NUMBA and not there:
        raise InputError("The package numba is not installed; install it (pip install numba) or choose torch.")
    if backend == AUTO:
        return NUMBA if there else TORCH
    return backend


def thread_count() -> int:
    """Threads that a projection may use: OMP_NUM_THREADS where it is set, else all processors of this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Projector:
    """Projects one volume again and again; what a single projection has to prepare is kept.

    ``mu``: linear attenuation, mm⁻¹ (`attenuation`). ``samples`` a ray inside the volume, by default as many as the
    longest side has voxels. ``backend``: one of `BACKENDS`. Beyond the volume there is nothing.
    """

    def __init__(self, mu: Volume, samples: int | None = None, backend: str = AUTO) -> None:
        self.mu = mu
        self.samples = int(samples or max(mu.array.shape))
        self.backend = choose_backend(backend)

    @cached_property
    def _padded(self) -> Array:
        from LandmarkFusionLogic.projection.numbakernel import padded

        return padded(self.mu.array)

    def project(self, geometry: Geometry, ct_to_camera: npt.ArrayLike) -> Array:
        """Line integrals (rows, columns), float32, no unit: mm⁻¹ along mm. Bone is bright.

        ``ct_to_camera`` (4, 4): RAS mm to camera mm (`pose.ct_to_camera`).
        """
        matrix = np.asarray(ct_to_camera, dtype=np.float64)
        if self.backend == NUMBA:
            from LandmarkFusionLogic.projection.numbakernel import march

            return march(*self._arguments(geometry, matrix))
        import torch

        from LandmarkFusionLogic.projection import torchprojector

        with torch.no_grad():
            mu = torch.as_tensor(np.asarray(self.mu.array, dtype=np.float32))
            pose = torch.as_tensor(matrix)[None]
            return np.asarray(torchprojector.project(mu, self.mu.ijk_to_ras, geometry, pose, self.samples)[0].numpy())

    def project_with_jacobian(
        self, geometry: Geometry, ct_to_camera: npt.ArrayLike, center: npt.ArrayLike
    ) -> tuple[Array, Array]:
        """The image as `project`, and its Jacobian (6, rows, columns), float32.

        The Jacobian is to a step (`pose.step_matrix`) that moves the CT in the camera frame: a rotation vector in
        radians about ``center`` (3,), camera mm, then a shift in mm. The center is best the CT's own, see
        `center_in_camera`. `pose.steps_of_parameters` turns it into derivatives by a pose's degrees and mm.
        """
        matrix, middle = np.asarray(ct_to_camera, dtype=np.float64), np.asarray(center, dtype=np.float64)
        if self.backend == NUMBA:
            from LandmarkFusionLogic.projection.numbakernel import march_with_jacobian

            return march_with_jacobian(*self._arguments(geometry, matrix), middle)
        from LandmarkFusionLogic.projection import torchprojector

        return torchprojector.project_with_jacobian(self.mu, geometry, matrix, middle, self.samples)

    def center_in_camera(self, ct_to_camera: npt.ArrayLike) -> FloatArray:
        """(3,) camera mm of the volume's center, the isocenter of its poses."""
        matrix = np.asarray(ct_to_camera, dtype=np.float64)
        return np.asarray(matrix[:3, :3] @ self.mu.centre + matrix[:3, 3], dtype=np.float64)

    def _arguments(
        self, geometry: Geometry, matrix: FloatArray
    ) -> tuple[Array, tuple[int, ...], FloatArray, FloatArray, tuple[int, int], int, int]:
        to_index = np.array(np.linalg.inv(matrix @ self.mu.ijk_to_ras)[:3], dtype=np.float64)
        (down, right), (row, column) = geometry.steps, geometry.center
        rays = np.array([geometry.sdd, -row * down, down, -column * right, right])
        pixels = geometry.rows, geometry.columns
        return self._padded, self.mu.array.shape, to_index, rays, pixels, self.samples, thread_count()


def project(mu: Volume, geometry: Geometry, ct_to_camera: npt.ArrayLike, backend: str = AUTO) -> Array:
    """Line integrals (rows, columns) of ``mu``, once; see `Projector`."""
    return Projector(mu, backend=backend).project(geometry, ct_to_camera)


def project_with_jacobian(
    mu: Volume, geometry: Geometry, ct_to_camera: npt.ArrayLike, center: npt.ArrayLike, backend: str = AUTO
) -> tuple[Array, Array]:
    """Image and Jacobian of ``mu``, once; see `Projector`."""
    return Projector(mu, backend=backend).project_with_jacobian(geometry, ct_to_camera, center)


def check_view(mu: Volume, geometry: Geometry, ct_to_camera: npt.ArrayLike) -> None:
    """Raise InputError where this pose shows nothing that could be registered.

    That is: values that are not finite, the source inside the volume, the volume behind the source, or outside the
    beam between source and detector.
    """
    matrix = np.asarray(ct_to_camera, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)):
        raise InputError("The pose is not finite; give a transform of sixteen finite numbers.")
    size = np.array(mu.shape_ijk)
    source = np.linalg.inv(matrix @ mu.ijk_to_ras)[:3, 3]
    if np.all((source > -0.5) & (source < size - 0.5)):
        raise InputError("The X-ray source lies inside the CT; move the CT away from it, along the depth.")
    corners = np.stack(np.meshgrid(*[(-0.5, side - 0.5) for side in size], indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.c_[corners, np.ones(8)] @ (matrix @ mu.ijk_to_ras).T
    coarse = geometry.resized(min(geometry.rows, 32), min(geometry.columns, 32))
    if places[:, 2].max() <= 0 or places[:, 2].min() >= geometry.sdd or not project(mu, coarse, matrix).any():
        raise InputError("The CT lies outside the beam at this pose; correct the pose or the geometry.")
