"""Real images from the folder that LANDMARKFUSION_DATA names: all go through ``fuse``; their errors are printed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from LandmarkFusionLogic.datasets.mrus27 import is_development, true_landmarks
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.cases import apex_and_neck_difference, describe_cases, evaluate_cases
from LandmarkFusionLogic.evaluation.errors import Finding
from LandmarkFusionLogic.imageio import read_volume
from LandmarkFusionLogic.jobs import FuseRequest, VolumeSource, fuse
from LandmarkFusionLogic.markupsfile import read_landmarks

DATA = os.environ.get("LANDMARKFUSION_DATA")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA, reason="LANDMARKFUSION_DATA does not name the folder of the real images"),
]
FOLDER = Path(DATA or ".")
CASES = sorted(path.name for path in (FOLDER / "mrus-27").glob("case*"))
MRS = sorted(path.name for path in (FOLDER / "prostate-mr").glob("Prostate*"))


def _fuse(mr, us, out):
    # The networks that have not seen these images, whatever the default is.
    models = {"mr_model": "mr-landmarks", "us_model": "us-landmarks"}
    result = fuse(FuseRequest(VolumeSource(str(mr)), VolumeSource(str(us)), str(out), **models), lambda *_: None)
    matrix = np.array(result.mr_to_us)
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-8)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)
    assert {path.name for path in out.iterdir()} == set(result.files)
    return result


def test_the_images_are_there():
    assert len(CASES) == 27
    assert len(MRS) == 4


@pytest.mark.slow
def test_every_pair_of_mrus_27_goes_through_fuse_and_its_errors_are_printed(tmp_path, capsys):
    findings = []
    for case in CASES:
        folder = FOLDER / "mrus-27" / case
        _fuse(folder / "mr.nrrd", folder / "us.nrrd", tmp_path / case)
        for modality in ("mr", "us"):
            volume = read_volume(folder / f"{modality}.nrrd")
            points = read_landmarks(tmp_path / case / f"{modality}-landmarks.mrk.json")
            found = {point.name: point.position for point in points}
            findings += [
                Finding(case, modality, name, found[name], true, volume.centre)
                for name, true in true_landmarks(folder, modality).items()
            ]
            # No landmark may be lost: however wrong, it lies near the volume.
            reach = np.linalg.norm(volume.spacing * volume.shape_ijk)
            assert all(np.linalg.norm(position - volume.centre) < reach for position in found.values())
    with capsys.disabled():
        print("\n" + describe_cases(findings))
    final = [finding for finding in findings if not is_development(Path(finding.case))]
    _, _, high = apex_and_neck_difference(findings, final, "mr")
    assert high < 0, "in real MR, simulation alone is to do better than the mean position"


@pytest.mark.parametrize("name", MRS)
def test_every_prostate_mr_goes_through_fuse(tmp_path, name):
    us = FOLDER / "mrus-27" / CASES[0] / "us.nrrd"
    result = _fuse(FOLDER / "prostate-mr" / name, us, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["images"]["mr"]["size_ijk"][:2] == [384, 384]
    text = json.dumps(report) + " ".join(result.warnings)
    assert "Prostate3T" not in text
    assert "ProstateX" not in text


def test_a_swapped_pair_is_warned_of_and_a_right_one_is_not(tmp_path):
    folder = FOLDER / "mrus-27" / CASES[0]
    right = _fuse(folder / "mr.nrrd", folder / "us.nrrd", tmp_path / "right")
    assert not any("swapped" in text for text in right.warnings)
    wrong = _fuse(folder / "us.nrrd", folder / "mr.nrrd", tmp_path / "wrong")
    assert sum("are not swapped" in text for text in wrong.warnings) == 2


def test_dicom_and_nifti_of_one_patient_give_the_same_landmarks(tmp_path):
    us = FOLDER / "mrus-27" / CASES[0] / "us.nrrd"
    found = []
    for name in ("ProstateX-0000-t2-tra-dicom", "ProstateX-0000-t2-tra.nii.gz"):
        _fuse(FOLDER / "prostate-mr" / name, us, tmp_path / name)
        found.append(read_landmarks(tmp_path / name / "mr-landmarks.mrk.json"))
    for a, b in zip(*found, strict=True):
        assert np.linalg.norm(a.position - b.position) < 0.5


def test_the_evaluation_asks_for_its_folder(tmp_path):
    with pytest.raises(InputError, match="holds no mrus-27 cases"):
        evaluate_cases(tmp_path, "cpu", lambda *_: None)
