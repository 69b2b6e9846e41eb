"""An X-ray read from a file, DICOM too, by a job of the worker: the image becomes a node, its tags the geometry."""

import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from LandmarkFusionLib import packages, projectiongeometry
from LandmarkFusionLib.engine import CANCELLED
from LandmarkFusionLib.projectionasking import BONES, INTENSITY
from LandmarkFusionLib.status import DONE, ERROR, INFO
from LandmarkFusionLogic.jobs import ReadXRayResult, from_json
from LandmarkFusionLogic.mrml import projectionplane

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller
    from LandmarkFusionLib.projection import Projection


class ProjectionLoading:
    """One file at a time; nothing changes in the scene unless it can be read."""

    def __init__(self, owner: "Projection", controller: "Controller"):
        self.fraction = 0.0
        self.text = ""
        self._owner = owner
        self._controller = controller
        self._folder = ""
        self._running = False
        self._name = ""

    def isBusy(self) -> bool:
        """Whether a file is being read."""
        return self._running

    def load(self, path: str, name: str = "Xray") -> None:
        """Read the file; the new node becomes the X-ray, or with "Xray2" the second one."""
        controller = self._controller
        with self._owner.sayingErrors():
            if controller.isBusy() or controller.parameters is None:
                return
            packages.ensureRequirements()
            self._name, self._running, self.fraction = name, True, 0.0
            self.text = _("Reading the X-ray")
            self._folder = tempfile.mkdtemp(prefix="landmarkfusion-")
            bones = controller.parameters.projection.bones.value
            request = {"xray": {"path": path, "bones": bones}, "out": os.path.join(self._folder, "result")}
            title = os.path.splitext(os.path.basename(path))[0]
            self._owner.say(INFO, self.text)
            controller.engine.run(
                "xray", request, self._onProgress, lambda result: self._onRead(result, title), self._onFailure
            )

    def cancel(self) -> None:
        """End it."""
        if self._running:
            self._controller.engine.cancel()

    def stop(self) -> None:
        """Forget the file, telling nobody."""
        self._running = False
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    def _onProgress(self, fraction: float, text: str) -> None:
        if self._running:
            self.fraction, self.text = fraction, text
            self._controller.tell()

    def _onRead(self, data: dict[str, Any], title: str) -> None:
        if not self._running:
            return
        try:
            result = from_json(ReadXRayResult, data)
            image = np.load(result.image)
        finally:
            self.stop()
        geometry = result.geometry
        spacing = geometry["spacing"] if geometry else (1.0, 1.0)
        # A file of DICOM may be named after the patient.
        name = _("X-ray") if result.modality else title
        node = projectionplane.add_xray(slicer.mrmlScene, image, tuple(spacing), name)
        projectionplane.set_range(node, image)
        node.SetAttribute(BONES, "bright")
        node.SetAttribute(INTENSITY, "log")
        if geometry:
            node.SetAttribute(projectiongeometry.CARM, json.dumps(geometry))
            node.SetAttribute(projectiongeometry.SOURCES, json.dumps(result.sources))
        setattr(self._controller.parameters, f"projection{self._name}", node)
        text = _("Read the X-ray: {rows} × {columns} pixels, bone {bones} in the file{guess}.").format(
            rows=result.rows,
            columns=result.columns,
            bones=_("dark") if result.bones == "dark" else _("bright"),
            guess=_(" (found out from the image)") if result.guessed else "",
        )
        self._controller.refresh()
        self._owner.say(DONE, " ".join([text, *result.warnings]))

    def _onFailure(self, kind: str, message: str) -> None:
        if self._running:
            self.stop()
            self._owner.say(INFO if kind == CANCELLED else ERROR, message)
