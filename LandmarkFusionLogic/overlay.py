"""``overlay.png``: MR, US and the one laid over the other, in three planes, to be looked at first.

With orientation marks, landmarks, the ellipses in which they lie with 95 % probability, and the glands' outlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, map_coordinates

from LandmarkFusionLogic import NOTICE
from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.orientation import FLIP_NAMES, marks, opposite
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, POSTERIOR_MEDIAN, FloatArray, Landmark
from LandmarkFusionLogic.rigid.fit import apply, invert
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from LandmarkFusionLogic.fusion import Fusion

HALF_MM = 45.0
"""Half the side of each picture."""
PIXEL_MM = 0.5
CHECKER_MM = 15.0
NEAR_MM = 4.0
"""A landmark farther than this from the shown plane is drawn faintly."""
MR_COLOR, US_COLOR = "#ffb000", "#40c0ff"
ELLIPSE_95 = 5.991
"""Squared Mahalanobis distance up to which 95 % of a Gaussian in the plane lies."""
SHAPES = {APEX: "v", BLADDER_NECK: "s", POSTERIOR_MEDIAN: "o"}
"""A form of its own for each landmark; extra pairs are crosses."""


@dataclass(frozen=True)
class Plane:
    """A slice through the patient: ``right`` and ``up`` are where the picture's axes point, RAS."""

    name: str
    right: tuple[float, float, float]
    up: tuple[float, float, float]

    def grid(self, centre: FloatArray) -> FloatArray:
        """(N, N, 3) RAS mm of the picture's pixels around ``centre``, first row at the bottom."""
        steps = np.arange(-HALF_MM, HALF_MM + PIXEL_MM / 2, PIXEL_MM)
        return np.asarray(
            centre
            + steps[None, :, None] * np.array(self.right, dtype=np.float64)
            + steps[:, None, None] * np.array(self.up, dtype=np.float64)
        )


# As in Slicer and radiology: seen from the feet, from the front, and from the left.
PLANES = (
    Plane("axial", (-1, 0, 0), (0, 1, 0)),
    Plane("coronal", (-1, 0, 0), (0, 0, 1)),
    Plane("sagittal", (0, -1, 0), (0, 0, 1)),
)


def draw_overlay(path: str | Path, fusion: Fusion) -> None:
    """Write the picture of ``fusion`` as PNG."""
    overlay_figure(fusion).savefig(str(path), dpi=100, facecolor="black")


def overlay_figure(fusion: Fusion) -> Figure:
    """The picture of ``fusion``: a row a plane; columns MR, US, MR over US blended, and as checkerboard."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    us_to_mr = invert(fusion.fit.mr_to_us)
    mr_centre, us_centre = _middle(fusion.mr.landmarks), _middle(fusion.us.landmarks)
    mr_window, us_window = _window(fusion.mr.volume), _window(fusion.us.volume)
    rotation = fusion.fit.mr_to_us[:3, :3]
    moved = [
        Landmark(
            point.name,
            apply(fusion.fit.mr_to_us, point.position),
            None if point.covariance is None else rotation @ point.covariance @ rotation.T,
        )
        for point in fusion.mr.landmarks
    ]
    mr_points, us_points = fusion.mr.landmarks, fusion.us.landmarks
    mr_gland, us_gland = _Outline.of(fusion.mr.gland), _Outline.of(fusion.us.gland)
    moved_gland = None if mr_gland is None else mr_gland.moved(fusion.fit.mr_to_us)
    doubtful = [{name for modality, name in fusion.ask_first if modality == side} for side in ("mr", "us")]
    figure = Figure(figsize=(13, 10.6), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(PLANES), 4)
    for row, plane in zip(axes, PLANES, strict=True):
        mr = _slice(fusion.mr.volume, plane.grid(mr_centre), mr_window)
        us = _slice(fusion.us.volume, plane.grid(us_centre), us_window)
        laid = _slice(fusion.mr.volume, apply(us_to_mr, plane.grid(us_centre)), mr_window)
        _show(row[0], mr, plane, "MR", mr_centre, mr_points, [], doubtful)
        _show(row[1], us, plane, "US", us_centre, [], us_points, doubtful)
        _show(row[2], _blend(laid, us), plane, "MR over US, half and half", us_centre, moved, us_points, doubtful)
        _show(row[3], _checkerboard(laid, us), plane, "MR and US, checkerboard", us_centre, moved, us_points, doubtful)
        _outline(row[0], mr_gland, plane, mr_centre, MR_COLOR)
        _outline(row[1], us_gland, plane, us_centre, US_COLOR)
        for axes in row[2:]:
            _outline(axes, moved_gland, plane, us_centre, MR_COLOR)
            _outline(axes, us_gland, plane, us_centre, US_COLOR)
    _legend(figure, [point.name for point in [*mr_points, *us_points]])
    sides = "Left and right of the US: " + ("confirmed." if fusion.us_confirmed else "NOT confirmed.")
    flips = "".join(f" US flipped {FLIP_NAMES[name]}." for name in fusion.us_flips)
    figure.text(0.01, 0.012, f"{NOTICE} {sides}{flips}", color="white", fontsize=10)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.965, bottom=0.085, wspace=0.03, hspace=0.1)
    return figure


def _middle(landmarks: list[Landmark]) -> FloatArray:
    return np.asarray(np.mean([point.position for point in landmarks], axis=0), dtype=np.float64)


def _window(volume: Volume) -> tuple[float, float]:
    """The gray values shown as black and white: percentiles of a thinned-out copy."""
    thin = volume.array[tuple(slice(None, None, max(1, n // 64)) for n in volume.array.shape)]
    low, high = np.percentile(np.asarray(thin, dtype=np.float32), (1, 99.5))
    return float(low), float(max(high, low + 1e-6))


def _slice(volume: Volume, points: FloatArray, window: tuple[float, float]) -> npt.NDArray[np.float32]:
    """``volume`` at RAS mm ``points`` (N, N, 3), linearly interpolated, 0..1 over ``window``; NaN outside of it."""
    index = apply(np.linalg.inv(volume.ijk_to_ras), points)
    # Only the part of the volume around the picture is turned to float; a whole MR may be large.
    low = np.clip(np.floor(index.min(axis=(0, 1))).astype(int) - 1, 0, np.array(volume.shape_ijk) - 1)
    high = np.clip(np.ceil(index.max(axis=(0, 1))).astype(int) + 2, low + 1, volume.shape_ijk)
    i, j, k = (slice(a, b) for a, b in zip(low, high, strict=True))
    part = np.asarray(volume.array[k, j, i], dtype=np.float32)
    values = map_coordinates(part, np.moveaxis(index - low, -1, 0)[::-1], order=1, mode="nearest")
    inside = np.all((index >= -0.5) & (index <= np.array(volume.shape_ijk) - 0.5), axis=-1)
    scaled = np.clip((values - window[0]) / (window[1] - window[0]), 0, 1)
    return np.where(inside, scaled, np.nan).astype(np.float32)


def _blend(mr: npt.NDArray[np.float32], us: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.where(np.isnan(mr), us, np.where(np.isnan(us), mr, (mr + us) / 2))


def _checkerboard(mr: npt.NDArray[np.float32], us: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    field = (np.arange(len(mr)) * PIXEL_MM // CHECKER_MM).astype(int)
    return np.where((field[:, None] + field[None, :]) % 2 == 0, mr, us)


def _show(
    axes: Any,
    picture: npt.NDArray[np.float32],
    plane: Plane,
    title: str,
    centre: FloatArray,
    mr_points: list[Landmark],
    us_points: list[Landmark],
    doubtful: list[set[str]],
) -> None:
    side = (-HALF_MM, HALF_MM)
    axes.imshow(np.nan_to_num(picture), cmap="gray", vmin=0, vmax=1, origin="lower", extent=(*side, *side))
    for points, unsure, color, look in (
        (mr_points, doubtful[0], MR_COLOR, {"markerfacecolor": "none", "markeredgecolor": MR_COLOR, "markersize": 10}),
        (us_points, doubtful[1], US_COLOR, {"markerfacecolor": US_COLOR, "markeredgecolor": "black", "markersize": 6}),
    ):
        for point in points:
            away = point.position - centre
            x, y = float(away @ plane.right), float(away @ plane.up)
            distance = abs(float(away @ np.cross(plane.right, plane.up)))
            shape = SHAPES.get(point.name, "P")
            alpha = 1.0 if distance <= NEAR_MM else 0.4
            axes.plot([x], [y], shape, markeredgewidth=1.5, alpha=alpha, **look)
            if point.covariance is not None:
                axes.add_patch(_ellipse(point.covariance, plane, (x, y), color, alpha))
            if point.name in unsure:
                axes.text(x + 2, y + 2, "?", color=color, fontsize=12, fontweight="bold", alpha=alpha)
    axes.set(xlim=side, ylim=side, xticks=[], yticks=[])
    axes.set_title(f"{title} · {plane.name}", color="white", fontsize=10, pad=3)
    right, up = marks(plane.right), marks(plane.up)
    for letter, x, y in ((opposite(right), 0.04, 0.5), (right, 0.96, 0.5), (up, 0.5, 0.95), (opposite(up), 0.5, 0.05)):
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            color="white",
            ha="center",
            va="center",
            fontsize=11,
            bbox={"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.5},
        )


def _ellipse(covariance: FloatArray, plane: Plane, place: tuple[float, float], color: str, alpha: float) -> Any:
    """Where a landmark of this covariance (3, 3) mm² lies with 95 % probability, as seen along the plane's normal."""
    from matplotlib.patches import Ellipse

    axes = np.array([plane.right, plane.up], dtype=np.float64)
    values, vectors = np.linalg.eigh(axes @ covariance @ axes.T)
    short, long = 2 * np.sqrt(ELLIPSE_95 * np.maximum(values, 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    return Ellipse(place, long, short, angle=angle, fill=False, edgecolor=color, alpha=alpha, linewidth=1.0)


@dataclass(frozen=True)
class _Outline:
    """A gland's probability, and the level at which its border runs."""

    probability: Volume
    level: float

    @classmethod
    def of(cls, gland: Gland | None) -> _Outline | None:
        """The outline of ``gland``, in one piece; None where there is none."""
        if gland is None or gland.empty:
            return None
        # Within the mask and a voxel around it; pieces apart from the gland are not shown.
        near = binary_dilation(np.asarray(gland.mask().array) > 0)
        level = np.where(near, np.asarray(gland.probability.array, dtype=np.float32), 0)
        return cls(Volume(level, gland.probability.ijk_to_ras), gland.threshold)

    def moved(self, matrix: FloatArray) -> _Outline:
        """The same elsewhere: ``matrix`` (4, 4) is rigid, RAS mm."""
        return _Outline(Volume(self.probability.array, matrix @ self.probability.ijk_to_ras), self.level)


def _outline(axes: Any, outline: _Outline | None, plane: Plane, centre: FloatArray, color: str) -> None:
    """Draw where the gland's border crosses the plane."""
    if outline is None:
        return
    values = np.nan_to_num(_slice(outline.probability, plane.grid(centre), (0.0, 1.0)))
    if values.max() > outline.level > values.min():
        steps = np.arange(-HALF_MM, HALF_MM + PIXEL_MM / 2, PIXEL_MM)
        axes.contour(steps, steps, values, levels=[outline.level], colors=[color], linewidths=1.0, alpha=0.9)


def _legend(figure: Any, names: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker=SHAPES.get(name, "P"), color="white", markersize=8, label=name)
        for name in dict.fromkeys(names)
    ]
    handles += [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markerfacecolor="none",
            markeredgecolor=MR_COLOR,
            markersize=10,
            label="large and hollow: MR",
        ),
        Line2D([], [], linestyle="none", marker="o", color=US_COLOR, markersize=6, label="small and filled: US"),
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            color="white",
            alpha=0.4,
            markersize=8,
            label=f"faint: more than {NEAR_MM:g} mm off the plane",
        ),
        Line2D([], [], color="white", linewidth=1, label="lines: gland; 95 % ellipse"),
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.025),
        ncol=(len(handles) + 1) // 2,
        frameon=False,
        labelcolor="white",
        fontsize=10,
    )
