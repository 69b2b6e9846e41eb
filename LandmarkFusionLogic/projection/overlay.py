"""A picture of an alignment: the X-ray, the projection of the CT, and one laid on the other before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from LandmarkFusionLogic import NOTICE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Image = npt.NDArray[np.float32]

FIELDS = 8
"""Fields of the checkerboard along the longer side."""
EDGE_SHARE = 0.15
"""Edges are drawn through this share of the pixels, those where the projection is steepest."""
BEFORE_COLOR, AFTER_COLOR = (0.25, 0.75, 1.0), (1.0, 0.69, 0.0)


@dataclass(frozen=True)
class Shown:
    """One view, images (rows, columns) with bright bones: ``xray``, the projection at the start and at the end.

    ``mask`` says where the X-ray is valid, None: everywhere.
    """

    name: str
    xray: Image
    before: Image
    after: Image
    mask: npt.NDArray[np.bool_] | None = None


def draw_overlay(path: str | Path, views: list[Shown], caption: str) -> None:
    """Write the picture as PNG, one row a view, with ``caption`` below it."""
    overlay_figure(views, caption).savefig(str(path), dpi=100, facecolor="black")


def overlay_figure(views: list[Shown], caption: str) -> Figure:
    """The picture: a row a view; columns X-ray, projection, checkerboard, edges of the start and of the result."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 3.5 * len(views) + 0.4), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(views), 5, squeeze=False)
    for row, view in zip(axes, views, strict=True):
        xray, after = windowed(view.xray, view.mask), windowed(view.after, view.mask)
        _show(row[0], xray, view.name)
        _show(row[1], after, "Projection of the CT")
        _show(row[2], checkerboard(xray, after), "Checkerboard")
        _show(row[3], outlined(xray, view.before, BEFORE_COLOR), "Edges at the start")
        _show(row[4], outlined(xray, view.after, AFTER_COLOR), "Edges of the result")
    figure.text(0.01, 0.1 / figure.get_figheight(), f"{caption} {NOTICE}", color="white", fontsize=9)
    bottom = 0.4 / figure.get_figheight()
    figure.subplots_adjust(
        left=0.005, right=0.995, top=0.98 - 0.2 / figure.get_figheight(), bottom=bottom, wspace=0.02
    )
    return figure


def windowed(image: Image, mask: npt.NDArray[np.bool_] | None = None) -> Image:
    """``image`` from 0 to 1 over the gray values of its valid part, but for its extremes."""
    valid = image if mask is None or not mask.any() else image[mask]
    low, high = np.percentile(valid, (1, 99.5))
    return np.asarray(np.clip((image - low) / max(float(high - low), 1e-6), 0, 1), dtype=np.float32)


def checkerboard(first: Image, second: Image) -> Image:
    """Fields of both images in turn."""
    field = max(1, max(first.shape) // FIELDS)
    row, column = np.indices(first.shape) // field
    return np.where((row + column) % 2 == 0, first, second)


def outlined(image: Image, edges_of: Image, color: tuple[float, float, float]) -> Image:
    """(rows, columns, 3): ``image`` (0 to 1) darkened, with the steepest places of ``edges_of`` in ``color``."""
    sigma = max(1.0, max(image.shape) / 150)
    smooth = edges_of.astype(np.float64)
    steep = ndimage.gaussian_gradient_magnitude(smooth, sigma)
    bend = ndimage.gaussian_laplace(smooth, sigma)
    # Where the projection is steepest its second derivative changes sign.
    edge = (ndimage.minimum_filter(bend, 2) < 0) & (ndimage.maximum_filter(bend, 2) > 0)
    edge &= steep > np.percentile(steep, 100 * (1 - EDGE_SHARE))
    shown = np.repeat(0.8 * image[..., None], 3, axis=2)
    shown[edge] = color
    return np.asarray(shown, dtype=np.float32)


def _show(axes: Any, picture: Image, title: str) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, color="white", fontsize=10, pad=3)
