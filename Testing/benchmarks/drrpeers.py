"""Projectors by others and ours, each in a process of its own that `bench_projector.py` tells when to measure.

    python drrpeers.py NAME FOLDER

reads ``mu.npy`` (K, J, I), mm⁻¹, and ``scene.json`` (affine, geometry, pose) from FOLDER, projects once, writes the
image to ``NAME.npy`` and "ready". Then, for each line "image" or "gradient" on standard input, it does that once and
writes CPU milliseconds; for "memory", the MB more than with the volume loaded that it has at its peak. The gradient is
that by the pose.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[], Any]


def ours(folder: Path, scene: dict[str, Any], backend: str) -> tuple[Run, Run]:
    """Our projector; image and the whole Jacobian."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from LandmarkFusionLogic.projection.geometry import Geometry
    from LandmarkFusionLogic.projection.projector import NUMBA, Projector
    from LandmarkFusionLogic.volume import Volume

    geometry, matrix = Geometry.from_json(scene["geometry"]), np.array(scene["ct_to_camera"])
    projector = Projector(Volume(np.load(folder / "mu.npy"), np.array(scene["affine"])), scene["samples"], backend)
    center = projector.center_in_camera(matrix)
    if backend == NUMBA:
        from LandmarkFusionLogic.projection import numbakernel  # noqa: F401
    else:
        from LandmarkFusionLogic.projection import torchprojector  # noqa: F401
    return (
        lambda: projector.project(geometry, matrix),
        lambda: projector.project_with_jacobian(geometry, matrix, center),
    )


def _torchio(folder: Path, scene: dict[str, Any]) -> Any:
    import torch
    import torchio

    values = torch.from_numpy(np.load(folder / "mu.npy").transpose(2, 1, 0).copy())[None]
    return torchio.ScalarImage(tensor=values, affine=np.array(scene["affine"]))


def _both(project: Callable[[Any], Any], scene: dict[str, Any]) -> tuple[Run, Run]:
    """Image, and gradient of a weighted sum of the image by the pose (4, 4), of a ``project`` in torch."""
    import torch

    matrix = torch.linalg.inv(torch.tensor(scene["ct_to_camera"], dtype=torch.float64)).float()[None]
    size = scene["geometry"]["rows"], scene["geometry"]["columns"]
    weights = torch.randn(size, generator=torch.Generator().manual_seed(0))

    def image() -> Any:
        with torch.no_grad():
            return project(matrix).reshape(size).numpy()

    def gradient() -> None:
        pose = matrix.clone().requires_grad_()
        (project(pose).reshape(size) * weights).sum().backward()

    return image, gradient


def nanodrr(folder: Path, scene: dict[str, Any], samples: int) -> tuple[Run, Run]:
    """nanodrr on the CPU."""
    from nanodrr.data import Subject
    from nanodrr.drr import DRR

    subject = Subject.from_images(_torchio(folder, scene), convert_to_mu=False)
    g = scene["geometry"]
    drr = DRR.from_carm_intrinsics(g["sdd"], g["spacing"][1], g["spacing"][0], 0.0, 0.0, g["rows"], g["columns"])
    return _both(lambda pose: drr(subject, pose, n_samples=samples), scene)


def diffdrr(folder: Path, scene: dict[str, Any], renderer: str) -> tuple[Run, Run]:
    """DiffDRR with its defaults on the CPU."""
    import torch
    import torchio
    from diffdrr.drr import DRR
    from diffdrr.pose import RigidTransform

    volume = _torchio(folder, scene)
    subject = torchio.Subject(
        volume=volume, density=volume, mask=None, reorient=torch.eye(4), orientation=None, fiducials=None
    )
    g = scene["geometry"]
    # Its rows run upwards.
    drr = DRR(
        subject,
        sdd=g["sdd"],
        height=g["rows"],
        delx=g["spacing"][1],
        dely=-g["spacing"][0],
        reverse_x_axis=False,
        renderer=renderer,
    )
    return _both(lambda pose: drr(RigidTransform(pose)), scene)


def plastimatch(folder: Path, scene: dict[str, Any]) -> tuple[Run, None]:
    """plastimatch drr, exact; what one more projection costs. Its geometry is another: no image."""
    import SimpleITK as sitk

    volume = sitk.GetImageFromArray(np.load(folder / "mu.npy") / 0.02 * 1000 - 1000)
    spacing = np.linalg.norm(np.array(scene["affine"])[:3, :3], axis=0)
    volume.SetSpacing(spacing.tolist())
    volume.SetOrigin((-(np.array(volume.GetSize()) - 1) / 2 * spacing).tolist())
    sitk.WriteImage(volume, str(folder / "hu.mha"))
    g = scene["geometry"]
    program = Path(sys.executable).with_name("plastimatch")
    size = f"{g['rows'] * g['spacing'][0]:.2f} {g['columns'] * g['spacing'][1]:.2f}"

    def cpu(count: int) -> float:
        before = os.times()
        command = [str(program), "drr", "-a", str(count), "-N", "1", "-r", f"{g['rows']} {g['columns']}", "-z", size]
        command += ["--sad", f"{0.7 * g['sdd']:.1f}", "--sid", f"{g['sdd']:.1f}", "-i", "exact", "-t", "raw"]
        command += ["-O", str(folder / "plm"), str(folder / "hu.mha")]
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    def image() -> float:
        return (cpu(21) - cpu(1)) / 20 * 1000

    image()
    return image, None


PROJECTORS: dict[str, Callable[[Path, dict[str, Any]], tuple[Run, Run | None]]] = {
    "ours-numba": lambda folder, scene: ours(folder, scene, "numba"),
    "ours-torch": lambda folder, scene: ours(folder, scene, "torch"),
    "nanodrr-128": lambda folder, scene: nanodrr(folder, scene, 128),
    "nanodrr-500": lambda folder, scene: nanodrr(folder, scene, 500),
    "diffdrr-siddon": lambda folder, scene: diffdrr(folder, scene, "siddon"),
    "diffdrr-trilinear": lambda folder, scene: diffdrr(folder, scene, "trilinear"),
    "plastimatch": plastimatch,
}


def _memory(field: str) -> float:
    """MB of this process: VmRSS, what it has now, or VmHWM, the most it had since `_forget`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def _forget() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> None:
    """Prepare, then measure as told."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    scene = json.loads((folder / "scene.json").read_text(encoding="utf-8"))
    image, gradient = PROJECTORS[name](folder, scene)
    before = _memory("VmRSS")
    shown = image()
    if isinstance(shown, np.ndarray):
        np.save(folder / f"{name}.npy", shown)
    if gradient is not None:
        gradient()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            _forget()
            (gradient or image)()
            print("nan" if name == "plastimatch" else _memory("VmHWM") - before, flush=True)
            continue
        run = image if line.strip() == "image" else gradient
        if run is None:
            print("nan", flush=True)
            continue
        began = time.process_time()
        told = run()
        print(told if name == "plastimatch" else (time.process_time() - began) * 1000, flush=True)


if __name__ == "__main__":
    main()
