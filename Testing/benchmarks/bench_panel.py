"""How quick the panel is: a landmark moved → transform and table, and how long a running job holds the event loop.

    python Testing/benchmarks/bench_panel.py [--moves 300] [--jobs 3] [--json FILE]

The unchanged module runs on the test host. "Landmark moved" is timed without drawing, from the change of the point to
the return of that call: by then the fit is made, the transform set, every table and label brought up to date, and so
are the 95 % regions, the colors of the expected error and a target in the ultrasound. The
event loop is held for as long as one of its turns takes while two 256×256×128 volumes go through the worker process:
handing over the volumes, progress, taking the result into the scene, drawing of the views included. Turns in which
nothing happened are not counted: they would only flatter the percentiles.
Without networks in ``models/`` the job is done by one that knows nothing and costs less; the table says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]

import host  # noqa: E402
import samples  # noqa: E402

from LandmarkFusionLogic.volume import Volume  # noqa: E402

SHAPE_KJI = (128, 256, 256)
SPACING_MM = (0.6, 0.6, 1.0)
IDLE_MS = 0.5
MOVED_LIMIT_MS, HELD_LIMIT_MS = 20.0, 100.0


def open_panel() -> Any:
    """The panel with two large volumes chosen."""
    host.start()
    _, widget = host.load_module(ROOT / "LandmarkFusion" / "LandmarkFusion.py")
    import slicer

    from LandmarkFusionLogic.mrml import volumes

    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = -0.5 * np.array(SPACING_MM) * SHAPE_KJI[::-1]
    rng = np.random.default_rng(0)
    for name in ("mr", "us"):
        array = rng.integers(0, 1000, SHAPE_KJI, dtype=np.int16)
        setattr(widget.controller.parameters, name, volumes.add_volume(slicer.mrmlScene, Volume(array, affine), name))
    host.process_events(0.2)
    return widget


def moved(widget: Any, moves: int) -> list[float]:
    """Milliseconds for each of ``moves`` changes of a landmark's position, with all that follows it shown."""
    import slicer

    from LandmarkFusionLogic.mrml import glands, landmarks

    for modality in ("mr", "us"):
        landmarks.write(widget.controller.ensureList(modality), samples.prostate_points(state="detected"))
    k, j, i = np.indices((40, 40, 40)) - 19.5
    mask = Volume((i**2 + j**2 + k**2 < 100).astype(np.uint8), samples.affine((2.0,) * 3, origin=(-39.0,) * 3))
    for modality in ("mr", "us"):
        said = glands.Prediction(np.zeros(3), 4.0 * np.eye(3), 33.0)
        glands.write(widget.controller.volume(modality), modality, mask, said)
    lesions = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Lesions")
    lesions.AddControlPoint(5.0, 5.0, 5.0, "Lesion 1")
    widget.controller.parameters.targets = lesions
    widget.controller.parameters.showErrorMap = True
    us = widget.controller.landmarkList("us")
    start = np.array(us.GetNthControlPointPosition(0))
    steps = np.random.default_rng(1).uniform(-3.0, 3.0, (moves, 3))
    times = []
    for step in steps:
        position = start + step
        began = time.perf_counter()
        us.SetNthControlPointPosition(0, *position)
        times.append(1000 * (time.perf_counter() - began))
        assert widget.controller.live.fit.rms > 0
    return times


def held(widget: Any, jobs: int) -> list[float]:
    """Milliseconds that each turn of the event loop took while detections ran; turns with nothing to do left out."""
    import slicer

    gaps: list[float] = []
    for _ in range(jobs):
        widget.controller.detect("mr", "us")
        while widget.controller.detection.isBusy():
            began = time.perf_counter()
            slicer.app.processEvents()
            took = 1000 * (time.perf_counter() - began)
            if took > IDLE_MS:
                gaps.append(took)
            time.sleep(0.001)
        if widget.controller.status[0] != "done":
            sys.exit(f"The job failed: {widget.controller.status[1]}")
    return gaps


def networks(folder: Path) -> dict[str, str | None]:
    """None for the networks that ship; where there are none, folders of networks that know nothing."""
    if (ROOT / "models" / "mr-landmarks" / "models" / "model.pt").exists():
        return {"mr": None, "us": None}
    return {modality: str(samples.untrained_bundle(folder / modality, modality)) for modality in ("mr", "us")}


def line(name: str, times: list[float], limit: float) -> dict[str, Any]:
    """Print one line of the table; returns it as data."""
    median, high, worst = np.percentile(times, [50, 95, 100])
    verdict = "met" if high <= limit else "missed"
    print(f"{name:<46}{len(times):>7}{median:>9.1f}{high:>9.1f}{worst:>9.1f}   {limit:g} ms {verdict}")
    return {
        "name": name,
        "count": len(times),
        "median_ms": float(median),
        "p95_ms": float(high),
        "max_ms": float(worst),
        "limit_ms": limit,
        "met": verdict == "met",
    }


def main() -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the table there, too")
    options = parser.parse_args()
    ready, reason = host.available()
    if not ready:
        print(f"Skipped: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        widget = open_panel()
        widget.controller.detection.models = networks(Path(folder))
        shipped = widget.controller.detection.models["mr"] is None
        print(f"Networks: {'as shipped' if shipped else 'none shipped; one that knows nothing'}")
        print(f"{'':<46}{'count':>7}{'median':>9}{'95 %':>9}{'max':>9}   limit for 95 %")
        table = [
            line("landmark moved → transform and table (ms)", moved(widget, options.moves), MOVED_LIMIT_MS),
            line("event loop held while a job runs (ms)", held(widget, options.jobs), HELD_LIMIT_MS),
        ]
        widget.controller.engine.stop()
    if options.json:
        options.json.write_text(json.dumps({"networks_shipped": shipped, "table": table}, indent=2) + "\n")
    if host.slot_errors or host.vtk_errors:
        print(f"Errors on the way: {host.slot_errors} {host.vtk_errors}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
