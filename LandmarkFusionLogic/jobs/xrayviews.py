"""The X-rays of an alignment, read and laid out: image, C-arm, and where the second camera stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.projection import guess_warning, load_xray, pose_of
from LandmarkFusionLogic.jobs.projectionrecords import AlignRequest, GeometryData, XRaySource
from LandmarkFusionLogic.points import FloatArray

if TYPE_CHECKING:
    from LandmarkFusionLogic.projection.carm import CArm
    from LandmarkFusionLogic.projection.geometry import Geometry
    from LandmarkFusionLogic.projection.polarity import Bright
    from LandmarkFusionLogic.projection.pose import Pose
    from LandmarkFusionLogic.projection.xrayfile import XRay

WORKING_SIDE = 256
"""Pixels a side that an alignment works with at most, as the paper does."""
SHAPE_TOLERANCE = 0.02
FIRST, SECOND = "X-ray", "second X-ray"
SAME = "Both X-rays were taken from the same direction, which tells no more than one does."
UNSURE = (
    "The X-ray's tags do not say whether it is mirrored; it fits better as seen from the {}: check left and right."
)
SWAPPED = (
    "The X-ray fits better with source and detector where the angles put the other; check the angles and whether the "
    "image is mirrored."
)


@dataclass(frozen=True)
class XRayView:
    """One X-ray at the size that is worked with; gray values are still the file's own.

    ``from_first`` (4, 4) first camera mm to this camera mm. ``unsure``: its tags do not say whether it is mirrored.
    """

    name: str
    source: XRaySource
    xray: XRay
    arm: CArm
    from_first: FloatArray = field(default_factory=lambda: np.eye(4))
    warnings: list[str] = field(default_factory=list)
    unsure: bool = False

    @property
    def geometry(self) -> Geometry:
        """The detector, read out at the size that is worked with."""
        return self.arm.geometry

    def bright(self, like: npt.NDArray[np.float32]) -> tuple[Bright, list[str]]:
        """The image with bright bones, and what to warn of.

        ``like`` (rows, columns) is a projection that roughly agrees with it.
        """
        from LandmarkFusionLogic.projection.polarity import brighten

        found = brighten(self.xray, self.source.bones, self.source.intensity, like)
        return found, [guess_warning(self.name, found.bones)] if found.guessed else []


@dataclass(frozen=True)
class Side:
    """One of the ways in which the X-rays may have been taken: ``views`` and the pose to begin with.

    ``note`` is what to tell where this one turns out to be right; None: nothing.
    """

    views: list[XRayView]
    start: Pose
    note: str | None = None


def read_sides(request: AlignRequest, isocenter: FloatArray) -> list[Side]:
    """The one or two X-rays of ``request``, in the ways that have to be tried; ``isocenter`` (3,) is the CT's center.

    There is one way where a pose is given or no angles are known, otherwise two, which differ in the side that the
    source stood on: files differ in how images are turned over, and many do not say.
    Raises InputError for X-rays, geometries and poses that cannot be used, for a geometry that nobody tells, and
    where nothing says how two X-rays stand to each other.
    """
    from LandmarkFusionLogic.projection.carm import is_opposite, start

    views = _read(request)
    arm = views[0].arm
    mirrored = arm.geometry.mirrored
    if request.pose is not None:
        pose = pose_of(request.pose, "pose")
        return [Side(_placed(request, views, mirrored, is_opposite(arm, pose), isocenter), pose)]
    ways: list[tuple[bool, bool, str | None]] = [(mirrored, not mirrored, None)]
    if views[0].unsure:
        ways = [(False, True, UNSURE.format("source")), (True, False, UNSURE.format("detector"))]
    elif arm.angles is not None:
        ways = [(mirrored, True, SWAPPED), (mirrored, False, None)]
    found = []
    for mirror, opposite, note in ways:
        placed = _placed(request, views, mirror, opposite, isocenter)
        found.append(Side(placed, start(placed[0].arm, opposite), note))
    return found


def _read(request: AlignRequest) -> list[XRayView]:
    first = _view(FIRST, request.xray, request.geometry, None)
    if request.xray2 is not None:
        return [first, _view(SECOND, request.xray2, request.geometry2, first.arm)]
    for value, name in ((request.geometry2, "geometry"), (request.pose2, "pose"), (request.from_first, "place")):
        if value is not None:
            raise InputError(f"There is a second {name} but no second X-ray; give both or neither.")
    return [first]


def _placed(
    request: AlignRequest, views: list[XRayView], mirrored: bool, opposite: bool, isocenter: FloatArray
) -> list[XRayView]:
    """``views``, mirrored where that is not known, and the second one at its place beside the first."""
    from LandmarkFusionLogic.projection.carm import CArm

    seen = []
    for view in views:
        geometry = replace(view.arm.geometry, mirrored=mirrored) if view.unsure else view.arm.geometry
        seen.append(replace(view, arm=CArm(geometry, view.arm.angles)))
    if len(seen) > 1:
        seen[1] = replace(seen[1], from_first=_between(request, seen[0], seen[1], opposite, isocenter))
    return seen


def _view(name: str, source: XRaySource, data: GeometryData | None, other: CArm | None) -> XRayView:
    from LandmarkFusionLogic.projection.carm import CArm, carm
    from LandmarkFusionLogic.projection.dicomgeometry import geometry_of, needed_geometry
    from LandmarkFusionLogic.projection.xrayfile import resized

    xray = load_xray(source, name)
    rows, columns = xray.values.shape
    warnings: list[str] = []
    found = geometry_of(xray.tags, rows, columns)
    if data is not None:
        arm = carm(data, f"geometry of the {name}")
        if arm.angles is None and found.data is not None:
            arm = CArm(arm.geometry, carm(found.data).angles)
    elif other is not None and found.data is None:
        arm = CArm(other.geometry)  # The same device; where it stood then is not told by that.
    else:
        arm = carm(needed_geometry(xray.tags, rows, columns, name), f"geometry in the {name}'s DICOM tags")
        warnings += found.warnings
    _check_shape(name, xray, arm.geometry)
    warnings += _spacing_warning(name, xray, arm.geometry)
    share = min(1.0, WORKING_SIDE / max(min(rows, arm.geometry.rows), min(columns, arm.geometry.columns)))
    rows = round(min(rows, arm.geometry.rows) * share)
    columns = round(min(columns, arm.geometry.columns) * share)
    small = resized(xray, rows, columns)
    if small.mask is not None and not small.mask.any():
        raise InputError(f"The collimator's tags of the {name} leave no image; correct them.")
    unsure = data is None and found.data is not None and arm.angles is not None and "mirrored" not in found.data
    arm = CArm(arm.geometry.resized(rows, columns), arm.angles)
    return XRayView(name, source, small, arm, np.eye(4), warnings, unsure)


def _check_shape(name: str, xray: XRay, geometry: Geometry) -> None:
    rows, columns = xray.values.shape
    ratio = rows * geometry.columns / (columns * geometry.rows)
    if abs(ratio - 1) > SHAPE_TOLERANCE:
        raise InputError(
            f"The {name} has {rows} × {columns} pixels and the geometry {geometry.rows} × {geometry.columns}, another "
            "shape; correct the rows and columns of the geometry."
        )


def _spacing_warning(name: str, xray: XRay, geometry: Geometry) -> list[str]:
    """What to tell where the file itself says another size of the detector."""
    if xray.spacing is None:
        return []
    sizes = np.array(xray.spacing) * xray.values.shape
    expected = np.array(geometry.spacing) * (geometry.rows, geometry.columns)
    if np.all(np.abs(sizes / expected - 1) < SHAPE_TOLERANCE):
        return []
    told = (
        f"The file of the {name} says that the image measures {sizes[0]:.0f} × {sizes[1]:.0f} mm, the geometry "
        f"{expected[0]:.0f} × {expected[1]:.0f} mm at the detector; the geometry was used."
    )
    return [told]


def _between(
    request: AlignRequest, first: XRayView, second: XRayView, opposite: bool, isocenter: FloatArray
) -> FloatArray:
    """(4, 4) from the first camera to the second one, mm."""
    from LandmarkFusionLogic.projection.carm import between, between_poses

    if request.from_first is not None:
        matrix = _rigid(request.from_first)
        if matrix is None:
            raise InputError("The second camera's place is no rigid transform of 4 × 4 numbers; correct it.")
        return matrix
    if request.pose2 is not None:
        if request.pose is None:
            raise InputError(
                "The second pose says where its camera stands only beside the first one; give both poses."
            )
        poses = pose_of(request.pose, "pose"), pose_of(request.pose2, "second pose")
        return between_poses(first.arm, second.arm, *poses, isocenter)
    there = between(first.arm, second.arm, opposite)
    if there is None:
        raise InputError(
            "Nothing says how the two X-rays stand to each other; give the positioner's angles of both (primary_angle "
            "and secondary_angle in their geometries), or the nominal poses of both (--pose and --pose2)."
        )
    if first.arm.angles == second.arm.angles and SAME not in second.warnings:
        second.warnings.append(SAME)
    return there


def _rigid(values: list[list[float]]) -> FloatArray | None:
    """The matrix (4, 4) of ``values``; None where they are no rotation and shift."""
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)) or not np.allclose(matrix[3], (0, 0, 0, 1)):
        return None
    turn = matrix[:3, :3]
    return matrix if np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) and np.linalg.det(turn) > 0 else None
