"""One click in a view, asked for by the panel and given as a position; no node is left behind."""

from __future__ import annotations

from typing import Any

import numpy as np

from LandmarkFusionLogic.mrml import landmarks
from LandmarkFusionLogic.points import FloatArray

Node = Any

KIND = "LandmarkFusion.click"


class Clicking:
    """The next click in a view gives a position; `end` takes it once the views have left the mode of placing."""

    def __init__(self, scene: Node, name: str) -> None:
        self._scene = scene
        node = scene.AddNewNodeByClass(landmarks.CLASS, name)
        node.SetAttribute(KIND, "1")
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
        node.CreateDefaultDisplayNodes()
        node.AddControlPoint(0.0, 0.0, 0.0, name)
        node.UnsetNthControlPointPosition(0)
        self._node = node
        selection = scene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
        selection.SetReferenceActivePlaceNodeClassName(landmarks.CLASS)
        selection.SetActivePlaceNodeID(node.GetID())
        interaction = scene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def end(self) -> FloatArray | None:
        """(3,) world RAS mm of the click, or None where there was none; the temporary node goes."""
        node, self._node = self._node, None
        if node is None or node.GetScene() is None:
            return None
        found = None
        for index in range(node.GetNumberOfControlPoints()):
            if node.GetNthControlPointPositionStatus(index) == node.PositionDefined:
                found = np.array(node.GetNthControlPointPositionWorld(index))
                break
        display = node.GetDisplayNode()
        selection = self._scene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
        selection.SetActivePlaceNodeID(None)
        self._scene.RemoveNode(node)
        if display is not None and display.GetScene() is not None:
            self._scene.RemoveNode(display)
        return found
