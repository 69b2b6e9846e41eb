"""Landmark errors and their tables, always beside "always the mean position"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from LandmarkFusionLogic.points import LANDMARK_NAMES, FloatArray


@dataclass(frozen=True)
class Finding:
    """One landmark of one image: where it was found and where it is, (3,) RAS mm, and the middle of the volume."""

    case: str
    modality: str
    name: str
    found: FloatArray = field(compare=False)
    true: FloatArray = field(compare=False)
    centre: FloatArray = field(compare=False)

    @property
    def error(self) -> float:
        """Radial error, mm."""
        return float(np.linalg.norm(self.found - self.true))


@dataclass(frozen=True)
class Summary:
    """Mean and median radial error over ``count`` cases, of the detection and of always giving the mean position."""

    count: int
    mean: float
    median: float
    baseline_mean: float
    baseline_median: float


def mean_position_errors(findings: Sequence[Finding]) -> list[float]:
    """Radial error, mm, of answering each landmark with its mean position in the others, relative to their volumes.

    Leave-one-out: a case never sees its own truth. NaN where there is no other case of the same modality.
    """
    errors = []
    for finding in findings:
        others = [
            other.true - other.centre
            for other in findings
            if (other.modality, other.name) == (finding.modality, finding.name) and other.case != finding.case
        ]
        answer = np.mean(others, axis=0) if others else np.full(3, np.nan)
        errors.append(float(np.linalg.norm(finding.centre + answer - finding.true)))
    return errors


def summarize(errors: Iterable[float], baseline: Iterable[float]) -> Summary:
    """The summary of errors of the same landmarks, in the same order."""
    found, mean_position = np.array(list(errors)), np.array(list(baseline))
    known = mean_position[np.isfinite(mean_position)]
    return Summary(
        len(found),
        float(found.mean()),
        float(np.median(found)),
        float(known.mean()) if known.size else float("nan"),
        float(np.median(known)) if known.size else float("nan"),
    )


def table(findings: Sequence[Finding], shown: Sequence[Finding] | None = None) -> str:
    """Text table of the findings in ``shown`` (all by default): a row a landmark, and one for all, of each modality.

    The mean position is learned, leave-one-out, from all ``findings``.
    """
    baseline = dict(zip(map(_key, findings), mean_position_errors(findings), strict=True))
    shown = findings if shown is None else shown
    lines = [f"{'':<22}{'cases':>6}{'detected, mm':>18}{'mean position, mm':>20}{'factor':>8}"]
    for modality in sorted({finding.modality for finding in shown}):
        rows = [finding for finding in shown if finding.modality == modality]
        names = [name for name in LANDMARK_NAMES if any(row.name == name for row in rows)]
        for name in [*names, ""]:
            part = [row for row in rows if name in ("", row.name)]
            summary = summarize((row.error for row in part), (baseline[_key(row)] for row in part))
            lines.append(_row(f"{modality.upper()} {name or 'all landmarks'}", summary))
    return "\n".join(lines)


def listing(findings: Sequence[Finding]) -> str:
    """Every case's errors in mm, a line a case and modality."""
    lines = [f"{'case':<14}{'':<4}" + "".join(f"{name:>18}" for name in LANDMARK_NAMES)]
    for case, modality in dict.fromkeys((finding.case, finding.modality) for finding in findings):
        errors = {row.name: row.error for row in findings if (row.case, row.modality) == (case, modality)}
        cells = "".join(f"{errors[name]:18.1f}" if name in errors else f"{'-':>18}" for name in LANDMARK_NAMES)
        lines.append(f"{case:<14}{modality.upper():<4}{cells}")
    return "\n".join(lines)


def _key(finding: Finding) -> tuple[str, str, str]:
    return finding.case, finding.modality, finding.name


def _row(label: str, summary: Summary) -> str:
    detected = f"{summary.mean:.1f} / {summary.median:.1f}"
    baseline = f"{summary.baseline_mean:.1f} / {summary.baseline_median:.1f}"
    factor = summary.baseline_mean / summary.mean
    return f"{label:<22}{summary.count:>6}{detected:>18}{baseline:>20}{factor:>8.1f}"
