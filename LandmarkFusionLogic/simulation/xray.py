"""What an X-ray shows and a DRR does not: noise, scatter, gamma, collimation, saturation and instruments in view.

Works on line integrals of the attenuation (bone bright) and gives an image of the same kind, whose gray levels are no
longer exactly line integrals. Needs numpy and scipy only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from LandmarkFusionLogic.errors import InputError

Image = npt.NDArray[np.float32]
PARTS = ("instruments", "scatter", "blur", "noise", "saturation", "gamma", "collimation")
"""In the order in which they come about."""
STREAM = 0x5852


@dataclass(frozen=True)
class Degradation:
    """How an X-ray is degraded. Zero, or one for ``gamma`` and ``reach``, leaves that part out.

    ``instruments``: how many rods, screws and rings lie in the beam, each absorbing up to ``metal`` (line integral).
    ``scatter``: scattered photons as a share of the mean of the primary ones, spread over ``scatter_width`` of the
    image. ``blur`` of the detector in pixels. ``photons`` a pixel where nothing absorbs (zero: no noise).
    ``saturated``: share of the pixels, at each end of the gray levels, that the detector can no longer tell apart.
    ``gamma`` of the gray levels. ``collimated``: share of the image that the shutters hide at its top, bottom,
    left and right.
    """

    instruments: int = 0
    metal: float = 3.0
    scatter: float = 0.0
    scatter_width: float = 0.1
    blur: float = 0.0
    photons: float = 0.0
    saturated: float = 0.0
    gamma: float = 1.0
    collimated: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def only(self, parts: tuple[str, ...]) -> Degradation:
        """This, with nothing but ``parts`` of `PARTS`. Raises InputError for a part that there is not."""
        unknown = [part for part in parts if part not in PARTS]
        if unknown:
            raise InputError(f"An X-ray has no degradation “{unknown[0]}”; choose from {', '.join(PARTS)}.")
        plain = Degradation()
        names = {"noise": "photons", "saturation": "saturated", "collimation": "collimated"}
        out = {names.get(part, part) for part in PARTS if part not in parts}
        return replace(self, **{name: getattr(plain, name) for name in out})


def draw_degradation(seed: int, strength: float = 1.0) -> Degradation:
    """A degradation at random, from hardly any to what a poor fluoroscope shows; ``strength`` scales it."""
    draw = np.random.default_rng([seed, STREAM])
    sides = draw.uniform(0, 0.14 * strength, 4) * (draw.random(4) < 0.5)
    return Degradation(
        instruments=int(draw.integers(0, 4)) if draw.random() < 0.6 * strength else 0,
        metal=float(draw.uniform(1.0, 5.0)),
        scatter=float(draw.uniform(0, 0.5) * strength),
        scatter_width=float(draw.uniform(0.05, 0.15)),
        blur=float(draw.uniform(0, 0.9) * strength),
        photons=float(10 ** draw.uniform(3.6, 5.2) / strength) if strength > 0 else 0.0,
        saturated=float(draw.uniform(0, 0.02) * strength),
        gamma=float(np.exp(draw.uniform(-0.4, 0.4) * strength)),
        collimated=(float(sides[0]), float(sides[1]), float(sides[2]), float(sides[3])),
    )


def degrade(
    image: npt.NDArray[np.floating], seed: int, settings: Degradation | None = None, parts: tuple[str, ...] = PARTS
) -> Image:
    """``image`` (rows, columns) of line integrals as an X-ray might show it, float32; the same for the same ``seed``.

    ``settings`` are drawn from the seed where none are given, and of these only ``parts`` are applied.
    Collimated pixels hold the smallest value of the rest: shutters show as black where bone is bright.
    Raises InputError for anything but a finite image of two dimensions.
    """
    if image.ndim != 2 or not np.all(np.isfinite(image)):
        raise InputError("Only a finite image of two dimensions can be degraded to an X-ray.")
    settings = (settings or draw_degradation(seed)).only(parts)
    draw = np.random.default_rng([seed, STREAM, 1])
    path = image.astype(np.float64)
    for _ in range(settings.instruments):
        path = path + settings.metal * _instrument(path.shape, draw)
    light = _light(path, settings, draw)
    dim = 1e-4 if settings.photons == 0 else 1.0 / settings.photons
    path = -np.log(np.maximum(light, min(dim, float(np.exp(-image.max())))))
    path = _gray_levels(path, settings)
    inside = collimator(path.shape, settings)
    path[~inside] = path[inside].min()
    return path.astype(np.float32)


def collimator(shape: tuple[int, ...], settings: Degradation) -> npt.NDArray[np.bool_]:
    """(rows, columns) where the shutters let the beam through."""
    top, bottom, left, right = settings.collimated
    rows, columns = shape
    inside = np.zeros((rows, columns), dtype=np.bool_)
    inside[
        round(top * rows) : rows - round(bottom * rows), round(left * columns) : columns - round(right * columns)
    ] = True
    return inside


def _light(path: npt.NDArray[np.float64], settings: Degradation, draw: np.random.Generator) -> npt.NDArray[np.float64]:
    """Share of the photons that arrives at each pixel."""
    light = np.exp(-path)
    if settings.scatter > 0:
        spread = gaussian_filter(light, settings.scatter_width * max(path.shape), mode="nearest")
        light = light + settings.scatter * spread
    if settings.blur > 0:
        light = gaussian_filter(light, settings.blur, mode="nearest")
    if settings.photons > 0:
        light = draw.poisson(light * settings.photons) / settings.photons
    return light


def _gray_levels(path: npt.NDArray[np.float64], settings: Degradation) -> npt.NDArray[np.float64]:
    if settings.saturated > 0:
        low, high = np.quantile(path, (settings.saturated, 1 - settings.saturated))
        path = np.clip(path, low, high)
    low, high = float(path.min()), float(path.max())
    if settings.gamma != 1.0 and high > low:
        path = low + (high - low) * ((path - low) / (high - low)) ** settings.gamma
    return path


def _instrument(shape: tuple[int, ...], draw: np.random.Generator) -> npt.NDArray[np.float64]:
    """(rows, columns) 0..1: a rod, a screw with its head, or a ring, somewhere in the image."""
    rows, columns = shape
    size = float(max(shape))
    r, c = np.meshgrid(np.arange(rows, dtype=np.float64), np.arange(columns, dtype=np.float64), indexing="ij")
    start = draw.uniform(0, 1, 2) * (rows, columns)
    angle, length = draw.uniform(0, 2 * np.pi), draw.uniform(0.1, 0.6) * size
    width = draw.uniform(0.005, 0.02) * size
    kind = draw.integers(0, 3)
    if kind == 2:
        far = np.abs(np.hypot(r - start[0], c - start[1]) - 0.25 * length) - width
    else:
        along = (r - start[0]) * np.sin(angle) + (c - start[1]) * np.cos(angle)
        across = -(r - start[0]) * np.cos(angle) + (c - start[1]) * np.sin(angle)
        far = np.hypot(across, along - np.clip(along, 0, length)) - width
        if kind == 1:
            far = np.minimum(far, np.hypot(r - start[0], c - start[1]) - 2.5 * width)
    # A round rod absorbs most where it is thickest.
    return np.asarray(np.sqrt(np.clip(-far / width, 0, 1)), dtype=np.float64)
