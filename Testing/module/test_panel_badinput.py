"""Input that cannot be used: one sentence in the panel, nothing changed in the scene."""

import sys

import host
import numpy as np
import pytest
import samples
import slicer
import vtk

from LandmarkFusionLogic.mrml import volumes
from LandmarkFusionLogic.volume import Volume

GOOD = samples.volume()


def _with(array=None, affine=None):
    volume = Volume(GOOD.array if array is None else array, GOOD.ijk_to_ras if affine is None else affine)
    return volumes.add_volume(slicer.mrmlScene, volume, "MR")


def _spoilt(value):
    array = GOOD.array.astype(np.float32)
    array[3, 4, 5] = value
    return _with(array)


def _components(count, kind):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "MR")
    image = vtk.vtkImageData()
    image.SetDimensions(30, 30, 30)
    image.AllocateScalars(kind, count)
    image.GetPointData().GetScalars().Fill(7)
    node.SetAndObserveImageData(image)
    return node


def _empty():
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "MR")


def _zero_voxels():
    node = _empty()
    node.SetAndObserveImageData(vtk.vtkImageData())
    return node


def _under_a_transform():
    node = _with()
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "table")
    node.SetAndObserveTransformNodeID(parent.GetID())
    return node


CASES = {
    "no image": (_empty, "holds no image"),
    "no voxels": (_zero_voxels, "holds no voxels"),
    "one slice": (lambda: _with(GOOD.array[:1]), "only one slice"),
    "color": (lambda: _components(3, vtk.VTK_UNSIGNED_CHAR), "color image"),
    "4D": (lambda: _components(6, vtk.VTK_FLOAT), "4 dimensions"),
    "constant": (lambda: _with(np.full_like(GOOD.array, 5)), "same value"),
    "NaN": (lambda: _spoilt(np.nan), "NaN or infinite"),
    "infinite": (lambda: _spoilt(np.inf), "NaN or infinite"),
    "tiny voxels": (lambda: _with(affine=np.diag([1e-4, 1e-4, 1e-4, 1.0])), "impossible voxel size"),
    "huge": (lambda: _with(affine=np.diag([14.0, 14.0, 14.0, 1.0]) @ np.diag([8.0, 8.0, 8.0, 1.0])), "voxel size"),
    "sheared": (lambda: _with(affine=GOOD.ijk_to_ras @ _shear()), "right angles"),
    "under a transform": (_under_a_transform, "under the transform “table”"),
}


def _shear():
    shear = np.eye(4)
    shear[0, 1] = 0.5
    return shear


@pytest.mark.parametrize("case", CASES)
def test_volume_that_cannot_be_used(panel, nodes, case):
    make, sentence = CASES[case]
    node = make()
    us = panel.add_volume("US")
    panel.parameters.mr, panel.parameters.us = node, us
    host.process_events()
    before = nodes()
    panel.controller.detect("mr", "us")
    assert panel.status.startswith("Error: ")
    assert sentence in panel.status
    assert panel.status.endswith(".")
    assert not panel.controller.detection.isBusy()
    assert panel.controller.engine.processId() == 0  # Told before any process was started.
    host.process_events()
    assert nodes() == before
    assert not host.dialogs.messages


def test_a_2d_image(panel, nodes):
    """Slicer loads a 2D image as a volume of one slice."""
    panel.parameters.mr = _with(GOOD.array[10:11])
    before = nodes()
    panel.ui.detectMrButton.click()
    assert "only one slice" in panel.status
    assert nodes() == before


def test_volume_under_a_transform_says_so_before_the_click(panel):
    panel.parameters.mr, panel.parameters.us = _under_a_transform(), panel.add_volume("US")
    host.process_events()
    assert not panel.ui.detectButton.enabled
    assert "under the transform “table”" in panel.ui.detectButton.toolTip


def test_the_same_volume_twice(panel, nodes, shift):
    node = panel.add_volume("MR")
    panel.ui.mrSelector.setCurrentNode(node)
    panel.ui.usSelector.setCurrentNode(node)
    host.process_events()
    before = nodes()
    assert not panel.ui.detectButton.enabled
    assert "the same volume" in panel.ui.detectButton.toolTip
    assert "the same volume" in panel.status
    panel.controller.detect("mr", "us")
    assert panel.status.startswith("Error: MR and US are the same volume")
    assert nodes() == before


def test_device_that_is_not_there(panel, nodes, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    panel.controller.detection.models["mr"] = str(samples.untrained_bundle(tmp_path / "mr"))
    panel.choose_pair()
    before = nodes()
    panel.parameters.device = "cuda"
    panel.ui.detectMrButton.click()
    host.process_events(until=lambda: not panel.controller.detection.isBusy(), timeout=90)
    assert panel.status.startswith("Error: ")
    assert "cuda" in panel.status.lower()
    assert nodes() == before
    with pytest.raises(ValueError, match="tpu"):
        panel.parameters.device = "tpu"


def test_job_without_a_network(panel, nodes, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed")
    panel.controller.detection.models["mr"] = str(tmp_path / "nothing here")
    panel.choose_pair()
    before = nodes()
    panel.ui.detectMrButton.click()
    host.process_events(until=lambda: not panel.controller.detection.isBusy(), timeout=90)
    assert "no network “nothing here”" in panel.status
    assert nodes() == before


@pytest.fixture
def no_torch(monkeypatch):
    """As in a Slicer that has just been installed: PyTorch is found nowhere."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest)
    )


def test_no_torch_and_no_extension_to_install_it(panel, nodes, no_torch, monkeypatch, shift):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    panel.choose_pair()
    before = nodes()
    panel.ui.detectButton.click()
    assert panel.status.startswith("Error: Finding landmarks needs PyTorch")
    assert "by hand" in panel.status
    assert nodes() == before
    panel.place_all(shift)  # And by hand it goes on.
    assert np.allclose(panel.matrix(), shift)


@pytest.mark.parametrize("answer", ["declined", "failed"])
def test_torch_offered_and_not_installed(panel, nodes, no_torch, monkeypatch, answer):
    asked = []

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation=False, torchVersionRequirement=None):
            asked.append((askConfirmation, torchVersionRequirement))
            if answer == "failed":
                raise RuntimeError("proxy says no")

    module = type(sys)("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    panel.choose_pair()
    before = nodes()
    panel.ui.detectButton.click()
    assert asked == [(True, ">=2.4")]
    assert ("was not installed" if answer == "declined" else "proxy says no") in panel.status
    assert "by hand" in panel.status
    assert nodes() == before


def test_packages_offered_and_not_installed(panel, nodes):
    host.packages.missing.add("scipy")
    host.dialogs.answer("Cancel")
    panel.choose_pair()
    before = nodes()
    panel.ui.detectButton.click()
    assert panel.status.startswith("Error: Packages that finding landmarks needs were not installed")
    assert nodes() == before
    host.packages.missing.clear()
