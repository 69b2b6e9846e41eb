"""``landmarkfusion refine``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from LandmarkFusionLogic import NOTICE
from LandmarkFusionLogic.cli.common import VOLUME_HELP, progress, warn

if TYPE_CHECKING:
    from LandmarkFusionLogic.jobs import RefineResult

FIGURES = (
    ("difference", "Difference of the images (MIND)", ".4f"),
    ("border", "Distance of the glands' borders, mm", ".2f"),
    ("landmark", "Distance of the landmarks, mm", ".2f"),
)


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``commands``."""
    command = commands.add_parser(
        "refine",
        parents=[common],
        help="bring the gland of an MR nearer to that in a US after the rigid fit, deformably",
        description="After the rigid fit: move and bend the gland a little, guided by gland masks, landmarks and "
        "matches in the images. A check compares before and after; where anything speaks against the refinement, the "
        "rigid alignment is kept, and the reason is told. Needs no elastix and no network.",
        epilog="Written to DIR: transform.h5 (the refined transform, or the rigid one where the refinement is "
        "doubtful; the doubtful one is doubtful.h5 then), warped.nrrd, jacobian.nrrd, the matches that were used, "
        f"report.json. {NOTICE}",
    )
    for side, what in (("fixed", "US"), ("moving", "MR")):
        command.add_argument(f"--{side}", required=True, metavar="FILE", help=f"the {what}: {VOLUME_HELP}")
        command.add_argument(f"--{side}-mask", metavar="FILE", help=f"the prostate in the {what}")
        command.add_argument(
            f"--{side}-points", metavar="F.mrk.json", help=f"landmarks in the {what}, named as in the other image"
        )
        command.add_argument(
            f"--{side}-targets",
            metavar="F.mrk.json",
            help=f"points in the {what} that do not guide: their distances are told before and after",
        )
    command.add_argument(
        "--initial",
        required=True,
        metavar="F.h5",
        help="the rigid fit, for instance mr-to-us.h5 of landmarkfusion fuse",
    )
    command.add_argument(
        "--network-masks",
        action="store_true",
        help="the masks are a network's, as fuse writes them, and nobody has corrected them: they are trusted less",
    )
    command.add_argument(
        "--use-doubtful", action="store_true", help="use the refinement even where something speaks against it"
    )
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made if it is missing")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.cli.deform import point_pairs
    from LandmarkFusionLogic.imageio import silence_warnings
    from LandmarkFusionLogic.jobs import RefineRequest, VolumeSource, record, refine
    from LandmarkFusionLogic.markupsfile import read_landmarks
    from LandmarkFusionLogic.transformfile import read_transform

    silence_warnings()
    targets = point_pairs(options.fixed_targets, options.moving_targets, "targets")
    marks = {
        side: [record(point) for point in read_landmarks(file, f"{side} points")] if file else []
        for side, file in (("fixed", options.fixed_points), ("moving", options.moving_points))
    }
    request = RefineRequest(
        fixed=VolumeSource(options.fixed),
        moving=VolumeSource(options.moving),
        initial=read_transform(options.initial).tolist(),
        out=options.out,
        fixed_mask=VolumeSource(options.fixed_mask) if options.fixed_mask else None,
        moving_mask=VolumeSource(options.moving_mask) if options.moving_mask else None,
        drawn=not options.network_masks,
        fixed_landmarks=marks["fixed"],
        moving_landmarks=marks["moving"],
        targets=targets,
        use_doubtful=options.use_doubtful,
    )
    with progress() as report:
        result = refine(request, report)
    describe(result)
    warn(result.deformation.warnings)
    print(f"Wrote {options.out} in {result.deformation.seconds:.1f} s. {NOTICE}")


def describe(result: RefineResult) -> None:
    """Print the figures before and after, and what is used."""
    print(f"{'':<40}{'rigid':>10}{'refined':>10}")
    for key, text, digits in FIGURES:
        before, after = (result.comparison[f"{key}_{when}"] for when in ("before", "after"))
        if before is not None and after is not None:
            print(f"{text:<40}{before:>10{digits}}{after:>10{digits}}")
    moved, farthest, bent = (result.comparison[name] or 0.0 for name in ("moved_mm", "farthest_mm", "bent_mm"))
    print(f"The gland moves by {moved:.1f} mm on average, {farthest:.1f} mm at most; {bent:.1f} mm of it is bending.")
    least, greatest = (result.comparison[name] or 0.0 for name in ("jacobian_min", "jacobian_max"))
    print(f"Jacobian determinant of the refinement {least:.2f} to {greatest:.2f} in and around the gland.")
    print(f"Matches in the images: {len(result.deformation.pairs)}.")
    for target in result.deformation.targets:
        print(f"  {target.name:<30}{target.before_mm:8.2f} →{target.after_mm:8.2f} mm")
    print("The refinement is used." if result.refined else "The rigid alignment is kept.")
