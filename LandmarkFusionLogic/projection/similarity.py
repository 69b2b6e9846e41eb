"""Similarities of X-ray and DRR for optimizers, each with its derivative by the DRR's pixels.

All are 1 for equal images and do not change with gray-level scale and offset (NGI: of one image). The derivative by a
pose is the sum over the pixels of this one times the projector's Jacobian.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float64]
Similarity = Callable[[FloatArray, FloatArray], tuple[float, FloatArray]]
"""Of fixed and moving image (rows, columns): the similarity, and its derivative by the moving image's pixels."""

PATCH = 13
"""Side of the squares that local normalized correlation averages over, pixels."""
_TINY = 1e-12


def ncc(fixed: FloatArray, moving: FloatArray) -> tuple[float, FloatArray]:
    """Normalized cross-correlation."""
    a, b = fixed - fixed.mean(), moving - moving.mean()
    one, other = np.sqrt((a**2).sum()) + _TINY, np.sqrt((b**2).sum()) + _TINY
    value = float((a * b).sum() / (one * other))
    return value, (a / one - value * b / other) / other


def nccl(fixed: FloatArray, moving: FloatArray) -> tuple[float, FloatArray]:
    """Local normalized cross-correlation: the mean of the correlations in all squares of `PATCH` pixels.

    A square without contrast in either image counts as 0.
    """
    mean_a, mean_b = _mean(fixed), _mean(moving)
    var_a, var_b = _mean(fixed**2) - mean_a**2, _mean(moving**2) - mean_b**2
    floor_a, floor_b = 1e-3 * max(float(fixed.var()), _TINY), 1e-3 * max(float(moving.var()), _TINY)
    seen = (var_a > floor_a) & (var_b > floor_b)
    size = np.where(seen, np.sqrt(np.where(seen, var_a * var_b, 1.0)), np.inf)
    local = (_mean(fixed * moving) - mean_a * mean_b) / size
    inverse_a, ratio = 1 / size, np.where(seen, local / np.where(seen, var_b, 1.0), 0.0)
    # Each pixel lies in the squares around it: sums over squares are means again, of what they hold.
    slope = fixed * _back(inverse_a) - _back(inverse_a * mean_a) - moving * _back(ratio) + _back(ratio * mean_b)
    return float(local.mean()), slope / local.size


def gc(fixed: FloatArray, moving: FloatArray) -> tuple[float, FloatArray]:
    """Gradient correlation: the mean of the correlations of both directions' Sobel gradients (De Silva 2016)."""
    value, slope = 0.0, np.zeros_like(moving)
    for axis in (0, 1):
        part, by_gradient = ncc(_sobel(fixed, axis), _sobel(moving, axis))
        value += part / 2
        slope += _sobel_back(by_gradient, axis) / 2
    return value, slope


def ngi(fixed: FloatArray, moving: FloatArray) -> tuple[float, FloatArray]:
    """Normalized gradient information (Otake 2013).

    The sum of the smaller of two gradients' lengths, each weighed by (cos 2α + 1) / 2 = cos² α of the angle between
    them, over the same sum of the fixed image with itself. The moving image's gradients are scaled to those of the
    fixed one first, as their root mean square.
    """
    fx, fy = _sobel(fixed, 1), _sobel(fixed, 0)
    gx, gy = _sobel(moving, 1), _sobel(moving, 0)
    power = float((gx**2 + gy**2).mean()) + _TINY
    scale = np.sqrt((float((fx**2 + fy**2).mean()) + _TINY) / power)
    mx, my = scale * gx, scale * gy
    one, other = np.sqrt(fx**2 + fy**2) + _TINY, np.sqrt(mx**2 + my**2) + _TINY
    cosine = (fx * mx + fy * my) / (one * other)
    total = float(one.sum())
    least = np.minimum(one, other)
    value = float((cosine**2 * least).sum()) / total
    smaller = other < one
    by_cosine = 2 * cosine * least / total
    by_length = np.where(smaller, cosine**2, 0.0) / total
    by_mx = by_cosine * (fx / (one * other) - cosine * mx / other**2) + by_length * mx / other
    by_my = by_cosine * (fy / (one * other) - cosine * my / other**2) + by_length * my / other
    # The scale depends on the moving image, too.
    along = float((by_mx * gx + by_my * gy).sum()) / (power * gx.size)
    by_gx, by_gy = scale * (by_mx - along * gx), scale * (by_my - along * gy)
    return value, _sobel_back(by_gx, 1) + _sobel_back(by_gy, 0)


SIMILARITIES: dict[str, Similarity] = {"ncc": ncc, "nccl": nccl, "ngi": ngi, "gc": gc}


def _mean(image: FloatArray) -> FloatArray:
    return np.asarray(ndimage.uniform_filter(image, PATCH, mode="constant"))


def _back(image: FloatArray) -> FloatArray:
    # The box is symmetric and beyond the border there is nothing: the filter is its own transpose.
    return _mean(image)


def _sobel(image: FloatArray, axis: int) -> FloatArray:
    """Sobel gradient without the border: (rows - 2, columns - 2)."""
    smooth = (
        image[:-2] + 2 * image[1:-1] + image[2:] if axis == 1 else image[:, :-2] + 2 * image[:, 1:-1] + image[:, 2:]
    )
    return smooth[:, 2:] - smooth[:, :-2] if axis == 1 else smooth[2:] - smooth[:-2]


def _sobel_back(slope: FloatArray, axis: int) -> FloatArray:
    """The transpose of `_sobel`."""
    if axis == 0:
        return np.asarray(_sobel_back(slope.T, 1).T)
    rows, columns = slope.shape[0] + 2, slope.shape[1] + 2
    smooth = np.zeros((rows - 2, columns))
    smooth[:, 2:] += slope
    smooth[:, :-2] -= slope
    result = np.zeros((rows, columns))
    result[:-2] += smooth
    result[1:-1] += 2 * smooth
    result[2:] += smooth
    return result
