"""What the tags of DICOM X-rays say of the C-arm, of gray values and of the valid area."""

import numpy as np
import projectionsamples
import pytest

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.carm import carm
from LandmarkFusionLogic.projection.dicomgeometry import bones_of, geometry_of, intensity_of, needed_geometry
from LandmarkFusionLogic.projection.polarity import brighten
from LandmarkFusionLogic.projection.xrayfile import read_xray, resized


@pytest.fixture(scope="module")
def integrals():
    return projectionsamples.xray(projectionsamples.ct(), (5.0, -4.0, 3.0, 10.0, -5.0, 20.0))


def _write(path, integrals, **tags):
    return projectionsamples.write_dicom_xray(path / "x.dcm", projectionsamples.as_counts(integrals), **tags)


def _geometry(path, integrals, **tags):
    xray = read_xray(_write(path, integrals, **tags))
    return geometry_of(xray.tags, *xray.values.shape)


def test_the_geometry_of_a_file_that_tells_all(tmp_path, integrals):
    found = _geometry(
        tmp_path,
        integrals,
        ImagerPixelSpacing=[0.4, 0.2],
        PixelSpacing=[0.3, 0.15],
        DistanceSourceToPatient=765.0,
        PositionerPrimaryAngle=-30.5,
        PositionerSecondaryAngle=12.0,
        FieldOfViewHorizontalFlip="YES",
    )
    arm = carm(found.data)
    assert arm.geometry.sdd == 1000.0
    assert arm.geometry.spacing == (0.4, 0.2)
    assert arm.geometry.source_to_isocenter == 765.0
    assert arm.geometry.mirrored
    assert arm.angles == (-30.5, 12.0)
    assert (arm.geometry.rows, arm.geometry.columns) == integrals.shape
    assert found.sources["spacing"] == "ImagerPixelSpacing (0018,1164)"
    assert found.sources["sdd"] == "DistanceSourceToDetector (0018,1110)"
    assert found.sources["mirrored"] == "FieldOfViewHorizontalFlip (0018,7034)"
    assert found.warnings == []


def test_pixel_spacing_stands_in_with_a_warning(tmp_path, integrals):
    found = _geometry(tmp_path, integrals, ImagerPixelSpacing=None, PixelSpacing=[0.3, 0.15])
    assert found.data["spacing"] == [0.3, 0.15]
    assert "PixelSpacing" in found.warnings[0]


def test_a_corrected_pixel_spacing_is_brought_back_to_the_detector(tmp_path, integrals):
    found = _geometry(
        tmp_path,
        integrals,
        ImagerPixelSpacing=None,
        PixelSpacing=[0.2, 0.2],
        PixelSpacingCalibrationType="GEOMETRY",
        EstimatedRadiographicMagnificationFactor=1.5,
    )
    assert found.data["spacing"] == pytest.approx([0.3, 0.3])
    assert found.warnings == []


@pytest.mark.parametrize("distance", [0.0, 1200.0, 100.0])
def test_a_distance_to_the_patient_that_cannot_be_is_left_out(tmp_path, integrals, distance):
    assert "source_to_isocenter" not in _geometry(tmp_path, integrals, DistanceSourceToPatient=distance).data


@pytest.mark.parametrize(("letter", "angle", "mirrored"), [("L", 0, True), ("R", 0, False), ("L", 180, False)])
def test_the_patients_left_tells_whether_columns_run_the_other_way(tmp_path, integrals, letter, angle, mirrored):
    """With the detector in front, who stands at the source sees the patient's right on the right."""
    found = _geometry(
        tmp_path,
        integrals,
        PatientOrientation=[letter, "F"],
        PositionerPrimaryAngle=angle,
        PositionerSecondaryAngle=0,
        FieldOfViewHorizontalFlip="NO",
    )
    assert found.data["mirrored"] is mirrored


def test_what_is_missing_is_named(tmp_path, integrals):
    path = _write(tmp_path, integrals, DistanceSourceToDetector=None, ImagerPixelSpacing=None)
    xray = read_xray(path)
    with pytest.raises(InputError, match="has no DistanceSourceToDetector and no ImagerPixelSpacing; give"):
        needed_geometry(xray.tags, *xray.values.shape, "X-ray")
    with pytest.raises(InputError, match="says nothing of the C-arm"):
        needed_geometry({}, 64, 64, "X-ray")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_intensities_of_the_beam_become_line_integrals(tmp_path, integrals, photometric):
    """MONOCHROME1 says how to show the values, not what they are; ITK turns such images over, and it is undone."""
    xray = read_xray(
        _write(tmp_path, integrals, PixelIntensityRelationship="LIN", PhotometricInterpretation=photometric)
    )
    assert xray.modality == "XA"
    np.testing.assert_array_equal(xray.values, projectionsamples.as_counts(integrals))
    found = brighten(xray)
    assert (found.bones, found.guessed) == ("dark", False)
    np.testing.assert_allclose(found.image * 2, integrals - integrals.min(), atol=0.01)


def test_monochrome1_with_fewer_bits_and_a_rescale(tmp_path):
    import pydicom

    stored = (np.arange(64 * 64).reshape(64, 64) * 7) % 4096
    path = projectionsamples.write_dicom_xray(tmp_path / "x.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    data = pydicom.dcmread(path)
    data.BitsStored, data.HighBit, data.RescaleSlope, data.RescaleIntercept = 12, 11, 2, -5
    data.save_as(path)
    np.testing.assert_array_equal(read_xray(path).values, stored * 2 - 5)


@pytest.mark.parametrize(
    ("tags", "bones", "intensity"),
    [
        ({"0028|1040": "LIN"}, "dark", "linear"),
        ({"0028|1040": "LOG "}, "dark", "log"),
        ({"0028|1040": "LOG", "0028|1041": "-1"}, "bright", "log"),
        ({"0028|1040": "LIN", "0028|1041": "1", "0008|0060": "DX"}, "dark", "linear"),
        ({"0008|0060": "DX", "0028|0004": "MONOCHROME2"}, "bright", None),
        ({"0008|0060": "CR", "0028|0004": "MONOCHROME1"}, "dark", None),
        ({"0008|0060": "XA", "0028|0004": "MONOCHROME2"}, None, None),
        ({"0028|1040": "DISP", "0028|0004": "MONOCHROME1"}, "dark", "log"),
    ],
)
def test_what_tags_say_of_gray_values(tags, bones, intensity):
    assert bones_of(tags) == bones
    assert intensity_of(tags) == intensity


def test_a_rectangular_collimator_and_a_round_shutter(tmp_path, integrals):
    xray = read_xray(
        _write(
            tmp_path,
            integrals,
            CollimatorShape="RECTANGULAR",
            CollimatorLeftVerticalEdge=5,
            CollimatorRightVerticalEdge=60,
            CollimatorUpperHorizontalEdge=10,
            CollimatorLowerHorizontalEdge=50,
            ShutterShape="CIRCULAR",
            CenterOfCircularShutter=[30, 40],
            RadiusOfCircularShutter=25,
        )
    )
    row, column = np.indices((64, 64)) + 1
    expected = (column > 6) & (column < 59) & (row > 11) & (row < 49) & (np.hypot(row - 30, column - 40) < 24)
    np.testing.assert_array_equal(xray.mask, expected)
    small = resized(xray, 32, 32)
    assert small.mask.shape == (32, 32)
    assert small.mask.mean() == pytest.approx(expected.mean(), abs=0.03)


def test_a_collimator_of_many_corners(tmp_path, integrals):
    tags = {"CollimatorShape": "POLYGONAL", "VerticesOfThePolygonalCollimator": [1, 1, 1, 64, 64, 1]}
    mask = read_xray(_write(tmp_path, integrals, **tags)).mask
    assert mask[5, 5]
    assert mask[5, 50]
    assert not mask[50, 50]
    assert mask.mean() == pytest.approx(0.5, abs=0.05)


def test_color_and_several_frames_are_refused(tmp_path, integrals):
    color = np.zeros((64, 64, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="color image"):
        read_xray(projectionsamples.write_dicom_xray(tmp_path / "color.dcm", color))
    with pytest.raises(InputError, match="modality CT"):
        read_xray(_write(tmp_path, integrals, Modality="CT"))
    counts = projectionsamples.as_counts(integrals)
    run = projectionsamples.write_dicom_xray(tmp_path / "run.dcm", np.stack([counts, counts // 2, counts // 3]))
    with pytest.raises(InputError, match="has 3 frames"):
        read_xray(run)
    np.testing.assert_array_equal(read_xray(run, frame=2).values, counts // 2)
