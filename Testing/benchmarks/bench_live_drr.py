"""How many DRRs a second the panel shows while a slider moves: 128³ CT, 256² detector, through the worker and back.

    python Testing/benchmarks/bench_live_drr.py [--frames 100]

The unchanged module runs on the test host. A frame is timed from the slider's change to the new image in the scene,
drawing left out, one after the other as they come while a slider is dragged; the CPU time of the panel's process and
of the worker stands beside it, since on a machine that does other things the clock says little.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]

import host  # noqa: E402
import projectionsamples  # noqa: E402

SIDE, DETECTOR = 128, 256
LIMIT = 10.0
"""Frames a second that must be reached."""


def open_panel() -> Any:
    """The panel with a CT chosen and the views open."""
    host.start()
    _, widget = host.load_module(ROOT / "LandmarkFusion" / "LandmarkFusion.py")
    import slicer

    from LandmarkFusionLogic.mrml import volumes

    ct = volumes.add_volume(slicer.mrmlScene, projectionsamples.ct((SIDE,) * 3, 1.6), "CT")
    p = widget.controller.parameters.projection
    p.rows = p.columns = DETECTOR
    p.rowSpacing = p.columnSpacing = 0.8
    widget.ui.projectionCtSelector.setCurrentNode(ct)
    widget.ui.projectionViewsButton.click()
    own = widget.controller.projection
    host.process_events(until=lambda: own.live.count > 0, timeout=120)
    return widget


def cpu_of(process: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100)
    frames = parser.parse_args().frames
    widget = open_panel()
    live, slider = widget.controller.projection.live, widget.ui.projectionRYSlider
    worker = live.engine.processId()
    begin, panel_cpu, worker_cpu, times = live.count, time.process_time(), cpu_of(worker), []
    for number in range(frames):
        started = time.perf_counter()
        slider.setValue(30.0 * np.sin(0.1 * number) + 0.5)
        host.process_events(until=lambda: not live.isBusy(), timeout=60)
        times.append(time.perf_counter() - started)
    shown = live.count - begin
    panel_ms = 1000 * (time.process_time() - panel_cpu) / shown
    worker_ms = 1000 * (cpu_of(worker) - worker_cpu) / shown
    possible = 1000 / (worker_ms + panel_ms)
    print(f"{shown} DRRs of {DETECTOR} × {DETECTOR} from a CT of {SIDE}³")
    print(
        f"median {1000 * np.median(times):.0f} ms from slider to image, 95 % {1000 * np.quantile(times, 0.95):.0f} ms"
    )
    print(f"by the clock {shown / sum(times):.1f} frames a second")
    print(
        f"CPU a frame: worker {worker_ms:.0f} ms, panel {panel_ms:.1f} ms, on one core {possible:.0f} frames a second"
    )
    print(f"{'reached' if possible >= LIMIT else 'NOT reached'}: {LIMIT:.0f} frames a second by CPU time")
    host.stop()


if __name__ == "__main__":
    main()
