"""Placing one named landmark with the mouse, by the views' own mode of placing."""

from __future__ import annotations

from typing import Any

from LandmarkFusionLogic.mrml import landmarks

Node = Any


class Placing:
    """The next click in a view gives a point its position; a point that had been detected then counts as edited.

    Until then the point has no position. `end` is to be called when the views have left the mode of placing.
    """

    def __init__(self, node: Node, name: str) -> None:
        index = node.GetControlPointIndexByLabel(name)
        if index < 0:
            landmarks.add_unplaced(node, name)
            index = node.GetControlPointIndexByLabel(name)
        self._node = node
        self._point_id = node.GetNthControlPointID(index)
        self._had_position = node.GetNthControlPointPositionStatus(index) == node.PositionDefined
        node.UnsetNthControlPointPosition(index)
        # Other points of the list that are not placed yet stay so.
        node.SetControlPointPlacementStartIndex(index)
        scene = node.GetScene()
        selection = scene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
        selection.SetReferenceActivePlaceNodeClassName(landmarks.CLASS)
        selection.SetActivePlaceNodeID(node.GetID())
        interaction = scene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def end(self) -> bool:
        """Whether the point was placed. One that was not gets the position back that it had."""
        node = self._node
        node.SetControlPointPlacementStartIndex(0)
        index = node.GetNthControlPointIndexByID(self._point_id)
        if index < 0:
            return False
        placed = bool(node.GetNthControlPointPositionStatus(index) == node.PositionDefined)
        if not placed and self._had_position:
            node.RestoreNthControlPointPosition(index)
        return placed
