"""``landmarkfusion deform``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from LandmarkFusionLogic import NOTICE
from LandmarkFusionLogic.cli.common import VOLUME_HELP, add_device, progress, warn
from LandmarkFusionLogic.errors import InputError

if TYPE_CHECKING:
    from LandmarkFusionLogic.jobs import DeformResult, PointPair


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``."""
    command = commands.add_parser(
        "deform",
        parents=[common],
        help="register two volumes deformably, guided by landmarks",
        description="Register the moving volume to the fixed one with elastix: affine, then B-spline, guided by "
        "landmarks. elastix is looked for in SlicerElastix, in the search path and as the Python package itk-elastix.",
        epilog="Written to DIR: transform.h5 (under it in Slicer, the moving volume and its markups move to the fixed "
        "one), warped.nrrd, jacobian.nrrd, fixed-points.mrk.json and moving-points.mrk.json (the landmarks that "
        f"guided), report.json, elastix.log, metric.csv. {NOTICE}",
    )
    for side in ("fixed", "moving"):
        command.add_argument(f"--{side}", required=True, metavar="FILE", help=f"the {side} volume: {VOLUME_HELP}")
        command.add_argument(
            f"--{side}-points",
            metavar="F.mrk.json",
            help=f"points in the {side} volume, named as those in the other one: they guide the registration, or with "
            "--landmarks of another source they measure it",
        )
        command.add_argument(f"--{side}-mask", metavar="FILE", help=f"what counts in the {side} volume")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made if it is missing")
    command.add_argument(
        "--landmarks",
        metavar="dcnn|mind|points|none",
        help="what guides: a network (dcnn or its name), mind (needs no network), your points, or none; default: "
        "points where they are given, otherwise mind",
    )
    command.add_argument(
        "--preset", default="fast", metavar="fast|paper", help="elastix's parameters: fast (default), or the paper's"
    )
    command.add_argument(
        "--initial", metavar="F.h5", help="linear transform that lays the moving volume on the fixed one"
    )
    command.add_argument(
        "--region",
        "--roi",
        nargs=6,
        type=float,
        metavar=("R0", "R1", "A0", "A1", "S0", "S1"),
        help="register only this part of the fixed volume, RAS mm",
    )
    command.add_argument(
        "--choose-weights",
        action="store_true",
        help="try several weights and grids, and take the one that suits a tenth of the landmarks held out; takes "
        "several times as long",
    )
    command.add_argument("--elastix", metavar="PATH", help="elastix program, or the folder that holds it")
    add_device(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.imageio import silence_warnings
    from LandmarkFusionLogic.jobs import DeformRequest, VolumeSource, deform
    from LandmarkFusionLogic.transformfile import read_transform

    silence_warnings()
    points = point_pairs(options.fixed_points, options.moving_points)
    source = options.landmarks or ("points" if points else "mind")
    request = DeformRequest(
        fixed=VolumeSource(options.fixed),
        moving=VolumeSource(options.moving),
        out=options.out,
        landmarks=source,
        preset=options.preset,
        pairs=points if source == "points" else [],
        targets=[] if source == "points" else points,
        fixed_mask=VolumeSource(options.fixed_mask) if options.fixed_mask else None,
        moving_mask=VolumeSource(options.moving_mask) if options.moving_mask else None,
        initial=read_transform(options.initial).tolist() if options.initial else None,
        region=options.region,
        elastix=options.elastix,
        choose_weights=options.choose_weights,
        device=options.device,
    )
    with progress() as report:
        # Where each new text is a line of its own, values that change with every report are left out.
        tell = report if sys.stderr.isatty() else lambda fraction, text: report(fraction, text.split(", ")[0])
        result = deform(request, tell)
    _print(result)
    warn(result.warnings)
    print(f"Wrote {options.out} in {result.seconds:.1f} s. {NOTICE}")


def point_pairs(fixed_file: str | None, moving_file: str | None, what: str = "points") -> list[PointPair]:
    """The pairs of points of both files, matched by name; ``what`` they are in the options' names."""
    from LandmarkFusionLogic.jobs import PointPair
    from LandmarkFusionLogic.markupsfile import read_landmarks
    from LandmarkFusionLogic.points import by_name

    if not fixed_file and not moving_file:
        return []
    if not fixed_file or not moving_file:
        raise InputError(f"Points are needed in both volumes: give --fixed-{what} and --moving-{what}.")
    fixed = by_name(read_landmarks(fixed_file, "fixed points"))
    moving = by_name(read_landmarks(moving_file, "moving points"))
    if not fixed and not moving:
        raise InputError("The lists of points are empty; place points in both volumes, or give no lists.")
    alone = sorted(set(fixed) ^ set(moving))
    if alone:
        raise InputError(
            f"The lists of points have {len(fixed)} and {len(moving)} points, and these are in one of them only: "
            f"{', '.join(alone[:5])}{' …' if len(alone) > 5 else ''}; name the points of a pair alike."
        )
    return [PointPair(fixed[name].position.tolist(), moving[name].position.tolist(), 1.0, name) for name in fixed]


def _print(result: DeformResult) -> None:
    print(f"Guided by {len(result.pairs)} pairs of points.")
    print(
        f"Similarity (normalized mutual information): {result.similarity_before:.3f} → {result.similarity_after:.3f}"
    )
    print(
        f"Jacobian determinant {result.jacobian_min:.2f} to {result.jacobian_max:.2f}; "
        f"{result.folded:.2%} of the body folds."
    )
    for name, value in result.weights.items():
        print(f"Chosen for this pair: {name} = {value:g}")
    if result.targets:
        print(f"{'Target registration error, mm':<32}{'before':>8}{'after':>8}")
        for target in result.targets:
            print(f"  {target.name:<30}{target.before_mm:8.2f}{target.after_mm:8.2f}")
        before, after = (
            sum(getattr(target, name) for target in result.targets) / len(result.targets)
            for name in ("before_mm", "after_mm")
        )
        print(f"  {'mean':<30}{before:8.2f}{after:8.2f}")
