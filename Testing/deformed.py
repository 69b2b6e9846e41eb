"""A small pair of volumes of which the deformation is known, and the files of a registration that found it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from LandmarkFusionLogic.imageio import image_from_volume, volume_from_image, write_volume
from LandmarkFusionLogic.jobs.deformable import DeformResult, TargetError
from LandmarkFusionLogic.jobs.matching import PointPair
from LandmarkFusionLogic.volume import Volume

FLIP = np.array([-1.0, -1.0, 1.0])
"""LPS to RAS and back."""


def has_elastix() -> bool:
    """Whether there is an elastix to run."""
    return bool(shutil.which("elastix") or importlib.util.find_spec("itk"))


def pair(shape=(40, 48, 48), spacing=2.0, shift=4.0, seed=0) -> SimpleNamespace:
    """``fixed`` and ``moving``, and ``to_moving``, which maps a fixed point (3,) to a moving one, RAS mm.

    ``shape`` is (K, J, I). The ``transform`` is ITK's of the same map.
    """
    rng = np.random.default_rng(seed)
    array = sum(gaussian_filter(rng.normal(size=shape), sigma) * sigma**1.5 for sigma in (1.2, 2.5, 5.0))
    k, j, i = np.meshgrid(*[np.linspace(-1.0, 1.0, count) for count in shape], indexing="ij")
    body = 1.0 / (1.0 + np.exp((np.sqrt(i**2 + j**2 + k**2) - 0.8) * 20))
    array = (500.0 + 250.0 * array / array.std()) * body
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape[::-1]) - 1) / 2
    moving = Volume(np.clip(array, 0, 2000).astype(np.float32), affine)
    image = image_from_volume(moving)
    spline = sitk.BSplineTransformInitializer(image, [3, 3, 3], order=3)
    spline.SetParameters(rng.normal(0.0, shift, len(spline.GetParameters())).tolist())
    move = sitk.AffineTransform(3)
    move.SetTranslation((2.0, -1.5, 1.0))
    transform = sitk.CompositeTransform([move, spline])
    fixed = volume_from_image(sitk.Resample(image, image, transform, sitk.sitkLinear, 0.0))

    def to_moving(point: np.ndarray) -> np.ndarray:
        return np.array(transform.TransformPoint((np.asarray(point, dtype=float) * FLIP).tolist())) * FLIP

    return SimpleNamespace(fixed=fixed, moving=moving, to_moving=to_moving, transform=transform)


def pairs(case: SimpleNamespace, count: int = 12, seed: int = 1) -> list[PointPair]:
    """True pairs of points inside the body, of falling confidence."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-20.0, 20.0, (count, 3))
    return [
        PointPair(point.tolist(), case.to_moving(point).tolist(), 1.0 - index / count)
        for index, point in enumerate(points)
    ]


def result(case: SimpleNamespace, folder: Path, found: list[PointPair] = (), **more) -> DeformResult:
    """The result of a registration that found the truth, with its files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    image, grid = image_from_volume(case.moving), image_from_volume(case.fixed)
    sitk.WriteTransform(case.transform, str(folder / "transform.h5"))
    warped = volume_from_image(sitk.Resample(image, grid, case.transform, sitk.sitkLinear, 0.0))
    write_volume(folder / "warped.nrrd", warped)
    place = grid.GetSize(), grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection()
    field = sitk.TransformToDisplacementField(case.transform, sitk.sitkVectorFloat64, *place)
    jacobian = sitk.DisplacementFieldJacobianDeterminant(field)
    sitk.WriteImage(sitk.Cast(jacobian, sitk.sitkFloat32), str(folder / "jacobian.nrrd"))
    (folder / "report.json").write_text("{}")
    (folder / "elastix.log").write_text("elastix says hello\n")
    values = sitk.GetArrayFromImage(jacobian)
    given = {
        "transform": str(folder / "transform.h5"),
        "warped": str(folder / "warped.nrrd"),
        "jacobian": str(folder / "jacobian.nrrd"),
        "report": str(folder / "report.json"),
        "log": str(folder / "elastix.log"),
        "pairs": list(found),
        "jacobian_min": float(values.min()),
        "jacobian_max": float(values.max()),
        "folded": 0.0,
        "similarity_before": 0.5,
        "similarity_after": 0.9,
        "targets": [TargetError("Apex", 6.0, 1.0)],
        "seconds": 3.0,
    }
    return DeformResult(**{**given, **more})
