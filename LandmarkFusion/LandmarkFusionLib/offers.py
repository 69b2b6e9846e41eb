"""Suggestions for the deformable registration: the pair of the rigid fit, where to start, points to judge by."""

from typing import TYPE_CHECKING, Any

from slicer.util import NodeModify

from LandmarkFusionLogic.mrml import deforminputs

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller
    from LandmarkFusionLib.deformable import Deformable

INITIAL, POINTS = "Initial", "Points"


class Offers:
    """Fills in what nobody has chosen, each of it once for each pair of volumes, so that it can be refused."""

    def __init__(self, owner: "Deformable", controller: "Controller"):
        self._owner = owner
        self._controller = controller
        self._pair: tuple[Any, Any] | None = None
        self._made: set[str] = set()

    def forget(self) -> None:
        """Let go of the scene."""
        self._pair = None

    def update(self) -> None:
        """Fill in what can be suggested now."""
        # What a scene was saved with is not overridden.
        saved = self._pair is None and any(self._owner.node(side) is not None for side in ("Fixed", "Moving"))
        self._offerVolumes()
        pair = self._owner.node("Fixed"), self._owner.node("Moving")
        if pair != self._pair:
            self._pair, self._made = pair, {INITIAL, POINTS} if saved else set()
        if None not in pair and pair[0] is not pair[1]:
            self._offerInitial(*pair)
            self._offerPoints(*pair)

    def _offerVolumes(self) -> None:
        us, mr = (self._controller.volume(each) for each in ("us", "mr"))
        chosen = self._owner.node("Fixed") is not None or self._owner.node("Moving") is not None
        if us is not None and mr is not None and us is not mr and not chosen:
            parameters = self._controller.parameters
            with NodeModify(parameters.parameterNode):
                parameters.deformFixed, parameters.deformMoving = us, mr

    def _offerInitial(self, fixed: Any, moving: Any) -> None:
        initial = deforminputs.suggested_initial(fixed, moving)
        if INITIAL not in self._made and initial is not None and self._owner.node("Initial") is None:
            self._made.add(INITIAL)
            self._controller.parameters.deformInitial = initial

    def _offerPoints(self, fixed: Any, moving: Any) -> None:
        lists = [deforminputs.suggested_points(each) for each in (fixed, moving)]
        taken = self._owner.node("FixedPoints") is not None or self._owner.node("MovingPoints") is not None
        if POINTS not in self._made and None not in lists and not taken:
            self._made.add(POINTS)
            parameters = self._controller.parameters
            with NodeModify(parameters.parameterNode):
                parameters.deformFixedPoints, parameters.deformMovingPoints = lists
