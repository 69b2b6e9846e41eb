"""The most probable rigid motion between two images, given uncertain points, and how uncertain it is itself.

Three points under noise turn the gland needlessly where the scans start nearly parallel. Here every pair of points
counts with its own covariance, the rotation has a prior, and what is left open shows in the posterior: its covariance
gives the target registration error (TRE) to expect at any point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.rigid.fit import FloatArray

MAX_ITERATIONS = 30


@dataclass(frozen=True)
class Model:
    """What is known before any point is seen.

    ``rotation_degrees`` (3,): standard deviations of the rotation vector between the scans about R, A and S where
    they start nearly parallel; a ``wide_share`` of scans start anyhow, with ``wide_degrees`` about each axis, so that
    the prior lets go of what is clearly turned.
    ``deformation_mm``: standard deviation, along each axis, of what no rigid motion explains at a point: the gland's
    deformation between the scans, and the landmarks' definitions. ``point_dof``: degrees of freedom of the Student
    distribution of what is left at a pair, so that a landmark that was grossly misplaced counts little.
    ``translation_mm``: scale of the gland's shift about the shift of the pairs' middles.
    """

    rotation_degrees: tuple[float, float, float] = (25.0, 15.0, 15.0)
    wide_share: float = 0.3
    wide_degrees: float = 45.0
    deformation_mm: float = 2.0
    point_dof: float = 4.0
    translation_mm: float = 30.0


@dataclass(frozen=True)
class Posterior:
    """A rigid motion MR to US with its uncertainty.

    ``matrix`` (4, 4), RAS mm. ``covariance`` (6, 6) is of the small motion that is missing to the truth, in the frame
    of the US: rotation vector ω (rad), then shift τ (mm), about ``pivot`` (3,) RAS mm of the MR: a point x of the MR
    is truly at matrix·x + ω × R(x − pivot) + τ. ``deformation_mm`` is what a target deviates in addition, per axis.
    """

    matrix: FloatArray = field(compare=False)
    covariance: FloatArray = field(compare=False)
    pivot: FloatArray = field(compare=False)
    deformation_mm: float

    def expected_error(self, points: npt.ArrayLike) -> FloatArray:
        """(N,) root-mean-square TRE to expect at ``points`` (N, 3), RAS mm of the MR."""
        offsets = (np.asarray(points, dtype=np.float64).reshape(-1, 3) - self.pivot) @ self.matrix[:3, :3].T
        jacobian = jacobian_of(offsets)
        variance = np.einsum("nij,jk,nik->n", jacobian, self.covariance, jacobian)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0) + 3 * self.deformation_mm**2))


class Term(Protocol):
    """Anything else that is known of the motion."""

    def system(
        self, rotations: FloatArray, shifts: FloatArray, pivot: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Information (S, 6, 6), gradient (S, 6) and cost (S,) of S motions x → R (x − pivot) + shift."""


def most_probable(
    moving: FloatArray,
    fixed: FloatArray,
    moving_covariances: FloatArray,
    fixed_covariances: FloatArray,
    model: Model,
    starts: npt.ArrayLike,
    term: Term | None = None,
) -> Posterior:
    """The maximum of the posterior, by Gauss-Newton from each of ``starts`` (S, 4, 4); the best end counts.

    ``moving`` and ``fixed`` (N, 3), N ≥ 1, are matched row by row; their covariances (N, 3, 3) in mm² are each in the
    frame of their own image, and those of ``moving`` turn with the motion. A pair's residual has the covariance
    Cov_fixed + R Cov_moving Rᵀ + deformation² · I.
    """
    problem = _Problem(moving, fixed, moving_covariances, fixed_covariances, model, term)
    matrices = np.asarray(starts, dtype=np.float64)
    rotations = matrices[:, :3, :3].copy()
    shifts = matrices[:, :3, :3] @ problem.pivot + matrices[:, :3, 3]  # where the pivot goes
    for _ in range(MAX_ITERATIONS):
        information, gradient, _ = problem.system(rotations, shifts)
        step = np.asarray(np.linalg.solve(information, gradient[..., None])[..., 0], dtype=np.float64)
        # Beyond half a radian the linearisation means little.
        step = step * np.minimum(1.0, 0.5 / np.maximum(np.linalg.norm(step[:, :3], axis=1), 1e-12))[:, None]
        rotations = rotation_matrices(step[:, :3]) @ rotations
        shifts = shifts + step[:, 3:]
        if np.abs(step[:, :3]).max() < 1e-6 and np.abs(step[:, 3:]).max() < 1e-4:
            break
    information, _, cost = problem.system(rotations, shifts)
    best = int(np.argmin(cost))
    matrix = np.eye(4)
    u, _, vt = np.linalg.svd(rotations[best])
    matrix[:3, :3] = u @ vt
    matrix[:3, 3] = shifts[best] - matrix[:3, :3] @ problem.pivot
    return Posterior(matrix, np.linalg.inv(information[best]), problem.pivot, model.deformation_mm)


def least_squares_posterior(
    matrix: FloatArray,
    moving: FloatArray,
    moving_covariances: FloatArray,
    fixed_covariances: FloatArray,
    weights: FloatArray,
    model: Model,
) -> Posterior:
    """How uncertain the weighted least-squares motion ``matrix`` (4, 4) is: the points' errors carried through.

    Arguments as in `most_probable`; ``weights`` (N,) are those of the fit. No prior takes part.
    """
    pivot = weights @ moving / weights.sum()
    rotation = matrix[:3, :3]
    jacobian = jacobian_of((moving - pivot) @ rotation.T)
    covariances = fixed_covariances + rotation @ moving_covariances @ rotation.T + model.deformation_mm**2 * np.eye(3)
    weighted = weights[:, None, None] * jacobian.transpose(0, 2, 1)
    inverse = np.linalg.inv((weighted @ jacobian).sum(axis=0))
    scatter = (weighted @ covariances @ weighted.transpose(0, 2, 1)).sum(axis=0)
    return Posterior(matrix, inverse @ scatter @ inverse, pivot, model.deformation_mm)


class _Problem:
    """The terms of the posterior, for several motions at once."""

    def __init__(
        self,
        moving: FloatArray,
        fixed: FloatArray,
        moving_covariances: FloatArray,
        fixed_covariances: FloatArray,
        model: Model,
        term: Term | None,
    ) -> None:
        # Points known badly say little about where the middle is.
        weights = 1 / np.trace(moving_covariances + fixed_covariances, axis1=1, axis2=2).clip(1.0)
        weights /= weights.sum()
        self.pivot = weights @ moving
        self.middle = weights @ fixed
        self.moving, self.fixed = moving - self.pivot, fixed
        self.moving_covariances = moving_covariances
        self.fixed_covariances = fixed_covariances + model.deformation_mm**2 * np.eye(3)
        scales = np.radians([model.rotation_degrees, (model.wide_degrees,) * 3])  # (2, 3), one row a component
        self.rotation_precisions = scales**-2.0
        shares = np.array([1 - model.wide_share, model.wide_share])
        self.rotation_logs = np.log(np.maximum(shares, 1e-300)) - np.log(scales).sum(axis=1)
        self.translation_precision = np.eye(3) / model.translation_mm**2
        self.model = model
        self.term = term

    def system(self, rotations: FloatArray, shifts: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Information (S, 6, 6), gradient (S, 6) and the negative log posterior (S,) of S motions.

        A Student distribution is a Gaussian whose weight falls with the distance: (dof + 3) / (dof + Mahalanobis²).
        """
        model = self.model
        turned = self.moving @ rotations.transpose(0, 2, 1)  # (S, N, 3)
        residuals = self.fixed - turned - shifts[:, None]
        spun = rotations[:, None]
        covariances = self.fixed_covariances + spun @ self.moving_covariances @ spun.transpose(0, 1, 3, 2)
        precisions = np.linalg.inv(covariances)
        whitened = (precisions @ residuals[..., None])[..., 0]
        distances = (residuals * whitened).sum(axis=-1)
        weights = (model.point_dof + 3) / (model.point_dof + distances)
        jacobian = jacobian_of(turned)
        weighted = jacobian.transpose(0, 1, 3, 2) @ (weights[..., None, None] * precisions)
        information = (weighted @ jacobian).sum(axis=1)
        gradient = (weighted @ residuals[..., None])[..., 0].sum(axis=1)
        # The rotation's prior, a mixture of two Gaussians: each counts as much as it is likely to have been the one.
        vectors = rotation_vectors(rotations)
        logs = self.rotation_logs - 0.5 * (vectors**2) @ self.rotation_precisions.T  # (S, 2)
        highest = logs.max(axis=1, keepdims=True)
        likely = np.exp(logs - highest)
        evidence = likely.sum(axis=1, keepdims=True)
        precision = (likely / evidence) @ self.rotation_precisions  # (S, 3)
        # d log(exp(ω) R) / dω is the inverse left Jacobian of SO(3).
        inverse = inverse_left_jacobian(vectors)
        prior = inverse.transpose(0, 2, 1) * precision[:, None, :]
        information[:, :3, :3] += prior @ inverse
        gradient[:, :3] -= (prior @ vectors[..., None])[..., 0]
        away = shifts - self.middle
        information[:, 3:, 3:] += self.translation_precision
        gradient[:, 3:] -= away @ self.translation_precision
        cost = (
            0.5 * (model.point_dof + 3) * np.log1p(distances / model.point_dof).sum(axis=-1)
            - (highest + np.log(evidence))[:, 0]
            + 0.5 * (away @ self.translation_precision * away).sum(axis=-1)
        )
        if self.term is not None:
            more = self.term.system(rotations, shifts, self.pivot)
            information, gradient, cost = information + more[0], gradient + more[1], cost + more[2]
        return information, gradient, cost


def starting_motions(moving: FloatArray, fixed: FloatArray, svd: FloatArray | None) -> FloatArray:
    """(S, 4, 4): the shift of the points' middles without any rotation, and the least-squares motion ``svd``."""
    straight = np.eye(4)
    straight[:3, 3] = fixed.mean(axis=0) - moving.mean(axis=0)
    return np.stack([straight] if svd is None else [straight, svd])


def cross_matrices(vectors: FloatArray) -> FloatArray:
    """(…, 3, 3) matrices [v]× of ``vectors`` (…, 3): [v]× w = v × w."""
    result = np.zeros((*vectors.shape, 3))
    result[..., 0, 1], result[..., 0, 2] = -vectors[..., 2], vectors[..., 1]
    result[..., 1, 0], result[..., 1, 2] = vectors[..., 2], -vectors[..., 0]
    result[..., 2, 0], result[..., 2, 1] = -vectors[..., 1], vectors[..., 0]
    return result


def rotation_matrices(vectors: FloatArray) -> FloatArray:
    """(S, 3, 3) rotations of the rotation vectors (S, 3), rad (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=-1)[:, None, None]
    cross = cross_matrices(vectors)
    return np.asarray(
        np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / 2 / np.pi) ** 2 * cross @ cross
    )


def rotation_vectors(rotations: FloatArray) -> FloatArray:
    """(S, 3) rotation vectors, rad, of the rotations (S, 3, 3)."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(rotations).as_rotvec(), dtype=np.float64)


def inverse_left_jacobian(vectors: FloatArray) -> FloatArray:
    """(S, 3, 3): how the rotation vectors (S, 3) change with a small rotation from the left."""
    angle = np.linalg.norm(vectors, axis=-1)[:, None, None]
    safe = np.clip(angle, 1e-4, np.pi - 1e-4)
    factor = np.where(angle < 1e-4, 1 / 12, 1 / safe**2 - (1 + np.cos(safe)) / (2 * safe * np.sin(safe)))
    cross = cross_matrices(vectors)
    return np.asarray(np.eye(3) - 0.5 * cross + factor * cross @ cross)


def jacobian_of(offsets: FloatArray) -> FloatArray:
    """(…, 3, 6): how points at ``offsets`` (…, 3) from the pivot, in the US, move with ω and τ."""
    result = np.zeros((*offsets.shape, 6))
    result[..., :3] = -cross_matrices(offsets)
    result[..., 3:] = np.eye(3)
    return result
