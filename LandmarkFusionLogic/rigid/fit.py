"""Least-squares rigid motion between two point sets (Arun, Huang, Blostein 1987)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError

FloatArray = npt.NDArray[np.float64]

LINE_RATIO = 1e-3
"""Points whose second extent is below this fraction of their first lie on a line: the rotation about it is unknown."""


def fit_rigid(moving: npt.ArrayLike, fixed: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> FloatArray:
    """The proper rigid motion that takes ``moving`` nearest to ``fixed``.

    Minimises Σ wᵢ ‖R·movingᵢ + t − fixedᵢ‖² over rotations R with det = +1 and translations t: Arun 1987, the singular
    vectors of the cross-covariance; where their product is a reflection, the direction of the smallest singular value
    is turned round. It never scales.

    ``moving`` and ``fixed`` are (N, 3) RAS mm, N ≥ 3, matched row by row; ``weights`` (N,) ≥ 0. Returns (4, 4).
    Raises InputError for fewer than three points of positive weight, or points on one line.
    """
    a = np.asarray(moving, dtype=np.float64)
    b = np.asarray(fixed, dtype=np.float64)
    w = np.ones(len(a)) if weights is None else np.asarray(weights, dtype=np.float64)
    if a.ndim != 2 or a.shape[1:] != (3,) or a.shape != b.shape or w.shape != (len(a),):
        raise InputError("A rigid fit needs the same number of 3D points in both images.")
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b)) and np.all(np.isfinite(w)) and np.all(w >= 0)):
        raise InputError("A rigid fit needs finite positions and weights that are not negative.")
    if np.count_nonzero(w) < 3:
        raise InputError("A rigid fit needs at least three points in both images.")
    for points in (a, b):
        first, second, _ = extents(points, w)
        if second <= LINE_RATIO * first:
            raise InputError("The points lie on one line, which leaves the rotation about it open; move one of them.")
    w = w / w.sum()
    centre_a, centre_b = w @ a, w @ b
    u, _, vt = np.linalg.svd((a - centre_a).T @ (w[:, None] * (b - centre_b)))
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ proper @ u.T
    matrix[:3, 3] = centre_b - matrix[:3, :3] @ centre_a
    return matrix


def extents(points: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> FloatArray:
    """Root-mean-square distances of the points from their centre along the principal axes, largest first.

    ``points`` (N, 3) mm, ``weights`` (N,); returns (3,) mm.
    """
    x = np.asarray(points, dtype=np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / w.sum()
    centred = (x - w @ x) * np.sqrt(w)[:, None]
    values = np.zeros(3)
    found = np.linalg.svd(centred, compute_uv=False)[:3]
    values[: len(found)] = found
    return values


def apply(matrix: npt.ArrayLike, points: npt.ArrayLike) -> FloatArray:
    """``points`` (…, 3) mapped by ``matrix`` (4, 4), both RAS mm."""
    m = np.asarray(matrix, dtype=np.float64)
    return np.asarray(np.asarray(points, dtype=np.float64) @ m[:3, :3].T + m[:3, 3], dtype=np.float64)


def invert(matrix: npt.ArrayLike) -> FloatArray:
    """The inverse of a rigid ``matrix`` (4, 4), itself exactly rigid."""
    m = np.asarray(matrix, dtype=np.float64)
    inverse = np.eye(4)
    inverse[:3, :3] = m[:3, :3].T
    inverse[:3, 3] = -m[:3, :3].T @ m[:3, 3]
    return inverse
