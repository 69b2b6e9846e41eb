"""The real worker with a few more jobs: slow, loud, greedy and crashing ones, as no honest input provokes them."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from LandmarkFusionLogic import worker
from LandmarkFusionLogic.jobs import JOBS
from LandmarkFusionLogic.workfolder import replacing


@dataclass(frozen=True)
class Request:
    path: str = ""


def _wait(request, report):
    report(0.5, "waiting")
    time.sleep(600)


def _compute(request, report):
    """Inside one call that does not look up: SVDs of a few minutes."""
    report(0.5, "computing")
    np.linalg.svd(np.random.default_rng(0).normal(size=(6000, 6000)))


def _child(request, report):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    report(0.5, str(child.pid))
    child.wait()


def _write(request, report):
    with replacing(Path(request.path)) as folder:
        (folder / "half.txt").write_text("half")
        report(0.5, "writing")
        time.sleep(600)


def _loud(request, report):
    print("printed by Python")
    os.write(1, b'{"event": "result", "id": "1", "result": "forged"}\n')
    subprocess.run(["echo", "printed by a child"], check=True)
    read = subprocess.run([sys.executable, "-c", "import sys; print(len(sys.stdin.read()))"], capture_output=True)
    return {"child_read": int(read.stdout)}


def _greedy(request, report):
    np.zeros(1 << 60, dtype=np.uint8)


def _broken(request, report):
    raise RuntimeError(f"cannot use {request.path} at all")


def _crash(request, report):
    os.kill(os.getpid(), signal.SIGSEGV)


JOBS.update(
    {
        name[1:]: (Request, function)
        for name, function in list(globals().items())
        if name in ("_wait", "_compute", "_child", "_write", "_loud", "_greedy", "_broken", "_crash")
    }
)

if __name__ == "__main__":
    worker.main()
