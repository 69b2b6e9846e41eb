"""Our projector shows what nanodrr, DiffDRR and plastimatch show. `make bench-projector` installs them."""

import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LandmarkFusionLogic.projection.attenuation import attenuation
from LandmarkFusionLogic.projection.geometry import Geometry
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
from LandmarkFusionLogic.projection.projector import Projector
from LandmarkFusionLogic.simulation.spine import make_spine

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".venv-drr" / "bin"
pytestmark = pytest.mark.skipif(not PROGRAMS.exists(), reason="make bench-projector has not installed the peers")


def _correlation(one, other):
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("bench", ROOT / "Testing" / "benchmarks" / "bench_projector.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scene(benchmark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    benchmark.write_scene(folder)
    return folder


@pytest.mark.parametrize(("name", "least"), [("nanodrr-500", 0.9999), ("diffdrr-trilinear", 0.9999)])
def test_the_projection_is_that_of_others(benchmark, scene, name, least):
    images = []
    for python, projector in ((PROGRAMS / "python", name), (Path(benchmark.sys.executable), "ours-numba")):
        peer = benchmark.Peer(python, projector, scene)
        try:
            assert peer.failure() is None
        finally:
            peer.process.kill()
            peer.process.communicate()
        images.append(np.load(scene / f"{projector}.npy"))
    assert _correlation(*images) >= least


def test_the_view_from_the_front_is_that_of_plastimatch(tmp_path):
    mu = attenuation(make_spine(0).ct)
    geometry = Geometry(sdd=1011.7, rows=128, columns=128, spacing=(1.6, 1.6))
    ours = Projector(mu, 512).project(geometry, ct_to_camera(Pose((0, 0, 0), (0, 0, 0)), mu.centre, geometry))
    # plastimatch reads LPS; the phantom's axes are those of RAS.
    values = np.asarray(mu.array)[:, ::-1, ::-1].astype(np.float32) / 0.02 * 1000 - 1000
    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    image.SetSpacing(mu.spacing.tolist())
    image.SetOrigin((-(np.array(image.GetSize()) - 1) / 2 * mu.spacing).tolist())
    sitk.WriteImage(image, str(tmp_path / "ct.mha"))
    command = [str(PROGRAMS / "plastimatch"), "drr", "-a", "1", "-r", "128 128", "-z", "204.8 204.8"]
    command += ["--sad", str(0.7 * geometry.sdd), "--sid", str(geometry.sdd), "-i", "uniform", "-t", "pfm"]
    command += ["-n", "0 -1 0", "--vup", "0 0 1", "-o", "0 0 0", "-O", str(tmp_path / "drr"), str(tmp_path / "ct.mha")]
    subprocess.run(command, check=True, capture_output=True)
    header, values = (tmp_path / "drr0000.pfm").read_bytes().split(b"\n", 3)[1:4:2]
    assert header == b"128 128"
    assert _correlation(np.frombuffer(values, "<f4").reshape(128, 128), ours) >= 0.9999
