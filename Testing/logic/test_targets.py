"""Targets of the MR: read from files that others write, carried over, written for others to read."""

import csv
import json
import os
import struct

import numpy as np
import pytest
import samples
import SimpleITK as sitk

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.imageio import image_from_volume, write_volume
from LandmarkFusionLogic.points import Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.rigid.landmarks import fit_landmarks
from LandmarkFusionLogic.targets import (
    MODEL,
    POINT,
    SEGMENT,
    Target,
    carry_over,
    read_targets,
    write_csv,
    write_targets,
)
from LandmarkFusionLogic.volume import Volume

TRIANGLES = np.array([[[1, 2, 3], [4, 2, 3], [1, 6, 3]], [[1, 2, 3], [4, 2, 3], [1, 2, 9.5]]])  # LPS
CORNERS_RAS = np.array([[-1, -2, 3], [-4, -2, 3], [-1, -6, 3], [-1, -2, 9.5]])


def _fit():
    mr = samples.prostate_points()
    truth = samples.random_rigid(np.random.default_rng(7))
    return fit_landmarks(mr, [Landmark(p.name, apply(truth, p.position)) for p in mr])


def _markups(path, system, *points, status="defined"):
    control = [{"label": label, "position": list(at), "positionStatus": status} for label, at in points]
    data = {"markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": control}]}
    path.write_text(json.dumps(data))
    return path


def _binary_stl(path, header=b"any program"):
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *facet.ravel(), 0) for facet in TRIANGLES)
    path.write_bytes(header.ljust(80) + struct.pack("<I", len(TRIANGLES)) + body)
    return path


def _text_stl(path, title="solid x"):
    facets = "".join(
        "facet normal 0 0 1\n outer loop\n"
        + "".join(f"  vertex {a:e} {b:e} {c:e}\n" for a, b, c in facet)
        + " endloop\nendfacet\n"
        for facet in TRIANGLES
    )
    path.write_text(f"{title}\n{facets}endsolid\n")
    return path


def test_points_are_read_in_ras_whatever_their_file_holds(tmp_path):
    lps = read_targets(_markups(tmp_path / "a.mrk.json", "LPS", ("ROI", (1, 2, 3)), ("ROI", (4, 5, 6))))
    ras = read_targets(_markups(tmp_path / "b.mrk.json", "RAS", ("ROI", (-1, -2, 3)), ("ROI", (-4, -5, 6))))
    for one, other in zip(lps, ras, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(lps[0].points, [[-1, -2, 3]])
    assert [t.kind for t in lps] == [POINT, POINT]


@pytest.mark.parametrize("write", [_binary_stl, _text_stl])
def test_surfaces_are_lps_unless_their_header_says_ras(tmp_path, write):
    (target,) = read_targets(write(tmp_path / "Target3.stl"))
    np.testing.assert_allclose(target.points, CORNERS_RAS)
    assert (target.name, target.kind) == ("Target3", MODEL)
    title = b"Written by Slicer. SPACE=RAS" if write is _binary_stl else "solid Written by Slicer. SPACE=RAS"
    (target,) = read_targets(write(tmp_path / "s.STL", title))
    np.testing.assert_allclose(target.points, CORNERS_RAS * [-1, -1, 1])
    assert target.name == "Target"  # a file's name may be the patient's


def test_a_binary_surface_may_begin_with_the_word_of_the_text_form(tmp_path):
    (target,) = read_targets(_binary_stl(tmp_path / "a.stl", b"solid exported"))
    assert len(target.points) == 4


def test_a_surface_that_vtk_writes_is_read_alike(tmp_path):
    vtk = pytest.importorskip("vtk")
    ball = vtk.vtkSphereSource()
    ball.SetCenter(10, -20, 30)
    writer = vtk.vtkSTLWriter()
    writer.SetInputConnection(ball.GetOutputPort())
    for mode in ("SetFileTypeToBinary", "SetFileTypeToASCII"):
        getattr(writer, mode)()
        writer.SetFileName(os.fspath(tmp_path / "ball.stl"))
        writer.Write()
        (target,) = read_targets(tmp_path / "ball.stl")
        np.testing.assert_allclose(target.centre, [-10, 20, 30], atol=1e-4)
        assert len(target.points) == ball.GetOutput().GetNumberOfPoints()


def test_each_label_of_a_mask_is_a_target(tmp_path):
    mask = np.zeros((8, 9, 10), np.uint8)
    mask[2, 3, 4], mask[5:7, 6, 7] = 1, 4
    volume = Volume(mask, samples.affine((1.0, 2.0, 3.0), samples.OBLIQUE, (5.0, -6.0, 7.0)))
    for suffix in ("nrrd", "nii.gz"):
        write_volume(tmp_path / f"lesions.{suffix}", volume)
        first, second = read_targets(tmp_path / f"lesions.{suffix}")
        np.testing.assert_allclose(first.points, apply(volume.ijk_to_ras, [[4, 3, 2]]), atol=1e-4)
        np.testing.assert_allclose(second.centre, apply(volume.ijk_to_ras, [7, 6, 5.5]), atol=1e-4)
        assert (first.name, second.name, second.kind) == ("Target 1", "Target 2", SEGMENT)


def test_a_segmentation_of_slicer_keeps_its_names_and_layers(tmp_path):
    layers = np.zeros((8, 9, 10, 2), np.uint8)
    layers[2, 3, 4, 0], layers[2, 3, 4, 1], layers[7, 7, 7, 1] = 1, 1, 2
    image = sitk.GetImageFromArray(layers, isVector=True)
    parts = (("Prostate, left", 0, 1), ("Lesion A", 1, 1), ("Lesion B", 1, 2))
    for number, (name, layer, label) in enumerate(parts):
        for key, value in (("Name", name), ("Layer", layer), ("LabelValue", label)):
            image.SetMetaData(f"Segment{number}_{key}", str(value))
    sitk.WriteImage(image, os.fspath(tmp_path / "x.seg.nrrd"))
    assert [t.name for t in read_targets(tmp_path / "x.seg.nrrd")] == ["Prostate, left", "Lesion A", "Lesion B"]


def test_carried_targets_lie_where_the_fit_puts_them_with_its_error():
    fit = _fit()
    points = np.random.default_rng(1).normal(scale=4, size=(30, 3)) + [9, -6, 2]
    lesion, far = carry_over([Target("Lesion", points, SEGMENT), Target("Far", np.array([[90.0, 0, 0]]))], fit)
    np.testing.assert_allclose(lesion.points, apply(fit.mr_to_us, points))
    np.testing.assert_allclose(lesion.centre, lesion.points.mean(axis=0))
    np.testing.assert_allclose(lesion.mr_centre, points.mean(axis=0))
    assert lesion.expected_error == pytest.approx(fit.expected_error(points.mean(axis=0)[None])[0])
    assert far.expected_error > lesion.expected_error > 0


def test_equal_names_are_numbered():
    fit, place = _fit(), np.zeros((1, 3))
    names = [t.name for t in carry_over([Target(n, place) for n in ("A", "A", "", "A", "A 2", " ")], fit)]
    assert names == ["A", "A 2", "Target", "A 3", "A 2 2", "Target 2"]


def test_written_lists_are_read_back(tmp_path):
    fit = _fit()
    carried = carry_over([Target('Left, "big"', np.array([[5.0, 6, 7]])), Target("µ", np.ones((4, 3)), SEGMENT)], fit)
    write_targets(tmp_path / "t.mrk.json", carried)
    again = read_targets(tmp_path / "t.mrk.json")
    for one, other in zip(carried, again, strict=True):
        assert one.name == other.name
        np.testing.assert_allclose(one.centre, other.centre)
    stored = json.loads((tmp_path / "t.mrk.json").read_text(encoding="utf-8"))["markups"][0]["controlPoints"]
    assert stored[0]["description"] == f"expected error {carried[0].expected_error:.1f} mm (rms)"
    write_csv(tmp_path / "t.csv", carried)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ['Left, "big"', "µ"]
    np.testing.assert_allclose([float(rows[0][f"us_{a}_mm"]) for a in "ras"], carried[0].centre, atol=1e-3)
    np.testing.assert_allclose([float(rows[0][f"mr_{a}_mm"]) for a in "ras"], [5, 6, 7])
    assert float(rows[1]["expected_error_rms_mm"]) == pytest.approx(carried[1].expected_error, abs=0.01)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("missing.stl", None, "does not exist"),
        ("empty.stl", b"", "no STL file or is damaged"),
        ("short.stl", b"h" * 80 + struct.pack("<I", 7) + b"x" * 60, "no STL file or is damaged"),
        ("text.stl", b"solid x\nfacet\nvertex 1 2\nendsolid", "no STL file or is damaged"),
        ("letters.stl", b"solid x\nvertex a b c\nvertex 1 2 3\nvertex 1 2 3\n", "no STL file or is damaged"),
        ("nan.stl", b"solid x\nvertex nan 0 0\nvertex 1 2 3\nvertex 1 2 3\n", "no STL file or is damaged"),
        ("metres.stl", b"solid x\nvertex 5000 0 0\nvertex 1 2 3\nvertex 1 2 3\n", "measures 4999 mm"),
        ("broken.mrk.json", b"{", "not a Slicer markups file"),
        ("none.mrk.json", b'{"markups": []}', "no placed points"),
        ("letter.txt", b"Dear colleague", "holds no targets that can be read"),
        ("zero.nrrd", b"", "holds no targets that can be read"),
    ],
)
def test_files_that_hold_no_target_are_refused_in_one_sentence(tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_targets(tmp_path / name)
    assert os.fspath(tmp_path) not in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_images_empty_masks_and_folders_are_refused(tmp_path):
    write_volume(tmp_path / "image.nrrd", samples.volume())
    with pytest.raises(InputError, match="is an image and no mask"):
        read_targets(tmp_path / "image.nrrd")
    half = np.zeros((6, 6, 6), np.float32)
    half[3, 3, 3] = 0.5
    write_volume(tmp_path / "probability.nrrd", Volume(half, np.eye(4)))
    with pytest.raises(InputError, match="is an image and no mask"):
        read_targets(tmp_path / "probability.nrrd")
    sitk.WriteImage(
        image_from_volume(Volume(np.zeros((6, 6, 6), np.uint8), np.eye(4))), os.fspath(tmp_path / "0.nrrd")
    )
    with pytest.raises(InputError, match="is empty"):
        read_targets(tmp_path / "0.nrrd")
    with pytest.raises(InputError, match="holds no targets that can be read"):
        read_targets(tmp_path)
    _markups(tmp_path / "u.mrk.json", "LPS", ("A", (0, 0, 0)), status="undefined")
    with pytest.raises(InputError, match="no placed points"):
        read_targets(tmp_path / "u.mrk.json")


def test_a_target_without_a_place_is_refused():
    for points in (np.zeros((0, 3)), np.full((1, 3), np.nan), np.zeros(3)):
        with pytest.raises(InputError, match="“L” has no usable position"):
            carry_over([Target("L", points)], _fit())


def test_a_folder_that_takes_no_files_is_said_in_one_sentence(tmp_path):
    carried = carry_over([Target("L", np.zeros((1, 3)))], _fit())
    for write, name in ((write_targets, "t.mrk.json"), (write_csv, "t.csv")):
        with pytest.raises(InputError, match="cannot be written"):
            write(tmp_path / "missing" / name, carried)


@pytest.mark.data
def test_a_published_lesion_is_where_its_label_map_says(data_dir):
    folder = data_dir / "biopsy-names"
    (surface,) = (read_targets(path)[0] for path in folder.glob("*Target1*.STL"))
    (mask,) = (read_targets(path)[0] for path in folder.glob("*Target1*.nii.gz"))
    assert surface.name == "Target1"
    assert np.linalg.norm(surface.centre - mask.centre) < 2
