import numpy as np
import pytest
import samples

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.looks import USED, evaluate_looks, positions_by_row
from LandmarkFusionLogic.landmarks.looking import View
from LandmarkFusionLogic.landmarks.search import Search


def _view(x):
    return View(np.array([[x, 0.0, 0.0]]), np.zeros((1, 3, 3)), None, 0.0)


def test_rows_take_the_detection_apart():
    coarse, fine = [0.0, 2.0, 40.0, 42.0, 44.0], [10.0, 14.0, 20.0, 24.0, 26.0]
    found = Search(None, tuple(map(_view, fine)), tuple(map(_view, coarse)), np.zeros(3))
    rows = {name: float(place[0, 0]) for name, place in positions_by_row(found).items()}
    assert rows["first stage, one look"] == 0
    assert rows["first stage, + mirrored"] == 1
    assert rows["second stage, + jittered"] == 20
    assert rows["mean of both, + mirrored"] == (1 + 12) / 2
    assert rows[USED] == (40 + 20) / 2
    np.testing.assert_allclose(positions_by_row(found)[USED], found.positions())


def test_the_table_compares_with_what_is_used(tmp_path):
    folder = samples.untrained_bundle(tmp_path / "mine", "us")
    lines = evaluate_looks(2, "cpu", lambda *_: None, ("us",), {"us": str(folder)}).splitlines()
    assert "seeds 1000000 to 1000001" in lines[0]
    assert len(lines) == 2 + 9
    assert next(line for line in lines if line.endswith("(used)")).startswith(USED)
    with pytest.raises(InputError, match="between 2 and 256"):
        evaluate_looks(1, "cpu", lambda *_: None)
