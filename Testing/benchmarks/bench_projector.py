"""Our projector beside nanodrr, DiffDRR and plastimatch, in one run: 128³ CT, 256² detector, CPU milliseconds.

    make bench-projector        or        python Testing/benchmarks/bench_projector.py [--rounds 6] [--peers .venv-drr]

Each projector is a process of its own with one thread, so that CPU time compares them on a machine that does other
things too; they take turns, and the fastest of the rounds counts. Peers live in the environment that
`requirements-drr.txt` describes; one that cannot be had there is named. Ends with 1 where ours is less than 15 times
as fast as nanodrr with 128 samples or 60 times as fast as DiffDRR, image and gradient.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from LandmarkFusionLogic.projection.attenuation import attenuation  # noqa: E402
from LandmarkFusionLogic.projection.geometry import Geometry  # noqa: E402
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera  # noqa: E402
from LandmarkFusionLogic.simulation.spine import make_spine  # noqa: E402

GEOMETRY = Geometry(sdd=1011.7, rows=256, columns=256, spacing=(0.79836, 0.79836))
POSE = Pose((4.0, -6.0, 8.0), (6.0, -4.0, 20.0))
NAMES = {
    "ours-numba": "ours, numba (image + 6 derivatives of each pixel)",
    "ours-torch": "ours, torch (the same)",
    "nanodrr-128": "nanodrr, 128 samples",
    "nanodrr-500": "nanodrr, 500 samples (its default)",
    "diffdrr-siddon": "DiffDRR, Siddon (its default)",
    "diffdrr-trilinear": "DiffDRR, trilinear, 500 samples",
    "plastimatch": "plastimatch, exact",
}
LIMITS = {"nanodrr-128": 15.0, "diffdrr-siddon": 60.0, "diffdrr-trilinear": 60.0}
"""How many times as fast as these ours has to be."""


class Peer:
    """The process of one projector."""

    def __init__(self, python: Path, name: str, folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        command = [str(python), str(Path(__file__).with_name("drrpeers.py")), name, str(folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)
        self.times: dict[str, list[float]] = {"image": [], "gradient": []}

    def failure(self) -> str | None:
        """None once it is ready, or the last line of what it said."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for line in self.process.stdout:
            if line.strip() == "ready":
                return None
        lines = self.process.stderr.read().strip().splitlines()
        return lines[-1] if lines else "it ended"

    def ask(self, what: str) -> float:
        """Let it measure once."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline() or "nan")

    def best(self, what: str) -> float:
        """Milliseconds, the fastest."""
        return min(self.times[what])


def write_scene(folder: Path) -> None:
    """The simulated spine and one pose, for all."""
    mu = attenuation(make_spine(0).ct)
    np.save(folder / "mu.npy", mu.array)
    scene = {
        "affine": mu.ijk_to_ras.tolist(),
        "geometry": GEOMETRY.to_json(),
        "ct_to_camera": ct_to_camera(POSE, mu.centre, GEOMETRY).tolist(),
        "samples": max(mu.array.shape),
    }
    (folder / "scene.json").write_text(json.dumps(scene), encoding="utf-8")


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-drr")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder)
        peers, missing = start(folder, options.peers / "bin" / "python")
        for _ in range(options.rounds):
            for peer in peers.values():
                for what, times in peer.times.items():
                    times.append(peer.ask(what))
        good = show(peers, missing, folder, options.rounds)
        for peer in peers.values():
            peer.process.kill()
    sys.exit(0 if good else 1)


def start(folder: Path, python: Path) -> tuple[dict[str, Peer], dict[str, str]]:
    """The projectors that run here, one after the other made ready, and why the others do not."""
    peers, missing = {}, {}
    for name in NAMES:
        own = name.startswith("ours")
        if not own and not python.exists():
            missing[name] = "there is no environment for it; run make bench-projector"
            continue
        peer = Peer(Path(sys.executable) if own else python, name, folder)
        reason = peer.failure()
        if reason is None:
            peers[name] = peer
        else:
            missing[name] = reason
    return peers, missing


def show(peers: dict[str, Peer], missing: dict[str, str], folder: Path, rounds: int) -> bool:
    """Print the table; whether ours is as much faster as it has to be."""
    print(f"128³ → 256², CPU milliseconds of one thread, the fastest of {rounds} rounds in turns\n")
    print("| projector | image | image + pose gradient | ours is × as fast | MB more at the peak | NCC with ours |")
    print("|---|---|---|---|---|---|")
    good, fastest = True, peers["ours-numba"].best("gradient")
    reference = np.load(folder / "ours-numba.npy").ravel()
    for name, peer in peers.items():
        image, gradient, memory = peer.best("image"), peer.best("gradient"), peer.ask("memory")
        file = folder / f"{name}.npy"
        like = f"{np.corrcoef(np.load(file).ravel(), reference)[0, 1]:.5f}" if file.exists() else "–"
        known = np.isfinite(gradient)
        times = f"{gradient:.0f} | {gradient / fastest:.1f}" if known else "– | –"
        most = f"{memory:.0f}" if np.isfinite(memory) else "–"
        print(f"| {NAMES[name]} | {image:.0f} | {times} | {most} | {like} |")
        good = good and (name not in LIMITS or gradient / fastest >= LIMITS[name])
    print()
    for name, reason in missing.items():
        print(f"{NAMES[name]} is not measured: {reason}.")
    for name, limit in LIMITS.items():
        if name in peers:
            print(
                f"At least {limit:.0f} times as fast as {NAMES[name]}: {peers[name].best('gradient') / fastest:.1f}."
            )
    return good


if __name__ == "__main__":
    main()
