"""The self test that Slicer runs: landmarks by hand, fit, scene saved and loaded."""

import os
import shutil
import tempfile
from typing import Any

import numpy as np
import slicer

from LandmarkFusionLib.parameters import FitMethod
from LandmarkFusionLogic.mrml import landmarks, transforms, volumes
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, POSTERIOR_MEDIAN, Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

MR_POINTS = {APEX: (0.0, -5.0, -20.0), BLADDER_NECK: (1.0, 5.0, 20.0), POSTERIOR_MEDIAN: (0.0, -20.0, 2.0)}


def run() -> None:
    """Run; an AssertionError says what is wrong."""
    widget = slicer.modules.landmarkfusion.widgetRepresentation().self()
    truth = _truth()
    mr, us = _volume("Test MR"), _volume("Test US")
    widget.enter()
    parameters = widget.controller.parameters
    parameters.mr, parameters.us = mr, us
    parameters.fit = FitMethod.SVD  # It knows no prior, and so finds the truth exactly.
    for modality, matrix in (("mr", np.eye(4)), ("us", truth)):
        points = [Landmark(name, apply(matrix, position)) for name, position in MR_POINTS.items()]
        landmarks.write(widget.controller.ensureList(modality), points)
    assert np.allclose(transforms.matrix(parameters.mrToUs), truth, atol=1e-06)
    assert mr.GetParentTransformNode() is parameters.mrToUs

    folder = tempfile.mkdtemp()
    try:
        scene = os.path.join(folder, "scene.mrb")
        assert slicer.util.saveScene(scene)
        slicer.mrmlScene.Clear()
        assert widget.controller.parameters.mr is None
        slicer.util.loadScene(scene)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    parameters = widget.controller.parameters
    assert parameters.mr.GetName() == "Test MR"
    assert np.allclose(transforms.matrix(parameters.mrToUs), truth, atol=1e-06)
    assert widget.controller.live.fit.rms < 1e-06


def _truth() -> np.ndarray:
    angle = np.radians(20.0)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = (12.0, -7.0, 30.0)
    return matrix


def _volume(name: str) -> Any:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -40.0
    array = np.random.default_rng(0).integers(0, 200, (40, 40, 40)).astype(np.int16)
    return volumes.add_volume(slicer.mrmlScene, Volume(array, affine), name)
