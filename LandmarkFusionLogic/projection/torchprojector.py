"""The ray march in torch, on any device: differentiable in pose and volume.

The same sum as `numbakernel`, ray by ray. Rays are split over the batch axis of ``grid_sample``, which uses one
thread an item on the CPU. The ends of the clipped rays are part of the graph: where tissue meets the volume's faces
a detached end gives a wrong derivative, of the depth above all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import REFERENCE
from LandmarkFusionLogic.volume import Volume

_PIECE = 4096
"""Rays marched at a time: what they need stays within some ten MB."""


def poses_to_matrices(parameters: Tensor, isocenter: npt.ArrayLike, geometry: Geometry) -> Tensor:
    """(B, 4, 4) `pose.ct_to_camera` of ``parameters`` (B, 6), degrees and mm, differentiable."""
    angles = torch.deg2rad(parameters[:, :3])
    sine, cosine = torch.sin(angles), torch.cos(angles)
    zero, one = torch.zeros_like(sine[:, 0]), torch.ones_like(sine[:, 0])

    def matrix(*values: Tensor) -> Tensor:
        return torch.stack(values, dim=1).reshape(-1, 3, 3)

    (sx, sy, sz), (cx, cy, cz) = sine.unbind(1), cosine.unbind(1)
    about_x = matrix(one, zero, zero, zero, cx, -sx, zero, sx, cx)
    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    about_z = matrix(cz, -sz, zero, sz, cz, zero, zero, zero, one)
    turn = about_x @ about_y @ about_z @ torch.as_tensor(REFERENCE).to(parameters)
    middle = torch.as_tensor(np.asarray(isocenter, dtype=np.float64)).to(parameters)
    shift = parameters[:, 3:] + torch.tensor([0.0, 0.0, geometry.isocenter_distance]).to(parameters)
    shift = shift - turn @ middle
    top = torch.cat([turn, shift[:, :, None]], dim=2)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0]).to(parameters).expand(len(top), 1, 4)
    return torch.cat([top, bottom], dim=1)


def project(
    mu: Tensor, ijk_to_ras: npt.ArrayLike, geometry: Geometry, ct_to_camera: Tensor, samples: int | None = None
) -> Tensor:
    """Line integrals (B, rows, columns) of ``mu`` for each of the poses ``ct_to_camera`` (B, 4, 4).

    ``mu``: (K, J, I), or (B, K, J, I) for a volume a pose, mm⁻¹, of the same grid ``ijk_to_ras`` (4, 4). ``samples``
    a ray, by default as many as the longest side has voxels. Gradients flow to ``mu`` and ``ct_to_camera``. Beyond
    the outermost voxels the volume is empty.
    """
    volumes = mu if mu.ndim == 4 else mu[None].expand(len(ct_to_camera), *mu.shape)
    samples = samples or max(volumes.shape[1:])
    affine = torch.as_tensor(np.asarray(ijk_to_ras, dtype=np.float64), device=ct_to_camera.device)
    to_index = torch.linalg.inv(ct_to_camera.double() @ affine)[:, :3]
    on_detector = _detector(geometry, ct_to_camera.device)
    images = [
        torch.cat([_march(volume, matrix, piece, samples) for piece in torch.split(on_detector, _PIECE)])
        for volume, matrix in zip(volumes, to_index, strict=True)
    ]
    return torch.stack(images).reshape(-1, geometry.rows, geometry.columns)


def project_with_jacobian(
    mu: Volume,
    geometry: Geometry,
    ct_to_camera: npt.NDArray[np.float64],
    center: npt.NDArray[np.float64],
    samples: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Image (rows, columns) and Jacobian (6, rows, columns) to a step about ``center``, as the compiled kernel's."""
    volume = torch.as_tensor(np.asarray(mu.array, dtype=np.float32))
    to_index = torch.as_tensor(np.linalg.inv(ct_to_camera @ mu.ijk_to_ras)[:3])
    middle = torch.as_tensor(center)
    images, jacobians = [], []
    for piece in torch.split(_detector(geometry, volume.device), _PIECE):
        image, jacobian = _march_with_jacobian(volume, to_index, piece, samples, middle)
        images.append(image)
        jacobians.append(jacobian)
    pixels = geometry.rows, geometry.columns
    return (
        np.asarray(torch.cat(images).reshape(pixels).numpy()),
        np.asarray(torch.cat(jacobians).T.reshape(6, *pixels).float().contiguous().numpy()),
    )


def _detector(geometry: Geometry, device: torch.device) -> Tensor:
    """(rows · columns, 3) camera mm of the pixels' centers, float64."""
    down, right = geometry.steps
    y = (torch.arange(geometry.rows, dtype=torch.float64, device=device) - geometry.center[0]) * down
    x = (torch.arange(geometry.columns, dtype=torch.float64, device=device) - geometry.center[1]) * right
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y, torch.full_like(x, geometry.sdd)], dim=2).reshape(-1, 3)


def _sampled(volume: Tensor, places: Tensor) -> Tensor:
    """Values (N, S) of ``volume`` at ``places`` (N, S, 3), indices i, j, k."""
    size = torch.tensor(volume.shape[::-1], dtype=places.dtype, device=places.device)
    grid = ((places + 0.5) * (2 / size) - 1).to(volume.dtype)
    # As many items as threads: each takes its share of the rays.
    items = min(max(torch.get_num_threads(), 1), len(grid)) if grid.device.type == "cpu" else 1
    extra = -len(grid) % items
    if extra:
        grid = torch.cat([grid, grid.new_zeros(extra, *grid.shape[1:])])
    split = grid.reshape(items, 1, -1, *grid.shape[1:])
    values = functional.grid_sample(
        volume[None, None].expand(items, 1, *volume.shape), split, padding_mode="border", align_corners=False
    )
    return values.reshape(-1, grid.shape[1])[: len(places)]


def _shares(samples: int, like: Tensor) -> Tensor:
    return (torch.arange(samples, dtype=like.dtype, device=like.device) + 0.5) / samples


def _march(volume: Tensor, to_index: Tensor, detector: Tensor, samples: int) -> Tensor:
    """(N,) line integrals of the rays to ``detector`` (N, 3)."""
    length = detector.norm(dim=1)
    along = (detector / length[:, None]) @ to_index[:, :3].T
    return _integrals(volume, to_index[:, 3].expand_as(along), along, length, samples)


def _march_with_jacobian(
    volume: Tensor, to_index: Tensor, detector: Tensor, samples: int, center: Tensor
) -> tuple[Tensor, Tensor]:
    """As `_march`, and the Jacobian (N, 6) to a step about ``center`` (3,)."""
    step = torch.zeros(len(detector), 6, dtype=torch.float64, requires_grad=True)
    length = detector.norm(dim=1)
    rays = detector / length[:, None]
    # The step moves the volume; seen from the volume, source and rays move the other way.
    turn, shift = step[:, :3], step[:, 3:]
    source = to_index[:, 3] + (torch.linalg.cross(turn, center.expand_as(turn)) - shift) @ to_index[:, :3].T
    along = (rays - torch.linalg.cross(turn, rays)) @ to_index[:, :3].T
    image = _integrals(volume, source, along, length, samples)
    # No ray depends on another's step: one pass back of their sum gives each its own six derivatives.
    (jacobian,) = torch.autograd.grad(image.sum(), step)
    return image.detach(), jacobian


def _integrals(volume: Tensor, source: Tensor, along: Tensor, length: Tensor, samples: int) -> Tensor:
    """(N,) line integrals over ``length`` mm from ``source`` (N, 3) in the direction ``along`` (N, 3), voxels a mm."""
    size = torch.tensor(volume.shape[::-1], dtype=along.dtype, device=along.device)
    safe = torch.where(along.abs() < 1e-12, torch.full_like(along, 1e-12), along)
    low, high = (-0.5 - source) / safe, (size - 0.5 - source) / safe
    enter = torch.minimum(low, high).amax(dim=1).clamp(min=0.0)
    leave = torch.minimum(torch.maximum(low, high).amin(dim=1), length)
    inside = leave > enter
    if not bool(inside.any()):
        # Nothing, but a nothing that has a gradient.
        return 0.0 * (enter + volume.sum()).to(volume.dtype)
    source, along, enter, leave = source[inside], along[inside], enter[inside], leave[inside]
    shares = (torch.arange(samples, dtype=enter.dtype, device=enter.device) + 0.5) / samples
    distances = enter[:, None] + (leave - enter)[:, None] * shares
    values = _sampled(volume, source[:, None] + distances[:, :, None] * along[:, None])
    found = (values.mean(dim=1) * (leave - enter)).to(volume.dtype)
    return volume.new_zeros(len(length)).index_put((inside.nonzero()[:, 0],), found)
