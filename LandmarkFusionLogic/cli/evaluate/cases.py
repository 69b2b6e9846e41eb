"""``landmarkfusion evaluate cases``: the detection's errors on real pairs."""

from __future__ import annotations

import argparse
from typing import Any

from LandmarkFusionLogic.cli.common import add_data, add_device, data_folder, progress, require_torch


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to ``kinds``."""
    text = "Measure the detection's landmark errors beside the plainest baseline, always the mean position."
    cases = kinds.add_parser("cases", parents=[common], help="the real MR/US pairs of mrus-27", description=text)
    add_data(cases)
    cases.set_defaults(run=_run)
    add_device(cases)


def _run(options: argparse.Namespace) -> None:
    data = data_folder(options)
    require_torch()
    from LandmarkFusionLogic.evaluation.cases import describe_cases, evaluate_cases

    with progress() as report:
        findings = evaluate_cases(data, options.device, report)
    print(describe_cases(findings))
