"""The deformable registration by elastix (Grewal 2023, section 2.5 and appendix A).

Affine, then B-spline with mutual information, bending energy and corresponding points. Volumes, points and results
are in the world of the volumes, RAS mm.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from LandmarkFusionLogic.deformable import preparation
from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.executables import Elastix
from LandmarkFusionLogic.deformable.failures import DISK_FULL, of_system
from LandmarkFusionLogic.deformable.parameters import Parameters, preset
from LandmarkFusionLogic.deformable.runner import Watch, run
from LandmarkFusionLogic.deformable.transforms import Deformation, read_deformation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume


@dataclass(frozen=True)
class Weights:
    """What a pair of volumes may want otherwise than the preset has it; None keeps the preset's.

    ``points`` weighs the mean distance of the corresponding points (Metric2Weight) against mutual information,
    ``grid_mm`` is the final spacing of the B-spline's grid.
    """

    points: float | None = None
    grid_mm: float | None = None


@dataclass(frozen=True)
class Pair:
    """A registration to be made: ``moving`` to ``fixed``.

    ``points`` guide it; ``initial`` (4, 4) maps points of the moving volume to the fixed one, RAS mm; masks (any grid,
    0 outside) say what counts; ``region`` [R0, R1, A0, A1, S0, S1], RAS mm, is the part of the fixed volume that is
    registered.
    """

    fixed: Volume
    moving: Volume
    points: Correspondences | None = field(default=None)
    fixed_mask: Volume | None = None
    moving_mask: Volume | None = None
    initial: FloatArray | None = None
    region: Sequence[float] | None = None


@dataclass(frozen=True)
class Prepared:
    """A pair whose files lie in ``folder``, ready for elastix; ``fixed`` is cut to the region."""

    folder: Path
    arguments: tuple[str, ...]
    fixed: Volume
    points: Correspondences | None
    warnings: tuple[str, ...]


def prepare(pair: Pair, folder: Path) -> Prepared:
    """Check ``pair`` and write what elastix reads into ``folder``, which exists.

    Raises InputError for volumes that do not overlap, masks and regions that hold nothing, points outside both
    volumes, and where the files cannot be written.
    """
    fixed = preparation.crop(pair.fixed, pair.region)
    for volume, what in ((fixed, "fixed volume" if pair.region is None else "region"), (pair.moving, "moving volume")):
        preparation.check_size(volume, what)
    initial = np.eye(4) if pair.initial is None else np.asarray(pair.initial, dtype=np.float64)
    preparation.check_overlap(fixed, pair.moving, initial)
    fixed_mask, told = preparation.mask_on(pair.fixed_mask, fixed, "fixed")
    moving_mask, more = preparation.mask_on(pair.moving_mask, pair.moving, "moving")
    warnings = [*told, *more]
    points = pair.points if pair.points is not None and len(pair.points) else None
    if points is not None:
        points, more = preparation.points_in(points, fixed, pair.moving)
        warnings += more
    arguments = ["-f", "fixed.mha", "-m", "moving.mha"]
    try:
        preparation.write_image(folder / "fixed.mha", fixed)
        preparation.write_image(folder / "moving.mha", pair.moving)
        if fixed_mask is not None:
            preparation.write_mask(folder / "fixed-mask.mha", fixed_mask, fixed)
            arguments += ["-fMask", "fixed-mask.mha"]
        if moving_mask is not None:
            preparation.write_mask(folder / "moving-mask.mha", moving_mask, pair.moving)
            arguments += ["-mMask", "moving-mask.mha"]
        if pair.initial is not None:
            preparation.write_initial(folder / "initial.txt", initial)
            arguments += ["-t0", "initial.txt"]
    except OSError as error:
        raise InputError(of_system(error)) from error
    except RuntimeError as error:  # SimpleITK's way to say that a file could not be written.
        raise InputError(DISK_FULL) from error
    return Prepared(folder, tuple(arguments), fixed, points, tuple(warnings))


def register(
    prepared: Prepared,
    elastix: Elastix,
    watch: Watch,
    preset_name: str = "fast",
    weights: Weights | None = None,
    threads: int | None = None,
) -> Deformation:
    """Run both stages of a preset on what `prepare` has written, with the points if there are any.

    ``threads``: how many elastix may use, by default all of the machine's cores.
    Raises InputError where elastix fails or there is no such preset.
    """
    affine, bspline = stages(preset_name, weights, guided=prepared.points is not None)
    if "initial.txt" in prepared.arguments:
        # The user has said where to start; elastix's own initialization would undo it.
        affine = affine.changed({"AutomaticTransformInitialization": "false"})
    folder = prepared.folder
    arguments = [*prepared.arguments, *_points(prepared.points, folder), *_threads(threads)]
    return read_deformation(run(elastix, folder, [affine, bspline], arguments, watch))


def stages(preset_name: str, weights: Weights | None, guided: bool) -> tuple[Parameters, Parameters]:
    """The parameters of the affine and of the deformable stage; ``guided``: there are corresponding points."""
    affine, bspline = preset(preset_name)
    if weights is not None and weights.points is not None:
        bspline = bspline.changed({"Metric2Weight": weights.points})
    if weights is not None and weights.grid_mm is not None:
        bspline = bspline.changed({"FinalGridSpacingInPhysicalUnits": weights.grid_mm})
    return affine, bspline if guided else bspline.without_points()


def _points(points: Correspondences | None, folder: Path) -> list[str]:
    if points is None:
        return []
    try:
        preparation.write_points(folder / "fixed-points.txt", points.fixed)
        preparation.write_points(folder / "moving-points.txt", points.moving)
    except OSError as error:
        raise InputError(of_system(error)) from error
    return ["-fp", "fixed-points.txt", "-mp", "moving-points.txt"]


def _threads(threads: int | None) -> list[str]:
    return ["-threads", str(threads or os.cpu_count() or 1)]
