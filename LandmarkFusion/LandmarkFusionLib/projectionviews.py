"""X-ray, DRR and both in one, side by side; the layout that there was comes back when they are closed."""

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from LandmarkFusionLib.projectionparameters import Bones, ProjectionComparison
from LandmarkFusionLogic.mrml import projectioncomparison, projectionplane, projectionviews, volumes
from LandmarkFusionLogic.mrml.metricplot import SimilarityPlot
from LandmarkFusionLogic.projection.geometry import Geometry

if TYPE_CHECKING:
    from LandmarkFusionLib.projection import Projection

SIMILARITY = "similarity.csv"


class ProjectionViews:
    """Keeps the three views in line with what is chosen, and the plot of the similarity below them."""

    def __init__(self, owner: "Projection"):
        self._owner = owner
        self._live = projectionplane.LiveImage(projectionplane.LIVE, _("Live DRR"))
        self._both = projectionplane.LiveImage(projectionplane.COMPARISON, _("X-ray and DRR"))
        self._plot: SimilarityPlot | None = None
        self._former: int | None = None
        self._isOpen = False
        self._withPlot = False
        self._shown: Any = None
        self._xray: tuple[Any, np.ndarray] | None = None
        manager = slicer.app.layoutManager()
        if manager is not None:
            projectionviews.register(manager.layoutLogic().GetLayoutNode())

    @property
    def drr(self) -> Any:
        """The node of the live DRR, or None while there is none."""
        return self._live.node

    # The images

    def showDrr(self, image: np.ndarray, geometry: Geometry) -> None:
        """Show a new DRR (rows, columns) of this geometry."""
        xray, fresh = self._owner.node("Xray"), self._live.node is None
        parent = xray.GetParentTransformNode() if xray is not None else None
        affine = projectionplane.plane(xray, geometry)
        node = self._live.show(slicer.mrmlScene, np.array(image, dtype=np.float32), affine, parent)
        if fresh or node.GetDisplayNode().GetWindow() <= 1.0:
            projectionplane.set_range(node, image)
        self._compare()
        self._arrange()

    def update(self) -> None:
        """Open or close the views, and show in them what is chosen now."""
        wanted = self._owner.parameters.projection.shown
        if wanted != self._isOpen:
            self._isOpen = wanted
            self._setLayout()
            if not wanted:
                self.removeImages()
                self._shown = None
        if wanted:
            self._compare()
            self._arrange()

    def forget(self) -> None:
        """Let go of the scene: close the views and take out what is not saved."""
        self._isOpen = self._withPlot = False
        self._setLayout()
        self.removeImages()
        self.removePlot()
        self._shown = self._xray = None

    def removeImages(self) -> None:
        """Take the live DRR and the comparison out of the scene."""
        self._live.remove()
        self._both.remove()

    def _setLayout(self) -> None:
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        if self._isOpen:
            if not projectionviews.is_ours(manager.layout):
                self._former = manager.layout
            plot = self._withPlot and self.canPlot()
            manager.setLayout(projectionviews.LAYOUT_WITH_PLOT if plot else projectionviews.LAYOUT)
            if plot:
                projectionviews.show_plot(slicer.mrmlScene, self._plot.chart)
        elif projectionviews.is_ours(manager.layout):
            # A scene may have been saved with the views open: then what there was before is not known.
            manager.setLayout(self._former or manager.layoutLogic().GetLayoutNode().SlicerLayoutFourUpView)
            self._former = None

    def _compare(self) -> None:
        """Draw the third view's picture anew, where it is one of its own."""
        p, drr = self._owner.parameters.projection, self._live.node
        if drr is None or not self._isOpen or p.show is ProjectionComparison.BLEND:
            return
        image = volumes.array_view(drr)[0]
        if p.show is ProjectionComparison.EDGES:
            made = projectioncomparison.edges(image)
        else:
            xray = self._stretched(image.shape, p.bones)
            if xray is None:
                return
            made = projectioncomparison.checkerboard(xray, projectioncomparison.stretched(image))
        node = self._both.show(slicer.mrmlScene, made, volumes.ijk_to_ras(drr), drr.GetParentTransformNode())
        display = node.GetDisplayNode()
        edges = p.show is ProjectionComparison.EDGES
        display.SetWindowLevelMinMax(0.0, 1.0)
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeYellow" if edges else "vtkMRMLColorTableNodeGrey")
        display.SetApplyThreshold(edges)
        display.SetThreshold(0.5, 2.0)

    def _stretched(self, shape: tuple[int, int], bones: Bones) -> np.ndarray | None:
        """The X-ray with the pixels of the DRR, 0..1, bone bright where that is known; made once for each X-ray."""
        node = self._owner.node("Xray")
        if projectionplane.xray_problem(node):
            return None
        key = (node, volumes.stamp(node), shape, bones)
        if self._xray is None or self._xray[0] != key:
            image = projectioncomparison.resized(volumes.array_view(node)[0], shape)
            self._xray = key, projectioncomparison.stretched(image, bones is Bones.DARK)
        return self._xray[1]

    def _arrange(self) -> None:
        """Lay the images into the views; once, so that what the user then does to a view stays."""
        if not self._isOpen:
            return
        p, drr, both = self._owner.parameters.projection, self._live.node, self._both.node
        xray = self._owner.node("Xray")
        xray = None if projectionplane.xray_problem(xray) else xray
        main = xray or drr
        wanted = (xray, drr, both, p.show, p.opacity)
        if wanted == self._shown or main is None:
            return
        turned = self._shown is None or self._shown[:2] != wanted[:2]
        self._shown = wanted
        scene = slicer.mrmlScene
        projectionviews.show(scene, projectionviews.XRAY, xray)
        projectionviews.show(scene, projectionviews.DRR, drr)
        if p.show is ProjectionComparison.BLEND or both is None:
            projectionviews.show(scene, projectionviews.COMPARISON, xray, drr, p.opacity)
        elif p.show is ProjectionComparison.EDGES:
            projectionviews.show(scene, projectionviews.COMPARISON, xray or drr, both, 1.0)
        else:
            projectionviews.show(scene, projectionviews.COMPARISON, both)
        if turned:
            projectionviews.look(scene, main)

    # The plot

    def startPlot(self) -> None:
        """An alignment begins: the plot of the last one goes."""
        wanted = self._withPlot
        self.removePlot()
        self._withPlot = wanted

    def followPlot(self, path: str) -> None:
        """Plot what has been added to the file since."""
        if self._plot is None:
            self._plot = SimilarityPlot(slicer.mrmlScene, path)
        could = self.canPlot()
        self._plot.update()
        if self.canPlot() and not could and self._withPlot and self._isOpen:
            self._setLayout()

    def canPlot(self) -> bool:
        """Whether there is anything to plot."""
        return self._plot is not None and self._plot.chart is not None

    def isPlotShown(self) -> bool:
        """Whether the plot stands below the views."""
        return self._withPlot and self._isOpen and self.canPlot()

    def togglePlot(self) -> None:
        """Show the plot below the views, which are opened for it, or hide it."""
        self._withPlot = not self.isPlotShown()
        if self._withPlot and not self._isOpen:
            self._owner.parameters.projection.shown = True
        elif self._isOpen:
            self._setLayout()

    def removePlot(self) -> None:
        """Take the plot out of the scene and the layout."""
        shown = self.isPlotShown()
        if self._plot is not None:
            self._plot.remove()
            self._plot = None
        if shown:
            self._setLayout()
