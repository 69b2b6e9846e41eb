"""What is drawn beside the landmarks: glands, regions of confidence, the map of the expected error."""

from typing import TYPE_CHECKING, Any

import slicer
from slicer.util import VTKObservationMixin

from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.mrml import companions, glands, landmarks, regions
from LandmarkFusionLogic.mrml.errormap import ErrorMap

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller


class Overlays(VTKObservationMixin):
    """Brings them in line with what is chosen, found and fitted.

    A node is shown or hidden when that changes; what the user does to it elsewhere in between stays.
    """

    def __init__(self, controller: "Controller"):
        VTKObservationMixin.__init__(self)
        self._controller = controller
        self._followed: list[Any] = []
        self._map = ErrorMap()
        self._shown: dict[Any, bool] = {}
        self._glands: dict[str, tuple[Any, Any, Gland | None]] = {}

    def expectedError(self) -> float | None:
        """Expected error of the alignment in mm, root mean square over the MR's gland; None where it is not known."""
        return self._map.mean

    def gland(self, modality: str) -> Any:
        """The gland's segmentation of the chosen volume, or None."""
        return glands.find(self._controller.volume(modality), modality)

    def knownGland(self, modality: str) -> Gland | None:
        """The gland that is shown in the chosen volume, as edited since; None where none was detected."""
        node = self.gland(modality)
        if node is None:
            return None
        stamp = glands.stamp(node)
        kept = self._glands.get(modality)
        if kept is None or kept[:2] != (node, stamp):
            kept = node, stamp, glands.known(node)
            self._glands[modality] = kept
        return kept[2]

    def update(self) -> None:
        """Show what is wanted now."""
        controller, p = self._controller, self._controller.parameters
        self._shown = {node: shown for node, shown in self._shown.items() if node.GetScene() is not None}
        self._follow()
        mr, fit = controller.volume("mr"), controller.live.fit
        gland = self.gland("mr")
        wanted = p.showErrorMap
        # What the user has drawn stays in the node when the gland goes; it is no gland.
        errors = self._map.update(mr, gland if self.knownGland("mr") is not None else None, fit, wanted)
        mapped = wanted and self._map.mean is not None
        self._show(errors, mapped)
        self._show(gland, p.showGlands and not mapped)  # Two surfaces in one place would hide each other.
        self._show(self.gland("us"), p.showGlands)
        for modality in landmarks.MODALITIES:
            volume = controller.volume(modality)
            if volume is not None:
                node, known = regions.update(volume, modality, p.showRegions)
                self._show(node, p.showRegions and known)

    def hide(self, volume: Any) -> None:
        """Hide what belongs to a volume that is not chosen any more."""
        for node in companions.all_of(volume):
            self._show(node, False)

    def forget(self) -> None:
        """Let go of the scene."""
        self.removeObservers()
        self._followed = []
        self._map.forget()
        self._shown.clear()
        self._glands.clear()

    def _follow(self) -> None:
        """Hear of every edit of the glands and of segments that are targets: their nodes do not tell of it."""
        nodes = [*(self.gland(each) for each in landmarks.MODALITIES), self._controller.targetsNode()]
        found = list({node.GetSegmentation(): None for node in nodes if node is not None and node.IsA(glands.CLASS)})
        if found == self._followed:
            return
        self.removeObservers()
        self._followed = found
        kind = slicer.vtkSegmentation
        for each in found:
            for event in (kind.SourceRepresentationModified, kind.SegmentRemoved):
                self.addObserver(each, event, self._onEdit)

    def _onEdit(self, caller: Any, event: Any) -> None:
        self._controller.refreshSoon()

    def _show(self, node: Any, shown: bool) -> None:
        if node is not None and self._shown.get(node) != shown:
            self._shown[node] = shown
            node.GetDisplayNode().SetVisibility(shown)
