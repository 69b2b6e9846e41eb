"""The deformable registration in the panel, with the real worker and the real elastix."""

import os
import shutil
import sys
import tempfile
import time

import deformed
import host
import numpy as np
import pytest
import slicer
from conftest import cells
from test_panel_deformable import choose_source, chosen, finish, own_points  # noqa: F401

from LandmarkFusionLogic.mrml import correspondences, deformable, transforms, volumes
from LandmarkFusionLogic.volume import Volume

elastix = pytest.mark.skipif(not deformed.has_elastix(), reason="elastix is not installed")


@pytest.fixture(scope="module")
def case():
    return deformed.pair()


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Everything temporary in one place, to see what is left behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def children(process):
    """The processes below a process, by their ID."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stream:
                parent = int(stream.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == process:
            found += [int(name), *children(int(name))]
    return found


def alive(process):
    return os.path.exists(f"/proc/{process}")


def turned(panel):
    """Store the moving volume and its points elsewhere, and put them back by a transform to start from."""
    from scipy.spatial.transform import Rotation

    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", [20, -15, 30], degrees=True).as_matrix()
    motion[:3, 3] = (25.0, -10.0, 15.0)
    start = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "start")
    start.SetMatrixTransformToParent(transforms.to_matrix(motion))
    back = np.linalg.inv(motion)
    volumes.set_ijk_to_ras(panel.moving, back @ volumes.ijk_to_ras(panel.moving))
    for index in range(panel.there.GetNumberOfControlPoints()):
        place = back @ [*panel.there.GetNthControlPointPosition(index), 1.0]
        panel.there.SetNthControlPointPosition(index, *place[:3])
    for node in (panel.moving, panel.there):
        node.SetAndObserveTransformNodeID(start.GetID())
    panel.controller.refresh()
    return start


@elastix
def test_register(chosen, case, nodes, temporary):  # noqa: F811
    panel, ui = chosen, chosen.ui
    own_points(panel, case)
    start = turned(panel)
    assert panel.parameters.deformInitial is start
    before = nodes()
    layout = slicer.app.layoutManager().layout
    ui.deformRegisterButton.click()
    assert not ui.deformRegisterButton.enabled
    assert ui.deformProgressRow.visible
    seen = []
    panel.controller.addListener(lambda: seen.append(ui.deformStatusLabel.text))
    host.process_events(until=lambda: panel.controller.deformable.metric.canShow(), timeout=60)
    ui.deformPlotButton.click()  # While it runs.
    selection = slicer.app.applicationLogic().GetSelectionNode()
    chart = slicer.mrmlScene.GetNodeByID(selection.GetActivePlotChartID())
    table = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    rows = table.GetNumberOfRows()
    finish(panel)
    assert panel.status.startswith("✓ Registered in")
    assert any("Affine" in text for text in seen)
    assert any("Deformable" in text and "resolution 2 of" in text and "left" in text for text in seen)
    assert any("metric" in text for text in seen)
    names = [chart.GetNthPlotSeriesNode(index).GetName() for index in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names == ["affine", "deformable"]
    last = chart.GetNthPlotSeriesNode(1).GetTableNode().GetTable()
    assert table.GetNumberOfRows() + last.GetNumberOfRows() > rows

    *rows, mean = cells(ui.deformTable)
    assert [row[0] for row in rows] == [f"P{number}" for number in range(1, 9)]
    assert float(mean[2]) < 1.0 < float(mean[1])
    gaps = [
        np.subtract(panel.here.GetNthControlPointPositionWorld(i), panel.there.GetNthControlPointPositionWorld(i))
        for i in range(8)
    ]
    shown = [float(row[2]) for row in rows]
    assert np.allclose(np.linalg.norm(gaps, axis=1), shown, atol=0.1)  # What is listed is what is seen.
    assert "elastix" in panel.controller.deformable.log
    assert not ui.deformWarningsLabel.text
    assert not list(temporary.glob("landmarkfusion-*"))

    ui.deformUndoButton.click()
    host.process_events()
    left = nodes()
    left.pop("vtkMRMLPlotViewNode", None)  # Views stay when another layout is shown.
    assert left == before
    assert panel.moving.GetParentTransformNode() is panel.there.GetParentTransformNode() is start
    assert slicer.app.layoutManager().layout == layout


@elastix
def test_cancel_while_elastix_runs(chosen, nodes, temporary):  # noqa: F811
    panel = chosen
    before = nodes()
    panel.ui.deformRegisterButton.click()
    host.process_events(until=lambda: panel.controller.deformable.metric.canShow(), timeout=60)
    worker = panel.controller.engine.processId()
    below = children(worker)
    assert below
    started = time.monotonic()
    panel.ui.deformCancelButton.click()
    finish(panel)
    assert time.monotonic() - started < 2.0
    assert panel.status == "Cancelled; nothing was changed."
    assert nodes() == before
    host.process_events(until=lambda: not any(map(alive, below)), timeout=2)
    assert not any(map(alive, [worker, *below]))
    assert not list(temporary.glob("landmarkfusion-*"))
    assert panel.ui.deformRegisterButton.enabled


def test_find_landmarks_and_take_them_back(chosen, case, nodes):  # noqa: F811
    panel = chosen
    before = nodes()
    choose_source(panel, "mind")
    panel.ui.deformFindButton.click()
    finish(panel)
    assert panel.status.startswith("✓ Found ")
    lists = correspondences.find(panel.fixed, panel.moving)
    pairs = correspondences.read(lists[0], panel.fixed, lists[1], panel.moving)
    errors = [np.linalg.norm(case.to_moving(np.array(pair.fixed)) - pair.moving) for pair in pairs]
    assert len(pairs) > 20
    assert np.median(errors) < 2.0
    assert panel.ui.deformRegisterButton.toolTip == "Guided by the pairs that are shown."
    panel.ui.deformUndoButton.click()
    host.process_events()
    assert nodes() == before


def test_cancel_while_landmarks_are_found(chosen, nodes, temporary):  # noqa: F811
    choose_source(chosen, "mind")
    before = nodes()
    chosen.ui.deformFindButton.click()
    chosen.ui.deformCancelButton.click()  # While the volumes are handed over.
    finish(chosen)
    assert chosen.status == "Cancelled; nothing was changed."
    chosen.ui.deformFindButton.click()
    host.process_events(until=lambda: chosen.controller.deformable.fraction > 0, timeout=60)
    chosen.ui.deformCancelButton.click()
    finish(chosen)
    assert chosen.status == "Cancelled; nothing was changed."
    assert nodes() == before
    assert not list(temporary.glob("landmarkfusion-*"))


def test_a_scene_that_is_closed_ends_the_job(chosen, temporary):  # noqa: F811
    choose_source(chosen, "mind")
    chosen.ui.deformFindButton.click()
    host.process_events(until=lambda: chosen.controller.engine.processId() != 0, timeout=10)
    slicer.mrmlScene.Clear(0)
    finish(chosen)
    assert not chosen.controller.deformable.isBusy()
    assert chosen.parameters.deformFixed is None
    assert not list(temporary.glob("landmarkfusion-*"))


def flat(panel, case):
    array = np.full_like(case.moving.array, 3.0)
    panel.ui.deformMovingSelector.setCurrentNode(
        volumes.add_volume(slicer.mrmlScene, Volume(array, case.moving.ijk_to_ras), "flat")
    )


def thin(panel, case):
    panel.ui.deformMovingSelector.setCurrentNode(
        volumes.add_volume(slicer.mrmlScene, Volume(case.moving.array[:1], case.moving.ijk_to_ras), "thin")
    )


def apart(panel, case):
    affine = case.moving.ijk_to_ras.copy()
    affine[:3, 3] += 900.0
    panel.ui.deformMovingSelector.setCurrentNode(
        volumes.add_volume(slicer.mrmlScene, Volume(case.moving.array, affine), "far away")
    )


def unnamed(panel, case):
    own_points(panel, case)
    for index in range(8):
        panel.there.SetNthControlPointLabel(index, f"Q{index}")
    choose_source(panel, "points")


def no_elastix(panel, case):
    panel.ui.deformElastixPath.setCurrentPath("/nowhere/elastix")


def no_pair_left(panel, case):
    correspondences.create(panel.fixed, panel.moving, deformed.pairs(case), "mind")
    choose_source(panel, "mind")
    panel.parameters.deformConfidence = 1.0
    lists = correspondences.find(panel.fixed, panel.moving)
    lists[0].RemoveNthControlPoint(0)
    panel.controller.refresh()


def empty_mask(panel, case):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing")
    panel.ui.deformFixedMaskSelector.setCurrentNode(node)


BAD = {
    "constant": (flat, "same value"),
    "2D": (thin, "only one slice"),
    "no overlap": (apart, "overlap"),
    "names differ": (unnamed, "No point has the same name"),
    "no pair left": (no_pair_left, "No pair of landmarks is left"),
    "elastix not found": (no_elastix, "elastix"),
    "empty mask": (empty_mask, "has no segment"),
}


@pytest.mark.parametrize("kind", BAD)
def test_input_that_cannot_be_used(chosen, case, nodes, temporary, kind):  # noqa: F811
    spoil, sentence = BAD[kind]
    spoil(chosen, case)
    host.process_events()
    before = nodes()
    chosen.ui.deformRegisterButton.click()
    finish(chosen)
    assert chosen.status.startswith("Error: ")
    assert sentence in chosen.status
    assert nodes() == before
    assert chosen.parameters.deformResult is None
    assert not list(temporary.glob("landmarkfusion-*"))
    assert not host.dialogs.messages


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_log_of_an_elastix_that_crashed_is_one_click_away(chosen, nodes, temporary, tmp_path):  # noqa: F811
    program = tmp_path / "elastix"
    program.write_text("#!/bin/sh\necho 'ELASTIX version: 5'\nkill -SEGV $$\n")
    program.chmod(0o755)
    chosen.ui.deformElastixPath.setCurrentPath(str(program))
    before = nodes()
    chosen.ui.deformRegisterButton.click()
    finish(chosen)
    assert chosen.status.startswith("Error: elastix crashed. Try again")
    assert not chosen.ui.deformLogText.visible
    chosen.ui.deformLogButton.click()
    assert chosen.ui.deformLogText.visible
    assert "ELASTIX version: 5" in chosen.ui.deformLogText.plainText
    assert nodes() == before
    assert not list(temporary.glob("landmarkfusion-*"))


def test_elastix_of_the_extension_is_used(chosen, monkeypatch, tmp_path):  # noqa: F811
    import sys
    import types

    from LandmarkFusionLib import packages

    assert packages.elastixFolder() == ""
    module = types.ModuleType("Elastix")
    module.ElastixLogic = type("ElastixLogic", (), {"getElastixBinDir": lambda self: str(tmp_path / "bin")})
    monkeypatch.setitem(sys.modules, "Elastix", module)
    assert packages.elastixFolder() == str(tmp_path / "bin")


def test_a_deformed_volume_can_be_registered_again(chosen, case, tmp_path):  # noqa: F811
    from LandmarkFusionLib import asking
    from test_panel_deformable import given

    given(chosen, case, tmp_path / "first")
    shutil.rmtree(tmp_path / "first")
    assert deformable.is_ours(chosen.moving.GetParentTransformNode())
    assert chosen.ui.deformRegisterButton.enabled
    request, inputs = asking.common(chosen.controller.deformable)
    assert np.array_equal(inputs["moving"].array, case.moving.array)
    assert request["initial"] is None


def test_a_network_is_offered_and_finds_landmarks(chosen, nodes):  # noqa: F811
    pytest.importorskip("torch", reason="torch is not installed")
    networks = [source for source in chosen.controller.deformable.sources if source.needsTorch]
    if not networks:
        pytest.skip("no network is installed")
    before = nodes()
    choose_source(chosen, networks[0].name)
    chosen.ui.deformFindButton.click()
    finish(chosen)
    # What it finds in smooth noise, which is no anatomy, is not judged here.
    found = correspondences.find(chosen.fixed, chosen.moving)
    if found is None:
        assert "No landmarks were found" in chosen.status, chosen.status
        assert nodes() == before
    else:
        assert chosen.status.startswith("✓ Found ")
        assert correspondences.method(found[0]) == networks[0].name
