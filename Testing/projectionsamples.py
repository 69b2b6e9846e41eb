"""A small trunk with a spine as CT, a C-arm, and X-rays of it as files, DICOM too; all made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from LandmarkFusionLogic.volume import Volume

GEOMETRY = {"sdd": 1000.0, "rows": 64, "columns": 64, "spacing": [3.2, 3.2]}
"""A small detector of 205 mm a side."""


def ct(shape=(40, 40, 40), spacing=4.0, directions=None, origin=(20.0, -40.0, 900.0)) -> Volume:
    """A trunk of soft tissue with vertebrae, ribs and a gas bubble in HU, int16; nothing in it is symmetric."""
    rng = np.random.default_rng(3)
    affine = np.eye(4)
    affine[:3, :3] = (np.diag([-1.0, -1.0, 1.0]) if directions is None else directions) * spacing
    affine[:3, 3] = origin
    size = np.array(shape[::-1]) * spacing
    k, j, i = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * spacing for n in shape), indexing="ij")
    values = np.full(shape, -1000.0)
    body = (i / (0.46 * size[0])) ** 2 + (j / (0.4 * size[1])) ** 2 < 1
    values[body] = 40.0
    for number, height in enumerate(np.arange(-0.4, 0.45, 0.2) * size[2]):
        lean = 3.0 * number - 4.0
        vertebra = (np.hypot(i - lean, j - 22.0) < 17) & (np.abs(k - height) < 11)
        process = (np.abs(i - lean) < 4) & (np.abs(j - 44) < 14) & (np.abs(k - height + 5) < 6)
        side = (np.abs(i - lean) < 34) & (np.abs(j - 34) < 5) & (np.abs(k - height) < 4)
        values[vertebra & body] = 450.0
        values[(process | side) & body] = 700.0
    rib = np.abs(np.hypot(i / 0.9, j) - 0.36 * size[1]) < 4
    values[rib & (np.abs(k - 0.3 * i - 15) < 4) & body] = 600.0
    values[(i + 30) ** 2 + (j + 20) ** 2 + (k - 20) ** 2 < 15**2] = -950.0
    noisy = values + np.where(values > -900, rng.normal(0, 15, shape), 0)
    return Volume(noisy.astype(np.int16), affine)


def xray(volume: Volume, pose=(0.0,) * 6, geometry=None) -> np.ndarray:
    """(rows, columns) float32: the line integrals of ``volume`` at ``pose``."""
    from LandmarkFusionLogic.projection.attenuation import attenuation
    from LandmarkFusionLogic.projection.geometry import Geometry
    from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
    from LandmarkFusionLogic.projection.projector import project

    arm = Geometry.from_json(geometry or GEOMETRY)
    return project(attenuation(volume), arm, ct_to_camera(Pose.of(pose), volume.centre, arm))


def write_dicom_xray(path: Path, values: np.ndarray, **tags) -> Path:
    """``values`` (rows, columns), (frames, rows, columns) or with a last axis of 3, as a DICOM XA image, by pydicom.

    ``tags`` are keywords of DICOM and their values; None leaves one out that is there by default.
    """
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SOPClassUID = XRayAngiographicImageStorage
    data.PatientName, data.PatientID = "Doe^John", "SECRET-4711"
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    color = values.ndim == 3 and values.shape[-1] == 3
    frames = values.shape[0] if values.ndim == 3 and not color else None
    data.Rows, data.Columns = values.shape[1:] if frames else values.shape[:2]
    if frames:
        data.NumberOfFrames = frames
    bits = 8 if color else 16
    data.SamplesPerPixel = 3 if color else 1
    if color:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, 0
    usual = {
        "Modality": "XA",
        "PhotometricInterpretation": "RGB" if color else "MONOCHROME2",
        "DistanceSourceToDetector": GEOMETRY["sdd"],
        "ImagerPixelSpacing": GEOMETRY["spacing"],
    }
    for name, value in {**usual, **tags}.items():
        if value is not None:
            setattr(data, name, value)
    data.PixelData = np.ascontiguousarray(values, dtype=np.uint8 if color else np.uint16).tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def as_counts(integrals: np.ndarray, counts=30000.0) -> np.ndarray:
    """What a detector measures behind line integrals: counts of the open beam, the attenuated ones; uint16."""
    return np.round(counts * np.exp(-integrals / 2)).astype(np.uint16)
