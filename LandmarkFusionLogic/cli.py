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
        written = "" if options.run in (_train_landmarks, _train_comparison) else "; nothing was written"
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
            "slicer-core is installed; mr-gland.nrrd and us-gland.nrrd where the prostate was found, targets.mrk.json "
            "and targets.csv with --targets. After --us-flip also us-flipped.nrrd: the ultrasound that transform and "
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
    for side in ("mr", "us"):
        _add_help_for_detection(command, f"--{side}-", f" of the {side.upper()}")
    command.add_argument(
        "--targets",
        action="append",
        default=[],
        metavar="FILE",
        help="what was marked in the MR and is to be shown in the US: points (.mrk.json), a surface (.stl) or a mask; "
        "may be given more than once",
    )
    command.add_argument(
        "--fit",
        default="best",
        choices=("best", "svd"),
        help="best knows how sure each landmark is (default), svd is the plain least-squares fit",
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
    _add_help_for_detection(command, "--", "")
    _add_device(command)
    command.set_defaults(run=_detect)


def _add_help_for_detection(command: Any, prefix: str, whose: str) -> None:
    command.add_argument(
        f"{prefix}model", metavar="NAME|DIR", help=f"network for the landmarks{whose}: the name of one or its folder"
    )
    command.add_argument(
        f"{prefix}click",
        nargs=3,
        type=float,
        metavar=("R", "A", "S"),
        help=f"a point in the prostate{whose}, RAS mm: where to look when the landmarks are not found by themselves",
    )
    command.add_argument(
        f"{prefix}gland",
        metavar="FILE",
        help=f"mask of the prostate{whose}: where to look, and its centroid in the fit",
    )


def _add_simulate(commands: Any, common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "simulate",
        parents=[common],
        help="make a simulated case to try things out",
        description="Make one simulated MR and ultrasound of the same prostate, with their true landmarks.",
    )
    command.add_argument("--seed", required=True, type=int, metavar="N", help="number of the case: 0, 1, 2, …")
    command.add_argument(
        "--condition",
        metavar="NAME",
        help="show what clinics meet: turp, median-lobe, catheter, endorectal-coil, hip-metal, thick-slices, sharp, "
        "blurred, published, calcification or partial-view",
    )
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
    simulated.add_argument(
        "--conditions", action="store_true", help="a row for each condition that clinics meet, sharp and blurred too"
    )
    simulated.add_argument("--turns", action="store_true", help="rows for starts turned by 15, 30 and 45 degrees")
    simulated.add_argument("--modality", choices=("mr", "us"), help="only this one (default: both)")
    simulated.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="DIR",
        help="folder or name of a network, one for each modality (default: those that are used)",
    )
    simulated.add_argument("--workers", type=int, default=1, metavar="N", help="processes at once (default: 1)")
    simulated.set_defaults(run=_evaluate_simulated)
    for kind in (cases, simulated):
        _add_device(kind)
    _add_evaluate_folds(kinds, common)
    _add_evaluate_landmarks(kinds, common)
    _add_evaluate_rigid(kinds, common)
    _add_evaluate_confidence(kinds, common)


def _add_evaluate_confidence(kinds: Any, common: argparse.ArgumentParser) -> None:
    command = kinds.add_parser(
        "confidence",
        parents=[common],
        help="whether the networks know how sure they are",
        description="Measure on unseen simulated cases, as they come and made hard, how many true points lie inside "
        "of the 95 % ellipsoids, and how well the expected error tells landmarks that are more than 10 mm off.",
    )
    command.add_argument("--cases", type=int, default=140, metavar="N", help="how many seeds (default: 140)")
    command.add_argument(
        "--fit",
        action="store_true",
        help="fit the confidence on as many validation seeds first, and write it into the networks' metadata",
    )
    command.add_argument(
        "--data", metavar="DIR", help="folder that holds mrus-27: measure (and fit) the research networks on its folds"
    )
    command.add_argument("--folds", metavar="DIR", help="folder of the networks mr-0 … us-2 (default: models/folds)")
    command.add_argument("--modality", choices=("mr", "us"), help="only this one (default: both)")
    command.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME|DIR",
        help="a network, one for each modality (default: those that are used)",
    )
    command.add_argument("--workers", type=int, default=1, metavar="N", help="processes at once (default: 1)")
    _add_device(command)
    command.set_defaults(run=_evaluate_confidence)


def _add_evaluate_landmarks(kinds: Any, common: argparse.ArgumentParser) -> None:
    text = "Table 1 of Fang 2023: five methods on equal budgets, the networks that ship, and the mean position"
    landmarks = kinds.add_parser("landmarks", parents=[common], help=text, description=f"Print {text}.")
    landmarks.add_argument(
        "--cases", type=int, default=263, metavar="N", help="how many unseen simulated pairs (default: 263)"
    )
    landmarks.add_argument("--data", metavar="DIR", help="folder that holds mrus-27, for tables on real pairs too")
    landmarks.add_argument("--workers", type=int, default=0, metavar="N", help="processes that share the work")
    landmarks.add_argument(
        "--methods-only", action="store_true", help="on simulated pairs, leave the networks that ship out"
    )
    landmarks.set_defaults(run=_evaluate_landmarks)
    _add_device(landmarks)


def _add_evaluate_rigid(kinds: Any, common: argparse.ArgumentParser) -> None:
    text = "Tables 2 to 4 of Fang 2023: how well the landmarks align the gland, beside alignments that need none"
    rigid = kinds.add_parser(
        "rigid",
        parents=[common],
        help=text,
        description=f"Print {text}. On unseen simulated pairs or, with --data, on mrus-27: there by cross-validation "
        "where models/folds holds its networks, unless --mr-model or --us-model says which to use.",
    )
    rigid.add_argument(
        "--cases", type=int, default=263, metavar="N", help="how many simulated pairs (default: 263, as in the paper)"
    )
    rigid.add_argument("--data", metavar="DIR", help="folder that holds mrus-27: its pairs instead of simulated ones")
    rigid.add_argument("--mr-model", metavar="NAME|DIR", help="network for the MR (default: the one that is used)")
    rigid.add_argument("--us-model", metavar="NAME|DIR", help="network for the US (default: the one that is used)")
    rigid.add_argument("--workers", type=int, default=1, metavar="N", help="processes at once (default: 1)")
    rigid.set_defaults(run=_evaluate_rigid)
    _add_device(rigid)


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
    _add_train_comparison(kinds, common)


def _add_train_comparison(kinds: Any, common: argparse.ArgumentParser) -> None:
    text = "the ten networks of Fang 2023, Table 1, with equal budgets"
    comparison = kinds.add_parser("comparison", parents=[common], help=text, description=f"Train {text}.")
    comparison.add_argument("--out", required=True, metavar="DIR", help="folder for the run; an old run goes on")
    comparison.add_argument("--steps", type=int, default=2000, metavar="N", help="for each network (default: 2000)")
    comparison.add_argument("--minutes", type=float, default=float("inf"), metavar="N", help="end this call then")
    comparison.add_argument("--export", metavar="DIR", help="write the networks to this folder when all are done")
    comparison.set_defaults(run=_train_comparison)


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
        mr_model=options.mr_model,
        us_model=options.us_model,
        mr_click=options.mr_click,
        us_click=options.us_click,
        mr_gland=VolumeSource(options.mr_gland) if options.mr_gland else None,
        us_gland=VolumeSource(options.us_gland) if options.us_gland else None,
        targets=options.targets,
        fit=options.fit,
    )
    with _progress() as report:
        result = fuse(request, report)
    print("Distance between the landmarks after the fit (FRE, mm; agreement, not accuracy):")
    for name, error in result.errors.items():
        print(f"  {name:<18} {error:6.2f}")
    print(f"  {'root mean square':<18} {result.rms:6.2f}")
    print("Expected error of the fit (root mean square, mm):")
    for name, error in result.expected_mm.items():
        print(f"  {name:<18} {error:6.2f}")
    for target in result.targets:
        place = ", ".join(f"{value:.1f}" for value in target.centre)
        print(f"Target {target.name}: in the US at {place} (RAS mm), expected error {target.expected_mm:.1f} mm")
    if result.check_first:
        print(f"Check first: {', '.join(result.check_first)}.")
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
        mask = VolumeSource(options.gland) if options.gland else None
        result = detect(
            DetectRequest(source, options.modality, options.device, options.model, options.click, mask), report
        )
    found = landmarks(result.landmarks)
    write_landmarks(out, found)
    print(f"{'Landmark':<18} {'R':>8} {'A':>8} {'S':>8}   expected error (mm)")
    for point in found:
        right, anterior, superior = point.position
        unsure = "" if point.covariance is None else f"{spread(point.covariance):8.1f}"
        print(f"{point.name:<18} {right:8.1f} {anterior:8.1f} {superior:8.1f}   {unsure}")
    if result.gland is not None:
        print(f"Prostate: {result.gland.millilitres:.0f} ml")
    if result.ask_first:
        print(f"Check first: {', '.join(result.ask_first)}.")
    _warn(result.warnings)
    print(f"{result.model} on {result.device}, {result.seconds:.1f} s. {NOTICE}")


def _simulate(options: argparse.Namespace) -> None:
    from LandmarkFusionLogic.jobs import SimulateRequest, simulate

    with _progress() as report:
        result = simulate(SimulateRequest(options.seed, options.out, options.condition), report)
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


def _evaluate_landmarks(options: argparse.Namespace) -> None:
    _require_torch()
    from LandmarkFusionLogic.evaluation.landmarktable import describe_landmarks, measure_cases, measure_simulated

    with _progress() as report:
        real = measure_cases(Path(options.data), options.device, report) if options.data else []
        simulated = measure_simulated(
            options.cases, options.device, report, options.workers, complete=not options.methods_only
        )
    print(describe_landmarks(simulated, real))


def _evaluate_rigid(options: argparse.Namespace) -> None:
    _require_torch()
    from LandmarkFusionLogic.evaluation import rigid
    from LandmarkFusionLogic.evaluation.pairs import Networks
    from LandmarkFusionLogic.evaluation.rigidtable import describe_rigid

    networks = Networks(options.mr_model, options.us_model)
    if options.data is None:
        with _progress() as report:
            cases = rigid.evaluate_simulated_pairs(options.cases, networks, options.device, options.workers, report)
        title = f"{len(cases)} simulated pairs, seeds {cases[0].name} to {cases[-1].name}, never trained on"
        print(describe_rigid(cases, title, simulated=True))
        return
    folds = rigid.fold_folder() if networks == Networks() else None
    if folds is None:
        # The default may have been trained on these very images.
        networks = Networks(options.mr_model or "mr-landmarks", options.us_model or "us-landmarks")
    with _progress() as report:
        cases = rigid.evaluate_real_pairs(Path(options.data), networks, options.device, options.workers, report, folds)
    if folds is not None:
        title = f"{len(cases)} real pairs, each seen by networks that were not trained on its fold (cross-validation)"
        print(describe_rigid(cases, title, simulated=False))
        return
    for final, kind in ((True, "final"), (False, "development")):
        part = [case for case in cases if rigid.is_final(case) == final]
        if part:
            print(describe_rigid(part, f"{len(part)} real pairs, the {kind} ones", simulated=False) + "\n")


def _evaluate_simulated(options: argparse.Namespace) -> None:
    _require_torch()
    from LandmarkFusionLogic.evaluation.simulated import (
        describe_simulated,
        describe_trials,
        evaluate_trials,
        models_of,
    )

    models = models_of(options.model)
    modalities = (options.modality,) if options.modality else tuple(sorted(models)) or ("mr", "us")
    with _progress() as report:
        outcomes = evaluate_trials(
            options.cases,
            options.device,
            report,
            modalities,
            options.conditions,
            options.turns,
            models,
            options.workers,
        )
    if options.conditions or options.turns:
        print(describe_trials(outcomes))
    else:
        print(describe_simulated([finding for outcome in outcomes for finding in outcome.findings]))


def _evaluate_confidence(options: argparse.Namespace) -> None:
    _require_torch()
    from LandmarkFusionLogic.evaluation.confidence import evaluate_confidence
    from LandmarkFusionLogic.evaluation.simulated import models_of

    models = models_of(options.model)
    modalities = (options.modality,) if options.modality else tuple(sorted(models)) or ("mr", "us")
    if options.data:
        from LandmarkFusionLogic.evaluation.foldconfidence import evaluate_fold_confidence

        folds = Path(options.folds) if options.folds else None
        with _progress() as report:
            text = evaluate_fold_confidence(
                Path(options.data), options.device, report, modalities, folds, models, options.fit
            )
        print(text)
        return
    with _progress() as report:
        text = evaluate_confidence(
            options.cases, options.device, report, modalities, models, options.fit, options.workers
        )
    print(text)


def _train_landmarks(options: argparse.Namespace) -> None:
    _require_torch()
    from LandmarkFusionLogic.landmarks import training

    training.main(options.words)


def _train_comparison(options: argparse.Namespace) -> None:
    _require_torch()
    from LandmarkFusionLogic.landmarks.comparison.bundle import export_all
    from LandmarkFusionLogic.landmarks.comparison.training import train_all

    def log(text: str) -> None:
        print(text, flush=True)

    if train_all(Path(options.out), options.steps, options.minutes, log=log) and options.export:
        export_all(Path(options.out), Path(options.export))


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
