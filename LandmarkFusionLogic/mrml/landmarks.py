"""Landmark lists (markups fiducial nodes): whose they are, what their points are, and where each point came from.

A list belongs to one volume, in one role ("mr" or "us"), by a node reference; it lies under the same transform as
its volume, so that its own coordinates are the volume's. Its points are matched by name. What is known about a point
beyond its position is a JSON text in an attribute of the node, keyed by the control point's ID: an ID stays with its
point when the point is renamed, moved in the list, or saved and loaded; a point placed anew gets an ID of its own.
Whether a point is detected or edited is not stored but seen: a detected point that is no longer where the detector put
it has been edited, whoever moved it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import vtk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.markupsfile import parse_description
from LandmarkFusionLogic.points import DETECTED, EDITED, LANDMARK_NAMES, PLACED, FloatArray, Landmark

Node = Any

VOLUME_ROLE = "LandmarkFusion.volume"
MODALITY = "LandmarkFusion.modality"
RECORDS = "LandmarkFusion.points"
DETECTION = "LandmarkFusion.detection"
MODALITIES = ("mr", "us")
CLASS = "vtkMRMLMarkupsFiducialNode"

UNMOVED_MM = 1e-3
"""A detected point nearer than this to where it was detected has not been moved."""

# Told apart by form and by color; neither is red, green or yellow, which mark the slice views.
_LOOKS = {"mr": ((1.0, 0.6, 0.1), "Diamond2D"), "us": ((0.2, 0.75, 1.0), "ThickCross2D")}


@dataclass(frozen=True)
class Row:
    """One control point as the table shows it; ``landmark`` is None while the point has no position."""

    name: str
    point_id: str
    locked: bool
    landmark: Landmark | None
    detected: FloatArray | None = field(compare=False)
    """(3,) where the detector put it, in the volume's RAS mm; None for a point it did not find."""
    checked: bool = False
    """Whether somebody has looked at it where the detector put it."""


def find(volume: Node, modality: str) -> Node:
    """The landmark list that belongs to ``volume`` as "mr" or "us", or None."""
    if volume is None:
        return None
    scene = volume.GetScene()
    for index in range(scene.GetNumberOfNodesByClass(CLASS)):
        node = scene.GetNthNodeByClass(index, CLASS)
        if node.GetAttribute(MODALITY) == modality and node.GetNodeReference(VOLUME_ROLE) is volume:
            return node
    return None


def create(volume: Node, modality: str) -> Node:
    """A new landmark list for ``volume``, with the three landmarks named and not yet placed."""
    scene = volume.GetScene()
    node = scene.AddNewNodeByClass(CLASS, scene.GenerateUniqueName(f"{modality.upper()} landmarks"))
    node.CreateDefaultDisplayNodes()
    color, glyph = _LOOKS[modality]
    display = node.GetDisplayNode()
    display.SetSelectedColor(*color)
    display.SetColor(*color)
    display.SetActiveColor(1.0, 1.0, 1.0)
    display.SetGlyphTypeFromString(glyph)
    display.SetGlyphScale(3.5)
    display.SetTextScale(3.0)
    # Landmarks of other slices stay faintly in sight: three points are rarely in one slice.
    display.SetSliceProjection(True)
    display.SetSliceProjectionOpacity(0.6)
    assign(node, volume, modality)
    return node


def assign(node: Node, volume: Node, modality: str) -> None:
    """Make ``node`` the landmark list of ``volume``, in place of the one it had; adds the standard names it lacks.

    Raises InputError where the list belongs to another volume, which is then left alone.
    """
    owner = node.GetNodeReference(VOLUME_ROLE)
    if owner is not None and (owner is not volume or node.GetAttribute(MODALITY) != modality):
        raise InputError(
            f"The landmarks “{node.GetName()}” belong to the volume “{owner.GetName()}”; choose or make another list."
        )
    former = find(volume, modality)
    if former is not None and former is not node:
        former.SetNodeReferenceID(VOLUME_ROLE, None)
    node.SetAttribute(MODALITY, modality)
    node.SetNodeReferenceID(VOLUME_ROLE, volume.GetID())
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    _adopt_descriptions(node)
    _adopt_names(node)
    present = {node.GetNthControlPointLabel(index) for index in range(node.GetNumberOfControlPoints())}
    for name in LANDMARK_NAMES:
        if name not in present:
            add_unplaced(node, name)


def add_unplaced(node: Node, name: str) -> None:
    """Add a point that has a name and no position yet."""
    node.UnsetNthControlPointPosition(node.AddControlPoint(0.0, 0.0, 0.0, name))


def rows(node: Node) -> list[Row]:
    """Every control point of the list, in its order; positions in RAS mm of the volume the list belongs to."""
    if node is None:
        return []
    records = _records(node)
    to_volume = _to_volume(node)
    found = []
    for index in range(node.GetNumberOfControlPoints()):
        point_id = node.GetNthControlPointID(index)
        record = records.get(point_id, {})
        landmark = None
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined:
            landmark = _landmark(node, index, record, to_volume)
        detected = record.get("detected")
        found.append(
            Row(
                name=node.GetNthControlPointLabel(index),
                point_id=point_id,
                locked=bool(node.GetLocked() or node.GetNthControlPointLocked(index)),
                landmark=landmark,
                detected=None if detected is None else np.array(detected, dtype=np.float64),
                checked=bool(record.get("checked")),
            )
        )
    return found


def read(node: Node) -> list[Landmark]:
    """The points that have been placed; none for no list."""
    return [row.landmark for row in rows(node) if row.landmark is not None]


def write(node: Node, landmarks: Iterable[Landmark]) -> list[str]:
    """Put the landmarks into the list by name; others in it stay. Returns the names left alone, being locked.

    Positions are RAS mm of the volume the list belongs to.
    """
    records = _records(node)
    kept = []
    for landmark in landmarks:
        index = node.GetControlPointIndexByLabel(landmark.name)
        placed = index >= 0 and node.GetNthControlPointPositionStatus(index) == node.PositionDefined
        if placed and (node.GetLocked() or node.GetNthControlPointLocked(index)):
            kept.append(landmark.name)
            continue
        position = [float(value) for value in landmark.position]
        if index < 0:
            index = node.AddControlPoint(*position, landmark.name)
        # The record first: whoever hears of the point's move finds its state right.
        records[node.GetNthControlPointID(index)] = _record(landmark)
        _store(node, records)
        node.SetNthControlPointPosition(index, *position)
    return kept


def unplace(node: Node, name: str) -> None:
    """Take the position of a point away; its name stays in the list."""
    index = node.GetControlPointIndexByLabel(name)
    if index >= 0:
        _drop_record(node, index)
        node.UnsetNthControlPointPosition(index)


def remove(node: Node, name: str) -> None:
    """Take a point out of the list; nothing happens where it is not in it. ``node`` may be None."""
    index = node.GetControlPointIndexByLabel(name) if node is not None else -1
    if index >= 0:
        node.RemoveNthControlPoint(index)
        forget_removed(node)


def set_locked(node: Node, point_id: str, locked: bool) -> None:
    """Guard a point against being moved, or release it."""
    node.SetNthControlPointLocked(node.GetNthControlPointIndexByID(point_id), locked)


def show_labels(node: Node, shown: bool) -> None:
    """Write the names beside the points, or not."""
    if node is not None and node.GetDisplayNode() is not None:
        node.GetDisplayNode().SetPointLabelsVisibility(shown)


def world_position(node: Node, point_id: str) -> FloatArray:
    """(3,) RAS mm of a point as the views show it, transforms included."""
    return np.array(node.GetNthControlPointPositionWorld(node.GetNthControlPointIndexByID(point_id)))


def reset(node: Node, point_id: str) -> None:
    """Move a point back to where it was detected; one that never was stays where it is."""
    detected = _records(node).get(point_id, {}).get("detected")
    if detected is not None:
        node.SetNthControlPointPosition(node.GetNthControlPointIndexByID(point_id), *detected)


def set_checked(node: Node, point_id: str) -> None:
    """Note that somebody has looked at a detected point; finding it again, or undo, makes it unseen."""
    records = _records(node)
    if point_id in records:
        records[point_id]["checked"] = True
        _store(node, records)


def transform_all(volume: Node, matrix: FloatArray) -> None:
    """Move the landmarks of ``volume``, in whatever role, by ``matrix`` (4, 4): the volume itself was moved so."""
    for modality in MODALITIES:
        node = find(volume, modality)
        if node is not None:
            _transform(node, matrix)


def remember_detection(
    node: Node, model: str, device: str, seconds: float, warnings: Iterable[str], **more: Any
) -> None:
    """Note on the list which network found its points, on what, in what time, and what it warned of.

    ``more`` is what else is to be known of the run, plain values that JSON takes.
    """
    noted = {"model": model, "device": device, "seconds": seconds, "warnings": list(warnings), **more}
    node.SetAttribute(DETECTION, json.dumps(noted))


def detection(node: Node) -> dict[str, Any]:
    """What `remember_detection` noted (model, device, seconds, warnings), or {}.

    A network has nothing to do with a list whose points have all been placed by hand since.
    """
    if node is None or all(landmark.state == PLACED for landmark in read(node)):
        return {}
    return _json(node, DETECTION)


def _transform(node: Node, matrix: FloatArray) -> None:
    rotation = matrix[:3, :3]
    records = _records(node)
    for record in records.values():
        if record.get("detected") is not None:
            record["detected"] = (rotation @ record["detected"] + matrix[:3, 3]).tolist()
        if record.get("covariance") is not None:
            record["covariance"] = (rotation @ np.array(record["covariance"]) @ rotation.T).tolist()
    _store(node, records)
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined:
            position = rotation @ np.array(node.GetNthControlPointPosition(index)) + matrix[:3, 3]
            node.SetNthControlPointPosition(index, *position)


def forget_removed(node: Node) -> None:
    """Drop what is known about points that are gone: a later point may get the same ID."""
    records = _records(node)
    present = {node.GetNthControlPointID(index) for index in range(node.GetNumberOfControlPoints())}
    if not records.keys() <= present:
        _store(node, {point_id: record for point_id, record in records.items() if point_id in present})


def snapshot(node: Node) -> list[dict[str, Any]]:
    """All that `restore` needs to bring the list back as it is now."""
    records = _records(node)
    return [
        {
            "name": node.GetNthControlPointLabel(index),
            "position": node.GetNthControlPointPosition(index),
            "placed": node.GetNthControlPointPositionStatus(index) == node.PositionDefined,
            "locked": bool(node.GetNthControlPointLocked(index)),
            "record": records.get(node.GetNthControlPointID(index), {}),
        }
        for index in range(node.GetNumberOfControlPoints())
    ]


def restore(node: Node, points: list[dict[str, Any]]) -> None:
    """Bring the list back to what it was at `snapshot`; points are matched by name."""
    names = {point["name"] for point in points}
    for index in reversed(range(node.GetNumberOfControlPoints())):
        if node.GetNthControlPointLabel(index) not in names:
            node.RemoveNthControlPoint(index)
    records = {}
    for point in points:
        index = node.GetControlPointIndexByLabel(point["name"])
        if index < 0:
            index = node.AddControlPoint(*point["position"], point["name"])
        records[node.GetNthControlPointID(index)] = point["record"]
        node.SetNthControlPointLocked(index, point["locked"])
    _store(node, records)
    for point in points:
        index = node.GetControlPointIndexByLabel(point["name"])
        if point["placed"]:
            node.SetNthControlPointPosition(index, *point["position"])
        else:
            node.UnsetNthControlPointPosition(index)


def _adopt_names(node: Node) -> None:
    """Name the three landmarks as they are named here: a file may write them in another case, as ``apex``."""
    labels = [node.GetNthControlPointLabel(index) for index in range(node.GetNumberOfControlPoints())]
    known = {name.lower(): name for name in LANDMARK_NAMES}
    for index, label in enumerate(labels):
        name = known.get(label.strip().lower())
        if name is not None and name not in labels:
            node.SetNthControlPointLabel(index, name)
            labels[index] = name


def _adopt_descriptions(node: Node) -> None:
    """Take over state and spread from a markups file of ours, where they are the points' descriptions."""
    records = _records(node)
    for index in range(node.GetNumberOfControlPoints()):
        state, covariance = parse_description(node.GetNthControlPointDescription(index))
        point_id = node.GetNthControlPointID(index)
        if point_id not in records and state != PLACED:
            position = np.array(node.GetNthControlPointPosition(index))
            records[point_id] = _record(Landmark("", position, covariance, state))
    _store(node, records)


def _records(node: Node) -> dict[str, dict[str, Any]]:
    return _json(node, RECORDS)


def _json(node: Node, attribute: str) -> dict[str, Any]:
    # A scene may have been edited outside; an unreadable text counts as none.
    try:
        found = json.loads(node.GetAttribute(attribute) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _drop_record(node: Node, index: int) -> None:
    records = _records(node)
    if records.pop(node.GetNthControlPointID(index), None) is not None:
        _store(node, records)


def _store(node: Node, records: dict[str, dict[str, Any]]) -> None:
    node.SetAttribute(RECORDS, json.dumps(records))


def _record(landmark: Landmark) -> dict[str, Any]:
    record: dict[str, Any] = {"state": landmark.state}
    if landmark.state == DETECTED:
        record["detected"] = [float(value) for value in landmark.position]
    if landmark.covariance is not None:
        record["covariance"] = np.asarray(landmark.covariance, dtype=np.float64).tolist()
    return record


def _landmark(node: Node, index: int, record: dict[str, Any], to_volume: vtk.vtkAbstractTransform | None) -> Landmark:
    if to_volume is None:
        position = np.array(node.GetNthControlPointPosition(index))
    else:
        position = np.array(to_volume.TransformPoint(node.GetNthControlPointPositionWorld(index)))
    state = record.get("state", PLACED)
    if record.get("detected") is not None:
        moved = float(np.linalg.norm(position - record["detected"]))
        state = DETECTED if moved <= UNMOVED_MM else EDITED
    covariance = record.get("covariance")
    return Landmark(
        name=node.GetNthControlPointLabel(index),
        position=position,
        # The spread is the detector's about its own place for the point; it says nothing about one moved by hand.
        covariance=np.array(covariance) if covariance is not None and state == DETECTED else None,
        state=state,
    )


def _to_volume(node: Node) -> vtk.vtkAbstractTransform | None:
    """World to the frame of the list's volume; None where list and volume share a frame, as they do unless moved."""
    volume = node.GetNodeReference(VOLUME_ROLE)
    own = node.GetParentTransformNode()
    other = volume.GetParentTransformNode() if volume is not None else own
    if own is other:
        return None
    general = vtk.vtkGeneralTransform()
    if other is not None:
        other.GetTransformFromWorld(general)
    return general
