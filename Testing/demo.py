"""The main job on a built-in simulated case: two volumes, six landmarks, a rigid fit, a scene, a picture of the panel.

Run by ``make demo``. Everything up to the scene is what ``landmarkfusion simulate`` and ``landmarkfusion fuse`` do;
the picture is the module's own panel on the test host, skipped with a sentence where offscreen rendering is missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from LandmarkFusionLogic import cli

ROOT = Path(__file__).resolve().parents[1]
SEED = 37
"""A case of the simulator's demo range: no network has been trained on it."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "demo-output", help="folder for the results")
    parser.add_argument("--seed", type=int, default=SEED, help="the simulated case")
    options = parser.parse_args(arguments)
    case = options.out / "case"

    print("1/3  Simulating a prostate, its MR and its ultrasound", flush=True)
    code = cli.main(["simulate", "--seed", str(options.seed), "--out", str(case)])
    if code == 0:
        print("2/3  Finding the landmarks and aligning", flush=True)
        volumes = ["--mr", str(case / "mr.nrrd"), "--us", str(case / "us.nrrd")]
        code = cli.main(["fuse", *volumes, "--out", str(options.out)])
    if code != 0:
        return code

    print("3/3  Taking a picture of the panel", flush=True)
    sys.path.insert(0, str(ROOT / "Testing"))
    import host

    available, reason = host.available()
    if available:
        picture_of_panel(options.out / "scene.mrb", options.out / "panel.png")
    else:
        print(f"     skipped: {reason}")
    for file in sorted(path for path in options.out.iterdir() if path.is_file()):
        print(f"     {file}")
    return 0


def picture_of_panel(scene: Path, picture: Path) -> None:
    """Load the scene into the module on the test host, as a user would, and take the picture."""
    import host

    host.start()
    _, widget = host.load_module(ROOT / "LandmarkFusion/LandmarkFusion.py")
    import slicer

    slicer.util.loadScene(str(scene))
    host.process_events(0.5)
    host.screenshot(widget, picture)
    host.stop()


if __name__ == "__main__":
    sys.exit(main())
