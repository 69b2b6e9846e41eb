"""Conditions forced on simulated cases: they change what they claim to change, and the truth stays true."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs import SimulateRequest, simulate
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, LANDMARK_NAMES, POSTERIOR_MEDIAN
from LandmarkFusionLogic.simulation.anatomy import sample_anatomy
from LandmarkFusionLogic.simulation.case import simulate_case, simulate_image
from LandmarkFusionLogic.simulation.conditions import CONDITIONS, draw_condition, make_condition, title
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.mrconditions import Dipole
from LandmarkFusionLogic.simulation.shapes import Points

SPACING = 2.0
SEED = 10  # the MR is sharp, the ultrasound blurred
PAIRS = [(name, modality) for name, modalities in CONDITIONS.items() for modality in modalities]

PLAIN = {
    ("mr", 3): ((31, 43, 43), 376.8135, 249.0805, 3257, (8.168, -2.393, -37.371)),
    ("mr", 11): ((18, 43, 43), 156.2844, 126.3528, 3147, (-3.932, 2.972, -26.818)),
    ("us", 3): ((28, 25, 34), 71.6327, 90.8385, 3679, (-4.74, 37.97, -18.102)),
    ("us", 11): ((24, 26, 32), 75.4011, 79.2716, 3918, (-3.252, 28.433, -29.987)),
}
"""Shape, mean, deviation, voxels of gland and apex of seeds at 3 mm, written down before there were conditions."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images():
    """Each condition's image of SEED by (name, modality), and the plain ones by (None, modality)."""
    return {(name, modality): _image(name, modality) for name, modality in [*PAIRS, (None, "mr"), (None, "us")]}


def _image(name, modality, seed=SEED):
    return simulate_image(seed, modality, SPACING, condition=name)


def _positions(image):
    return np.stack([point.position for point in image.landmarks])


def _at(volume, points):
    """Values of the voxels nearest to points (n, 3) RAS; NaN outside."""
    to_index = np.linalg.inv(volume.ijk_to_ras)
    index = np.round(points @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)[:, ::-1]
    inside = np.all((index >= 0) & (index < volume.array.shape), axis=1)
    values = np.full(len(points), np.nan)
    values[inside] = np.asarray(volume.array, dtype=float)[tuple(index[inside].T)]
    return values


def _ball(centre, radius):
    steps = np.arange(-radius, radius + 1)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    return centre + grid[np.linalg.norm(grid, axis=1) <= radius]


@pytest.mark.parametrize(("modality", "seed"), PLAIN)
def test_without_a_condition_a_seed_gives_what_it_always_gave(modality, seed):
    image = simulate_image(seed, modality, 3.0)
    shape, mean, deviation, gland, apex = PLAIN[modality, seed]
    array = np.asarray(image.image.array)
    assert array.shape == shape
    assert array.mean() == pytest.approx(mean, rel=1e-4)
    assert array.std() == pytest.approx(deviation, rel=1e-4)
    assert np.sum(image.gland.array) == gland
    assert image.landmarks[0].position == pytest.approx(apex, abs=2e-3)


@pytest.mark.parametrize(("name", "modality"), PAIRS)
def test_a_condition_changes_the_image_the_same_way_every_time(images, name, modality):
    image, plain = images[name, modality], images[None, modality]
    again = _image(name, modality)
    assert np.array_equal(image.image.array, again.image.array)
    assert np.array_equal(image.gland.array, again.gland.array)
    assert np.array_equal(_positions(image), _positions(again))
    assert not np.array_equal(image.image.array, plain.image.array)
    assert np.all(np.isfinite(image.image.array))


@pytest.mark.parametrize(("name", "modality"), PAIRS)
@pytest.mark.parametrize("seed", [1, SEED, 23])
def test_landmarks_lie_on_the_gland_that_is_in_view(name, modality, seed):
    image = _image(name, modality, seed)
    assert tuple(point.name for point in image.landmarks) == LANDMARK_NAMES
    gland = np.asarray(image.gland.array) > 0
    assert gland.any()
    mask = np.pad(gland, 1)
    spacing = image.gland.spacing[::-1]
    away = distance_transform_edt(mask, spacing) + distance_transform_edt(~mask, spacing)
    to_index = np.linalg.inv(image.gland.ijk_to_ras)
    for point in _positions(image):
        kji = (to_index @ np.append(point, 1))[2::-1]
        if np.all((kji >= -0.5) & (kji <= np.array(gland.shape) - 0.5)):
            k, j, i = np.clip(np.round(kji).astype(int) + 1, 0, np.array(mask.shape) - 1)
            assert away[k, j, i] < 2.5 * spacing.max()
        else:
            assert name == "partial-view"


@pytest.mark.parametrize("seed", range(6))
def test_landmarks_keep_their_definitions_in_a_gland_with_a_large_lobe(seed):
    plain = sample_anatomy(Draw(seed, "anatomy"))
    changed = make_condition("median-lobe", seed, "mr").anatomy(plain, "mr").gland
    assert changed.landmarks()[BLADDER_NECK] == pytest.approx(plain.gland.landmarks()[BLADDER_NECK])
    for point in (changed.landmarks()[name] for name in (APEX, POSTERIOR_MEDIAN)):
        assert abs(float(changed.distance(Points(torch.from_numpy(point)[:, None])))) < 0.2
    # It rises well above the orifice.
    z = torch.arange(0, 60, 0.5, dtype=torch.float64)
    y = torch.arange(-40, 40, 0.5, dtype=torch.float64)
    yy, zz = torch.meshgrid(y, z, indexing="ij")
    inside = changed.distance(Points(torch.stack([torch.zeros_like(yy), yy, zz]))) <= 0
    assert float(zz[inside].max()) > changed.neck[2] + 3


@pytest.mark.parametrize(("modality", "sign"), [("mr", 1), ("us", -1)])
def test_a_resected_gland_holds_urine_below_its_neck(images, modality, sign):
    image, plain = images["turp", modality], images[None, modality]
    neck, apex = _positions(image)[1], _positions(image)[0]
    below = neck + 5 * (apex - neck) / np.linalg.norm(apex - neck)
    change = np.nanmean(_at(image.image, _ball(below, 3)) - _at(plain.image, _ball(below, 3)))
    assert sign * change > 0.1 * np.std(plain.image.array)
    assert np.array_equal(_positions(image), _positions(plain))


@pytest.mark.parametrize("modality", ["mr", "us"])
def test_a_median_lobe_makes_the_gland_larger_above_the_neck(images, modality):
    image, plain = images["median-lobe", modality], images[None, modality]
    assert np.sum(image.gland.array) > np.sum(plain.gland.array)
    assert _positions(image)[:2] - _positions(image)[1] == pytest.approx(
        _positions(plain)[:2] - _positions(plain)[1], abs=1.0
    )


def test_a_catheter_is_seen_along_the_urethra_and_leaves_the_rest_of_the_gland(images):
    image, plain = images["catheter", "mr"], images[None, "mr"]
    difference = np.abs(np.asarray(image.image.array) - np.asarray(plain.image.array))
    gland = np.asarray(image.gland.array) > 0
    changed = difference > 0.3 * np.std(plain.image.array)
    assert 0.005 < changed[gland].mean() < 0.25
    assert np.array_equal(image.gland.array, plain.gland.array)


def test_an_endorectal_coil_is_bright_behind_and_pushes_the_gland_forward(images):
    image, plain = images["endorectal-coil", "mr"], images[None, "mr"]
    back, front = _positions(image)[2], _positions(image)[:2].mean(axis=0)
    near = np.nanmean(_at(image.image, _ball(back, 4)))
    far = np.nanmean(_at(image.image, _ball(front + 1.5 * (front - back), 4)))
    assert near > 2 * far
    moved = (_positions(image)[2] - _positions(image)[:2].mean(axis=0))[1]
    assert moved > (_positions(plain)[2] - _positions(plain)[:2].mean(axis=0))[1] + 0.5


def test_hip_metal_is_a_void_at_one_side_and_far_from_the_gland(images):
    image = images["hip-metal", "mr"]
    array = np.asarray(image.image.array)
    empty = array < 0.15 * np.median(array)
    left, right = (np.mean(part) for part in np.array_split(empty, 2, axis=2))
    assert max(left, right) > 0.02
    assert max(left, right) > 3 * min(left, right)
    assert np.mean(empty[np.asarray(image.gland.array) > 0]) < 0.02


def test_the_bend_by_metal_can_be_undone():
    field = Dipole(np.zeros(3), 30.0, np.array([1.0, 0.0, 0.0]), 3.0)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-80, 80, (3, 400)))
    shifted = field(points + 0.01 * torch.ones_like(points))
    outside = points.norm(dim=0) > 30
    apart = (shifted - field(points)).norm(dim=0) / (0.01 * 3**0.5)
    assert float(apart[outside].max()) < 1
    assert float(field(points).abs().max()) <= 3.0


def test_slices_are_3_to_4_mm_thick():
    for seed in range(6):
        thickness = _image("thick-slices", "mr", seed).image.spacing[2]
        assert 3 <= thickness <= 4


def test_calcifications_are_bright_with_shadows_behind():
    # Over a few men: brighter spots in the gland, and darker voxels in and behind it.
    brighter, darker = [], []
    for seed in (2, SEED, 12, 14):
        image, plain = _image("calcification", "us", seed), _image(None, "us", seed)
        difference = np.asarray(image.image.array) - np.asarray(plain.image.array)
        brighter.append(float((difference > 25).mean()))
        darker.append(float((difference < -25).mean()))
    assert np.mean(darker) > 0.005
    assert np.mean(darker) > np.mean(brighter) > 0


@pytest.mark.parametrize("seed", range(8))
def test_a_partial_view_cuts_the_gland_and_leaves_the_landmarks(seed):
    image, plain = _image("partial-view", "us", seed), _image(None, "us", seed)
    assert _positions(image) == pytest.approx(_positions(plain))

    level = 0.4 * np.median(np.asarray(plain.image.array)[np.asarray(plain.gland.array) > 0])

    def shown(simulated):
        return np.sum((np.asarray(simulated.gland.array) > 0) & (np.asarray(simulated.image.array) > level))

    assert shown(image) < 0.95 * shown(plain)
    assert shown(image) > 0.25 * shown(plain)


def test_some_partial_views_end_with_the_volume_and_some_are_black_beyond():
    smaller = [
        _image("partial-view", "us", seed).image.array.size < _image(None, "us", seed).image.array.size
        for seed in range(8)
    ]
    assert any(smaller)
    assert not all(smaller)


def test_sharp_and_blurred_differ_by_the_blur_alone():
    def roughness(image):
        array = np.asarray(image.image.array)
        gland = np.asarray(image.gland.array) > 0
        return np.mean(np.abs(np.diff(array, axis=2))[gland[:, :, 1:] & gland[:, :, :-1]])

    for seed in (1, 2, 3):
        sharp, blurred = _image("sharp", "us", seed), _image("blurred", "us", seed)
        assert np.array_equal(_positions(sharp), _positions(blurred))
        assert roughness(sharp) > 1.3 * roughness(blurred)


@pytest.mark.parametrize("seed", range(4))
def test_published_volumes_are_cut_closely_around_the_gland_and_lie_straight(seed):
    image = _image("published", "us", seed)
    sides = np.array(image.image.shape_ijk) * image.image.spacing
    assert np.all(sides < [104, 80, 76])
    assert np.all(sides > [84, 62, 58])
    assert image.image.ijk_to_ras[:3, :3] == pytest.approx(SPACING * np.eye(3))
    gland = np.argwhere(np.asarray(image.gland.array) > 0)
    middle = (np.array(image.gland.array.shape) - 1) / 2
    assert np.all(np.abs(gland.mean(axis=0) - middle) * SPACING < 14)
    # Filled as the real ones are: most of the volume is inside the fan.
    array = np.asarray(image.image.array)
    assert np.mean(array > 0.02 * np.percentile(array, 99.5)) > 0.4


def test_a_pair_shows_a_condition_in_both_images_where_both_can():
    plain = simulate_case(SEED, mr_spacing_mm=3.0, us_spacing_mm=3.0)
    turp = simulate_case(SEED, mr_spacing_mm=3.0, us_spacing_mm=3.0, condition="turp")
    metal = simulate_case(SEED, mr_spacing_mm=3.0, us_spacing_mm=3.0, condition="hip-metal")
    for modality in ("mr", "us"):
        assert not np.array_equal(getattr(plain, modality).array, getattr(turp, modality).array)
    assert not np.array_equal(plain.mr.array, metal.mr.array)
    assert np.array_equal(plain.us.array, metal.us.array)


def test_an_unknown_condition_is_told():
    with pytest.raises(InputError, match=r"no condition “flu”; choose one of .*turp"):
        simulate_image(0, "mr", 3.0, condition="flu")
    with pytest.raises(InputError, match="no condition"):
        title("flu")


def test_a_case_under_an_unknown_condition_is_not_written(tmp_path):
    with pytest.raises(InputError, match="no condition"):
        simulate(SimulateRequest(0, str(tmp_path / "case"), "flu"), lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_conditions_for_training_are_drawn_by_share_and_modality():
    assert all(draw_condition(seed, "mr", share=0.0) is None for seed in range(20))
    for modality in ("mr", "us"):
        drawn = [draw_condition(seed, modality, share=0.4) for seed in range(600)]
        named = [name for name in drawn if name is not None]
        assert 0.33 < len(named) / len(drawn) < 0.47
        assert all(modality in CONDITIONS[name] for name in named)
        assert drawn == [draw_condition(seed, modality, share=0.4) for seed in range(600)]
        counts = {name: named.count(name) for name in set(named)}
        assert len(counts) == 5
        assert not {"sharp", "blurred", "published", "thick-slices"} & set(named)
        assert min(counts.values()) > 0.1 * len(named)
    also = [draw_condition(seed, "us", 1.0, also=("published",) * 5) for seed in range(200)]
    assert 0.4 < also.count("published") / len(also) < 0.6
    assert "published" not in [draw_condition(seed, "mr", 1.0, also=("published",)) for seed in range(50)]
    with pytest.raises(InputError, match="no condition"):
        draw_condition(0, "mr", 1.0, also=("flu",))
    assert {title(name) for name in CONDITIONS}.isdisjoint({title(None)})
