"""``landmarkfusion evaluate rigid``: Tables 2 to 4 of Fang 2023."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from LandmarkFusionLogic.cli.common import add_device, progress, require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
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
    rigid.set_defaults(run=_run)
    add_device(rigid)


def _run(options: argparse.Namespace) -> None:
    require_torch()
    from LandmarkFusionLogic.evaluation import rigid
    from LandmarkFusionLogic.evaluation.pairs import Networks
    from LandmarkFusionLogic.evaluation.rigidtable import describe_rigid

    networks = Networks(options.mr_model, options.us_model)
    if options.data is None:
        with progress() as report:
            cases = rigid.evaluate_simulated_pairs(options.cases, networks, options.device, options.workers, report)
        title = f"{len(cases)} simulated pairs, seeds {cases[0].name} to {cases[-1].name}, never trained on"
        print(describe_rigid(cases, title, simulated=True))
        return
    folds = rigid.fold_folder() if networks == Networks() else None
    if folds is None:
        # The default may have been trained on these very images.
        networks = Networks(options.mr_model or "mr-landmarks", options.us_model or "us-landmarks")
    with progress() as report:
        cases = rigid.evaluate_real_pairs(Path(options.data), networks, options.device, options.workers, report, folds)
    if folds is not None:
        title = f"{len(cases)} real pairs, each seen by networks that were not trained on its fold (cross-validation)"
        print(describe_rigid(cases, title, simulated=False))
        return
    for final, kind in ((True, "final"), (False, "development")):
        part = [case for case in cases if rigid.is_final(case) == final]
        if part:
            print(describe_rigid(part, f"{len(part)} real pairs, the {kind} ones", simulated=False) + "\n")
