"""Gray values of an X-ray image turned into something like line integrals: bones bright, and no longer exponential."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.dicomgeometry import bones_of, intensity_of
from LandmarkFusionLogic.projection.xrayfile import XRay

FloatArray = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

AUTO, BRIGHT, DARK = "auto", "bright", "dark"
LINEAR, LOG = "linear", "log"
DARKEST = 1e-4
"""Share of the open beam below which a detector measures nothing but its noise."""
FLAT_SHARE = 0.02
"""Gray values that differ by less than this share of their range make a flat area."""
COVERED_SHARES = (0.01, 0.7)
"""Flat areas of less or more than these shares of the image are no collimator."""
PENUMBRA = 2
"""Pixels beside a collimator's shadow that are left out with it."""
BAND_SHARES = (0.02, 0.3)
"""What bones are recognized by lies between these low-pass widths, shares of the image's longest side."""
REACH = 0.15
"""So far, as share of the longest side, may a projection at the start lie beside the X-ray."""


@dataclass(frozen=True)
class Bright:
    """``image`` (rows, columns) float32, bones bright, smallest value 0.

    ``bones``: bright or dark, as they were in the file; ``guessed``: from the image, since nobody said. ``mask``
    (rows, columns): where the image is valid; None: everywhere.
    """

    image: Image
    bones: str
    guessed: bool
    mask: Mask | None = None


def brighten(xray: XRay, bones: str = AUTO, intensity: str = AUTO, like: Image | None = None) -> Bright:
    """The image of ``xray`` with bright bones, as an alignment wants it.

    ``bones`` auto goes by the DICOM tags and otherwise by the image: by what it has in common with ``like``, a
    projection (rows, columns) that it roughly agrees with, or by its middle being what absorbs most. ``intensity``
    linear takes the logarithm of the share of the open beam; auto does so where the tags say that it is needed.
    Raises InputError for settings that do not exist.
    """
    if bones not in (AUTO, BRIGHT, DARK):
        raise InputError(f"“{bones}” is no way to show bones; choose auto, bright or dark.")
    if intensity not in (AUTO, LINEAR, LOG):
        raise InputError(f"“{intensity}” is no kind of gray values; choose auto, linear or log.")
    told = bones if bones != AUTO else bones_of(xray.tags)
    polarity = told or (BRIGHT if looks_bright(xray.values, xray.mask, like) else DARK)
    kind = intensity if intensity != AUTO else intensity_of(xray.tags) or LOG
    values = xray.values.astype(np.float64)
    valid = np.ones(values.shape, dtype=bool) if xray.mask is None or not xray.mask.any() else xray.mask
    if kind == LINEAR:
        # Where bones are bright the values count down from what the bits can hold.
        beam = values if polarity == DARK else _full_scale(float(values.max())) - values
        beam = beam - min(0.0, float(beam[valid].min()))
        beam_open = float(np.percentile(beam[valid], 99.9)) or 1.0
        image = -np.log(np.clip(beam / beam_open, DARKEST, None))
    else:
        image = values if polarity == BRIGHT else -values
    valid = _uncovered(image, valid)
    image = np.where(valid, image, image[valid].min())
    mask = None if valid.all() else valid
    return Bright((image - image.min()).astype(np.float32), polarity, told is None, mask)


def _uncovered(image: FloatArray, valid: Mask) -> Mask:
    """``valid`` less what a collimator or the round field of an image intensifier covers.

    That is a flat area at the border that nothing got through, more than any body absorbs.
    """
    low, high = image[valid].min(), image[valid].max()
    nothing = valid & (image >= high - FLAT_SHARE * (high - low))
    covered = ndimage.binary_dilation(_at_border(nothing, ~valid), iterations=PENUMBRA)
    share = np.mean(covered & valid)
    # The darkest bone of a smooth image is no collimator: between that and the rest there is nothing.
    beside = valid & (image < high - FLAT_SHARE * (high - low)) & (image >= high - 3 * FLAT_SHARE * (high - low))
    alone = np.sum(beside) < 0.3 * np.sum(nothing)
    return valid & ~covered if alone and COVERED_SHARES[0] < share < COVERED_SHARES[1] else valid


def _full_scale(highest: float) -> float:
    """The largest value of the fewest bits, of those that detectors have, that hold ``highest``."""
    return next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if highest < 2**bits), highest)


def looks_bright(values: Image, mask: Mask | None, like: Image | None = None) -> bool:
    """Whether bones are probably bright in ``values`` (rows, columns).

    Judged by what it has in common with ``like`` (rows, columns), at the best shift between them, where that is
    given; otherwise the body and most of all the spine absorb more in the middle than at the sides. Flat areas that
    touch the border (air, collimator) do not count.
    """
    valid = _without_flat_border(values, np.ones(values.shape, dtype=bool) if mask is None or not mask.any() else mask)
    if like is not None:
        return _shifted_likeness(values, valid, like) >= 0
    row, column = np.nonzero(valid)
    middle = row.mean(), column.mean()
    nearness = -np.hypot(*(grid - place for grid, place in zip(np.indices(values.shape), middle, strict=True)))
    smooth = ndimage.gaussian_filter(values.astype(np.float64), BAND_SHARES[0] * max(values.shape))
    a, b = smooth[valid], nearness[valid]
    return float(np.mean((a - a.mean()) * (b - b.mean()))) >= 0


def _shifted_likeness(values: Image, valid: Mask, like: Image) -> float:
    """The largest correlation of both images over shifts of `REACH`, less the largest one with one turned over."""
    window = np.outer(*(np.hanning(count) for count in values.shape))
    spectra = []
    for image, weight in ((values, window * valid), (like, window)):
        smooth, wide = (
            ndimage.gaussian_filter(image.astype(np.float64), share * max(values.shape)) for share in BAND_SHARES
        )
        shown = smooth - wide
        shown = (shown - shown.mean()) * weight
        spectra.append(np.fft.rfft2(shown / max(np.linalg.norm(shown), 1e-12)))
    likeness = np.fft.fftshift(np.fft.irfft2(spectra[0] * np.conj(spectra[1]), s=values.shape))
    reach = int(REACH * max(values.shape))
    (row, column) = (count // 2 for count in values.shape)
    near = likeness[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    return float(near.max() + near.min())


def _without_flat_border(values: Image, valid: Mask) -> Mask:
    """``valid`` less flat areas of extreme gray that touch its border, unless little is left."""
    low, high = values[valid].min(), values[valid].max()
    near = FLAT_SHARE * (high - low)
    left = valid.copy()
    for flat in (valid & (values <= low + near), valid & (values >= high - near)):
        left &= ~_at_border(flat, ~valid)
    return left if left.mean() > 0.1 * valid.mean() else valid


def _at_border(area: Mask, beyond: Mask) -> Mask:
    """The pieces of ``area`` that touch the image's border, or reach it through ``beyond``."""
    pieces, _ = ndimage.label(area | beyond)
    border = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    return np.asarray(np.isin(pieces, border[border > 0]) & area)
