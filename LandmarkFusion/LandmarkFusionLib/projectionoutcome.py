"""What is told of an alignment of CT and X-ray: figures kept with the result, and what to be careful about."""

from typing import Any

from slicer.i18n import tr as _

from LandmarkFusionLogic.jobs import AlignResult


def note(result: AlignResult, before: list[float], label: str) -> dict[str, Any]:
    """What the result is to remember, plain values; ``before`` is the pose of the sliders when it was asked for."""
    return {
        "method": label,
        "before": before,
        "start": list(result.start),
        "pose": list(result.pose),
        "similarity": [result.similarity_before, result.similarity_after],
        "views": 1 if result.xray2 is None else 2,
        "seconds": result.seconds,
        "warnings": list(result.warnings),
    }


def warnings(noted: dict[str, Any]) -> list[str]:
    """What to be careful about, most important first."""
    found = list(noted.get("warnings", []))
    before, after = noted.get("similarity", [0.0, 1.0])
    if after <= before and not any("similar" in text for text in found):
        found.append(_("DRR and X-ray are not more similar than before: compare them, or undo."))
    return list(dict.fromkeys(found))


def summary(noted: dict[str, Any]) -> str:
    """The figures in a line or two."""
    before, after = noted.get("similarity", (0.0, 0.0))
    views = _("one view") if noted.get("views", 1) == 1 else _("two views")
    text = _("{method}, {views}, {seconds:.1f} s. Similarity of DRR and X-ray {before:.3f} before, {after:.3f} after.")
    return text.format(
        method=noted.get("method", ""), views=views, seconds=noted.get("seconds", 0.0), before=before, after=after
    )


def table(noted: dict[str, Any]) -> list[list[str]]:
    """Each number of the pose before and after, and how far it went."""
    if len(noted.get("before", ())) != 6 or len(noted.get("pose", ())) != 6:
        return []
    names = [
        _("Rotation x (°)"),
        _("Rotation y (°)"),
        _("Rotation z (°)"),
        _("Shift x (mm)"),
        _("Shift y (mm)"),
        _("Depth (mm)"),
    ]
    return [
        [name, f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}"]
        for name, before, after in zip(names, noted["before"], noted["pose"], strict=True)
    ]
