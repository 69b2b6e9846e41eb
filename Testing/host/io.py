"""Stand-in of the application's IO manager: files to nodes and back by MRML's own storage nodes."""

from __future__ import annotations

import os
from typing import Any

import slicer
import vtk
from PySide6 import QtCore

from host.standin import StandIn

_TYPES = (
    ((".mrml", ".mrb"), "SceneFile"),
    ((".seg.nrrd", ".seg.vtm"), "SegmentationFile"),
    ((".mrk.json", ".fcsv", ".acsv"), "MarkupsFile"),
    ((".h5", ".hdf5", ".tfm", ".mat", ".txt"), "TransformFile"),
    ((".csv", ".tsv"), "TableFile"),
    ((".vtk", ".vtp", ".stl", ".ply", ".obj"), "ModelFile"),
)


class qSlicerCoreIOManager(StandIn, QtCore.QObject):
    """``slicer.app.coreIOManager()``, as far as ``slicer.util``'s functions to load and save call it."""

    def __init__(self, logics: dict[str, Any]) -> None:
        super().__init__()
        self._logics = logics
        self._readers = {
            "VolumeFile": self._read_volume,
            "MarkupsFile": self._read_markups,
            "TransformFile": lambda path, name, options: logics["Transforms"].AddTransform(path, slicer.mrmlScene),
            "SegmentationFile": lambda path, name, options: logics["Segmentations"].LoadSegmentationFromFile(
                path, True, name
            ),
            "TableFile": lambda path, name, options: logics["Tables"].AddTable(path, name, True, ""),
            "ModelFile": lambda path, name, options: logics["Models"].AddModel(path, 1),
        }

    def fileType(self, file: str) -> str:
        """The kind of a file, by the end of its name."""
        name = str(file).lower()
        return next((kind for ends, kind in _TYPES if name.endswith(ends)), "VolumeFile")

    def fileWriterFileType(self, object: Any, extension: str = "") -> str:
        """The kind of file that a node is written to."""
        return "NodeFile"

    def loadNodes(
        self, fileType: str, parameters: dict[str, Any], loadedNodes: Any = None, userMessages: Any = None
    ) -> bool:
        """Read a file into the scene. False, with a message, when it cannot be read."""
        path = os.path.abspath(str(parameters["fileName"]))
        name = parameters.get("name") or os.path.basename(path).split(".")[0]
        if not os.path.exists(path):
            return _failed(userMessages, f"The file does not exist: {path}")
        if fileType == "SceneFile":
            return self.loadScene(path, parameters.get("clear", False), userMessages)
        if fileType not in self._readers:
            return _failed(userMessages, f"No reader for {fileType}")
        node = self._readers[fileType](path, name, parameters)
        if node is None:
            return _failed(userMessages, f"The file cannot be read: {path}")
        if loadedNodes is not None:
            loadedNodes.AddItem(node)
        return True

    def _read_volume(self, path: str, name: str, options: dict[str, Any]) -> Any:
        flags = 1 * bool(options.get("labelmap")) + 4 * bool(options.get("autoWindowLevel") is False)
        node = self._logics["Volumes"].AddArchetypeVolume(path, name, flags)
        if node is not None and options.get("show", True):
            selection = slicer.app.applicationLogic().GetSelectionNode()
            if options.get("labelmap"):
                selection.SetActiveLabelVolumeID(node.GetID())
            else:
                selection.SetActiveVolumeID(node.GetID())
            slicer.app.applicationLogic().PropagateVolumeSelection()
        return node

    def _read_markups(self, path: str, name: str, options: dict[str, Any]) -> Any:
        node_id = self._logics["Markups"].LoadMarkups(path, name)
        return slicer.mrmlScene.GetNodeByID(node_id) if node_id else None

    def loadScene(self, fileName: str, clear: bool = True, userMessages: Any = None) -> bool:
        """Read a scene, in place of the present one or into it."""
        scene, path, folder = slicer.mrmlScene, os.path.abspath(fileName), os.getcwd()
        if path.endswith(".mrb"):
            done = bool(scene.ReadFromMRB(path, clear, userMessages))
            os.chdir(folder)  # where the archive is broken, MRML stays in a folder that it has deleted
        else:
            scene.SetURL(path)
            done = bool(scene.Connect(userMessages) if clear else scene.Import(userMessages))
        return done or _failed(userMessages, f"The scene cannot be read: {path}")

    def saveNodes(
        self, fileType: str, parameters: dict[str, Any], userMessages: Any = None, scene: Any = None
    ) -> bool:
        """Write a node, or the scene, to a file."""
        path = os.path.abspath(str(parameters["fileName"]))
        if fileType == "SceneFile":
            return self._save_scene(path, userMessages)
        node = slicer.mrmlScene.GetNodeByID(parameters["nodeID"])
        storage = _storage_for(node, path)
        if storage is None:
            return _failed(userMessages, f"No writer for {path}")
        storage.SetFileName(path)
        if "useCompression" in parameters:
            storage.SetUseCompression(int(parameters["useCompression"]))
        return bool(storage.WriteData(node))

    def _save_scene(self, path: str, messages: Any) -> bool:
        scene = slicer.mrmlScene
        if path.endswith(".mrb"):
            return bool(scene.WriteToMRB(path, None, messages))
        if path.endswith(".mrml"):
            scene.SetURL(path)
            scene.SetRootDirectory(os.path.dirname(path))
            return bool(scene.Commit(path, messages))
        return bool(scene.SaveSceneToSlicerDataBundleDirectory(path, None, messages))


def _storage_for(node: Any, path: str) -> Any:
    """The storage node that writes ``node`` to ``path``: its own if that one knows the extension, else a new one."""
    storage = node.GetStorageNode()
    if storage is None or not storage.GetFileExtensionFromFileName(path):
        node.SetAndObserveStorageNodeID(None)
        node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
    return storage


def _failed(messages: Any, text: str) -> bool:
    if messages is not None:
        messages.AddMessage(vtk.vtkCommand.ErrorEvent, text)
    return False
