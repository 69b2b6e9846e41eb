"""``landmarkfusion …``: the jobs on a command line.

Exit code 0, 2 for bad input, 130 for Ctrl-C, 1 for anything else.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from LandmarkFusionLogic import NOTICE, __version__
from LandmarkFusionLogic.errors import InputError

VOLUME_HELP = "NRRD, NIfTI, MHA/MHD file, or the folder of a DICOM series"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # A name that the terminal cannot show is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words[:2] if words[:2] == ["train", "landmarks"] else words)
    options.words = words[2:]
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _stop)
    try:
        options.run(options)
        return 0
    except InputError as error:
        print(f"landmarkfusion: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        written = "" if options.run is _train_landmarks else "; nothing was written"
        print(f"\nlandmarkfusion: stopped{written}.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        print(f"landmarkfusion: {_unexpected(error)}", file=sys.stderr)
        return 1


def _stop(*_: object) -> None:
    # As with Ctrl-C, the results begun are removed on the way out.
    raise SystemExit(143)


def _unexpected(error: Exception) -> str:
    from LandmarkFusionLogic.memory import OUT_OF_MEMORY, is_out_of_memory

    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    return f"something unexpected went wrong ({type(error).__name__}); run it again with --traceback for the details."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="landmarkfusion",
        description="Align a prostate MR with a 3D ultrasound by three landmarks: apex, bladder neck and posterior "
        "median.",
        epilog=f"Start with: landmarkfusion fuse --mr MR.nrrd --us US.nrrd --out results. {NOTICE}",
    )
    parser.add_argument("--version", action="version", version=f"landmarkfusion {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where an unexpected error happened")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_fuse(commands, common)
    _add_detect(commands, common)
    _add_simulate(commands, common)
    _add_evaluate(commands, common)
    _add_train(commands, common)
    return parser


def _add_fuse(commands: Any, common: argparse.ArgumentParser) -> None:
    text = "Find the landmarks in both volumes, fit MR to US rigidly, and write the aligned result to a folder."
    command = commands.add_parser(
        "fuse",
        parents=[common],
        help="two volumes in, an aligned scene out",
        description=text,
        epilog=(
            "Written to DIR: mr-landmarks.mrk.json, us-landmarks.mrk.json, mr-to-us.h5 (points of the MR to points of "
            "the US, as Slicer and ITK read it), mr-in-us.nrrd, overlay.png, report.json, and scene.mrb where "
            "slicer-core is installed. After --us-flip also us-flipped.nrrd: the ultrasound that transform and "
            f"landmarks belong to then. {NOTICE}"
        ),
    )
    command.add_argument("--mr", required=True, metavar="MR", help=f"the T2-weighted MR: {VOLUME_HELP}")
    command.add_argument("--us", required=True, metavar="US", help=f"the 3D ultrasound: {VOLUME_HELP}")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made if it is missing")
    for side in ("mr", "us"):
        command.add_argument(
            f"--{side}-landmarks",
            metavar="F.mrk.json",
            help=f"landmarks of the {side.upper()} placed in Slicer; they are not detected then",
        )
        command.add_argument(
            f"--{side}-series", type=int, metavar="N", help=f"which DICOM series of the {side.upper()} folder: 1, 2, …"
        )
    command.add_argument(
        "--us-flip",
        action="append",
        default=[],
        choices=("lr", "ap", "si"),
        help="turn a wrongly oriented ultrasound round about its center, left-right, front-back or up-down, its "
        "landmarks file with it; may be given more than once",
    )
    command.add_argument(
        "--us-orientation-confirmed",
        action="store_true",
        help="say that you have checked left and right of the ultrasound; without it the report warns",
    )
    _add_device(command)
    command.set_defaults(run=_fuse)


def _add_detect(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "detect",
        parents=[common],
        help="find the landmarks of one volume",
        description="Find apex, bladder neck and posterior median in one volume.",
        epilog=NOTICE,
    )
    command.add_argument("volume", metavar="VOLUME", help=VOLUME_HELP)
    command.add_argument("--modality", required=True, choices=("mr", "us"), help="MR (T2-weighted) or 3D ultrasound")
    command.add_argument("--out", required=True, metavar="FILE.mrk.json", help="where the landmarks go")
    command.add_argument("--series", type=int, metavar="N", help="which DICOM series of the folder: 1, 2, …")
    command.add_argument("--model", metavar="DIR", help="folder of a network of your own")
    _add_device(command)
    command.set_defaults(run=_detect)


def _add_simulate(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "simulate",
        parents=[common],
        help="make a simulated case to try things out",
        description="Make one simulated MR and ultrasound of the same prostate, with their true landmarks.",
    )
    command.add_argument("--seed", required=True, type=int, metavar="N", help="number of the case: 0, 1, 2, …")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the case; made if it is missing")
    command.set_defaults(run=_simulate)


def _add_evaluate(commands: Any, common: argparse.ArgumentParser) -> None:
    text = "Measure the detection's landmark errors beside the plainest baseline, always the mean position."
    command = commands.add_parser("evaluate", help="measure landmark errors", description=text)
    kinds = command.add_subparsers(title="on what", required=True, metavar="WHAT")
    cases = kinds.add_parser("cases", parents=[common], help="the real MR/US pairs of mrus-27", description=text)
    cases.add_argument(
        "--data",
        metavar="DIR",
        default=os.environ.get("LANDMARKFUSION_DATA"),
        help="folder that holds mrus-27 (default: the environment's LANDMARKFUSION_DATA)",
    )
    cases.set_defaults(run=_evaluate_cases)
    simulated = kinds.add_parser("simulated", parents=[common], help="unseen simulated cases", description=text)
    simulated.add_argument("--cases", type=int, default=20, metavar="N", help="how many (default: 20)")
    simulated.set_defaults(run=_evaluate_simulated)
    for kind in (cases, simulated):
        _add_device(kind)
    _add_evaluate_folds(kinds, common)


def _add_evaluate_folds(kinds: Any, common: argparse.ArgumentParser) -> None:
    text = (
        "Cross-validation on mrus-27: the landmarks of each real image, found by a network fine-tuned on the other "
        "two folds, beside the network of simulation alone, the mean position, and a click into the gland."
    )
    folds = kinds.add_parser("folds", parents=[common], help="cross-validation on mrus-27", description=text)
    folds.add_argument(
        "--data",
        metavar="DIR",
        default=os.environ.get("LANDMARKFUSION_DATA"),
        help="folder that holds mrus-27 (default: the environment's LANDMARKFUSION_DATA)",
    )
    folds.add_argument("--models", metavar="DIR", help="folder of the networks mr-0 … us-2 (default: models/folds)")
    folds.set_defaults(run=_evaluate_folds)


def _add_train(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser("train", help="train networks on simulated cases", description="Train networks.")
    kinds = command.add_subparsers(title="networks", required=True, metavar="NETWORK")
    text = "landmark network of one modality; its options: landmarkfusion train landmarks --help"
    landmarks = kinds.add_parser("landmarks", parents=[common], add_help=False, help=text)
    landmarks.set_defaults(run=_train_landmarks)


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device", default="auto", metavar="auto|cuda|mps|cpu", help="where the networks run (default: auto)"
    )


def _fuse(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.imageio import silence_warnings
    from LandmarkFusionLogic.jobs import FuseRequest, VolumeSource, fuse

    silence_warnings()

    request = FuseRequest(
        mr=VolumeSource(options.mr, series=options.mr_series),
        us=VolumeSource(options.us, series=options.us_series),
        out=options.out,
        mr_landmarks=options.mr_landmarks,
        us_landmarks=options.us_landmarks,
        device=options.device,
        us_flips=options.us_flip,
        us_confirmed=options.us_orientation_confirmed,
    )
    with _progress() as report:
        result = fuse(request, report)
    print("Distance between the landmarks after the fit (FRE, mm; agreement, not accuracy):")
    for name, error in result.errors.items():
        print(f"  {name:<18} {error:6.2f}")
    print(f"  {'root mean square':<18} {result.rms:6.2f}")
    _warn(result.warnings)
    print(f"Wrote {', '.join(result.files)} to {options.out} in {result.seconds:.1f} s. {NOTICE}")


def _detect(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.imageio import silence_warnings
    from LandmarkFusionLogic.jobs import DetectRequest, VolumeSource, detect, landmarks
    from LandmarkFusionLogic.markupsfile import write_landmarks
    from LandmarkFusionLogic.points import spread

    silence_warnings()

    out = Path(options.out)
    if not out.name.endswith(".json") or out.is_dir() or not out.absolute().parent.is_dir():
        raise InputError(f"“{out.name}” cannot be written; give a name ending in .mrk.json in a folder that exists.")
    source = VolumeSource(options.volume, series=options.series)
    with _progress() as report:
        result = detect(DetectRequest(source, options.modality, options.device, options.model), report)
    found = landmarks(result.landmarks)
    write_landmarks(out, found)
    print(f"{'Landmark':<18} {'R':>8} {'A':>8} {'S':>8}   spread (mm)")
    for point in found:
        right, anterior, superior = point.position
        unsure = "" if point.covariance is None else f"{spread(point.covariance):8.1f}"
        print(f"{point.name:<18} {right:8.1f} {anterior:8.1f} {superior:8.1f}   {unsure}")
    _warn(result.warnings)
    print(f"{result.model} on {result.device}, {result.seconds:.1f} s. {NOTICE}")


def _simulate(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.jobs import SimulateRequest, simulate

    with _progress() as report:
        result = simulate(SimulateRequest(options.seed, options.out), report)
    print(f"Wrote {', '.join(result.files)} to {options.out} in {result.seconds:.1f} s.")


def _evaluate_cases(options: argparse.Namespace) -> None:
    if not options.data:
        raise InputError("The folder of the images is not known; give it with --data.")
    _require_torch()
    from LandmarkFusionLogic.evaluation.cases import describe_cases, evaluate_cases

    with _progress() as report:
        findings = evaluate_cases(Path(options.data), options.device, report)
    print(describe_cases(findings))


def _evaluate_folds(options: argparse.Namespace) -> None:
    if not options.data:
        raise InputError("The folder of the images is not known; give it with --data.")
    _require_torch()
    from LandmarkFusionLogic.evaluation.folds import describe_folds, evaluate_folds

    with _progress() as report:
        found = evaluate_folds(Path(options.data), report, Path(options.models) if options.models else None)
    print(describe_folds(found))


def _evaluate_simulated(options: argparse.Namespace) -> None:
    _require_torch()
    from LandmarkFusionLogic.evaluation.simulated import describe_simulated, evaluate_simulated

    with _progress() as report:
        findings = evaluate_simulated(options.cases, options.device, report)
    print(describe_simulated(findings))


def _train_landmarks(options: argparse.Namespace) -> None:
    _require_torch()
    from LandmarkFusionLogic.landmarks import training

    training.main(options.words)


def _require_torch() -> None:
    from LandmarkFusionLogic.landmarks.device import require_torch

    require_torch()


def _warn(warnings: Sequence[str]) -> None:
    for text in warnings:
        print(f"Warning: {text}", file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Any]:
    """A report function: a bar on a terminal, a line for each step elsewhere."""
    if not sys.stderr.isatty():
        shown = ""

        def plain(fraction: float, text: str) -> None:
            nonlocal shown
            if text != shown:
                shown = text
                print(f"[{fraction:4.0%}] {text}", file=sys.stderr, flush=True)

        yield plain
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=text)


if __name__ == "__main__":
    sys.exit(main())
