"""How the views compare the fixed and the deformed volume."""

from typing import TYPE_CHECKING, Any

import slicer

from LandmarkFusionLib.parameters import Comparison
from LandmarkFusionLogic import comparison
from LandmarkFusionLogic.mrml import deformable, views, volumes
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller
    from LandmarkFusionLib.deformable import Deformable

_MADE = {Comparison.CHECKERBOARD: comparison.checkerboard, Comparison.DIFFERENCE: comparison.difference}


class Comparing:
    """Shows what is wanted when that or the result changes: what the user then does to the views stays."""

    def __init__(self, owner: "Deformable", controller: "Controller"):
        self._owner = owner
        self._controller = controller
        self._shown: tuple[Any, Any] | None = None

    def forget(self) -> None:
        """Let go of the scene; one that is loaded brings its views along."""
        self._shown = None

    def again(self) -> None:
        """There is a new result."""
        self._shown = None, None

    def update(self) -> None:
        """Show the result as it is wanted now."""
        node, wanted = self._owner.result(), self._controller.parameters.deformShow
        former, self._shown = self._shown, (node, wanted)
        if node is None or former is None or former == self._shown:
            return
        scene, fixed = slicer.mrmlScene, self._owner.node("Fixed")
        warped = deformable.part(node, deformable.WARPED)
        if wanted is Comparison.JACOBIAN:
            views.show(scene, fixed, deformable.part(node, deformable.JACOBIAN), 0.6)
        elif wanted in _MADE and warped is not None:
            made = _MADE[wanted](*map(_volume, (fixed, warped)))
            views.show(scene, deformable.show_comparison(node, made, wanted.label()), None, 0.0)
        else:
            views.show(scene, fixed, warped, 0.5)


def _volume(node: Any) -> Volume:
    return Volume(volumes.array_view(node), volumes.ijk_to_ras(node))
