"""The MRML scene and the logics around it, in the order in which the application makes them."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

# Core module → class of its logic: those that slicer-core has and a registration module may use.
LOGICS = {
    "Markups": "vtkSlicerMarkupsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Units": "vtkSlicerUnitsLogic",
}


class SceneAndLogics:
    """Holds the scene, the application logic and the logics of the core modules.

    The order of these calls matters: the crosshair node before any view, data input/output before a bundle is read,
    the orientation presets before the layout makes slice nodes. MRML does not own its logics, so references are kept
    here.
    """

    def __init__(self, cache_folder: str, temporary_folder: str) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetMRMLScene(self.scene)
        self.application_logic.SetTemporaryPath(temporary_folder)
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)
        color_logic = self.application_logic.GetColorLogic()
        color_logic.SetMRMLScene(self.scene)
        color_logic.AddDefaultColorNodes()
        self.application_logic.SetModuleLogic("Colors", color_logic)
        self.application_logic.SetSliceLogics(vtk.vtkCollection())
        self.application_logic.SetViewLogics(vtk.vtkCollection())
        self._start_data_io(cache_folder)
        self.module_logics: dict[str, Any] = {"Colors": color_logic}
        for name, class_name in LOGICS.items():
            logic = getattr(slicer, class_name)()
            logic.SetMRMLApplicationLogic(self.application_logic)
            logic.SetMRMLScene(self.scene)
            self.application_logic.SetModuleLogic(name, logic)
            self.module_logics[name] = logic
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        for factory in (
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(self.application_logic)

    def _start_data_io(self, cache_folder: str) -> None:
        self._remote_io = slicer.vtkMRMLRemoteIOLogic()
        self._remote_io.SetMRMLScene(self.scene)
        self._remote_io.SetMRMLApplicationLogic(self.application_logic)
        self._remote_io.GetCacheManager().SetRemoteCacheDirectory(cache_folder)
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLApplicationLogic(self.application_logic)
        self._data_io.SetMRMLScene(self.scene)
        self._data_io.SetAndObserveDataIOManager(self._remote_io.GetDataIOManager())
        self._remote_io.AddDataIOToScene()
