"""What must hold of the deformable registration, as verdicts with their figures; what chosen weights are worth; MR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from LandmarkFusionLogic.deformable.sources import CLASSICAL
from LandmarkFusionLogic.evaluation.deformableoutcome import NONE, Outcome
from LandmarkFusionLogic.evaluation.deformableoutliers import MATCH_MM
from LandmarkFusionLogic.evaluation.statistics import mean_sd_text, paired_interval
from LandmarkFusionLogic.points import FloatArray

SECONDS = 30.0
"""CPU seconds that “fast” may take for a volume of `VOXELS`, from the volumes to the transform."""
VOXELS = 96 * 128 * 128
GOAL = 0.12
"""The share by which landmarks should lower the TRE: a goal, told and not a must."""
OWN_WEIGHTS = ", own weights"


def difference(outcomes: Sequence[Outcome], row: str, other: str) -> tuple[float, float, float, float, int] | None:
    """Mean TRE of ``row`` less that of ``other``, its 95 % interval, its share of the other's TRE, pairs of volumes.

    None where no case has both.
    """
    both = [o for o in outcomes if row in o.registration and other in o.registration]
    if not both:
        return None
    ours, theirs = (np.concatenate([o.registration[name].errors for o in both]) for name in (row, other))
    groups = np.concatenate([[number] * len(o.registration[row].errors) for number, o in enumerate(both)])
    low, high = paired_interval(ours, theirs, groups)
    change = float(ours.mean() - theirs.mean())
    return change, low, high, change / float(theirs.mean()), len(both)


def must_hold(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each thing that must hold of the preset “fast”, and for the goal."""
    lines = []
    for source in dict.fromkeys(name for o in outcomes for name in o.matching):
        found = difference(outcomes, source, NONE)
        if found is None:
            continue
        change, low, high, share, count = found
        lines.append(
            f"  TRE with {source} below that without landmarks: {change:+.3f} mm ({low:+.3f} to {high:+.3f}), "
            f"{count} pairs: {_verdict(high < 0)}; goal {-GOAL:.0%}: {share:+.1%}, {_verdict(share <= -GOAL)}"
        )
    for source in dict.fromkeys(name for o in outcomes for name in o.matching if name != CLASSICAL):
        found = difference(outcomes, source, CLASSICAL)
        if found is not None:
            change, low, high, _, count = found
            lines.append(
                f"  {source} beats {CLASSICAL}, which needs no training: {change:+.3f} mm ({low:+.3f} to {high:+.3f})"
                f", {count} pairs: {_verdict(high < 0)}"
            )
    plain = [r for o in outcomes for name, r in o.registration.items() if "," not in name]
    if not plain:
        return []
    folds = sum(r.folded > 0 for r in plain)
    lines.append(
        f"  no folding inside the body: {folds} of {len(plain)} registrations fold, least Jacobian "
        f"{min(r.least for r in plain):.2f}: {_verdict(folds == 0)}"
    )
    return ["What must hold of the preset “fast”", *lines, *_seconds(outcomes)]


def _seconds(outcomes: Sequence[Outcome]) -> list[str]:
    """A line on the CPU seconds of all that a registration takes: affine, search for landmarks, deformable."""
    told = []
    for row in dict.fromkeys(name for o in outcomes for name in o.registration if "," not in name):
        whole = [
            o.affine.seconds + o.registration[row].seconds + (o.matching[row].seconds if row in o.matching else 0.0)
            for o in outcomes
            if o.affine and row in o.registration and (not o.shape or int(np.prod(o.shape)) >= VOXELS)
        ]
        if whole:
            name = "without landmarks" if row == NONE else f"with {row}"
            told.append(f"{name} at most {max(whole):.1f}, {_verdict(max(whole) <= SECONDS)}")
    if not told:
        return []
    return [f"  at most {SECONDS:g} CPU seconds for 128×128×96, search for landmarks included: {'; '.join(told)}"]


def weights_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Whether weights chosen for the pair by a held-out tenth of the landmarks do better than the preset's."""
    lines = []
    for row in dict.fromkeys(name for o in outcomes for name in o.registration if name.endswith(OWN_WEIGHTS)):
        source = row.removesuffix(OWN_WEIGHTS)
        found = difference(outcomes, row, source)
        if found is None:
            continue
        change, low, high, share, count = found
        verdict = "it pays" if high < 0 else "it does harm" if low > 0 else "no difference that is certain"
        lines.append(
            f"Weights chosen for the pair, less those of the preset, {source}: {change:+.3f} mm ({low:+.3f} to "
            f"{high:+.3f}), {share:+.1%}, {count} pairs: {verdict}"
        )
        chosen = [o.registration[row].weights for o in outcomes if row in o.registration]
        lines.append(
            "  chosen (point weight, grid in mm): "
            + "; ".join(f"{each.get('points', 0):g}, {each.get('grid_mm', 0):g}" for each in chosen)
        )
    return lines


def networks_of(outcomes: Sequence[Outcome]) -> list[str]:
    """What each network is and how long it was trained; that it was trained for less than another is said."""
    found = {name: m for o in outcomes for name, m in o.matching.items() if m.network}
    most = max((m.steps for m in found.values()), default=0)
    return [
        f"{name}: {m.title}, {m.steps} steps of training (sha256 {m.network}…)"
        + (f", FEWER than another row's {most}" if m.steps < most else "")
        for name, m in found.items()
    ]


def generalization(ct: Sequence[Outcome], mr: Sequence[Outcome]) -> str:
    """Section 3.8: landmarks on MR beside CT without training on either; density by voxels of the body.

    The p value is Mann-Whitney's of the densities of the pairs.
    """
    title = (
        f"Generalization to MR (section 3.8): {len(mr)} pairs of {mr[0].dataset} beside {len(ct)} of {ct[0].dataset}"
    )
    head = f"{'':<22}{'pairs':>6}{'landmarks':>18}{'per 1000 voxels':>18}{'median, mm':>12}{'< 4 mm':>9}"
    lines = [title, f"{head}{'Mann-Whitney':>14}"]
    for source in dict.fromkeys(name for o in mr for name in o.matching):
        density = [_density(part, source) for part in (ct, mr)]
        if not all(len(each) for each in density):
            continue
        p = float(stats.mannwhitneyu(*density).pvalue)
        for what, part, dense in (("CT", ct, density[0]), ("MR", mr, density[1])):
            found = [o.matching[source] for o in part if source in o.matching]
            errors = np.concatenate([each.errors for each in found])
            lines.append(
                f"{source:<16}{what:<6}{len(found):>6}{mean_sd_text([len(m.errors) for m in found], 0):>18}"
                f"{mean_sd_text(dense, 2):>18}{np.median(errors):>12.2f}{np.mean(errors < MATCH_MM):>9.1%}"
                + (f"{f'p = {p:.2g}':>14}" if what == "MR" else "")
            )
    return "\n".join(lines)


def _density(outcomes: Sequence[Outcome], source: str) -> FloatArray:
    return np.array(
        [1000 * len(o.matching[source].errors) / max(sum(o.voxels), 1) for o in outcomes if source in o.matching]
    )


def _verdict(holds: bool) -> str:
    return "kept" if holds else "MISSED"
