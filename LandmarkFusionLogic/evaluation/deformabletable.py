"""Tables 1 and 2 and the other figures of Grewal 2023 as text, with intervals and the paper's own beside."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from LandmarkFusionLogic.evaluation.deformablechecks import must_hold, networks_of, weights_lines
from LandmarkFusionLogic.evaluation.deformableoutcome import BINS_MM, NONE, Matching, Outcome, Registration
from LandmarkFusionLogic.evaluation.deformableoutliers import MATCH_MM
from LandmarkFusionLogic.evaluation.ranktests import dunn_bonferroni, friedman
from LandmarkFusionLogic.evaluation.statistics import bootstrap_interval, mean_sd_text, paired_interval
from LandmarkFusionLogic.points import FloatArray

PAPER = (
    "Grewal 2023, 121 CT of the pelvis, simulated deformations: TRE 21.99 ± 12.67 mm after affine, 5.07 ± 9.98\n"
    "without landmarks, 3.14 ± 8.61 with CE landmarks; 7,761 ± 2,540 (CE), 1,698 ± 888 (Hinge+CE) pairs; above 70 %\n"
    "(CE), about 90 % (Hinge+CE) of them within 4 mm. Other volumes, larger and without noise: not comparable."
)
NOTE = (
    "Elastic deformations of the paper's ranges about seeds that nothing was trained or tuned on, at 2 mm; noise of\n"
    "1 % of the gray range in both images. TRE: distance in the moving image of 100 random places of the body.\n"
    "Matching error: moving landmark, led back by the true deformation, to its fixed landmark; after the removal of\n"
    "wrong pairs. Intervals: 95 %, bootstrap over cases. CPU: seconds of one core, without the affine stage."
)


def describe(outcomes: Sequence[Outcome]) -> str:
    """All tables of the ``outcomes`` of one data set."""
    seeds = [outcome.seed for outcome in outcomes]
    title = f"{outcomes[0].dataset}: {len(outcomes)} deformed pairs, seeds {min(seeds)} to {max(seeds)}"
    parts = [[title], _matching_table(outcomes), networks_of(outcomes), _tre_table(outcomes), must_hold(outcomes)]
    parts += [weights_lines(outcomes), _tests(outcomes), _by_motion(outcomes), _outlier_table(outcomes), [NOTE, PAPER]]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def matchings(outcomes: Sequence[Outcome], source: str) -> list[Matching]:
    """What ``source`` found in each case in which it was used."""
    return [outcome.matching[source] for outcome in outcomes if source in outcome.matching]


def sources(outcomes: Sequence[Outcome]) -> list[str]:
    """The sources of landmarks, in the order of their first use."""
    return list(dict.fromkeys(name for outcome in outcomes for name in outcome.matching))


def _matching_table(outcomes: Sequence[Outcome]) -> list[str]:
    if not sources(outcomes):
        return []
    lines = [
        "Table 1. Corresponding landmarks a pair, and their spatial matching errors, mm",
        (
            f"{'':<16}{'pairs':>6}{'landmarks':>18}{'5-95 %':>16}{'removed':>9}{'median':>8}{'75 %':>7}{'90 %':>7}"
            f"{'95 %':>7}{'< 2 mm':>8}{'< 4 mm':>8}{'before removal':>16}{'CPU, s':>13}"
        ),
    ]
    for source in sources(outcomes):
        found = matchings(outcomes, source)
        counts = np.array([len(each.errors) for each in found], dtype=np.float64)
        errors = np.concatenate([each.errors for each in found])
        unchecked = np.concatenate([each.unchecked for each in found])
        low, high = np.percentile(counts, (5, 95))
        median, *upper = np.percentile(errors, (50, 75, 90, 95))
        lines.append(
            f"{source:<16}{len(found):>6}{mean_sd_text(counts, 0):>18}{f'{low:.0f} to {high:.0f}':>16}"
            f"{1 - len(errors) / len(unchecked):>9.1%}{median:>8.2f}{upper[0]:>7.2f}{upper[1]:>7.2f}{upper[2]:>7.2f}"
            f"{np.mean(errors < 2):>8.1%}{np.mean(errors < MATCH_MM):>8.1%}{np.mean(unchecked < MATCH_MM):>16.1%}"
            f"{mean_sd_text([each.seconds for each in found], 1):>13}"
        )
    return lines


def _tre_table(outcomes: Sequence[Outcome]) -> list[str]:
    done = [outcome for outcome in outcomes if outcome.affine is not None and outcome.registration]
    if not done:
        return []
    lines = [
        "Table 2. Target registration error, mm",
        (
            f"{'':<34}{'pairs':>6}{'mean ± SD':>16}{'median':>8}{'5-95 %':>16}{'mean - without':>16}"
            f"{'95 % interval':>20}{'change':>8}{'least J':>9}{'folded':>9}{'CPU, s':>14}"
        ),
        _tre_row("before", [(outcome.seed, outcome.before, None) for outcome in done], None),
    ]
    without = {
        style: {o.seed: o.registration[NONE + style].errors for o in done if NONE + style in o.registration}
        for style in ("", ", paper")
    }
    rows: dict[str, list[tuple[int, list[float], Registration | None]]] = {"after affine": []}
    for outcome in done:
        assert outcome.affine is not None
        rows["after affine"].append((outcome.seed, outcome.affine.errors, outcome.affine))
        for name, found in outcome.registration.items():
            rows.setdefault(title_of(name), []).append((outcome.seed, found.errors, found))
    for title, row in rows.items():
        style = ", paper" if title.endswith(", paper") else ""
        lines.append(_tre_row(title, row, without[style] if title.startswith("with ") else None))
    return lines


def title_of(row: str) -> str:
    """How a row of Table 2 is called there: “without landmarks”, “with mind, paper”."""
    source, comma, style = row.partition(", ")
    return ("without landmarks" if source == NONE else f"with {source}") + comma + style


def plain_rows(outcomes: Sequence[Outcome]) -> list[str]:
    """The rows of the preset itself, in the order of their first use."""
    return list(dict.fromkeys(name for o in outcomes for name in o.registration if ", " not in name))


def _tre_row(
    title: str, row: Sequence[tuple[int, list[float], Registration | None]], without: dict[int, list[float]] | None
) -> str:
    errors = np.concatenate([values for _, values, _ in row])
    low, high = np.percentile(errors, (5, 95))
    line = f"{title:<34}{len(row):>6}{mean_sd_text(errors):>16}{np.median(errors):>8.2f}"
    line += f"{f'{low:.2f} to {high:.2f}':>16}"
    paired = [(seed, values, without[seed]) for seed, values, _ in row if without and seed in without]
    if paired:
        ours = np.concatenate([values for _, values, _ in paired])
        theirs = np.concatenate([values for _, _, values in paired])
        groups = np.concatenate([[seed] * len(values) for seed, values, _ in paired])
        interval = paired_interval(ours, theirs, groups)
        change = (ours.mean() - theirs.mean()) / theirs.mean()
        line += (
            f"{ours.mean() - theirs.mean():>+16.3f}{f'{interval[0]:+.3f} to {interval[1]:+.3f}':>20}{change:>+8.0%}"
        )
    else:
        line += f"{'':>44}"
    found = [each for _, _, each in row if each is not None]
    if found:
        least = min(each.least for each in found)
        folded = float(np.mean([each.folded for each in found]))
        line += f"{least:>9.2f}{folded:>9.4%}{mean_sd_text([each.seconds for each in found], 1):>14}"
    return line.rstrip()


def _tests(outcomes: Sequence[Outcome]) -> list[str]:
    names = plain_rows(outcomes)
    # A source that was used in some cases only gets a test of its own, and takes no case from that of the others.
    everywhere = [name for name in names if all(name in outcome.registration for outcome in outcomes)]
    lines = [line for group in dict.fromkeys((tuple(everywhere), tuple(names))) for line in _test(outcomes, group)]
    if lines:
        lines.append(
            "(Points of one case depend on each other; tests over cases and the intervals above do not mind.)"
        )
    return lines


def _test(outcomes: Sequence[Outcome], names: Sequence[str]) -> list[str]:
    complete = [outcome for outcome in outcomes if all(name in outcome.registration for name in names)]
    if len(names) < 2 or not complete:
        return []
    points = np.concatenate([np.array([o.registration[n].errors for n in names]).T for o in complete])
    cases = np.array([[np.mean(o.registration[n].errors) for n in names] for o in complete])
    lines = []
    for values, unit in ((points, "points, as in the paper"), (cases, "means of cases")):
        found = friedman(values)
        compared = ", ".join(f"{a} / {b} p = {p:.2g}" for (a, b), p in dunn_bonferroni(values, names).items())
        lines.append(
            f"Friedman over {len(values)} {unit}: χ²({found.freedom}) = {found.chi_square:.1f}, p = {found.p:.2g}; "
            f"Dunn-Bonferroni: {compared}"
        )
    return lines


def _by_motion(outcomes: Sequence[Outcome]) -> list[str]:
    if not sources(outcomes):
        return []
    bins = [f"{low:g}-{high:g}" for low, high in pairwise(BINS_MM)]
    lines = ["By the size of the true displacement, mm (Fig. 10)", f"{'':<40}" + "".join(f"{b:>10}" for b in bins)]
    for source in sources(outcomes):
        share, density = matching_by_motion(outcomes, source)
        lines.append(f"{f'{source}: within 4 mm':<40}" + "".join(f"{_cell(v, '.1%'):>10}" for v in share))
        lines.append(
            f"{f'{source}: landmarks per 1000 voxels':<40}" + "".join(f"{_cell(v, '.2f'):>10}" for v in density)
        )
    for name in plain_rows(outcomes):
        errors = tre_by_motion(outcomes, name)
        title = "TRE without landmarks, mm" if name == NONE else f"TRE with {name}, mm"
        lines.append(f"{title:<40}" + "".join(f"{_cell(v, '.2f'):>10}" for v in errors))
    return lines


def matching_by_motion(outcomes: Sequence[Outcome], source: str) -> tuple[FloatArray, FloatArray]:
    """For each bin of `BINS_MM`: share of the landmarks of ``source`` within 4 mm, and landmarks per 1000 voxels."""
    found = matchings(outcomes, source)
    voxels = np.sum([outcome.voxels for outcome in outcomes if source in outcome.matching], axis=0)
    errors = np.concatenate([each.errors for each in found])
    place = np.digitize(np.concatenate([each.motion for each in found]), BINS_MM) - 1
    share, density = np.full(len(BINS_MM) - 1, np.nan), np.full(len(BINS_MM) - 1, np.nan)
    for number in range(len(share)):
        inside = errors[place == number]
        if len(inside):
            share[number] = np.mean(inside < MATCH_MM)
        if voxels[number]:
            density[number] = 1000 * len(inside) / voxels[number]
    return share, density


def tre_by_motion(outcomes: Sequence[Outcome], name: str) -> FloatArray:
    """Mean TRE in each bin of `BINS_MM`; NaN where there is no validation landmark."""
    done = [outcome for outcome in outcomes if name in outcome.registration]
    errors = np.concatenate([outcome.registration[name].errors for outcome in done])
    place = np.digitize(np.concatenate([outcome.motion for outcome in done]), BINS_MM) - 1
    return np.array(
        [errors[place == n].mean() if np.any(place == n) else np.nan for n in range(len(BINS_MM) - 1)],
        dtype=np.float64,
    )


def _outlier_table(outcomes: Sequence[Outcome]) -> list[str]:
    planted = [each for outcome in outcomes for each in outcome.planted]
    if not planted:
        return []
    lines = [
        "Wrong pairs planted (off by 5 to 25 mm), then removed by local consistency; mean over cases (95 % interval)",
        f"{'planted':>8}{'found':>26}{'right ones lost':>26}{'wrong among those kept':>26}",
    ]
    for share in sorted({each.share for each in planted}):
        rows = [each for each in planted if each.share == share]
        cells = [_share([getattr(each, what) for each in rows]) for what in ("found", "lost", "left")]
        lines.append(f"{share:>8.0%}" + "".join(f"{cell:>26}" for cell in cells))
    return lines


def _share(values: Sequence[float]) -> str:
    known = np.array(values)[np.isfinite(values)]
    if not len(known):
        return "-"
    low, high = bootstrap_interval(known)
    return f"{known.mean():.1%} ({low:.1%} to {high:.1%})"


def _cell(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "-"
