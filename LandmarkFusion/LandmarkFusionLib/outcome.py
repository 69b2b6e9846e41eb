"""What is told of a deformable registration: figures kept with the result, and what to be careful about."""

from dataclasses import asdict
from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLogic.jobs.deformable import DeformResult


def note(result: DeformResult, method: str, preset: str) -> dict[str, Any]:
    """What the result is to remember, plain values; ``method`` is the source of its landmarks."""
    return {
        "method": method,
        "preset": preset,
        "pairs": len(result.pairs),
        "seconds": result.seconds,
        "folded": result.folded,
        "jacobian": [result.jacobian_min, result.jacobian_max],
        "similarity": [result.similarity_before, result.similarity_after],
        "targets": [asdict(target) for target in result.targets],
        "warnings": list(result.warnings),
    }


def warnings(noted: dict[str, Any]) -> list[str]:
    """What to be careful about, most important first."""
    found = list(noted.get("warnings", []))
    if noted.get("folded", 0.0) > 0.0 and not any("fold" in text for text in found):
        text = _("The deformation folds in {share:.2%} of the body (magenta in the Jacobian map).")
        found.insert(0, text.format(share=noted["folded"]))
    before, after = noted.get("similarity", [0.0, 1.0])
    if after <= before and not any("similar" in text for text in found):
        found.append(_("The images are not more similar than before: compare them, or undo."))
    return list(dict.fromkeys(found))


def summary(noted: dict[str, Any]) -> str:
    """The figures in a line or two."""
    low, high = noted.get("jacobian", (1.0, 1.0))
    before, after = noted.get("similarity", (0.0, 0.0))
    return _(
        "{preset}, {pairs} pairs of landmarks, {seconds:.0f} s. Similarity of the images {before:.3f} before, "
        "{after:.3f} after. Jacobian {low:.2f} to {high:.2f}."
    ).format(
        preset=noted.get("preset", ""),
        pairs=noted.get("pairs", 0),
        seconds=noted.get("seconds", 0.0),
        before=before,
        after=after,
        low=low,
        high=high,
    )


def table(noted: dict[str, Any]) -> list[list[str]]:
    """Name and distance before and after of each point that judges the registration, and their mean."""
    targets = noted.get("targets", [])
    rows = [[each["name"], f"{each['before_mm']:.2f}", f"{each['after_mm']:.2f}"] for each in targets]
    if len(rows) > 1:
        means = [sum(each[key] for each in targets) / len(targets) for key in ("before_mm", "after_mm")]
        rows.append([_("Mean"), *(f"{mean:.2f}" for mean in means)])
    return rows
