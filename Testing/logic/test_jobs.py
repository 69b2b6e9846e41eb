"""Requests and results as JSON, and results that appear on disk in one step or not at all."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import samples

from LandmarkFusionLogic import workfolder
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs import (
    DetectRequest,
    DetectResult,
    FuseRequest,
    GlandRecord,
    LandmarkRecord,
    VolumeSource,
    detect,
    from_json,
    landmark,
    load,
    record,
    to_json,
)
from LandmarkFusionLogic.workfolder import replacing

REQUEST = DetectRequest(VolumeSource("a.npy", [[1.0, 0, 0, 0]] * 4), "mr", "cpu")
RESULT = DetectResult("us", [LandmarkRecord("Apex", [1.0, 2.0, 3.0], [[1.0] * 3] * 3, "detected")], "m", "CPU", 0.5)
FUSE = FuseRequest(VolumeSource("a"), VolumeSource("b", series=2), "out", us_flips=["lr"], us_confirmed=True)
CLICKED = DetectRequest(VolumeSource("a"), "us", click=[1.0, 2.0, 3.0], gland_mask=VolumeSource("m"), out="folder")
GLAND = GlandRecord("gland.npy", [[1.0, 0, 0, 0]] * 4, [1.0, 2.0, 3.0], [[1.0] * 3] * 3, 41.5)
CHECKED = replace(RESULT, gland=GLAND, ask_first=["Apex"], disagreement_mm={"Apex": 4.5}, coverage=0.9, kind="own")
AIDED = replace(FUSE, mr_model="m", us_click=[1.0, 2.0, 3.0], mr_gland=VolumeSource("g"), targets=["t"], fit="svd")


@pytest.mark.parametrize("value", [REQUEST, RESULT, FUSE, CLICKED, CHECKED, AIDED])
def test_everything_survives_json(value):
    assert from_json(type(value), json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"modality": None}, "wrong type"),
        ({"modality": 3}, "wrong type"),
        ({"volume": "a.npy"}, "must be an object"),
        ({"volume": {"path": "a", "ijk_to_ras": [["x"]]}}, "wrong type"),
        ({"voltage": 3}, "no field “voltage”"),
        ({"volume": {}}, "needs the field “path”"),
    ],
)
def test_malformed_requests_are_told(change, says):
    with pytest.raises(InputError, match=says):
        from_json(DetectRequest, {**to_json(REQUEST), **change})
    with pytest.raises(InputError):
        from_json(DetectRequest, None)


def test_records_hold_whole_landmarks():
    point = samples.prostate_points(covariance=None)[0]
    back = landmark(from_json(LandmarkRecord, json.loads(json.dumps(to_json(record(point))))))
    assert (back.name, back.state, back.covariance) == (point.name, point.state, None)
    assert back.position.tolist() == point.position.tolist()


def test_an_affine_belongs_to_an_array_and_to_nothing_else():
    with pytest.raises(InputError, match="without its affine"):
        load(VolumeSource("a.npy"), "MR volume")
    with pytest.raises(InputError, match="geometry of its own"):
        load(VolumeSource("a.nrrd", [[1.0]]), "MR volume")


def test_results_appear_at_the_end_and_all_at_once(tmp_path):
    out = tmp_path / "deep" / "results"
    with replacing(out) as folder:
        (folder / "a.txt").write_text("new")
        assert not out.exists()
    assert (out / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path / "deep") == ["results"]
    assert (out.stat().st_mode & 0o777) == ((tmp_path / "deep").stat().st_mode & 0o777)


def test_a_failed_job_leaves_the_disk_as_it_was(tmp_path):
    with pytest.raises(RuntimeError), replacing(tmp_path / "deep" / "results") as folder:
        (folder / "a.txt").write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_other_files_of_an_existing_folder_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "a.txt").write_text("old")
    with replacing(tmp_path) as folder:
        (folder / "a.txt").write_text("new")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "a.txt").read_text() == "new"
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path) as folder:
        (folder / "a.txt").write_text("newer")
        raise KeyboardInterrupt
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_folder_on_another_disk_is_written_through_a_link(tmp_path, monkeypatch):
    """Only what happens inside of the folder is on its disk: no renaming may come from outside."""
    there = tmp_path / "disk" / "results"
    there.mkdir(parents=True)
    (tmp_path / "link").symlink_to(there)
    with replacing(tmp_path / "link") as folder:
        assert folder.parent == there.resolve()
        (folder / "a.txt").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(there) == ["a.txt"]
    monkeypatch.chdir(there)
    with replacing(Path(".")) as folder:
        assert folder.parent == there.resolve()
    assert os.listdir(there) == ["a.txt"]


def test_a_folder_that_may_not_be_looked_at_is_told(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", denied)
    with pytest.raises(InputError, match="cannot be made"), replacing(tmp_path / "results"):
        pass


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"), replacing(tmp_path / "file"):
        pass
    with pytest.raises(InputError, match="cannot be made"), replacing(tmp_path / "file" / "results"):
        pass


def test_an_ending_process_removes_what_it_had_begun(tmp_path):
    with pytest.raises(InputError), replacing(tmp_path / "results") as folder:
        (folder / "a.txt").write_text("half")
        workfolder.remove_open()
        assert os.listdir(tmp_path) == []
        raise FileNotFoundError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("modality", "other"), [("mr", "us"), ("us", "mr")])
def test_detect_warns_of_the_other_modality(tmp_path, modality, other):
    """Simulated images, seen by the shipped classifier, which may miss one; the network is one that knows nothing."""
    from LandmarkFusionLogic.simulation.case import simulate_image

    warned = {modality: 0, other: 0}
    bundles = {name: samples.untrained_bundle(tmp_path / name, name) for name in warned}
    for seed in (15, 16, 17):
        image = simulate_image(seed, modality, 2.5).image
        np.save(tmp_path / "a.npy", np.asarray(image.array))
        source = VolumeSource(str(tmp_path / "a.npy"), image.ijk_to_ras.tolist())
        for name, bundle in bundles.items():
            result = detect(DetectRequest(source, name, "cpu", str(bundle)), lambda *_: None)
            warned[name] += any("not swapped" in text for text in result.warnings)
    assert warned[modality] <= 1
    assert warned[other] >= 2


def test_the_gland_is_handed_over_with_what_is_to_be_known(tmp_path):
    """A simulated ultrasound seen by the network that ships, with a click that is near enough."""
    from LandmarkFusionLogic.gland import gland_of_mask
    from LandmarkFusionLogic.simulation.case import simulate_image

    simulated = simulate_image(15, "us", 2.0)
    np.save(tmp_path / "a.npy", np.asarray(simulated.image.array))
    source = VolumeSource(str(tmp_path / "a.npy"), simulated.image.ijk_to_ras.tolist())
    truth = gland_of_mask(simulated.gland)
    click = (truth.centroid + [4.0, -3.0, 5.0]).tolist()
    request = DetectRequest(source, "us", "cpu", "us-landmarks", click, out=str(tmp_path))
    result = from_json(DetectResult, json.loads(json.dumps(to_json(detect(request, lambda *_: None)))))
    probability = np.load(result.gland.path)
    assert probability.dtype == np.float32
    assert 0 <= probability.min() < 0.5 < probability.max() <= 1
    assert np.linalg.norm(result.gland.centroid - truth.centroid) < 10
    assert result.gland.millilitres == pytest.approx(truth.millilitres, rel=0.5)
    assert result.kind == "simulation"
    assert 0.3 < result.coverage <= 1
    assert set(result.ask_first) <= {point.name for point in result.landmarks}
    with pytest.raises(InputError, match="folder for the gland is not there"):
        detect(replace(request, out=str(tmp_path / "none")), lambda *_: None)


def test_an_unknown_modality_is_told():
    with pytest.raises(InputError, match="no modality “ct”"):
        detect(DetectRequest(VolumeSource("a.nrrd"), "ct"), lambda *_: None)
