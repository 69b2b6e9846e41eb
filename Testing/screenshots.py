"""The pictures of README and tutorial: the module on the test host, driven as a user would, on a simulated case.

Run by ``make screenshots``; needs the case that ``make demo`` leaves in demo-output/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import host
import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path, default=ROOT / "demo-output/case", help="folder with mr.nrrd and us.nrrd")
    parser.add_argument("--out", type=Path, default=ROOT / "Resources/Screenshots")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    host.start()
    _, widget = host.load_module(ROOT / "LandmarkFusion/LandmarkFusion.py")
    import slicer

    from LandmarkFusionLogic.mrml import landmarks

    ui, controller = widget.ui, widget.controller
    slicer.util.loadVolume(str(options.case / "mr.nrrd"), {"name": "MR"})
    slicer.util.loadVolume(str(options.case / "us.nrrd"), {"name": "US"})
    widget.enter()
    host.process_events(0.5)
    host.screenshot(widget, options.out / "1-choose.png")

    ui.detectButton.click()
    host.process_events(until=lambda: not controller.detection.isBusy(), timeout=120)
    host.process_events(0.5)
    host.screenshot(widget, options.out / "2-aligned.png")

    ui.confirmButton.click()
    controller.landmarkList("mr").GetDisplayNode().SetVisibility(False)  # One list at a time under the mouse.
    node = controller.landmarkList("us")
    row = next(row for row in landmarks.rows(node) if row.name == "Posterior median")
    position = np.asarray(landmarks.world_position(node, row.point_id))
    host.mouse.show_slice("Yellow", position)
    plane = slicer.app.layoutManager().sliceWidget("Yellow").mrmlSliceNode().GetSliceToRAS()
    in_plane = slicer.util.arrayFromVTKMatrix(plane)[:3, :2] @ [3.0, -2.0]
    host.mouse.drag("Yellow", position, position + in_plane)
    controller.landmarkList("mr").GetDisplayNode().SetVisibility(True)
    host.process_events(0.5)
    host.screenshot(widget, options.out / "3-corrected.png")
    host.stop()


if __name__ == "__main__":
    main()
