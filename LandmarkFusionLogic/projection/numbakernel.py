"""The ray march compiled by numba: an image, or an image and its six pose derivatives in one pass over the samples.

Imported only where numba is installed. Threads are Python's own, each marching its rows with the lock released: no
threading layer of numba's is needed, and a forked process is safe.

Each ray is clipped to the volume and sampled at the middle of ``samples`` equal pieces by trilinear interpolation of
a volume that goes on by half a voxel beyond the centers of its outermost ones (`padded`). The derivatives are those
of exactly this sum: of each sample's value and place, and of both ends of the clipped piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

_ROWS_PER_PIECE = 8
_SMALL = 4096
"""Images of no more pixels than this are marched by the calling thread."""


def _clip(source: FloatArray, along: FloatArray, size: FloatArray, last: float) -> tuple[float, float, int, int]:
    """Where a ray is inside the volume: distances of entry and exit, mm, and the axes of the faces, -1 for none."""
    enter, leave, face_in, face_out = 0.0, last, -1, -1
    for axis in range(3):
        low, high = -0.5 - source[axis], size[axis] - 0.5 - source[axis]
        if abs(along[axis]) < 1e-12:
            if low > 0.0 or high < 0.0:
                return 0.0, -1.0, -1, -1
            continue
        near, far = low / along[axis], high / along[axis]
        if near > far:
            near, far = far, near
        if near > enter:
            enter, face_in = near, axis
        if far < leave:
            leave, face_out = far, axis
    return enter, leave, face_in, face_out


_clip_compiled = numba.njit(cache=True, nogil=True, inline="always")(_clip)


def _march(
    mu: Array,
    shape: npt.NDArray[np.int64],
    to_index: FloatArray,
    rays: FloatArray,
    first: int,
    last: int,
    samples: int,
    image: Array,
) -> None:
    """Rows ``first`` to ``last`` of ``image``. ``mu``: flat, padded; ``rays``: sdd, row 0, step, column 0, step."""
    size = shape[::-1].astype(np.float64)
    # Unsigned: an index that cannot be negative is not checked for it at each of eight reads a sample.
    wide, deep, next_i = np.uint64(shape[2] + 2), np.uint64((shape[1] + 2) * (shape[2] + 2)), np.uint64(1)
    source = to_index[:, 3].copy()
    along = np.empty(3)
    for row in range(first, last):
        y = rays[1] + row * rays[2]
        for column in range(image.shape[1]):
            x = rays[3] + column * rays[4]
            length = math.sqrt(x * x + y * y + rays[0] * rays[0])
            for axis in range(3):
                along[axis] = (to_index[axis, 0] * x + to_index[axis, 1] * y + to_index[axis, 2] * rays[0]) / length
            enter, leave, _, _ = _clip_compiled(source, along, size, length)
            if leave <= enter:
                image[row, column] = 0.0
                continue
            piece = (leave - enter) / samples
            begin = enter + 0.5 * piece
            i0, di = np.float32(source[0] + begin * along[0] + 1.0), np.float32(piece * along[0])
            j0, dj = np.float32(source[1] + begin * along[1] + 1.0), np.float32(piece * along[1])
            k0, dk = np.float32(source[2] + begin * along[2] + 1.0), np.float32(piece * along[2])
            total = np.float32(0)
            for number in range(samples):
                at = np.float32(number)
                i, j, k = i0 + at * di, j0 + at * dj, k0 + at * dk
                il, jl, kl = np.int32(i), np.int32(j), np.int32(k)
                fi, fj, fk = i - np.float32(il), j - np.float32(jl), k - np.float32(kl)
                base = np.uint64(kl) * deep + np.uint64(jl) * wide + np.uint64(il)
                a, b = mu[base], mu[base + wide]
                c, d = mu[base + deep], mu[base + deep + wide]
                a += fi * (mu[base + next_i] - a)
                b += fi * (mu[base + wide + next_i] - b)
                c += fi * (mu[base + deep + next_i] - c)
                d += fi * (mu[base + deep + wide + next_i] - d)
                a += fj * (b - a)
                c += fj * (d - c)
                total += a + fk * (c - a)
            image[row, column] = total * np.float32(piece)


def _march_with_jacobian(
    mu: Array,
    shape: npt.NDArray[np.int64],
    to_index: FloatArray,
    rays: FloatArray,
    first: int,
    last: int,
    samples: int,
    image: Array,
    center: FloatArray,
    jacobian: Array,
) -> None:
    """As `_march`, with ``jacobian`` (6, rows, columns) to a step about ``center``, see `pose.step_matrix`."""
    size = shape[::-1].astype(np.float64)
    # Unsigned: an index that cannot be negative is not checked for it at each of eight reads a sample.
    wide, deep, next_i = np.uint64(shape[2] + 2), np.uint64((shape[1] + 2) * (shape[2] + 2)), np.uint64(1)
    source = to_index[:, 3].copy()
    along = np.empty(3)
    sums = np.empty(3)
    weighted = np.empty(3)
    pull = np.empty(3)
    turned = np.empty(3)
    one = np.float32(1)
    for row in range(first, last):
        y = rays[1] + row * rays[2]
        for column in range(image.shape[1]):
            x = rays[3] + column * rays[4]
            length = math.sqrt(x * x + y * y + rays[0] * rays[0])
            for axis in range(3):
                along[axis] = (to_index[axis, 0] * x + to_index[axis, 1] * y + to_index[axis, 2] * rays[0]) / length
            enter, leave, face_in, face_out = _clip_compiled(source, along, size, length)
            if leave <= enter:
                image[row, column] = 0.0
                for number in range(6):
                    jacobian[number, row, column] = 0.0
                continue
            piece = (leave - enter) / samples
            begin = enter + 0.5 * piece
            i0, di = np.float32(source[0] + begin * along[0] + 1.0), np.float32(piece * along[0])
            j0, dj = np.float32(source[1] + begin * along[1] + 1.0), np.float32(piece * along[1])
            k0, dk = np.float32(source[2] + begin * along[2] + 1.0), np.float32(piece * along[2])
            total = np.float32(0)
            gi = gj = gk = np.float32(0)
            hi = hj = hk = np.float32(0)
            for number in range(samples):
                at = np.float32(number)
                i, j, k = i0 + at * di, j0 + at * dj, k0 + at * dk
                il, jl, kl = np.int32(i), np.int32(j), np.int32(k)
                fi, fj, fk = i - np.float32(il), j - np.float32(jl), k - np.float32(kl)
                base = np.uint64(kl) * deep + np.uint64(jl) * wide + np.uint64(il)
                a, b = mu[base], mu[base + wide]
                c, d = mu[base + deep], mu[base + deep + wide]
                ai, bi = mu[base + next_i] - a, mu[base + wide + next_i] - b
                ci, di_ = mu[base + deep + next_i] - c, mu[base + deep + wide + next_i] - d
                a, b, c, d = a + fi * ai, b + fi * bi, c + fi * ci, d + fi * di_
                aj, cj = b - a, d - c
                a, c = a + fj * aj, c + fj * cj
                slope_k = c - a
                slope_j = aj + fk * (cj - aj)
                near = ai + fj * (bi - ai)
                slope_i = near + fk * (ci + fj * (di_ - ci) - near)
                total += a + fk * slope_k
                gi += slope_i
                gj += slope_j
                gk += slope_k
                hi += at * slope_i
                hj += at * slope_j
                hk += at * slope_k
            image[row, column] = total * np.float32(piece)
            # Sums over the samples of the slope, and of the slope times the sample's share of the way (0 to 1).
            sums[0], sums[1], sums[2] = gi, gj, gk
            half = np.float32(0.5)
            weighted[0] = (hi + half * gi) * (one / np.float32(samples))
            weighted[1] = (hj + half * gj) * (one / np.float32(samples))
            weighted[2] = (hk + half * gk) * (one / np.float32(samples))
            # In the camera frame: of the slope, and of the slope times the distance from the source.
            for axis in range(3):
                pull[axis] = 0.0
                turned[axis] = 0.0
                for voxel in range(3):
                    far = enter * sums[voxel] + (leave - enter) * weighted[voxel]
                    pull[axis] += to_index[voxel, axis] * sums[voxel]
                    turned[axis] += to_index[voxel, axis] * far
            nx, ny, nz = x / length, y / length, rays[0] / length
            r0 = -piece * (ny * turned[2] - nz * turned[1] - center[1] * pull[2] + center[2] * pull[1])
            r1 = -piece * (nz * turned[0] - nx * turned[2] - center[2] * pull[0] + center[0] * pull[2])
            r2 = -piece * (nx * turned[1] - ny * turned[0] - center[0] * pull[1] + center[1] * pull[0])
            t0, t1, t2 = -piece * pull[0], -piece * pull[1], -piece * pull[2]
            # What the ends of the clipped piece do when the faces of the volume move across the ray.
            for end in range(2):
                face = face_in if end == 0 else face_out
                if face < 0:
                    continue
                distance = enter if end == 0 else leave
                change = -total / samples if end == 0 else total / samples
                for voxel in range(3):
                    share = sums[voxel] - weighted[voxel] if end == 0 else weighted[voxel]
                    change += piece * share * along[voxel]
                change /= along[face]
                mx, my, mz = to_index[face, 0], to_index[face, 1], to_index[face, 2]
                px, py, pz = distance * nx - center[0], distance * ny - center[1], distance * nz - center[2]
                r0 += change * (py * mz - pz * my)
                r1 += change * (pz * mx - px * mz)
                r2 += change * (px * my - py * mx)
                t0 += change * mx
                t1 += change * my
                t2 += change * mz
            jacobian[0, row, column] = r0
            jacobian[1, row, column] = r1
            jacobian[2, row, column] = r2
            jacobian[3, row, column] = t0
            jacobian[4, row, column] = t1
            jacobian[5, row, column] = t2


# No "fastmath" for infinities: a ray along an axis divides by nothing.
_FAST = {"contract", "reassoc", "nsz", "arcp"}
_march_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)(_march)
_march_with_jacobian_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)(
    _march_with_jacobian
)


def padded(mu: npt.NDArray[np.generic]) -> Array:
    """``mu`` (K, J, I) as the kernels take it: float32, flat, with a ring that repeats the outermost voxels."""
    return np.pad(np.asarray(mu, dtype=np.float32), 1, mode="edge").ravel()


def march(
    mu: Array,
    shape: tuple[int, ...],
    to_index: FloatArray,
    rays: FloatArray,
    pixels: tuple[int, int],
    samples: int,
    threads: int,
) -> Array:
    """The image (rows, columns), line integrals.

    ``mu``: as `padded` gives it, of a volume of ``shape`` (K, J, I). ``to_index``: (3, 4) from the camera frame to
    the indices i, j, k. ``rays``: sdd, y of row 0, mm a row, x of column 0, mm a column. ``pixels``: rows, columns.
    """
    image = np.empty(pixels, dtype=np.float32)
    size = np.array(shape, dtype=np.int64)

    def piece(first: int, last: int) -> None:
        _march_compiled(mu, size, to_index, rays, first, last, samples, image)

    _in_threads(piece, pixels, threads)
    return image


def march_with_jacobian(
    mu: Array,
    shape: tuple[int, ...],
    to_index: FloatArray,
    rays: FloatArray,
    pixels: tuple[int, int],
    samples: int,
    threads: int,
    center: FloatArray,
) -> tuple[Array, Array]:
    """As `march`, and the Jacobian (6, rows, columns) to a step about ``center`` (3,), camera mm."""
    image = np.empty(pixels, dtype=np.float32)
    jacobian = np.empty((6, *pixels), dtype=np.float32)
    size = np.array(shape, dtype=np.int64)

    def piece(first: int, last: int) -> None:
        _march_with_jacobian_compiled(mu, size, to_index, rays, first, last, samples, image, center, jacobian)

    _in_threads(piece, pixels, threads)
    return image, jacobian


def _in_threads(piece: Callable[[int, int], None], pixels: tuple[int, int], threads: int) -> None:
    if threads == 1 or pixels[0] * pixels[1] <= _SMALL:
        piece(0, pixels[0])
        return
    starts = range(0, pixels[0], _ROWS_PER_PIECE)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(piece, starts, [min(start + _ROWS_PER_PIECE, pixels[0]) for start in starts]))
