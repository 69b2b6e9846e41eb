"""The transform's file in Slicer (slicer-core): a volume and its markups under the node both move the right way."""

import deformsamples
import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer", reason="slicer-core is not installed")

import vtk

from LandmarkFusionLogic.deformable.transforms import Deformation, linear_deformation
from LandmarkFusionLogic.imageio import itk_transform
from LandmarkFusionLogic.mrml import scene, volumes
from LandmarkFusionLogic.volume import Volume


@pytest.fixture
def deformation():
    """Affine and B-spline in one file, in the order in which elastix writes them."""
    pair = deformsamples.pair()
    linear = np.array([[1.02, 0.05, 0, 4], [-0.05, 0.97, 0.02, -3], [0, 0.01, 1.01, 6], [0, 0, 0, 1]])
    reference = sitk.Image(40, 40, 40, sitk.sitkUInt8)
    reference.SetSpacing((5.0, 5.0, 5.0))
    reference.SetOrigin((-100.0, -100.0, -100.0))
    bspline = sitk.BSplineTransformInitializer(reference, [6, 6, 6])
    bspline.SetParameters(np.random.default_rng(1).normal(0, 3, len(bspline.GetParameters())).tolist())
    return pair, Deformation(sitk.CompositeTransform([bspline, itk_transform(linear)]))


def load(world, path):
    import slicer

    node = world.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    storage = slicer.vtkMRMLTransformStorageNode()
    world.scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    return node


def test_markups_under_the_node_move_to_the_fixed_volume(tmp_path, deformation):
    pair, transform = deformation
    transform.write(tmp_path / "transform.h5")
    world = scene.OwnScene(str(tmp_path / "cache"))
    node = load(world, tmp_path / "transform.h5")
    markups = world.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    moving = transform.to_moving(pair.fixed_points[:20])
    for point in moving:
        markups.AddControlPoint(vtk.vtkVector3d(*point))
    markups.SetAndObserveTransformNodeID(node.GetID())
    place = [0.0, 0.0, 0.0]
    for number, expected in enumerate(pair.fixed_points[:20]):
        markups.GetNthControlPointPositionWorld(number, place)
        np.testing.assert_allclose(place, expected, atol=0.02)


def test_a_hardened_volume_is_the_warped_volume(tmp_path, deformation):
    pair, transform = deformation
    transform.write(tmp_path / "transform.h5")
    world = scene.OwnScene(str(tmp_path / "cache"))
    node = load(world, tmp_path / "transform.h5")
    # Slicer's resampling asks the transform from the parent for the place of each voxel in the moving volume.
    from_parent = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(from_parent)
    for point in pair.fixed_points[:20]:
        np.testing.assert_allclose(
            from_parent.TransformDoublePoint(*point), transform.to_moving(point[None])[0], atol=1e-4
        )
    volume = volumes.add_volume(world.scene, pair.moving, "moving")
    volume.SetAndObserveTransformNodeID(node.GetID())
    assert volume.HardenTransform()
    # Hardening chooses a grid of its own.
    hardened = Volume(volumes.array_view(volume).copy(), volumes.ijk_to_ras(volume))
    warped = transform.warp(pair.moving, hardened).array
    unmoved = linear_deformation(np.eye(4)).warp(pair.moving, hardened).array
    inner = (slice(6, -6),) * 3
    assert np.abs(hardened.array - warped)[inner].max() < 5
    assert np.abs(hardened.array - unmoved)[inner].max() > 200
