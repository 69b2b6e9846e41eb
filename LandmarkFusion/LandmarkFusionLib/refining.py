"""The refinement of the gland after the rigid fit: what its job is asked, and what its check says."""

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from LandmarkFusionLib.parameters import Preset
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs import record, to_json
from LandmarkFusionLogic.jobs.refining import RefineResult, advice
from LandmarkFusionLogic.mrml import correspondences, deforminputs, glands, landmarks
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLib.deformable import Deformable

SIDES = ("Fixed", "Moving")


def isChosen(own: "Deformable") -> bool:
    """Whether the preset is the refinement."""
    parameters = own.parameters()
    return parameters is not None and parameters.deformPreset is Preset.REFINE


def missing(own: "Deformable") -> str:
    """What is missing besides the volumes before the refinement can begin, or ""."""
    if own.node("Initial") is None:
        return _("The refinement starts from the rigid fit: choose it as the transform to start from.")
    return ""


def guides(own: "Deformable") -> str:
    """What guides the refinement as things are, for the panel."""
    found = []
    nodes = [_gland(own, side) for side in SIDES]
    if None not in nodes:
        found.append(_("drawn gland masks") if all(map(_isDrawn, nodes)) else _("the gland masks of the network"))
    if all(_marks(own, side) for side in SIDES):
        found.append(_("the landmarks of the rigid fit"))
    found.append(_("matches in the images"))
    return _("Guided by {guides}. Kept only where the check finds it better.").format(guides=", ".join(found))


def request(own: "Deformable") -> tuple[dict[str, Any], dict[str, Volume]]:
    """What the job is asked, and the volumes that are handed over. Raises InputError for what cannot be used."""
    fixed, moving, initial = own.node("Fixed"), own.node("Moving"), own.node("Initial")
    nodes = [_gland(own, side) for side in SIDES]
    masks = [
        deforminputs.mask(node, volume, f"{side.lower()} mask")
        for node, volume, side in zip(nodes, (fixed, moving), SIDES, strict=True)
    ]
    inputs = {
        "fixed": deforminputs.read_volume_node(fixed, "fixed volume"),
        "moving": deforminputs.read_volume_node(moving, "moving volume", initial),
        "fixed_mask": masks[0],
        "moving_mask": masks[1],
    }
    asked = {
        "out": "",
        "initial": deforminputs.initial_matrix(initial).tolist(),
        "drawn": all(_isDrawn(node) for node in nodes if node is not None),
        "fixed_landmarks": [to_json(record(mark)) for mark in _marks(own, "Fixed")],
        "moving_landmarks": [to_json(record(mark)) for mark in _marks(own, "Moving")],
        "targets": [to_json(pair) for pair in _targets(own)],
        "use_doubtful": own.parameters().deformDoubtful,
    }
    return asked, {name: volume for name, volume in inputs.items() if volume is not None}


def verdict(result: RefineResult) -> str:
    """What the check says against the refinement, or ""."""
    return advice(result.doubts, result.refined)


def _gland(own: "Deformable", side: str) -> Any:
    """The mask that is chosen for this side, or the gland that was found or drawn in its volume, or None."""
    volume, chosen = own.node(side), own.node(f"{side}Mask")
    if chosen is not None or volume is None:
        return chosen
    found = [glands.find(volume, modality) for modality in landmarks.MODALITIES]
    return next((node for node in found if node is not None and glands.known(node) is not None), None)


def _isDrawn(node: Any) -> bool:
    """Whether a person has drawn or corrected the mask."""
    return glands.prediction(node) is None or glands.edited(node)


def _list(own: "Deformable", side: str) -> Any:
    volume = own.node(side)
    found = [landmarks.find(volume, modality) for modality in landmarks.MODALITIES] if volume is not None else []
    return next((node for node in found if node is not None and landmarks.read(node)), None)


def _marks(own: "Deformable", side: str) -> list[Any]:
    node = _list(own, side)
    return landmarks.read(node) if node is not None else []


def _targets(own: "Deformable") -> list[Any]:
    """The chosen point lists judge the refinement, unless they are the landmarks that guide it."""
    lists = [own.node(f"{side}Points") for side in SIDES]
    if None in lists or any(node is _list(own, side) for node, side in zip(lists, SIDES, strict=True)):
        return []
    try:
        return correspondences.read(lists[0], own.node("Fixed"), lists[1], own.node("Moving"))
    except InputError:  # Nothing to judge by is no reason not to refine.
        return []
