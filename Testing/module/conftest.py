"""The module's panel on the test host, and volumes to work with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import samples

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "LandmarkFusion" / "LandmarkFusion.py"


class Panel:
    """The open panel with shortcuts for tests; it is used through its widgets, its nodes and the mouse."""

    def __init__(self, module: Any, widget: Any) -> None:
        self.module = module
        self.widget = widget

    @property
    def controller(self) -> Any:
        return self.widget.controller

    @property
    def parameters(self) -> Any:
        return self.widget.controller.parameters

    @property
    def ui(self) -> Any:
        return self.widget.ui

    @property
    def status(self) -> str:
        return self.ui.statusLabel.text

    def add_volume(self, name: str, seed: int = 0, **options: Any) -> Any:
        import slicer

        from LandmarkFusionLogic.mrml import volumes

        options = {"shape_ijk": (60, 60, 40), "origin": (-44.0, -44.0, -39.0), **options}
        return volumes.add_volume(slicer.mrmlScene, samples.volume(seed=seed, **options), name)

    def choose_pair(self, mr: str = "MR", us: str = "US") -> SimpleNamespace:
        """Two new volumes, chosen in the panel."""
        import host

        pair = SimpleNamespace(mr=self.add_volume(mr, 1), us=self.add_volume(us, 2))
        self.ui.mrSelector.setCurrentNode(pair.mr)
        self.ui.usSelector.setCurrentNode(pair.us)
        host.process_events()
        return pair

    def place_all(self, mr_to_us: np.ndarray, state: str = "placed") -> None:
        """The three landmarks in both images, so that the fit is ``mr_to_us``."""
        from LandmarkFusionLogic.mrml import landmarks
        from LandmarkFusionLogic.points import Landmark
        from LandmarkFusionLogic.rigid.fit import apply

        points = samples.prostate_points(state=state, covariance=np.diag([1.0, 4.0, 9.0]))
        landmarks.write(self.controller.ensureList("mr"), points)
        moved = [
            Landmark(point.name, apply(mr_to_us, point.position), point.covariance, point.state) for point in points
        ]
        landmarks.write(self.controller.ensureList("us"), moved)

    def table(self, modality: str) -> list[list[str]]:
        """The texts of a landmark table."""
        return cells(getattr(self.ui, f"{modality}Table"))

    def matrix(self) -> np.ndarray:
        from LandmarkFusionLogic.mrml import transforms

        return transforms.matrix(self.parameters.mrToUs)


def cells(table: Any) -> list[list[str]]:
    """The texts of a Qt table."""
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


SHIFT = np.array([[1.0, 0, 0, 6.0], [0, 1, 0, -4.0], [0, 0, 1, 8.0], [0, 0, 0, 1]])
"""A motion MR to US small enough for both volumes to stay in the views."""


@pytest.fixture
def shift() -> np.ndarray:
    return SHIFT.copy()


@pytest.fixture
def panel(app) -> Panel:
    import host

    return Panel(*host.load_module(MODULE))


@pytest.fixture
def nodes(app):
    """How many nodes there are of each class, apart from those that belong to views and to the application."""

    def count() -> dict[str, int]:
        import collections

        import slicer

        scene = slicer.mrmlScene
        return dict(collections.Counter(scene.GetNthNode(i).GetClassName() for i in range(scene.GetNumberOfNodes())))

    return count
