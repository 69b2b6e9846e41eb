"""Coarse to fine, a click or a mask as help, the gland, and what is said to be checked first."""

import dataclasses
import json

import numpy as np
import pytest
import samples
import torch
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.simulated import Trial, show
from LandmarkFusionLogic.gland import gland_of_mask
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.confidence import Calibration
from LandmarkFusionLogic.landmarks.detection import detect_landmarks, detect_with_bundle
from LandmarkFusionLogic.landmarks.network import LandmarkOutput
from LandmarkFusionLogic.landmarks.poses import UPRIGHT_MM, upright_turn
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid
from LandmarkFusionLogic.points import LANDMARK_NAMES
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.simulation.case import simulate_image
from LandmarkFusionLogic.simulation.seeds import VALIDATION
from LandmarkFusionLogic.volume import Volume

torch.set_num_threads(1)
CPU = torch.device("cpu")
QUIET = lambda *_: None  # noqa: E731
AFFINE = samples.affine((1.0, 1.0, 1.0), samples.OBLIQUE, (-40.0, 30.0, 100.0))
SHAPE = (100, 100, 100)
CENTRE = Volume(np.zeros(SHAPE), AFFINE).centre


class Brightest(torch.nn.Module):
    """Heatmaps and gland where the volume is brightest; counts what it is shown."""

    landmarks = 3

    def __init__(self):
        super().__init__()
        self.looks = 0

    def forward(self, x):
        self.looks += 1
        heatmap = (30 * x).flatten(2).softmax(dim=-1).view_as(x)
        return LandmarkOutput(heatmap.expand(-1, 3, -1, -1, -1), 4 * x)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "mr"
    samples.untrained_bundle(folder)
    samples.untrained_bundle(folder / "fine")
    return folder


@pytest.fixture
def finder(folder):
    """Two stages that know what to look for: 4 mm over the whole volume, 2 mm in a crop of 48 mm."""
    bundle = load_bundle(folder)
    fine = dataclasses.replace(bundle.fine, network=Brightest(), grid=InputGrid(2.0, (24, 24, 24)))
    return dataclasses.replace(bundle, network=Brightest(), fine=fine)


def _balls(*balls, shape=SHAPE):
    """Smooth balls of (place, radius, brightness) on a dark ground."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in reversed(shape)), indexing="ij")
    world = apply(AFFINE, np.stack([i, j, k], axis=-1))
    light = sum(b * np.exp(-0.5 * ((world - p) ** 2).sum(-1) / r**2) for p, r, b in balls)
    return Volume(light.astype(np.float32), AFFINE)


PLACE = CENTRE + [22.0, -18.0, 15.0]


def test_the_second_stage_looks_closer(finder):
    volume = _balls((PLACE, 9.0, 1.0))
    found = detect_with_bundle(volume, finder, CPU, QUIET)
    assert (finder.network.looks, finder.fine.network.looks) >= (2, 8)
    for point in found.landmarks:
        assert np.linalg.norm(point.position - PLACE) < 0.7
    alone = detect_with_bundle(volume, dataclasses.replace(finder, fine=None), CPU, QUIET)
    assert np.linalg.norm(alone.landmarks[0].position - PLACE) < 2
    assert set(found.evidence.checks) == {"stages"}
    assert found.evidence.checks["stages"].max() < 3
    assert not alone.evidence.checks


def test_the_gland_lies_where_it_is_in_the_patient(finder):
    found = detect_with_bundle(_balls((PLACE, 9.0, 1.0)), finder, CPU, QUIET)
    np.testing.assert_allclose(found.gland.centroid, PLACE, atol=0.7)
    # Aligned with the patient, whatever the volume's own axes are.
    directions = found.gland.probability.ijk_to_ras[:3, :3]
    np.testing.assert_allclose(directions, np.diag(np.diag(directions)))
    assert found.gland.probability.array.dtype == np.float32
    assert np.linalg.eigvalsh(found.gland.centroid_covariance).min() > 0


def test_a_click_decides_between_two_places(finder):
    faint = CENTRE - [25.0, 20.0, 15.0]
    volume = _balls((PLACE, 9.0, 1.0), (faint, 9.0, 0.6))
    assert np.linalg.norm(detect_with_bundle(volume, finder, CPU, QUIET).landmarks[0].position - PLACE) < 1
    clicked = detect_with_bundle(volume, finder, CPU, QUIET, click=faint + [5.0, -4.0, 3.0])
    assert np.linalg.norm(clicked.landmarks[0].position - faint) < 1
    one_stage = dataclasses.replace(finder, fine=None, grid=InputGrid(2.0, (24, 24, 24)))
    fallback = detect_with_bundle(volume, one_stage, CPU, QUIET, click=faint)
    assert np.linalg.norm(fallback.landmarks[0].position - faint) < 1


def test_a_crop_beside_the_gland_is_moved_once(finder):
    volume = _balls((PLACE, 9.0, 1.0))
    found = detect_with_bundle(volume, finder, CPU, QUIET, click=PLACE + [12.0, 0.0, 0.0])
    assert finder.fine.network.looks == 10
    middle = apply(found.gland.probability.ijk_to_ras, [11.5, 11.5, 11.5])
    assert np.linalg.norm(middle - PLACE) < 3


def test_a_given_mask_is_the_gland(finder):
    faint = CENTRE - [25.0, 20.0, 15.0]
    volume = _balls((PLACE, 9.0, 1.0), (faint, 9.0, 0.6))
    mask = gland_of_mask(Volume((_balls((faint, 9.0, 1.0)).array > 0.5).astype(np.uint8), AFFINE))
    found = detect_with_bundle(volume, finder, CPU, QUIET, mask=mask)
    assert found.gland is mask
    assert np.linalg.norm(found.landmarks[0].position - faint) < 1


@pytest.mark.parametrize("place", [CENTRE + 500.0, np.full(3, np.nan)])
def test_a_click_that_misses_the_volume_is_told(finder, place):
    with pytest.raises(InputError, match=r"outside of its volume|three finite coordinates"):
        detect_with_bundle(_balls((PLACE, 9.0, 1.0)), finder, CPU, QUIET, click=place)


def test_a_crop_that_shows_nothing_leaves_the_first_stage_its_say(finder):
    class Elsewhere(Brightest):
        """Sees the gland in the corner, where the volume is flat."""

        def forward(self, x):
            return super().forward(torch.flip(x, (2, 3, 4)))

    array = np.zeros((100, 100, 100), dtype=np.float32)
    array[75:, 75:, 75:] = np.random.default_rng(0).uniform(1, 2, (25, 25, 25))
    flat = Volume(array, samples.affine((1.0, 1.0, 1.0)))
    found = detect_with_bundle(flat, dataclasses.replace(finder, network=Elsewhere()), CPU, QUIET)
    assert len(found.landmarks) == 3
    assert finder.fine.network.looks == 0


def test_both_stages_must_belong_together(tmp_path):
    folder = samples.untrained_bundle(tmp_path / "mr")
    samples.untrained_bundle(folder / "fine", "us")
    with pytest.raises(InputError, match="do not belong together"):
        load_bundle(folder)


def test_a_second_stage_that_is_half_there_is_told(tmp_path):
    folder = samples.untrained_bundle(tmp_path / "mr")
    (folder / "fine").mkdir()
    with pytest.raises(InputError, match="not complete"):
        load_bundle(folder)


def _edit(folder, **changes):
    path = folder / "configs" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration": {"scale": [1.0, 1.0], "floor_mm": [0.0, 0.0, 0.0]}},
        {"calibration": {"scale": [1.0, 1.0, -1.0], "floor_mm": [0.0, 0.0, 0.0]}},
        {"calibration": {"floor_mm": [0.0, 0.0, 0.0]}},
        {"kind": "magic"},
        {"discrepancy_mm": -1.0},
    ],
)
def test_a_confidence_that_nobody_understands_is_refused(tmp_path, changes):
    folder = samples.untrained_bundle(tmp_path / "mr")
    _edit(folder, **changes)
    with pytest.raises(InputError, match="is damaged"):
        load_bundle(folder)


def test_the_calibration_decides_how_sure_a_landmark_is(finder):
    volume = _balls((PLACE, 9.0, 1.0))
    plain = detect_with_bundle(volume, finder, CPU, QUIET)
    three = np.ones(3)
    calibration = Calibration(2 * three, np.array([0.0, 3.0, 12.0]))
    told = detect_with_bundle(volume, dataclasses.replace(finder, calibration=calibration), CPU, QUIET)
    for before, after, floor in zip(plain.landmarks, told.landmarks, (0.0, 3.0, 12.0), strict=True):
        np.testing.assert_allclose(after.covariance, 4 * before.covariance + floor**2 * np.eye(3))
    assert told.ask_first[0] == LANDMARK_NAMES[2]
    assert any("unsure about Posterior median in the MR" in text for text in told.warnings)


def test_two_networks_that_disagree_are_told(finder):
    """The second opinion is a network of the comparison, as it begins: nowhere near."""
    from LandmarkFusionLogic.landmarks.comparison.bundle import ComparisonBundle
    from LandmarkFusionLogic.landmarks.comparison.methods import method_of, new_network

    torch.manual_seed(0)
    network = new_network("baseline", (24, 24, 24), (4, 8), False).eval()
    second = ComparisonBundle(
        name="untrained",
        modality="mr",
        landmarks=LANDMARK_NAMES,
        method=method_of("baseline"),
        grid=InputGrid(4.0, (24, 24, 24)),
        source=InputGrid(4.0, (24, 24, 24)),
        preprocessing=finder.preprocessing,
        network=network,
        metadata={},
    )
    volume = _balls((PLACE, 9.0, 1.0))
    strict = dataclasses.replace(finder, metadata={**finder.metadata, "discrepancy_mm": 10.0})
    found = detect_with_bundle(volume, strict, CPU, QUIET, second=second)
    assert set(found.disagreement_mm) == set(LANDMARK_NAMES)
    assert min(found.disagreement_mm.values()) > 10
    assert set(found.ask_first) == set(LANDMARK_NAMES)
    assert any(text.startswith("Two networks disagree in the MR about Apex (") for text in found.warnings)
    lenient = dataclasses.replace(finder, metadata={**finder.metadata, "discrepancy_mm": 200.0})
    assert detect_with_bundle(volume, lenient, CPU, QUIET, second=second).ask_first == ()
    other = dataclasses.replace(second, landmarks=("Apex",))
    with pytest.raises(InputError, match="does not find the same landmarks"):
        detect_with_bundle(volume, finder, CPU, QUIET, second=other)


def test_a_network_is_chosen_by_folder_or_by_name(folder, tmp_path):
    volume = samples.volume(shape_ijk=(40, 40, 40))
    assert detect_landmarks(volume, "mr", "cpu", folder).kind == "own"
    _edit(folder, kind="research", caution="Mind this.")
    found = detect_landmarks(volume, "mr", "cpu", str(folder))
    assert found.kind == "research"
    assert found.warnings[0] == "Mind this."
    with pytest.raises(InputError, match="no network “none”"):
        detect_landmarks(volume, "mr", "cpu", str(tmp_path / "none"))
    with pytest.raises(InputError, match="no network “mr-nothing”"):
        detect_landmarks(volume, "mr", "cpu", "mr-nothing")


def test_a_turned_patient_is_set_upright():
    names = LANDMARK_NAMES
    upright = np.array([UPRIGHT_MM[name] for name in names])
    turn = Rotation.from_rotvec([40.0, 10.0, -15.0], degrees=True).as_matrix()
    found = upright_turn(names, upright @ turn.T + [10.0, -20.0, 30.0])
    np.testing.assert_allclose(found, turn.T, atol=0.03)
    np.testing.assert_array_equal(upright_turn(("A", "B", "C"), upright), np.eye(3))
    np.testing.assert_array_equal(upright_turn(names, np.zeros((3, 3))), np.eye(3))


@pytest.mark.parametrize("modality", ["mr", "us"])
def test_the_upright_patient_is_that_of_the_simulation(modality):
    shapes = []
    for seed in VALIDATION[:30]:
        places = {point.name: point.position for point in simulate_image(seed, modality, 4.0).landmarks}
        points = np.array([places[name] for name in LANDMARK_NAMES])
        shapes.append(points - points.mean(axis=0))
    np.testing.assert_allclose(np.mean(shapes, axis=0), [UPRIGHT_MM[name] for name in LANDMARK_NAMES], atol=3)


def test_landmarks_are_found_in_a_patient_who_lies_turned():
    errors = []
    for seed in VALIDATION[:3]:
        image, truth = show(seed, "mr", Trial(turned=40.0))
        found = {point.name: point.position for point in detect_landmarks(image, "mr", "cpu").landmarks}
        errors += [float(np.linalg.norm(found[point.name] - point.position)) for point in truth]
    assert np.mean(errors) < 5.0
