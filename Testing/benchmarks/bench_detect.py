"""How long a warm worker takes for one 256×256×128 volume on the CPU, and how much memory it needs.

    python Testing/benchmarks/bench_detect.py [--repeats 15] [--threads 2]

Through the worker process and its protocol, the way the panel does it: the volume is a ``.npy`` file, the network is
loaded before the first time that counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import zoom

ROOT = Path(__file__).resolve().parents[2]
SHAPE_IJK = (256, 256, 128)
SPACING_MM = {"mr": (0.625, 0.625, 1.0), "us": (0.35, 0.35, 0.6)}
LIMIT_SECONDS, LIMIT_GB = 4.0, 4.0


class Worker:
    """The real worker process."""

    def __init__(self, threads: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "LandmarkFusionLogic.worker"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.read("ready")

    def read(self, *kinds: str) -> dict[str, Any]:
        """The next event of one of ``kinds``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "error":
                sys.exit(f"{event['message']} {event['detail']}")
            if event["event"] in kinds:
                return event
        sys.exit("The worker ended.")

    def send(self, message: dict[str, Any]) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def peak_gb(self) -> float | None:
        """The most memory the process has held, GB; None where the system does not tell."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return None
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1e6


def main() -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    started = time.perf_counter()
    worker = Worker(options.threads)
    print(
        f"Worker ready after {time.perf_counter() - started:.1f} s; {options.threads} threads, {os.cpu_count()} cores."
    )
    print(f"{'256×256×128, CPU':<20}{'first':>9}{'median':>9}{'95th %':>9}   limit {LIMIT_SECONDS:g} s, warm")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.npy"
        for modality, spacing in SPACING_MM.items():
            np.save(path, _volume())
            affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]).tolist()
            request = {"volume": {"path": str(path), "ijk_to_ras": affine}, "modality": modality, "device": "cpu"}
            times = []
            for number in range(options.repeats + 1):
                started = time.perf_counter()
                worker.send({"id": str(number), "job": "detect", "request": request})
                worker.read("result")
                times.append(time.perf_counter() - started)
            median, high = np.median(times[1:]), np.percentile(times[1:], 95)
            verdict = "kept" if high <= LIMIT_SECONDS else "MISSED"
            print(f"{modality.upper() + ', detect':<20}{times[0]:8.2f}s{median:8.2f}s{high:8.2f}s   {verdict}")
    memory = worker.peak_gb()
    if memory is not None:
        verdict = "kept" if memory <= LIMIT_GB else "MISSED"
        print(f"Worker's largest memory: {memory:.2f} GB (limit {LIMIT_GB:g} GB): {verdict}")
    worker.send({"quit": True})
    return worker.process.wait(10)


def _volume() -> np.ndarray[Any, np.dtype[np.int16]]:
    """A bright ball on structured ground, int16 (K, J, I): detection takes as long whatever the picture shows."""
    rng = np.random.default_rng(0)
    ground = zoom(rng.uniform(0, 300, size=(16, 32, 32)), (8, 8, 8), order=1)
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in reversed(SHAPE_IJK)), indexing="ij", sparse=True)
    return (ground + 600 * (k**2 + j**2 + i**2 < 0.1)).astype(np.int16)


if __name__ == "__main__":
    sys.exit(main())
