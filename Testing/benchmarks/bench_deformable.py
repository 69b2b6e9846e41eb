"""The deformable registration beside four others, on the same pairs in the same run: TRE, folding, CPU seconds.

    python Testing/benchmarks/bench_deformable.py [--cases 2] [--on simulated] [--data DIR] [--run DIR]

Ours is the preset "fast", without landmarks and with those of the classical detector. The others are greedy, SyN,
demons and ConvexAdam in their own environment (`make bench-deformable` installs it); one that is missing is named with
the reason. All start from the same affine map, by elastix; the others get the moving volume resampled by it, once, by
cubic splines. Seconds are of one core, without that affine map: ours with the search for landmarks, each process with
its start.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from LandmarkFusionLogic.deformable.transforms import Deformation, linear_deformation
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.deformable import Case, Task, assess, measure
from LandmarkFusionLogic.evaluation.deformableoutcome import (
    Outcome,
    Registration,
    file_of,
    read_outcome,
    write_outcome,
)
from LandmarkFusionLogic.evaluation.deformablepairs import DeformedPair, seeds_of
from LandmarkFusionLogic.evaluation.statistics import mean_sd_text, paired_interval
from LandmarkFusionLogic.imageio import image_from_volume, silence_warnings
from LandmarkFusionLogic.points import FloatArray

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parents[1] / ".venv-peers"
MODULES = {"greedy": "picsl_greedy", "SyN": "ants", "demons": "SimpleITK", "ConvexAdam": "convexAdam"}
OURS = {"none": "ours, fast, without landmarks", "mind": "ours, fast, with landmarks (mind)"}
MINUTES = 20
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


class PeerError(Exception):
    """A peer cannot be run, or ended without a result; the text is the reason."""


def main() -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2, help="pairs of each set (default: 2)")
    parser.add_argument("--on", action="append", default=[], choices=("ct-pelvis", "simulated"))
    parser.add_argument("--data", default=os.environ.get("LANDMARKFUSION_DATA"), help="folder that holds ct-pelvis")
    parser.add_argument("--run", help="keep each case here, and go on from what it holds", dest="kept")
    parser.add_argument("--environment", type=Path, default=ENVIRONMENT, help="of the peers (default: .venv-peers)")
    options = parser.parse_args()
    silence_warnings()
    python = python_of(options.environment)
    peers, missing = [], []
    for name in MODULES:
        reason = why_not(name, python)
        (missing if reason else peers).append(name)
        if reason:
            print(f"{name} is left out: {reason}")
    sets = options.on or (["ct-pelvis", "simulated"] if options.data else ["simulated"])
    try:
        done = [
            case(Task(dataset, seed, tuple(OURS), options.data, folder=options.kept), peers, python)
            for dataset in sets
            for seed in seeds_of(dataset, options.cases)
        ]
    except InputError as error:
        sys.exit(str(error))
    print(describe(done, ", ".join(sets)))
    return 0


def case(task: Task, peers: Sequence[str], python: Path) -> Outcome:
    """Ours and the ``peers`` on one pair of volumes; what the task's folder holds is not measured again."""
    outcome = measure(task)
    file = file_of(task.folder, task.dataset, task.seed, "peers")
    others = read_outcome(file) if file and file.exists() else Outcome(task.dataset, task.seed)
    with tempfile.TemporaryDirectory(prefix="landmarkfusion-") as folder:
        of_case = Case(task, outcome, Path(folder), None)
        for name in peers:
            if name in others.registration:
                continue
            try:
                found, seconds = run_peer(name, python, of_case.pair, of_case.initial)
            except PeerError as error:
                print(f"{name} failed on {task.dataset}, case {task.seed}: {error}", flush=True)
                continue
            others.registration[name] = assess(of_case.pair, found, seconds)
            if file:
                write_outcome(file, others)
    ours = {
        OURS[name]: Registration(r.errors, r.least, r.folded, r.seconds + _search(outcome, name))
        for name, r in outcome.registration.items()
        if name in OURS
    }
    affine = {} if outcome.affine is None else {"after affine": outcome.affine}
    asked = {name: r for name, r in others.registration.items() if name in peers}
    return Outcome(task.dataset, task.seed, registration={**affine, **ours, **asked})


def run_peer(name: str, python: Path, pair: DeformedPair, initial: FloatArray) -> tuple[Deformation, float]:
    """The transform from fixed to moving points that ``name`` finds after ``initial`` (4, 4), and its CPU seconds.

    Raises PeerError with the reason where it fails.
    """
    start = linear_deformation(initial)
    fixed, moving = image_from_volume(pair.fixed), image_from_volume(pair.moving)
    low, high = float(np.min(pair.moving.array)), float(np.max(pair.moving.array))
    aligned = sitk.Clamp(
        sitk.Resample(moving, fixed, start.transform, sitk.sitkBSpline, low), moving.GetPixelID(), low, high
    )
    with tempfile.TemporaryDirectory(prefix="landmarkfusion-peer-") as folder:
        for side, image in (("fixed", fixed), ("moving", aligned)):
            sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32), str(Path(folder, f"{side}.mha")))
        before = _children_seconds()
        _run([python, HERE / "peers.py", name, folder], MINUTES)
        seconds = _children_seconds() - before
        field = sitk.ReadImage(str(Path(folder, "field.mha")), sitk.sitkVectorFloat64)
    # The last one of the list is applied first: to a place of the aligned volume, and on to the moving one.
    both = sitk.CompositeTransform([start.transform, sitk.DisplacementFieldTransform(field)])
    return Deformation(both), seconds


def why_not(name: str, python: Path) -> str:
    """Why the peer ``name`` cannot be run; empty where it can."""
    if not python.exists():
        return f"there is no environment of the peers; “make bench-deformable” makes {python.parents[1].name}"
    try:
        _run([python, "-c", f"import {MODULES[name]}"], 5)
    except PeerError as error:
        return str(error)
    return ""


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def describe(outcomes: Sequence[Outcome], title: str) -> str:
    """The table; differences are those of ours with landmarks to each other row, over the pairs that both have."""
    lines = [
        f"Deformable registration on {title}, {len(outcomes)} pairs at 2 mm; TRE in mm",
        (
            f"{'':<36}{'pairs':>6}{'mean ± SD':>15}{'median':>8}{'ours - it':>11}{'95 % interval':>19}{'':>7}"
            f"{'least J':>9}{'folded':>9}{'CPU, s':>14}"
        ),
    ]
    ours = OURS["mind"]
    for name in dict.fromkeys(name for outcome in outcomes for name in outcome.registration):
        having = [outcome for outcome in outcomes if name in outcome.registration]
        found = [outcome.registration[name] for outcome in having]
        errors = np.concatenate([each.errors for each in found])
        line = f"{name:<36}{len(found):>6}{mean_sd_text(errors):>15}{np.median(errors):>8.2f}"
        both = [outcome for outcome in having if ours in outcome.registration and name != ours]
        line += _compared(both, ours, name) if both else f"{'':>37}"
        least, folded = min(each.least for each in found), float(np.mean([each.folded for each in found]))
        lines.append(line + f"{least:>9.2f}{folded:>9.4%}{mean_sd_text([each.seconds for each in found], 1):>14}")
    lines.append(__doc__[__doc__.index("All start from") :].rstrip())
    return "\n".join(lines)


def _compared(outcomes: Sequence[Outcome], ours: str, other: str) -> str:
    a, b = (np.concatenate([o.registration[name].errors for o in outcomes]) for name in (ours, other))
    groups = np.concatenate([[n] * len(o.registration[ours].errors) for n, o in enumerate(outcomes)])
    low, high = paired_interval(a, b, groups)
    verdict = "better" if high < 0 else "worse" if low > 0 else "even"
    return f"{a.mean() - b.mean():>+11.3f}{f'{low:+.3f} to {high:+.3f}':>19}{verdict:>7}"


def _search(outcome: Outcome, name: str) -> float:
    return outcome.matching[name].seconds if name in outcome.matching else 0.0


def _run(words: Sequence[object], minutes: float) -> None:
    # A clean environment: the peers' packages are not ours.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= dict.fromkeys(ONE_THREAD, "1")
    try:
        done = subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, env=environment, timeout=minutes * 60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(str(error)) from error
    if done.returncode:
        told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise PeerError(told[-1] if told else f"it ended with {done.returncode}")


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main())
