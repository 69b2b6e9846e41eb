"""Around elastix: presets, where it is looked for, its log, its failures."""

import os
import sys
from pathlib import Path

import pytest

from LandmarkFusionLogic.deformable import executables, failures, parameters
from LandmarkFusionLogic.deformable.log import LogReader
from LandmarkFusionLogic.errors import InputError

PRINTED = (
    """
(AutomaticTransformInitializationMethod "Origins")
(MaximumNumberOfIterations 1024)
(NumberOfSamplesForExactGradient 4096)
(NumberOfSpatialSamples 4096)
(Optimizer "AdaptiveStochasticGradientDescent")
""",
    """
(FinalGridSpacingInPhysicalUnits 8)
(MaximumNumberOfIterations 300 600 900 1200)
(Metric "AdvancedMattesMutualInformation" "TransformBendingEnergyPenalty" "CorrespondingPointsEuclideanDistanceMetric")
(Metric2Weight 0.01)
(NumberOfSpatialSamples 5000 5000 5000 5000)
(Optimizer "StandardGradientDescent")
(SP_A 100 200 300 400)
(SP_a 35000 30000 25000 20000)
(SP_alpha 0.602 0.602 0.602 0.602)
""",
)


@pytest.mark.parametrize("stage", [0, 1])
def test_the_papers_preset_holds_what_is_printed(stage):
    found = parameters.preset("paper")[stage]
    for name, values in parameters.parse(PRINTED[stage]).values.items():
        assert found.values[name] == values


def test_a_preset_says_how_long_it_runs():
    affine, bspline = parameters.preset("paper")
    assert [affine.iterations(level) for level in range(affine.resolutions)] == [1024] * 4
    assert [bspline.iterations(level) for level in range(bspline.resolutions)] == [300, 600, 900, 1200]
    with pytest.raises(InputError, match="fast or paper"):
        parameters.preset("slow")


@pytest.mark.parametrize("name", parameters.PRESETS)
def test_without_points_their_metric_is_gone(name):
    bspline = parameters.preset(name)[1]
    free = bspline.without_points()
    assert len(free.values["Metric"]) == 2
    assert len(free.values["ImageSampler"]) in (1, 2)
    assert len(bspline.values["Metric"]) == 3


def test_parameters_are_changed_and_written(tmp_path):
    changed = parameters.preset("fast")[1].changed({"Metric2Weight": 0.1, "Transform": "BSplineTransform"})
    changed.write(tmp_path / "p.txt")
    again = parameters.parse((tmp_path / "p.txt").read_text())
    assert again == changed
    assert again.get("Metric2Weight") == "0.1"
    assert again.values["Transform"] == ('"BSplineTransform"',)
    with pytest.raises(ValueError, match="no parameter"):
        parameters.parse("no parameter")


# Where elastix is


@pytest.fixture
def program(tmp_path):
    """An elastix program that can be run, in a folder of its own."""
    folder = tmp_path / "extension" / "bin"
    folder.mkdir(parents=True)
    path = folder / executables._NAME
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    return path


def test_a_program_or_its_folder_can_be_set(program):
    for setting in (program, program.parent):
        found = executables.find(str(setting))
        assert found.command == (str(program),)
    with pytest.raises(InputError, match="holds no elastix program"):
        executables.find(str(program.parent.parent))


def test_slicerelastix_comes_before_the_search_path(program, monkeypatch):
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    assert executables.find().origin == "the search path"
    modules = program.parent.parent / "lib" / "Slicer-5.12" / "qt-scripted-modules"
    modules.mkdir(parents=True)
    (modules / "Elastix.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(modules)])
    found = executables.find()
    assert found.origin == "SlicerElastix"
    assert Path(found.command[0]).samefile(program)


def test_the_python_package_is_the_last_resort(monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = executables.find()
    assert found.origin == "the Python package itk-elastix"
    assert found.environment["ITK_GLOBAL_DEFAULT_THREADER"] == "Pool"


def test_the_ways_to_get_elastix_are_named_where_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(executables, "_has_package", lambda: False)
    with pytest.raises(InputError, match=r"SlicerElastix.*itk-elastix.*program"):
        executables.find()


def test_slicers_own_libraries_are_kept_out(program, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/own")
    assert executables.find(str(program)).environment["LD_LIBRARY_PATH"] == "/own"
    monkeypatch.setenv("SLICER_HOME", "/slicer")
    monkeypatch.setenv("ITK_AUTOLOAD_PATH", "/slicer/plugins")
    monkeypatch.setenv("PYTHONHOME", "/slicer/python")
    (program.parent / "libANNlib-5.1.so").touch()
    environment = executables.find(str(program)).environment
    assert not {"ITK_AUTOLOAD_PATH", "PYTHONHOME"} & set(environment)
    assert environment[executables._LIBRARIES] == str(program.parent)


# Log and failures


def test_the_log_tells_stage_resolution_iteration_and_metric():
    stages = parameters.preset("fast")
    reader = LogReader(stages)
    assert reader.describe() == "Starting elastix"
    lines = ["Resolution: 0", "1:ItNr\t2:Metric\t3a:Time", "0\t-0.9\t1", "249\t-1.1\t2", "Stopping condition"]
    found = [reader.read(line) for line in lines]
    assert (found[3].stage, found[3].resolution, found[3].iteration, found[3].metric) == ("affine", 0, 249, -1.1)
    early = reader.fraction
    for line in ("Resolution: 1", "Resolution: 2", "Resolution: 0", "1:ItNr\t2:Metric\t2:Metric0", "7\t-0.5\t-0.6"):
        last = reader.read(line)
    assert (last.stage, last.iteration, last.metric) == ("deformable", 7, -0.5)
    assert reader.describe() == "Deformable registration, resolution 1 of 3"
    assert 0 < early < reader.fraction < 0.2
    for line in ("Resolution: 1", "Resolution: 2", "1:ItNr\t2:Metric", "249\tnan"):
        reader.read(line)
    assert reader.fraction == pytest.approx(1)


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        (
            "itk::ExceptionObject\nDescription: Too many samples map outside moving image",
            1,
            "initial",
        ),
        ("ERROR: Could not find enough image samples within reasonable time.", 1, "larger masks"),
        ("ERROR: The number of pixels along dimension 1 is less than 4.", 1, "few voxels"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", -6, failures.OUT_OF_MEMORY),
        ("Error: write failed: No space left on device", 1, "disk is full"),
        ("elastix: error while loading shared libraries: libANNlib.so: cannot open", 127, "install it again"),
        ("Resolution: 0", -11, "crashed"),
        ("Resolution: 0", -9, "memory"),
        ("Resolution: 0", 0, "without writing a transform"),
        ("Resolution: 0", 5, r"error \(5\)"),
        # Warnings of a run that went on are no reason.
        ("WARNING: no valid voxels\nResolution: 0", 5, r"error \(5\)"),
    ],
)
def test_failures_are_told_in_plain_words(log, code, said):
    import re

    assert re.search(said, failures.explain(log, code))
