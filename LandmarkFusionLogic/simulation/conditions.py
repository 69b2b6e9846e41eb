"""The conditions that clinics meet, by name. Each can be forced on any case."""

from __future__ import annotations

from collections.abc import Sequence

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.simulation.condition import Condition
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.mrconditions import EndorectalCoil, HipMetal, ThickSlices
from LandmarkFusionLogic.simulation.surgery import Catheter, MedianLobe, Resected
from LandmarkFusionLogic.simulation.usconditions import Blurred, Calcified, PartialView, Published, Sharp

_CLASSES: dict[str, type[Condition]] = {
    "thick-slices": ThickSlices,
    "sharp": Sharp,
    "blurred": Blurred,
    "published": Published,
    "turp": Resected,
    "median-lobe": MedianLobe,
    "catheter": Catheter,
    "endorectal-coil": EndorectalCoil,
    "hip-metal": HipMetal,
    "calcification": Calcified,
    "partial-view": PartialView,
}

CONDITIONS: dict[str, tuple[str, ...]] = {name: kind.modalities for name, kind in _CLASSES.items()}
"""Each condition's name and the modalities (mr, us) whose images it changes."""


def title(name: str | None) -> str:
    """The condition's name for people."""
    return (Condition if name is None else _CLASSES[_known(name)]).title


def make_condition(name: str | None, seed: int, modality: str) -> Condition:
    """The condition ``name`` for the case of ``seed``; None, and one of the other modality, change nothing.

    Raises InputError for a name that there is not.
    """
    if name is None or modality not in CONDITIONS[_known(name)]:
        return Condition(seed)
    return _CLASSES[name](seed)


def draw_condition(seed: int, modality: str, share: float = 0.4, also: Sequence[str] = ()) -> str | None:
    """A condition for ``share`` of the seeds, None for the others: for training on a mix.

    Drawn evenly from those of ``modality`` that images do not show anyhow (sharpness and slices vary without them),
    and from those named in ``also``, where they are of ``modality``; a name given twice is drawn twice as often.
    """
    draw = Draw(seed, f"condition {modality}")
    if not draw.chance(share):
        return None
    rare = [name for name, kind in _CLASSES.items() if not kind.usual]
    choice = [name for name in (*rare, *also) if modality in CONDITIONS[_known(name)]]
    return choice[draw.count(0, len(choice) - 1)]


def _known(name: str) -> str:
    if name not in _CLASSES:
        raise InputError(f"There is no condition “{name}”; choose one of {', '.join(_CLASSES)}.")
    return name
