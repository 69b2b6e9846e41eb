"""Registrations by others, each run in the environment of `requirements-peers.txt`: a process of its own, with files.

    python peers.py NAME FOLDER

reads ``fixed.mha`` and ``moving.mha`` (float, one grid, already aligned affinely) from FOLDER and writes ``field.mha``
there: the displacement at each voxel of the fixed image to its place in the moving one, ITK's way (LPS, mm). Knows
nothing of LandmarkFusion, which is not installed beside the peers. Every peer has the settings that its makers give,
in their documentation or as defaults; whoever starts it says how many threads the libraries may use.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk


def greedy(folder: Path) -> sitk.Image:
    """greedy (PICSL): normalized cross correlation, radius 2, as in its quick start."""
    from picsl_greedy import Greedy3D

    # Its images in files are LPS as ITK's; so are the vectors that it writes.
    Greedy3D().execute(
        f"-d 3 -threads 1 -m NCC 2x2x2 -n 100x50x10 -i {folder}/fixed.mha {folder}/moving.mha -o {folder}/warp.mha"
    )
    return sitk.ReadImage(str(folder / "warp.mha"), sitk.sitkVectorFloat64)


def syn(folder: Path) -> sitk.Image:
    """SyN (ANTs): mutual information (its default), four levels with the iterations of its scripts."""
    import ants

    fixed, moving = (ants.image_read(str(folder / f"{side}.mha")) for side in ("fixed", "moving"))
    found = ants.registration(
        fixed,
        moving,
        type_of_transform="SyNOnly",
        initial_transform="identity",
        syn_metric="mattes",
        reg_iterations=(100, 70, 50, 20),
        outprefix=str(folder / "syn-"),
    )
    warps = [file for file in found["fwdtransforms"] if file.endswith(".nii.gz")]
    if len(warps) != 1:
        raise RuntimeError(f"SyN wrote {found['fwdtransforms']}")
    return sitk.ReadImage(warps[0], sitk.sitkVectorFloat64)


def demons(folder: Path) -> sitk.Image:
    """Symmetric demons (SimpleITK), histograms matched, three levels, as in SimpleITK's notebooks."""
    fixed, moving = (sitk.ReadImage(str(folder / f"{side}.mha"), sitk.sitkFloat32) for side in ("fixed", "moving"))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    moving = sitk.HistogramMatching(moving, fixed, 256, 15, True)
    field = None
    for shrink, iterations in ((4, 100), (2, 60), (1, 30)):
        smooth = [sitk.SmoothingRecursiveGaussian(i, 0.5 * shrink * i.GetSpacing()[0]) for i in (fixed, moving)]
        small = [sitk.Shrink(image, [shrink] * 3) if shrink > 1 else image for image in smooth]
        filter_ = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        filter_.SetNumberOfIterations(iterations)
        filter_.SetSmoothDisplacementField(True)
        filter_.SetStandardDeviations(1.5)
        start = () if field is None else (sitk.Resample(field, small[0]),)
        field = filter_.Execute(*small, *start)
    return field


def convexadam(folder: Path) -> sitk.Image:
    """ConvexAdam: MIND-SSC, coupled convex search, Adam; the package's defaults."""
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    torch.set_num_threads(1)
    fixed, moving = (sitk.ReadImage(str(folder / f"{side}.mha"), sitk.sitkFloat32) for side in ("fixed", "moving"))
    # Displacements in voxels along the axes of the array: k, j, i.
    voxels = convex_adam_pt(fixed, moving, device=torch.device("cpu"), dtype=torch.float32)[..., ::-1]
    to_lps = np.reshape(fixed.GetDirection(), (3, 3)) * np.array(fixed.GetSpacing())
    field = sitk.GetImageFromArray(np.ascontiguousarray(voxels @ to_lps.T, dtype=np.float64), isVector=True)
    field.CopyInformation(fixed)
    return field


PEERS = {"greedy": greedy, "SyN": syn, "demons": demons, "ConvexAdam": convexadam}


def main(words: list[str]) -> int:
    """Run the peer ``words[0]`` in the folder ``words[1]``."""
    folder = Path(words[1])
    field = PEERS[words[0]](folder)
    sitk.WriteImage(sitk.Cast(field, sitk.sitkVectorFloat64), str(folder / "field.mha"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
