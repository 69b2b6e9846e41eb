"""A CT of a lumbar spine that never was: vertebrae, discs, ribs, pelvis, soft tissue and gas, in HU.

For training and testing of the alignment of CT and X-ray: every seed has other sizes, curvature, contrast and
surroundings. Not meant to deceive a radiologist. Needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from LandmarkFusionLogic.simulation.ctpainting import Painter
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.fields import blur
from LandmarkFusionLogic.simulation.spineshape import Spine, Vertebra, draw_spine
from LandmarkFusionLogic.simulation.spinetrunk import Tissues, paint_in_front, paint_pelvis, paint_ribs, paint_trunk
from LandmarkFusionLogic.volume import Volume

SHAPE = (128, 128, 128)
SPACING_MM = 1.5625
LOWEST_HU, HIGHEST_HU = -1000.0, 3000.0


@dataclass(frozen=True, eq=False)
class SpinePhantom:
    """``ct`` float32 HU; ``bone`` uint8, 1 in vertebrae (neither ribs nor sacrum); both about the origin of RAS.

    ``vertebra_points`` (N, 3) RAS mm: center of the body, both roots of the arch and the tip of the spinous process of
    every vertebra, as far as they lie within the volume; ``names`` such as "L3 body".
    """

    ct: Volume
    bone: Volume
    vertebra_points: npt.NDArray[np.float64]
    names: tuple[str, ...]


class BonePainter(Painter):
    """A painter that also keeps where ``bone`` (K, J, I), 0..1, was painted."""

    def __init__(self, draw: Draw, shape: tuple[int, int, int], spacing_mm: float) -> None:
        super().__init__(draw, shape, spacing_mm)
        self.bone = torch.zeros(shape)

    def paint_vertebra(self, vertebra: Vertebra, tissues: Tissues) -> None:
        """Disc above it, cortex and marrow."""
        reach = 75.0
        low = [float(c) - reach for c in vertebra.center]
        high = [float(c) + reach for c in vertebra.center]
        low[2], high[2] = float(vertebra.center[2]) - 50, float(vertebra.center[2]) + 30
        box = self.box(low, high)
        points = self.within(box)
        if points.xyz.numel() == 0:
            return
        self.cover(points.inside(vertebra.disc(points)), *tissues.layer("disc")[:2], box)
        far = vertebra.bone(points)
        cortex, marrow = tissues.layer("cortex"), tissues.layer("marrow")
        coverage = points.inside(far)
        self.cover(coverage, *cortex[:2], box)
        self.cover(points.inside(far + tissues.cortex_mm), *marrow[:2], box)
        self.bone[box] = torch.maximum(self.bone[box], coverage)

    def where(self, points: Tensor) -> npt.NDArray[np.float64]:
        """(N, 3) RAS mm where the ``points`` (N, 3) of the trunk came to lie in the bent volume."""
        wanted = points.numpy().astype(np.float64)
        found = wanted.copy()
        half = (np.array(self.shape, dtype=np.float64) - 1) / 2
        shift = self.whole.xyz.numpy()
        for _ in range(8):
            index = (found[:, ::-1] / self.spacing + half).T
            there = np.stack([map_coordinates(shift[a], index, order=1, mode="nearest") for a in range(3)], axis=1)
            inside = (np.clip(index.T, 0, 2 * half) - half)[:, ::-1] * self.spacing
            found = wanted - (there - inside)
        return found


def make_spine(seed: int, shape: tuple[int, int, int] = SHAPE, spacing_mm: float = SPACING_MM) -> SpinePhantom:
    """The phantom of ``seed`` on a grid of ``shape`` (K, J, I), axes to right, anterior, superior.

    The anatomy is the same at every resolution.
    """
    draw = Draw(seed, "spine anatomy")
    painter = BonePainter(Draw(seed, "spine texture"), shape, spacing_mm)
    tissues = Tissues(Draw(seed, "spine contrast"))
    painter.image.fill_(LOWEST_HU)
    spine = draw_spine(draw)
    trunk = paint_trunk(painter, Draw(seed, "spine trunk"), tissues, spine)
    paint_in_front(painter, Draw(seed, "spine organs"), tissues, trunk)
    paint_ribs(painter, Draw(seed, "spine ribs"), tissues, spine, trunk)
    paint_pelvis(painter, Draw(seed, "spine pelvis"), tissues, spine)
    for vertebra in spine.vertebrae:
        painter.paint_vertebra(vertebra, tissues)
    sigma = draw.uniform(0.5, 1.1) / spacing_mm
    image = blur(painter.image, (sigma, sigma, sigma))
    image = image + draw.uniform(2, 14) * Draw(seed, "spine noise").noise(shape, "cpu")
    image = image.clamp(LOWEST_HU, HIGHEST_HU)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * spacing_mm for n in reversed(shape)]
    points, names = _points(spine, painter)
    return SpinePhantom(
        Volume(image.numpy().astype(np.float32), affine),
        Volume((painter.bone > 0.5).numpy().astype(np.uint8), affine),
        points,
        names,
    )


def _points(spine: Spine, painter: BonePainter) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    places, names = list[Tensor](), list[str]()
    for vertebra in spine.vertebrae:
        left, right = (next(p for p in vertebra.parts if p[0][0] * side > 0)[0] for side in (-1, 1))
        for what, place in (
            ("body", [0.0, 0.0, 0.0]),
            ("left pedicle", left),
            ("right pedicle", right),
            ("spinous process", vertebra.parts[-1][1]),
        ):
            places.append(vertebra.to_trunk(place))
            names.append(f"{vertebra.name} {what}")
    found = painter.where(torch.stack(places))
    half = (np.array(painter.shape[::-1]) - 1) / 2 * painter.spacing
    inside = np.all(np.abs(found) <= half, axis=1)
    return found[inside], tuple(name for name, keep in zip(names, inside, strict=True) if keep)
