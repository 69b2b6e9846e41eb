"""Whatever is wrong with an input: exit code 2, one sentence that says so, and nothing changed on disk."""

import contextlib
import os
import shutil
import stat

import numpy as np
import pytest
import samples
import SimpleITK as sitk

from LandmarkFusionLogic.cli import main
from LandmarkFusionLogic.imageio import image_from_volume, write_volume
from LandmarkFusionLogic.markupsfile import write_landmarks


@pytest.fixture
def case(tmp_path):
    """A good pair with landmarks placed by hand, in a folder of its own."""
    folder = tmp_path / "case"
    folder.mkdir()
    for side, seed in (("mr", 0), ("us", 1)):
        volume = samples.volume(shape_ijk=(32, 32, 24), seed=seed)
        write_volume(folder / f"{side}.nrrd", volume)
        write_landmarks(folder / f"{side}.mrk.json", samples.prostate_points(volume.centre))
    return folder


def _arguments(case, **changes):
    arguments = {
        "mr": case / "mr.nrrd",
        "us": case / "us.nrrd",
        "mr-landmarks": case / "mr.mrk.json",
        "us-landmarks": case / "us.mrk.json",
        "out": case.parent / "out",
        **changes,
    }
    return ["fuse", *(f"--{name}={value}" for name, value in arguments.items() if value is not None)]


def _tree(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def _refused(arguments, folder, capfd, says):
    before = _tree(folder)
    assert main(arguments) == 2
    assert _tree(folder) == before
    error = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("[")]
    assert len(error) == 1, error
    assert error[0].startswith("landmarkfusion: ")
    assert error[0].endswith(".")
    assert says in error[0], error[0]


def _image(array, spacing=(2.0, 2.0, 2.0), **options):
    image = sitk.GetImageFromArray(array, **options)
    image.SetSpacing(spacing[: image.GetDimension()] + (1.0,) * (image.GetDimension() - 3))
    return image


def _ramp(*shape, dtype=np.float32):
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape).astype(dtype)


def _spoiled(value):
    array = _ramp(20, 20, 20)
    array[5, 5, 5] = value
    return array


def _nrrd_with_spacing(path, spacing):
    data = _ramp(20, 20, 20).tobytes()
    header = (
        "NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior\nsizes: 20 20 20\n"
        f"space directions: ({spacing},0,0) (0,{spacing},0) (0,0,{spacing})\nkinds: domain domain domain\n"
        "endian: little\nencoding: raw\nspace origin: (0,0,0)\n\n"
    )
    path.write_bytes(header.encode() + data)


BAD_FILES = {
    "empty.nrrd": (lambda p: p.write_bytes(b""), "is an empty file"),
    "words.nrrd": (lambda p: p.write_text("This is not an image."), "not an image that can be read"),
    "letter.docx": (lambda p: p.write_text("PK"), "not an image that can be read"),
    "cut.nrrd": (None, "not an image that can be read"),
    "plane.nrrd": (lambda p: sitk.WriteImage(sitk.GetImageFromArray(_ramp(20, 20)), str(p)), "2D image"),
    "slice.nii.gz": (lambda p: sitk.WriteImage(_image(_ramp(1, 20, 20)), str(p)), "only one slice"),
    "series.nii.gz": (
        lambda p: sitk.WriteImage(sitk.JoinSeries([_image(_ramp(20, 20, 20))] * 3), str(p)),
        "4 dimensions",
    ),
    "color.nrrd": (
        lambda p: sitk.WriteImage(_image(_ramp(20, 20, 20, 3, dtype=np.uint8), isVector=True), str(p)),
        "3 values per voxel",
    ),
    "constant.mha": (lambda p: sitk.WriteImage(_image(np.full((20, 20, 20), 7.0)), str(p)), "same value"),
    "nan.nrrd": (lambda p: sitk.WriteImage(_image(_spoiled(np.nan)), str(p)), "NaN or infinite"),
    "inf.nrrd": (lambda p: sitk.WriteImage(_image(_spoiled(np.inf)), str(p)), "NaN or infinite"),
    "meters.nrrd": (
        lambda p: sitk.WriteImage(_image(_ramp(20, 20, 20), (0.002, 0.002, 0.002)), str(p)),
        "impossible voxel size",
    ),
    "zero.nrrd": (lambda p: _nrrd_with_spacing(p, 0), "voxel size"),
    "huge.nrrd": (
        lambda p: sitk.WriteImage(_image(_ramp(20, 20, 20), (900.0, 900.0, 900.0)), str(p)),
        "impossible voxel size",
    ),
    "tiny.nrrd": (
        lambda p: sitk.WriteImage(_image(_ramp(20, 20, 20), (0.1, 0.1, 0.1)), str(p)),
        "cannot show a prostate",
    ),
}


@pytest.mark.parametrize("side", ["mr", "us"])
@pytest.mark.parametrize("name", BAD_FILES)
def test_an_unusable_volume(case, capfd, name, side):
    make, says = BAD_FILES[name]
    path = case / name
    if make is None:
        path.write_bytes((case / "mr.nrrd").read_bytes()[:2000])
    else:
        make(path)
    _refused(_arguments(case, **{side: path}), case.parent, capfd, says)


def test_a_missing_volume(case, capfd):
    _refused(_arguments(case, mr=case / "none.nrrd"), case.parent, capfd, "The MR volume “none.nrrd” does not exist")


def test_a_folder_without_images(case, capfd):
    (case / "empty").mkdir()
    (case / "empty" / "notes.txt").write_text("nothing")
    _refused(_arguments(case, mr=case / "empty"), case.parent, capfd, "holds no DICOM images")


def test_a_folder_with_several_series(case, capfd):
    for number in (1, 2):
        samples.write_dicom(case / "dicom", samples.volume(seed=number), series=number)
    _refused(_arguments(case, mr=case / "dicom"), case.parent, capfd, "2 DICOM series")
    assert main([*_arguments(case, mr=case / "dicom"), "--mr-series=2"]) == 0


def test_a_series_with_a_damaged_slice(case, capfd):
    folder = samples.write_dicom(case / "dicom", samples.volume())
    victim = sorted(folder.iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:-1500])
    _refused(_arguments(case, mr=folder), case.parent, capfd, "slices are missing")


@contextlib.contextmanager
def _as_nobody():
    """Root may read anything: be somebody else for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_unreadable_folder_and_file(case, capfd, kind):
    path = case / "locked"
    if kind == "folder":
        samples.write_dicom(path, samples.volume())
    else:
        shutil.copy(case / "mr.nrrd", path)
    path.chmod(0)
    for folder in (case, *case.parents[:3]):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    before = {path for path in case.parent.rglob("*") if path.parent.name != "locked"}
    try:
        with _as_nobody():
            assert main(_arguments(case, mr=path)) == 2
    finally:
        path.chmod(0o700)
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert "cannot be opened" in error
    assert "check its permissions" in error
    assert {path for path in case.parent.rglob("*") if path.parent.name != "locked"} == before


def test_the_same_volume_twice(case, capfd):
    _refused(_arguments(case, us=case / "mr.nrrd"), case.parent, capfd, "are the same volume")
    shutil.copy(case / "mr.nrrd", case / "copy.nrrd")
    _refused(_arguments(case, us=case / "copy.nrrd"), case.parent, capfd, "are the same volume")


def test_unusable_landmarks(case, capfd):
    points = samples.prostate_points()
    (case / "words.mrk.json").write_text("words")
    write_landmarks(case / "two.mrk.json", points[:2])
    write_landmarks(case / "double.mrk.json", [*points, points[0]])
    for name, says in (
        ("none.mrk.json", "does not exist"),
        ("words.mrk.json", "is not a Slicer markups file"),
        ("two.mrk.json", "missing: Posterior median in the US."),
        ("double.mrk.json", "Two landmarks are named “Apex”"),
    ):
        _refused(_arguments(case, **{"us-landmarks": case / name}), case.parent, capfd, says)


def test_unknown_devices(case, capfd):
    _refused(_arguments(case, device="tpu", **{"mr-landmarks": None}), case.parent, capfd, "no device “tpu”")
    _refused(_arguments(case, device="tpu"), case.parent, capfd, "no device “tpu”")


def test_an_output_that_is_a_file(case, capfd):
    (case / "taken").write_text("")
    _refused(_arguments(case, out=case / "taken"), case.parent, capfd, "is a file; choose a folder")


def test_a_corrupted_network(case, capfd, tmp_path):
    bundle = samples.untrained_bundle(tmp_path / "mine")
    weights = bundle / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:-100])
    arguments = ["detect", str(case / "mr.nrrd"), "--modality=mr", f"--out={case / 'a.mrk.json'}", f"--model={bundle}"]
    _refused(arguments, case.parent, capfd, "is damaged or made for another version")


def test_an_output_nobody_can_write(case, capfd):
    for out in (case / "no" / "a.mrk.json", case / "a.txt", case):
        arguments = ["detect", str(case / "mr.nrrd"), "--modality=mr", f"--out={out}"]
        _refused(arguments, case.parent, capfd, "cannot be written")


def test_impossible_seeds(tmp_path, capfd):
    _refused(["simulate", "--seed=-1", f"--out={tmp_path / 'out'}"], tmp_path, capfd, "cannot have the number -1")


def test_sheared_nifti(case, capfd):
    import struct

    sitk.WriteImage(image_from_volume(samples.volume()), str(case / "a.nii"))
    data = bytearray((case / "a.nii").read_bytes())
    struct.pack_into("<hh", data, 252, 0, 1)  # no quaternion, an affine
    struct.pack_into("<12f", data, 280, 1.5, 0.9, 0, 0, 0, 1.5, 0, 0, 0, 0, 2, 0)
    (case / "a.nii").write_bytes(data)
    _refused(_arguments(case, mr=case / "a.nii"), case.parent, capfd, "not at right angles")
