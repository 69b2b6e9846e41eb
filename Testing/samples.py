"""Small volumes, landmarks and networks that the tests share; all made here, none read from disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.points import LANDMARK_NAMES, PLACED, Landmark
from LandmarkFusionLogic.volume import Volume

OBLIQUE = Rotation.from_euler("zyx", [25, -10, 15], degrees=True).as_matrix()


def affine(spacing=(1.0, 1.0, 1.0), directions=None, origin=(0.0, 0.0, 0.0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if directions is None else directions) * np.asarray(spacing)
    matrix[:3, 3] = origin
    return matrix


def volume(
    shape_ijk=(40, 36, 30), spacing=(1.5, 1.5, 2.0), directions=None, origin=(-20.0, 10.0, 5.0), seed=0
) -> Volume:
    """Smooth random voxels, int16, 0..1000."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    array = gaussian_filter(rng.normal(size=shape_ijk[::-1]), 2.0)
    array = (array - array.min()) / (array.max() - array.min()) * 1000
    return Volume(array.astype(np.int16), affine(spacing, directions, origin))


def random_rigid(rng: np.random.Generator, shift_mm: float = 60.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    matrix[:3, 3] = rng.uniform(-shift_mm, shift_mm, 3)
    return matrix


def prostate_points(centre=(0.0, 0.0, 0.0), state=PLACED, covariance=None) -> list[Landmark]:
    """Apex, bladder neck and posterior median of an ordinary gland around ``centre``."""
    offsets = ((0.5, 2.0, -18.0), (-0.5, 6.0, 18.0), (0.0, -15.0, 0.0))
    return [
        Landmark(name, np.asarray(centre, dtype=np.float64) + offset, covariance, state)
        for name, offset in zip(LANDMARK_NAMES, offsets, strict=True)
    ]


def untrained_bundle(folder: Path, modality: str = "mr", widths=(4, 8, 8), grid=(24, 24, 24)) -> Path:
    """A bundle whose network knows nothing, for everything that does not depend on what it knows."""
    import torch

    from LandmarkFusionLogic.landmarks.network import LandmarkNetwork

    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    config = {"landmarks": 3, "widths": list(widths)}
    torch.manual_seed(1)
    torch.save(LandmarkNetwork(**config).state_dict(), folder / "models" / "model.pt")
    metadata = {
        "name": f"untrained-{modality}",
        "version": "0.0.1",
        "modality": modality,
        "network": config,
        "grid": {"spacing_mm": 4.0, "shape": list(grid)},
        "preprocessing": {"lowpass_sigma_mm": 2.0, "percentiles": [1.0, 99.0], "background_fraction": 0.02},
        "landmarks": list(LANDMARK_NAMES),
        "sha256": hashlib.sha256((folder / "models" / "model.pt").read_bytes()).hexdigest(),
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return folder


def write_dicom(folder: Path, volume: Volume, series: int = 1, skip: tuple[int, ...] = ()) -> Path:
    """``volume`` as a DICOM series of one file a slice, written by pydicom, in shuffled file order."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.ijk_to_ras
    directions = lps[:3, :3] / volume.spacing
    study, uid, frame = generate_uid(), generate_uid(), generate_uid()
    order = np.random.default_rng(series).permutation(volume.array.shape[0])
    for number, k in enumerate(order):
        if k in skip:
            continue
        data = pydicom.Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = MRImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.SOPClassUID = MRImageStorage
        data.PatientName, data.PatientID, data.Modality = "Doe^John", "SECRET-4711", "MR"
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, uid, frame
        data.SeriesNumber, data.InstanceNumber, data.SeriesDescription = series, int(k) + 1, f"t2 series {series}"
        data.ImagePositionPatient = [f"{v:.6f}" for v in (lps @ [0, 0, k, 1])[:3]]
        data.ImageOrientationPatient = [f"{v:.9f}" for v in (*directions[:, 0], *directions[:, 1])]
        data.PixelSpacing = [float(volume.spacing[1]), float(volume.spacing[0])]
        data.SliceThickness = float(volume.spacing[2])
        data.Rows, data.Columns = volume.array.shape[1:]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelData = np.ascontiguousarray(volume.array[k], dtype=np.int16).tobytes()
        data.save_as(folder / f"s{series}-{number:03d}.dcm", enforce_file_format=True)
    return folder
