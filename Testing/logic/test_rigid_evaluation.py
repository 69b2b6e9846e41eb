"""Tables 2 to 4: what is measured on a pair, and how it is told."""

import re

import numpy as np
import pytest
import samples

from LandmarkFusionLogic import cli
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.observers import OBSERVER_MM, placed_by_hand
from LandmarkFusionLogic.evaluation.pairs import DetectedPair, Networks, Side, fold_networks
from LandmarkFusionLogic.evaluation.parallel import each
from LandmarkFusionLogic.evaluation.rigid import (
    BEST,
    CENTRES,
    FANG,
    FOUND_SHIFT,
    MANUAL,
    MASKS,
    METHODS,
    STORED,
    TRUE_SHIFT,
    Alignment,
    RigidCase,
    align,
    evaluate_simulated_pairs,
    is_final,
)
from LandmarkFusionLogic.evaluation.rigidtable import SRE_BINS, describe_rigid, histogram
from LandmarkFusionLogic.gland import gland_of_mask
from LandmarkFusionLogic.points import DETECTED, Landmark
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.volume import Volume

pytest.importorskip("vtkmodules")


def _mask(motion):
    """A gland of an ordinary size with one side larger, moved by ``motion``."""
    k, j, i = np.meshgrid(*(np.arange(36),) * 3, indexing="ij")
    place = np.stack([i, j, k], axis=-1) * 2.0 - 35.0
    inside = ((place / [24, 16, 20]) ** 2).sum(-1) <= 1
    inside |= ((place - [8, 6, 12]) ** 2).sum(-1) <= 13**2
    return Volume(inside.astype(np.uint8), motion @ samples.affine((2.0, 2.0, 2.0), origin=(-35.0,) * 3))


def _pair(truth, error=(0.0, 0.0, 0.0), name="case000004", glands=True):
    """A pair whose networks find everything, in the US shifted by ``error`` mm."""
    points = samples.prostate_points(covariance=np.eye(3), state=DETECTED)
    moved = [Landmark(p.name, apply(truth, p.position), np.eye(3), DETECTED) for p in points]
    found = [Landmark(p.name, p.position + error, np.eye(3), DETECTED) for p in moved]
    mr, us = _mask(np.eye(4)), _mask(truth)
    off = np.eye(4)
    off[:3, 3] = error
    gland = gland_of_mask(Volume(us.array, off @ us.ijk_to_ras))
    return DetectedPair(
        name,
        Side(mr, tuple(points), tuple(points), gland_of_mask(mr) if glands else None, mr.centre),
        Side(us, tuple(moved), tuple(found), gland if glands else None, us.centre),
    )


@pytest.fixture(scope="module")
def aligned():
    """Seen right; and seen 6 mm off in the US."""
    truth = samples.affine(directions=samples.OBLIQUE @ np.eye(3), origin=(20.0, -10.0, 30.0))
    return align(_pair(truth)), align(_pair(truth, (6.0, 0.0, 0.0)))


def test_what_is_found_right_aligns_and_what_is_off_is_off_by_as_much(aligned):
    right, off = (case.alignments for case in aligned)
    assert set(right) == set(METHODS)
    assert right[FANG].sre < 0.5
    assert right[FANG].rotation < 1.5
    assert right[FANG].dice > 0.97
    assert right[FANG].fre == pytest.approx(0, abs=1e-9)
    assert right[BEST].sre < 2
    assert right[STORED].sre > 20
    assert right[TRUE_SHIFT].sre > right[MASKS].sre  # a shift leaves the rotation
    # Shifted landmarks agree with each other perfectly: FRE does not see what SRE does.
    assert off[FANG].fre == pytest.approx(0, abs=1e-9)
    assert off[FANG].sre == pytest.approx(6, abs=0.5)
    assert off[FANG].made == pytest.approx(6, abs=1e-6)
    assert off[BEST].made == pytest.approx(6, abs=1.5)
    assert off[FOUND_SHIFT].sre > right[FOUND_SHIFT].sre + 1
    assert off[FANG].distance > right[FANG].distance
    assert off[CENTRES].sre == pytest.approx(right[CENTRES].sre)
    assert np.isnan(off[MANUAL].made)
    assert off[MANUAL].fre > 0


def test_a_network_that_sees_no_gland_leaves_the_rows_that_need_one_out():
    truth = samples.affine(origin=(20.0, -10.0, 30.0))
    case = align(_pair(truth, glands=False))
    assert FOUND_SHIFT not in case.alignments
    assert MASKS not in case.alignments
    assert case.alignments[BEST].sre < 1


def test_unknown_landmarks_leave_the_manual_rows_out():
    pair = _pair(np.eye(4))
    two = Side(pair.mr.mask, pair.mr.true[:2], pair.mr.found, pair.mr.gland, pair.mr.centre)
    case = align(DetectedPair("case000001", two, pair.us))
    assert MANUAL not in case.alignments
    assert np.isfinite(case.alignments[BEST].made)


def test_simulated_observers_scatter_as_said_and_repeat_themselves():
    points = samples.prostate_points()
    names = [f"case{n}" for n in range(400)]
    away = np.array(
        [
            [a.position - b.position for a, b in zip(placed_by_hand(points, n, "mr"), points, strict=True)]
            for n in names
        ]
    )
    np.testing.assert_allclose(away.std(axis=(0, 1)), OBSERVER_MM, rtol=0.1)
    np.testing.assert_allclose(away.mean(axis=(0, 1)), 0, atol=0.15)
    pairs = np.linalg.norm(away[::2] - away[1::2], axis=-1)
    assert pairs.mean() == pytest.approx(2.5, abs=0.15)  # as the tables say
    again = placed_by_hand(points, "case7", "mr")
    np.testing.assert_array_equal(again[0].position - points[0].position, away[7, 0])
    assert not np.allclose(placed_by_hand(points, "case7", "us")[0].position, again[0].position)


def test_histograms_count_every_case_once():
    found = np.array([0.0, 4.99, 5.0, 12.0, 44.0, 45.0, 300.0, np.nan])
    assert histogram(found, SRE_BINS) == [2, 1, 1, 0, 0, 0, 1, 2]


def _cases(rng, count=20):
    def one(sre, dice):
        return Alignment(sre, dice, sre / 3, 2 * sre, 1.0, sre, 5.0)

    return [
        RigidCase(str(n), {FANG: one(8 + rng.normal(), 0.7), BEST: one(6 + rng.normal(), 0.8)}) for n in range(count)
    ]


def test_the_tables_say_what_was_measured():
    rng = np.random.default_rng(0)
    cases = _cases(rng)
    text = describe_rigid(cases, "Twenty pairs", simulated=True)
    sre = np.array([case.alignments[BEST].sre for case in cases])
    row = next(line for line in text.splitlines() if line.startswith(BEST))
    assert f"{sre.mean():.2f} ± {sre.std(ddof=1):.2f}" in row
    assert "0.80 ± 0.00" in row
    low, high = map(float, re.search(r"([\d.]+) to ([\d.]+)", row).groups())
    assert low < sre.mean() < high
    gain = np.mean([case.alignments[BEST].sre - case.alignments[FANG].sre for case in cases])
    assert f"SRE {gain:+.2f} mm" in text
    assert "Dice +0.100 (+0.100 to +0.100)" in text
    for words in ("Table 2", "Table 3", "Table 4", "FRE", "eq. 6", f"noise\nof {OBSERVER_MM:g} mm", "6.62 ± 3.97"):
        assert words in text
    third = text[text.index("Table 3") : text.index("Table 4")]
    counts = re.findall(r"(\d+) \(\d+%\)", next(line for line in third.splitlines() if line.startswith(BEST)))
    assert sum(map(int, counts)) == len(cases)
    assert "TRE" not in text.replace("mean", "")


def test_one_pair_is_enough_for_a_table():
    text = describe_rigid(_cases(np.random.default_rng(1), 1), "One", simulated=False)
    assert "mrus-27" in text


def test_final_pairs_are_those_not_divisible_by_three():
    assert [is_final(RigidCase(f"case{n:06d}")) for n in range(4)] == [False, True, True, False]


def test_each_case_is_seen_by_the_networks_of_its_fold(tmp_path):
    networks = fold_networks(tmp_path, tmp_path / "case000005")
    assert networks.mr == str(tmp_path / "mr-2")
    assert networks.us == str(tmp_path / "us-2")


def test_work_is_shared_by_processes_in_the_order_of_its_tasks():
    assert list(each(abs, [-3, 1, -2], 2)) == [3, 1, 2]
    with pytest.raises(InputError, match="At least one worker"):
        list(each(abs, [1], 0))


def test_impossible_numbers_and_missing_networks_are_refused(tmp_path, capsys):
    with pytest.raises(InputError, match="must lie between 2 and"):
        evaluate_simulated_pairs(1, Networks(), "cpu", 1, lambda fraction, text: None)
    assert cli.main(["evaluate", "rigid", "--cases", "2", "--mr-model", str(tmp_path / "none")]) == 2
    assert "There is no network" in capsys.readouterr().err
    assert cli.main(["evaluate", "rigid", "--data", str(tmp_path)]) == 2
    assert "holds no mrus-27 cases" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_prints_the_tables_of_simulated_pairs(tmp_path, capsys):
    for modality in ("mr", "us"):
        samples.untrained_bundle(tmp_path / modality, modality)
    words = [
        "evaluate",
        "rigid",
        "--cases",
        "2",
        "--mr-model",
        str(tmp_path / "mr"),
        "--us-model",
        str(tmp_path / "us"),
    ]
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    assert "2 simulated pairs, seeds 2000000 to 2000001" in text
    assert text.count(FANG) >= 3
