"""Puts the panels together from their .ui files."""

import types
from typing import Any

import slicer

from LandmarkFusionLib.controller import Controller
from LandmarkFusionLib.panels.deformable import DeformablePanel
from LandmarkFusionLib.panels.hints import HintsPanel
from LandmarkFusionLib.panels.inputs import InputsPanel
from LandmarkFusionLib.panels.landmarks import LandmarksPanel
from LandmarkFusionLib.panels.learning import LearningPanel
from LandmarkFusionLib.panels.projection import ProjectionPanel
from LandmarkFusionLib.panels.report import ReportPanel
from LandmarkFusionLib.panels.rigid import RigidPanel
from LandmarkFusionLib.panels.targets import TargetsPanel
from LandmarkFusionLib.panels.views import ViewsPanel

PANELS = {
    "Inputs": InputsPanel,
    "Landmarks": LandmarksPanel,
    "Hints": HintsPanel,
    "Rigid": RigidPanel,
    "Targets": TargetsPanel,
    "Views": ViewsPanel,
    "Deformable": DeformablePanel,
    "Projection": ProjectionPanel,
    "Learning": LearningPanel,
    "Report": ReportPanel,
}


def build(widget: Any, controller: Controller) -> Any:
    """Add every panel to the module's widget, in order.

    Returns one object with all named widgets; its ``bound`` maps parameters to the widgets that name them.
    """
    ui = types.SimpleNamespace()
    for name, panelClass in PANELS.items():
        top = slicer.util.loadUI(widget.resourcePath(f"UI/{name}.ui"))
        widget.layout.addWidget(top)
        top.setMRMLScene(slicer.mrmlScene)
        vars(ui).update(vars(slicer.util.childWidgetVariables(top)))
        controller.addListener(panelClass(ui, controller).update)
    widget.layout.addStretch(1)
    ui.bound = {name: each for each in vars(ui).values() if (name := each.property("SlicerParameterName"))}
    return ui
