"""The direction of a transform, from our matrix through ITK's file to Slicer's node and back."""

import numpy as np
import pytest
import samples
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.rigid.landmarks import fit_landmarks
from LandmarkFusionLogic.transformfile import read_transform, write_transform


def _pair(seed, noise):
    rng = np.random.default_rng(seed)
    truth = samples.random_rigid(rng)
    mr = samples.prostate_points((5.0, -40.0, 12.0))
    us = [Landmark(p.name, apply(truth, p.position) + rng.normal(scale=noise, size=3)) for p in mr]
    return mr, us


@pytest.mark.parametrize("suffix", [".h5", ".tfm"])
def test_a_matrix_survives_the_file(tmp_path, suffix):
    matrix = samples.random_rigid(np.random.default_rng(1))
    write_transform(tmp_path / f"t{suffix}", matrix)
    np.testing.assert_allclose(read_transform(tmp_path / f"t{suffix}"), matrix, atol=1e-6)


def test_in_itks_terms_the_file_maps_fixed_us_points_to_moving_mr_points_in_lps(tmp_path):
    mr, us = _pair(2, noise=0.0)
    write_transform(tmp_path / "t.h5", fit_landmarks(mr, us, "svd").mr_to_us)
    transform = sitk.ReadTransform(str(tmp_path / "t.h5"))
    flip = np.array([-1.0, -1.0, 1.0])
    for a, b in zip(mr, us, strict=True):
        np.testing.assert_allclose(
            transform.TransformPoint((b.position * flip).tolist()), a.position * flip, atol=1e-6
        )


@pytest.mark.parametrize("seed", range(3))
def test_slicers_node_of_the_file_lays_mr_landmarks_on_us_landmarks_to_within_fre(tmp_path, seed):
    slicer = pytest.importorskip("slicer")
    mr, us = _pair(seed, noise=2.0)
    fit = fit_landmarks(mr, us)
    write_transform(tmp_path / "mr-to-us.h5", fit.mr_to_us)
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerTransformLogic()
    logic.SetMRMLScene(scene)
    node = logic.AddTransform(str(tmp_path / "mr-to-us.h5"), scene)
    assert node is not None
    points = slicer.vtkMRMLMarkupsFiducialNode()
    scene.AddNode(points)
    for landmark in mr:
        points.AddControlPoint(*landmark.position, landmark.name)
    points.SetAndObserveTransformNodeID(node.GetID())
    assert fit.rms > 0.1
    for index, landmark in enumerate(us):
        world = [0.0] * 3
        points.GetNthControlPointPositionWorld(index, world)
        left = np.linalg.norm(np.array(world) - landmark.position)
        assert left == pytest.approx(fit.errors[landmark.name], abs=1e-4)


def test_what_is_no_linear_transform_is_refused(tmp_path):
    (tmp_path / "a.h5").write_text("nothing")
    with pytest.raises(InputError, match="not a transform file"):
        read_transform(tmp_path / "a.h5")
    sitk.WriteTransform(sitk.BSplineTransform(3), str(tmp_path / "b.h5"))
    with pytest.raises(InputError, match="not linear"):
        read_transform(tmp_path / "b.h5")
    with pytest.raises(InputError, match="cannot be written"):
        write_transform(tmp_path / "no" / "c.h5", np.eye(4))
