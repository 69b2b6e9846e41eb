"""The simulator: reproducible, anatomically as defined, and consistent between its two images."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic.landmarks.preprocessing import Preprocessing, network_input
from LandmarkFusionLogic.landmarks.trainingdata import GRIDS
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, LANDMARK_NAMES, POSTERIOR_MEDIAN
from LandmarkFusionLogic.simulation import mr, seeds, ultrasound
from LandmarkFusionLogic.simulation.anatomy import TISSUES, sample_anatomy
from LandmarkFusionLogic.simulation.case import simulate_case, simulate_image
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.fields import blur, smooth_field, texture, undo
from LandmarkFusionLogic.simulation.gland import sample_gland, shape_millilitres
from LandmarkFusionLogic.simulation.pose import Grid, keep_inside
from LandmarkFusionLogic.simulation.probe import END_FIRE, SIDE_FIRE, Press, Probe
from LandmarkFusionLogic.simulation.shapes import Points

ANATOMIES = range(12)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _gland_of(anatomy, spacing=1.5, reach=75.0):
    """Points (3, n, n, n) around the origin, and whether they are gland."""
    axis = torch.arange(-reach, reach + spacing, spacing)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    xyz = torch.stack([x, y, z])
    inside = anatomy.gland_distance(Points(anatomy.straighten(xyz))) <= 0
    return xyz.numpy(), inside.numpy()


def _distance_at(anatomy, point):
    return float(anatomy.gland_distance(Points(anatomy.straighten(torch.from_numpy(point)[:, None])))[0])


class TestDraw:
    def test_a_seed_and_a_stream_give_one_sequence(self):
        first, again, other = Draw(5, "mr"), Draw(5, "mr"), Draw(5, "us")
        numbers = [first.uniform(0, 1) for _ in range(5)]
        assert numbers == [again.uniform(0, 1) for _ in range(5)]
        assert numbers != [other.uniform(0, 1) for _ in range(5)]

    def test_counts_reach_both_ends(self):
        draw = Draw(0, "x")
        assert {draw.count(2, 4) for _ in range(200)} == {2, 3, 4}

    def test_seed_ranges_do_not_overlap(self):
        ranges = [seeds.TRAINING, seeds.VALIDATION, seeds.TEST, seeds.DEMO]
        for a in ranges:
            assert all(a is b or a.stop <= b.start or b.stop <= a.start for b in ranges)


class TestFields:
    def test_undo_inverts_a_shift(self):
        field = smooth_field(Draw(1, "f"), 3.0, (50, 100))
        points = 40 * torch.randn(3, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        moved = points + field(points)
        assert torch.allclose(undo(field, moved), points, atol=1e-5)
        assert float(field(points).norm(dim=0).mean()) == pytest.approx(3.0, abs=1.5)

    def test_texture_is_standard_and_averages_out_in_large_voxels(self):
        fine = texture(Draw(1, "t"), (40, 40, 40), (1.0, 1.0, 1.0), 4.0, "cpu")
        coarse = texture(Draw(1, "t"), (40, 40, 40), (4.0, 4.0, 4.0), 2.0, "cpu")
        assert abs(float(fine.mean())) < 1e-3
        assert float(fine.std()) == pytest.approx(1.0, abs=1e-3)
        assert float(coarse.std()) == pytest.approx(0.5**1.5, abs=1e-3)

    def test_blur_of_a_point_is_a_gaussian(self):
        image = torch.zeros(21, 21, 21)
        image[10, 10, 10] = 1
        blurred = blur(image, (2.0, 0.0, 0.0), outside="constant")
        assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-5)
        assert float(blurred[12, 10, 10] / blurred[10, 10, 10]) == pytest.approx(np.exp(-0.5), abs=1e-5)
        assert float(blurred[10, 11, 10]) == 0


class TestAnatomy:
    def test_volumes_span_the_stated_range(self):
        volumes = [shape_millilitres(sample_gland(Draw(seed, "anatomy"))) for seed in range(60)]
        assert min(volumes) > 18
        assert max(volumes) < 175
        assert max(volumes) / min(volumes) > 4

    @pytest.mark.parametrize("seed", ANATOMIES)
    def test_apex_is_the_lowest_point_of_the_gland(self, seed):
        anatomy = sample_anatomy(Draw(seed, "anatomy"))
        apex = anatomy.landmarks[APEX]
        xyz, inside = _gland_of(anatomy)
        assert abs(_distance_at(anatomy, apex)) < 0.1
        assert apex[2] == pytest.approx(xyz[2][inside].min(), abs=3.0)

    @pytest.mark.parametrize("seed", ANATOMIES)
    def test_bladder_neck_is_the_orifice_at_the_base(self, seed):
        anatomy = sample_anatomy(Draw(seed, "anatomy"))
        gland, neck = anatomy.gland, anatomy.landmarks[BLADDER_NECK]
        xyz, inside = _gland_of(anatomy)
        assert neck[2] > xyz[2][inside].mean()
        # On the surface of the gland's body: where a median lobe rises, the orifice lies in front of it.
        regular = Points(torch.from_numpy(gland.neck)[:, None])
        assert abs(float(gland._body(regular))) < 0.1
        assert neck[2] <= xyz[2][inside].max() + 1.5
        # Urine reaches it, but for the wall.
        assert float(anatomy.bladder.distance(regular)) < anatomy.bladder.wall

    @pytest.mark.parametrize("seed", ANATOMIES)
    def test_posterior_median_is_on_the_back_halfway_between_the_others(self, seed):
        gland = sample_gland(Draw(seed, "anatomy"))
        apex, neck, back = (gland.landmarks()[name] for name in (APEX, BLADDER_NECK, POSTERIOR_MEDIAN))
        middle = (apex + neck) / 2
        assert back[0] == 0
        assert back[1] < middle[1]
        assert (back - middle) @ (neck - apex) == pytest.approx(0, abs=1e-6)
        beyond = back + 1.0 * (back - middle) / np.linalg.norm(back - middle)
        assert abs(float(gland.distance(Points(torch.from_numpy(back)[:, None])))) < 0.1
        assert float(gland.distance(Points(torch.from_numpy(beyond)[:, None]))) > 0

    def test_every_tissue_has_a_brightness_in_both_images(self):
        assert set(TISSUES) == set(mr.BRIGHTNESS) == set(ultrasound.ECHO_DB)
        points = Points(torch.zeros(3, 1, 1, 1))
        for seed in range(30):
            anatomy = sample_anatomy(Draw(seed, "anatomy"))
            names = {name for name, _ in anatomy.layers(points, anatomy.gland_distance(points))}
            assert names <= set(TISSUES)


class TestProbe:
    @pytest.mark.parametrize(("kind", "sweep"), [(SIDE_FIRE, 30.0), (END_FIRE, 0.8)])
    def test_polar_coordinates_agree_with_the_outline(self, kind, sweep):
        probe = Probe(kind, np.array([1.0, 2.0, 3.0]), 10.0, 0.3, 0.9, 60.0, sweep)
        inner = probe.outline() * (1 - 1e-9)
        depth, angle, along = probe.polar(torch.from_numpy(inner))
        assert float(depth.max()) == pytest.approx(60, abs=1e-4)
        assert float(angle.abs().max()) == pytest.approx(0.9, abs=1e-6)
        assert float(along.abs().max()) == pytest.approx(sweep, abs=1e-6)

    def test_a_press_pushes_along_the_beam_and_fades(self):
        probe = Probe(SIDE_FIRE, np.zeros(3), 10.0, 0.0, 1.0, 60.0, 30.0)
        press = Press(probe, push=6.0, fade=20.0, width=25.0)
        shift = press(torch.tensor([[0.0, 0.0], [10.0, 60.0], [0.0, 0.0]]))
        assert shift[1, 0] == pytest.approx(-6.0)
        assert shift[1, 1] == pytest.approx(-6.0 * np.exp(-2.5), abs=1e-4)
        assert float(shift[[0, 2]].abs().max()) == 0


class TestPose:
    def test_keep_inside_moves_no_more_than_needed(self):
        grid = Grid((10, 10, 10), (2.0, 2.0, 2.0), np.eye(3), np.zeros(3))
        inside = np.array([[1.0, 2.0], [0.0, 1.0], [0.0, 0.0]])
        assert np.all(keep_inside(inside, grid, 1.0) == 0)
        outside = inside + np.array([[12.0], [0], [0]])
        assert keep_inside(outside, grid, 1.0) == pytest.approx([5.0, 0, 0])

    def test_grid_points_follow_the_affine(self):
        turned = np.asarray(Rotation.from_euler("x", 20, degrees=True).as_matrix())
        grid = Grid((3, 4, 5), (1.0, 2.0, 3.0), turned, np.array([5.0, 6.0, 7.0]))
        points = grid.points("cpu").numpy()
        expected = grid.ijk_to_frame @ np.array([4.0, 3.0, 2.0, 1.0])
        assert points[:, 2, 3, 4] == pytest.approx(expected[:3], abs=1e-4)
        assert points.reshape(3, -1).mean(axis=1) == pytest.approx([5, 6, 7], abs=1e-4)


def _surface_distance_mm(gland, point):
    """Distance of a point (RAS) from the surface of a mask, mm."""
    mask = np.pad(np.asarray(gland.array) > 0, 1)
    spacing = gland.spacing[::-1]
    away = distance_transform_edt(mask, spacing) + distance_transform_edt(~mask, spacing)
    index = np.linalg.inv(gland.ijk_to_ras) @ np.append(point, 1)
    k, j, i = np.clip(np.round(index[2::-1]).astype(int) + 1, 0, np.array(mask.shape) - 1)
    return away[k, j, i]


@pytest.fixture(scope="module")
def case():
    return simulate_case(3, mr_spacing_mm=1.0, us_spacing_mm=1.0)


class TestCase:
    def test_one_seed_gives_one_case(self, case):
        again = simulate_case(3, mr_spacing_mm=1.0, us_spacing_mm=1.0)
        for name in ("mr", "us", "mr_gland", "us_gland"):
            a, b = getattr(case, name), getattr(again, name)
            assert np.array_equal(a.array, b.array)
            assert np.array_equal(a.ijk_to_ras, b.ijk_to_ras)
        assert np.array_equal(case.mr_to_us, again.mr_to_us)
        assert not np.array_equal(case.mr_to_us, simulate_case(4, mr_spacing_mm=2.0, us_spacing_mm=2.0).mr_to_us)

    def test_resolution_changes_the_sampling_and_not_the_anatomy(self, case):
        coarse = simulate_case(3, mr_spacing_mm=2.0, us_spacing_mm=2.0)
        for fine, rough in zip(case.mr_landmarks, coarse.mr_landmarks, strict=True):
            assert fine.position == pytest.approx(rough.position, abs=2.1)
        volumes = [np.sum(c.us_gland.array) * np.prod(c.us_gland.spacing) for c in (case, coarse)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.1)

    @pytest.mark.parametrize("seed", range(8))
    def test_landmarks_lie_on_the_gland_in_both_images_and_the_rigid_part_relates_them(self, seed):
        case = simulate_case(seed, mr_spacing_mm=1.5, us_spacing_mm=1.5)
        assert tuple(p.name for p in case.mr_landmarks) == LANDMARK_NAMES == tuple(p.name for p in case.us_landmarks)
        for gland, landmarks in ((case.mr_gland, case.mr_landmarks), (case.us_gland, case.us_landmarks)):
            for landmark in landmarks:
                assert _surface_distance_mm(gland, landmark.position) < 2.5 * gland.spacing.max()
        linear = case.mr_to_us[:3, :3]
        assert linear.T @ linear == pytest.approx(np.eye(3), abs=1e-9)
        assert np.linalg.det(linear) == pytest.approx(1)
        assert Rotation.from_matrix(linear).magnitude() <= np.radians(45) + 1e-9
        for a, b in zip(case.mr_landmarks, case.us_landmarks, strict=True):
            # What the rigid part leaves is the probe's push and the gland's wobble.
            assert np.linalg.norm(linear @ a.position + case.mr_to_us[:3, 3] - b.position) < 15

    def test_the_gland_moves_by_up_to_40_mm(self):
        moves = []
        for seed in range(12):
            case = simulate_case(seed, mr_spacing_mm=3.0, us_spacing_mm=3.0)
            centre = np.mean([p.position for p in case.mr_landmarks], axis=0)
            moves.append(case.mr_to_us[:3, :3] @ centre + case.mr_to_us[:3, 3] - centre)
        assert np.abs(moves).max() < 60
        assert np.abs(moves).max() > 25

    def test_some_fans_cut_the_gland(self):
        cut = []
        for seed in range(24):
            image = simulate_image(seed, "us", 3.0)
            gland = np.asarray(image.gland.array) > 0
            cut.append(float(np.mean(np.asarray(image.image.array)[gland] <= 0)))
        assert max(cut) > 0.03
        assert np.median(cut) < 0.2

    def test_clinical_and_training_resolution_look_alike_to_a_network(self):
        settings = Preprocessing()
        for modality, seed in (("mr", 3), ("us", 3)):
            case = simulate_case(seed) if modality == "mr" else simulate_case(seed, mr_spacing_mm=3.0)
            fine = network_input(getattr(case, modality), GRIDS[modality], settings).array
            coarse = network_input(simulate_image(seed, modality).image, GRIDS[modality], settings).array
            seen = (fine > -1) & (coarse > -1)
            assert np.corrcoef(fine[seen], coarse[seen])[0, 1] > 0.85
