"""What is written into the slice views: which image they show, and where the patient's right, front and head are."""

from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from LandmarkFusionLib.controller import Controller
from LandmarkFusionLogic import orientation

# Where each mark stands in the view: position, justification across and up.
_EDGES = {
    "left": ((0.02, 0.5), "Left", "Centered"),
    "right": ((0.98, 0.5), "Right", "Centered"),
    "top": ((0.5, 0.93), "Centered", "Top"),
    "bottom": ((0.5, 0.09), "Centered", "Bottom"),
}


class Annotations(VTKObservationMixin):
    """Follows the slice nodes and what they show; nothing happens where there are no views."""

    def __init__(self, controller: Controller):
        VTKObservationMixin.__init__(self)
        self._controller = controller
        self._views: dict[str, _View] = {}
        self._manager = slicer.app.layoutManager()
        if self._manager is not None:
            self._attach()
            self._manager.connect("layoutChanged(int)", self._onLayout)
        controller.addListener(self.update)

    def update(self) -> None:
        """Write what is shown now."""
        names = {self._controller.volume("mr"): "MR", self._controller.volume("us"): "US"}
        names.pop(None, None)
        for view in self._views.values():
            view.update(names)

    def remove(self) -> None:
        """Take everything out of the views."""
        if self._manager is not None:
            self._manager.disconnect("layoutChanged(int)", self._onLayout)
        self.removeObservers()
        for view in self._views.values():
            view.remove()
        self._views.clear()

    def _attach(self) -> None:
        """Write into the views there are; another layout may have brought new ones."""
        for name in self._manager.sliceViewNames():
            if name not in self._views:
                widget = self._manager.sliceWidget(name)
                self._views[name] = _View(widget)
                for node in (widget.mrmlSliceNode(), widget.sliceLogic().GetSliceCompositeNode()):
                    self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onModified)

    def _onLayout(self, layout: int) -> None:
        self._attach()
        self.update()

    def _onModified(self, caller: Any, event: Any) -> None:
        self.update()


class _View:
    """The texts of one slice view."""

    def __init__(self, widget: Any):
        self._view = widget.sliceView()
        self._slice = widget.mrmlSliceNode()
        self._composite = widget.sliceLogic().GetSliceCompositeNode()
        self._renderer = self._view.renderWindow().GetRenderers().GetFirstRenderer()
        self._title = self._add((0.5, 0.99), "Centered", "Top", 15)
        self._edges = {edge: self._add(*place, 15) for edge, place in _EDGES.items()}

    def update(self, names: dict[Any, str]) -> None:
        texts = {self._title: self._shown(names)}
        marked = bool(texts[self._title])
        axes = self._slice.GetSliceToRAS()
        right, up = ([axes.GetElement(row, column) for row in range(3)] for column in (0, 1))
        marks = {"right": orientation.marks(right), "top": orientation.marks(up)}
        marks["left"], marks["bottom"] = orientation.opposite(marks["right"]), orientation.opposite(marks["top"])
        texts.update({actor: marks[edge] if marked else "" for edge, actor in self._edges.items()})
        changed = [actor for actor, text in texts.items() if actor.GetInput() != text]
        for actor in changed:
            actor.SetInput(texts[actor])
        if changed:
            self._view.scheduleRender()

    def remove(self) -> None:
        for actor in (self._title, *self._edges.values()):
            self._renderer.RemoveViewProp(actor)
        self._view.scheduleRender()

    def _shown(self, names: dict[Any, str]) -> str:
        """ "US", "MR" or "US + MR 50 %", as the view's own layers say; "" where it shows no image of ours."""
        scene, composite = slicer.mrmlScene, self._composite
        background, foreground = (
            names.get(scene.GetNodeByID(identifier)) if identifier else None
            for identifier in (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
        )
        opacity = composite.GetForegroundOpacity()
        if foreground is None or opacity <= 0:
            return background or ""
        if background is None or opacity >= 1:
            return foreground
        return f"{background} + {foreground} {100 * opacity:.0f} %"

    def _add(self, position: tuple[float, float], across: str, up: str, size: int) -> vtk.vtkTextActor:
        actor = vtk.vtkTextActor()
        actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
        actor.SetPosition(*position)
        text = actor.GetTextProperty()
        getattr(text, f"SetJustificationTo{across}")()
        getattr(text, f"SetVerticalJustificationTo{up}")()
        text.SetFontSize(size)
        text.SetBold(True)
        # Readable on any image: white on a dark ground of its own.
        text.SetColor(1.0, 1.0, 1.0)
        text.SetBackgroundColor(0.0, 0.0, 0.0)
        text.SetBackgroundOpacity(0.55)
        self._renderer.AddViewProp(actor)
        return actor
