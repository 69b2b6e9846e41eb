"""What the jobs of the deformable registration are asked: volumes, masks, region, start, points to guide or judge."""

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from LandmarkFusionLib import matchers
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.matching import PointPair
from LandmarkFusionLogic.mrml import correspondences, deforminputs
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLib.deformable import Deformable


def common(own: "Deformable") -> tuple[dict[str, Any], dict[str, Volume]]:
    """What both jobs are told, and the volumes that are handed over. Raises InputError for what cannot be used."""
    fixed, moving, initial = own.node("Fixed"), own.node("Moving"), own.node("Initial")
    inputs = {
        "fixed": deforminputs.read_volume_node(fixed, "fixed volume"),
        "moving": deforminputs.read_volume_node(moving, "moving volume", initial),
        "fixed_mask": deforminputs.mask(own.node("FixedMask"), fixed, "fixed mask"),
        "moving_mask": deforminputs.mask(own.node("MovingMask"), moving, "moving mask"),
    }
    matrix = deforminputs.initial_matrix(initial)
    request = {
        "initial": None if matrix is None else matrix.tolist(),
        "region": deforminputs.region(own.node("Region"), fixed),
    }
    return request, {name: volume for name, volume in inputs.items() if volume is not None}


def guides(own: "Deformable") -> list[PointPair]:
    """The pairs that are there already: the user's own, or those that the chosen source has found; [] for none yet.

    Raises InputError where the lists do not fit together or no pair is left of them.
    """
    fixed, moving = own.node("Fixed"), own.node("Moving")
    if own.source().name == matchers.POINTS:
        return correspondences.read(own.node("FixedPoints"), fixed, own.node("MovingPoints"), moving)
    if not own.hasFound():
        return []
    if not own.pairs.shown():
        raise InputError(_("No pair of landmarks is left: lower the confidence, or find landmarks again."))
    return own.pairs.used(fixed, moving)


def targets(own: "Deformable") -> list[PointPair]:
    """Points of equal names in both volumes that do not guide: the registration is judged by them."""
    lists = own.node("FixedPoints"), own.node("MovingPoints")
    if own.source().name == matchers.POINTS or None in lists:
        return []
    try:
        return correspondences.read(lists[0], own.node("Fixed"), lists[1], own.node("Moving"))
    except InputError:  # Nothing to judge by is no reason not to register.
        return []
