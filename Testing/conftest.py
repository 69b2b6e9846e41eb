"""Fixtures for tests that need the test host or real images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def app():
    """The running test host (``slicer.app``); skips where slicer-core, PySide6 or EGL is missing."""
    import host

    ready, reason = host.available()
    if not ready:
        pytest.skip(f"The test host cannot run here: {reason}")
    return host.start()


@pytest.fixture
def clean_host(app) -> Iterator[None]:
    """An empty scene before the test; after it, fails if a slot or an observer raised or VTK reported an error.

    Used by itself in every test under ``Testing/module`` and ``Testing/workflow`` that asks for ``app``. A test that
    provokes errors on purpose checks them and then calls ``host.clear_errors()``.
    """
    import host

    _reset(app)
    yield
    host.process_events()
    slot_errors, vtk_errors = list(host.slot_errors), list(host.vtk_errors)
    host.modules.unload_all()
    _reset(app)
    assert not slot_errors, f"A slot or an observer raised: {slot_errors!r}"
    assert not vtk_errors, "VTK reported: " + "\n".join(vtk_errors)


@pytest.fixture(autouse=True)
def _clean_host_by_itself(request: pytest.FixtureRequest) -> None:
    if "app" in request.fixturenames:
        request.getfixturevalue("clean_host")


def _reset(app) -> None:
    import host
    import slicer

    slicer.mrmlScene.Clear(0)
    app.setAttribute(app.AA_EnableTesting, False)
    layout = app.layoutManager().layoutLogic().GetLayoutNode()
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    # A closed scene keeps how its slices were turned: an oblique volume leaves them without a named orientation.
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        app.layoutManager().sliceWidget(name).mrmlSliceNode().SetOrientation(orientation)
    interaction = app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    host.process_events()
    host.dialogs.clear()
    host.packages.clear()
    host.clear_errors()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real images; skips where ``LANDMARKFUSION_DATA`` does not name one."""
    folder = os.environ.get("LANDMARKFUSION_DATA")
    if not folder:
        pytest.skip("LANDMARKFUSION_DATA does not name the folder with the real images")
    if not Path(folder).is_dir():
        pytest.skip(f"LANDMARKFUSION_DATA names {folder}, which is no folder")
    return Path(folder)
