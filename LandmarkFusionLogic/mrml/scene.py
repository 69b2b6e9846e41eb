"""A scene of the result, written without the application: ``slicer-core`` is enough."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.mrml import glands, landmarks, transforms, views, volumes
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.volume import FloatArray, Volume

Node = Any

MODULE = "LandmarkFusion"
"""Name of the module's parameter node and of its singleton tag."""

_SLICES = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


def write_scene(
    path: str | Path,
    mr: Volume,
    us: Volume,
    mr_landmarks: Iterable[Landmark],
    us_landmarks: Iterable[Landmark],
    mr_to_us: FloatArray,
    us_flips: Iterable[str] = (),
    us_confirmed: bool = False,
    detections: Mapping[str, Mapping[str, Any]] | None = None,
    glands_found: Mapping[str, Gland] | None = None,
    method: str = "best",
) -> None:
    """Write an ``.mrb`` that Slicer opens as a ready scene: MR laid over US, both landmark lists, the panel set.

    Landmarks are RAS mm of their own image; ``mr_to_us`` (4, 4) maps RAS mm points of the MR to points of the US. The
    US is given as it lies, flips included; ``us_flips`` and ``us_confirmed`` are remembered with it.
    ``detections`` maps "mr" and "us", where a network found the landmarks, to what `landmarks.remember_detection`
    takes: model, device, seconds, warnings and whatever else is known. ``glands_found`` maps them to the glands, whose
    centroids take part in the fit; ``method`` is that of `fit_landmarks`, so that the panel fits in the same way.
    Raises InputError where the file cannot be written.
    """
    with tempfile.TemporaryDirectory() as cache:
        world = OwnScene(cache)
        _fill(world.scene, mr, us, list(mr_landmarks), list(us_landmarks), mr_to_us)
        us_node = world.scene.GetFirstNodeByName("US")
        for modality, noted in (detections or {}).items():
            volume = world.scene.GetFirstNodeByName(modality.upper())
            landmarks.remember_detection(landmarks.find(volume, modality), **noted)
        for modality, gland in (glands_found or {}).items():
            if not gland.empty:
                said = glands.Prediction(gland.centroid, gland.centroid_covariance, gland.millilitres)
                glands.write(world.scene.GetFirstNodeByName(modality.upper()), modality, gland.mask(), said)
        world.scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode").SetParameter("fit", method.upper())
        volumes.remember_orientation(us_node, list(us_flips), us_confirmed)
        if not world.scene.WriteToMRB(str(path)):
            raise InputError(f"The scene cannot be written to “{Path(path).name}”; choose another folder.")


class OwnScene:
    """A MRML scene with the logics it takes to read and write files, for use outside the application."""

    def __init__(self, cache: str) -> None:
        import slicer

        scene = slicer.vtkMRMLScene()
        application = slicer.vtkSlicerApplicationLogic()
        application.SetMRMLScene(scene)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        colors = application.GetColorLogic()
        colors.SetMRMLScene(scene)
        colors.AddDefaultColorNodes()
        application.SetModuleLogic("Colors", colors)
        remote = slicer.vtkMRMLRemoteIOLogic()
        remote.SetMRMLScene(scene)
        remote.SetMRMLApplicationLogic(application)
        remote.GetCacheManager().SetRemoteCacheDirectory(cache)
        # Without a data manager no bundle can be read.
        data = slicer.vtkDataIOManagerLogic()
        data.SetMRMLApplicationLogic(application)
        data.SetMRMLScene(scene)
        data.SetAndObserveDataIOManager(remote.GetDataIOManager())
        remote.AddDataIOToScene()
        self.scene = scene
        # A logic that nobody holds is gone, and its kind of node cannot be stored any more.
        self._logics = [application, remote, data]
        for name, kind in (
            ("Volumes", slicer.vtkSlicerVolumesLogic),
            ("Markups", slicer.vtkSlicerMarkupsLogic),
            ("Transforms", slicer.vtkSlicerTransformLogic),
            ("Segmentations", slicer.vtkSlicerSegmentationsModuleLogic),
        ):
            logic = kind()
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(scene)
            application.SetModuleLogic(name, logic)
            self._logics.append(logic)

    def read(self, path: str | Path) -> None:
        """Load an ``.mrb``. Raises InputError where it cannot be read."""
        folder = os.getcwd()
        try:
            done = self.scene.ReadFromMRB(str(path))
        finally:
            os.chdir(folder)  # where the archive is broken, MRML stays in a folder that it has deleted
        if not done:
            raise InputError(f"The scene “{Path(path).name}” cannot be read.")


def _fill(
    scene: Node,
    mr: Volume,
    us: Volume,
    mr_landmarks: list[Landmark],
    us_landmarks: list[Landmark],
    mr_to_us: FloatArray,
) -> None:
    mr_node, us_node = volumes.add_volume(scene, mr, "MR"), volumes.add_volume(scene, us, "US")
    transform = transforms.create(mr_node, us_node)
    transforms.set_matrix(transform, mr_to_us)
    lists = {}
    for modality, volume, points in (("mr", mr_node, mr_landmarks), ("us", us_node, us_landmarks)):
        lists[modality] = landmarks.create(volume, modality)
        landmarks.write(lists[modality], points)
    transforms.apply(transform, mr_node, lists["mr"])
    landmarks.show_labels(lists["mr"], False)  # The same names in the same places as those of the US.
    _add_views(scene)
    views.show(scene, background=us_node, foreground=mr_node, opacity=0.5)
    views.centre(scene, np.mean([point.position for point in us_landmarks], axis=0) if us_landmarks else us.centre)
    views.mark_orientation(scene)
    parameters = _add_singleton(scene, "vtkMRMLScriptedModuleNode", MODULE)
    parameters.SetAttribute("ModuleName", MODULE)
    for name, node in (
        ("mr", mr_node),
        ("us", us_node),
        ("mrLandmarks", lists["mr"]),
        ("usLandmarks", lists["us"]),
        ("mrToUs", transform),
    ):
        parameters.SetParameter(name, "")  # Without it Slicer's wrapper takes the reference for missing.
        parameters.SetNodeReferenceID(name, node.GetID())


def _add_views(scene: Node) -> None:
    for name, orientation in _SLICES.items():
        view = _add_singleton(scene, "vtkMRMLSliceNode", name)
        view.SetLayoutName(name)
        view.SetOrientation(orientation)
        _add_singleton(scene, "vtkMRMLSliceCompositeNode", name).SetLayoutName(name)


def _add_singleton(scene: Node, kind: str, name: str) -> Node:
    """A node of which there is one by this name: when the scene is loaded it takes the place of Slicer's own."""
    node = scene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetName(name)
    node.SetSingletonTag(name)  # Before it is added: its ID is made of it.
    return scene.AddNode(node)
