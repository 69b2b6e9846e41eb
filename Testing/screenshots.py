"""The pictures of README and tutorial: the module on the test host, driven as a user would, on simulated cases.

Run by ``make screenshots``; needs the case that ``make demo`` leaves in demo-output/, and for the deformable
registration elastix.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import host
import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path, default=ROOT / "demo-output/case", help="folder with mr.nrrd and us.nrrd")
    parser.add_argument("--out", type=Path, default=ROOT / "Resources/Screenshots")
    parser.add_argument(
        "--only", choices=["fusion", "deformable", "projection"], help="take the pictures of one part only"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    host.start()
    _, widget = host.load_module(ROOT / "LandmarkFusion/LandmarkFusion.py")
    import slicer

    if options.only in (None, "fusion"):
        fuse(widget, options.case, options.out)
    for name, take in (("deformable", deform), ("projection", project)):
        if options.only in (None, name):
            slicer.mrmlScene.Clear(0)
            host.process_events()
            take(widget, options.out)
    host.stop()


def fuse(widget: Any, case: Path, out: Path) -> None:
    """Landmarks, the rigid fit, a correction, targets."""
    import slicer

    ui, controller = widget.ui, widget.controller
    slicer.util.loadVolume(str(case / "mr.nrrd"), {"name": "MR"})
    slicer.util.loadVolume(str(case / "us.nrrd"), {"name": "US"})
    widget.enter()
    host.process_events(0.5)
    host.screenshot(widget, out / "1-choose.png")

    ui.detectButton.click()
    host.process_events(until=lambda: not controller.isBusy(), timeout=600)
    host.process_events(0.5)
    host.screenshot(widget, out / "2-aligned.png")

    ui.confirmButton.click()
    drag(controller, "Posterior median")
    host.screenshot(widget, out / "3-corrected.png")

    carry_over_a_target(ui, controller)
    host.screenshot(widget, out / "4-targets.png")


def deform(widget: Any, out: Path, seed: int = 11) -> None:
    """Two simulated scans of one abdomen: landmarks are found, then they guide the deformable registration."""
    import slicer

    from LandmarkFusionLogic.mrml import views, volumes
    from LandmarkFusionLogic.simulation.ct import ct_volume
    from LandmarkFusionLogic.simulation.deformations import deform, draw_deformation

    ui, controller = widget.ui, widget.controller
    fixed = ct_volume(seed, (80, 96, 112), 2.5)
    deformation = draw_deformation(seed, fixed)
    nodes = {
        "Fixed": volumes.add_volume(slicer.mrmlScene, fixed, "Scan 1"),
        "Moving": volumes.add_volume(slicer.mrmlScene, deform(fixed, deformation), "Scan 2"),
    }
    # The simulation's map goes from the moving image's points to those of the volume it was made from, or back.
    places = np.random.default_rng(seed).uniform(-50.0, 50.0, (4, 3))
    for side, points in (("Fixed", places), ("Moving", deformation.to_moving(places))):
        getattr(ui, f"deform{side}Selector").setCurrentNode(nodes[side])
        marks = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"Marks in {side.lower()}")
        marks.CreateDefaultDisplayNodes()
        marks.GetDisplayNode().SetVisibility(False)
        for number, point in enumerate(points, start=1):
            marks.AddControlPoint(*point, f"Vessel {number}")
        getattr(ui, f"deform{side}PointsSelector").setCurrentNode(marks)
    open_section(ui, "deform")
    slicer.app.layoutManager().resetSliceViews()
    ui.deformFindButton.click()
    host.process_events(until=lambda: not controller.isBusy(), timeout=600)
    views.show(slicer.mrmlScene, nodes["Fixed"], nodes["Moving"], 0.5)
    ui.deformConfidenceSlider.setValue(0.6)
    host.process_events(0.5)
    host.screenshot(widget, out / "5-pairs.png")

    ui.deformRegisterButton.click()
    host.process_events(until=lambda: not controller.isBusy(), timeout=600)
    ui.deformShowSelector.setCurrentIndex(1)
    host.process_events(0.5)
    host.screenshot(widget, out / "6-deformed.png")


def project(widget: Any, out: Path, seed: int = 4) -> None:
    """A simulated spine and a degraded X-ray of it: the pose is brought near by hand, then aligned."""
    import slicer

    from LandmarkFusionLogic.mrml import projectionplane, volumes
    from LandmarkFusionLogic.projection.attenuation import attenuation
    from LandmarkFusionLogic.projection.carm import carm, presets
    from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
    from LandmarkFusionLogic.projection.projector import project
    from LandmarkFusionLogic.simulation.spine import make_spine
    from LandmarkFusionLogic.simulation.xray import degrade

    ui, own = widget.ui, widget.controller.projection
    spine, arm = make_spine(seed), carm(presets()["perlove-plx118f"]).geometry
    truth = Pose((4.0, -7.0, 3.0), (8.0, -5.0, 25.0))
    film = project(attenuation(spine.ct), arm, ct_to_camera(truth, spine.ct.centre, arm))
    ct = volumes.add_volume(slicer.mrmlScene, spine.ct, "CT of the spine")
    xray = projectionplane.add_xray(
        slicer.mrmlScene, degrade(film, seed, parts=("noise", "blur")), arm.spacing, "X-ray"
    )
    projectionplane.set_range(xray, film)
    open_section(ui, "projection")
    ui.projectionGeometryButton.collapsed = False
    ui.projectionBonesSelector.setCurrentIndex(1)
    ui.projectionPresetSelector.activated.emit(1 + list(presets()).index("perlove-plx118f"))
    ui.projectionCtSelector.setCurrentNode(ct)
    ui.projectionXraySelector.setCurrentNode(xray)
    for name, value in zip(("RX", "RY", "RZ", "TX", "TY", "TZ"), (0.0, -2.0, 8.0, 20.0, 5.0, 0.0), strict=True):
        getattr(ui, f"projection{name}Slider").setValue(value)
    host.process_events(until=lambda: own.live.count > 0 and not own.live.isBusy(), timeout=120)
    host.process_events(0.5)
    host.screenshot(widget, out / "7-xray.png")

    ui.projectionGeometryButton.collapsed = True
    ui.projectionAlignButton.click()
    host.process_events(until=lambda: not widget.controller.isBusy(), timeout=600)
    ui.projectionShowSelector.setCurrentIndex(2)
    host.process_events(until=lambda: not own.live.isBusy(), timeout=60)
    host.process_events(0.5)
    host.screenshot(widget, out / "8-xray-aligned.png")


def open_section(ui: Any, wanted: str) -> None:
    """Open one section of the panel and close the others."""
    sections = ("inputs", "landmarks", "rigid", "targets", "views", "hints", "deform", "projection", "report")
    for name in sections:
        button = getattr(ui, f"{name}Button", None)
        if button is not None and hasattr(button, "collapsed"):
            button.collapsed = name != wanted


def drag(controller: Any, name: str) -> None:
    """Drag a landmark of the ultrasound in the sagittal view, as a user would."""
    import slicer

    from LandmarkFusionLogic.mrml import landmarks

    controller.landmarkList("mr").GetDisplayNode().SetVisibility(False)  # One list at a time under the mouse.
    node = controller.landmarkList("us")
    row = next(row for row in landmarks.rows(node) if row.name == name)
    position = np.asarray(landmarks.world_position(node, row.point_id))
    host.mouse.show_slice("Yellow", position)
    plane = slicer.app.layoutManager().sliceWidget("Yellow").mrmlSliceNode().GetSliceToRAS()
    in_plane = slicer.util.arrayFromVTKMatrix(plane)[:3, :2] @ [3.0, -2.0]
    host.mouse.drag("Yellow", position, position + in_plane)
    controller.landmarkList("mr").GetDisplayNode().SetVisibility(True)
    host.process_events(0.5)


def carry_over_a_target(ui: Any, controller: Any) -> None:
    """Mark two lesions in the MR, choose them as targets, show the expected error."""
    import slicer

    from LandmarkFusionLogic.mrml import landmarks, views

    lesions = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Lesions")
    lesions.CreateDefaultDisplayNodes()
    middle = np.mean([mark.position for mark in landmarks.read(controller.landmarkList("mr"))], axis=0)
    for number, offset in enumerate(([-14.0, -6.0, -9.0], [12.0, 4.0, -6.0]), start=1):
        lesions.AddControlPoint(*(middle + offset), f"Lesion {number}")
    ui.targetsSelector.setCurrentNode(lesions)
    ui.targetsButton.collapsed = False
    ui.landmarksButton.collapsed = True
    ui.regionsCheckBox.click()
    ui.errorMapCheckBox.click()
    host.process_events(0.5)
    views.centre(slicer.mrmlScene, controller.targets.carried[0].centre)
    host.process_events(0.5)


if __name__ == "__main__":
    main()
