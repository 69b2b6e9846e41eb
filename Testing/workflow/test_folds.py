"""What fine-tuning on real cases is worth, by cross-validation: the figures that the choice of network rests on."""

import os
from pathlib import Path

import numpy as np
import pytest

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.evaluation.folds import (
    CLICK_MEAN,
    CLICKED,
    FOLD,
    MEAN,
    SIMULATION,
    apex_and_neck,
    describe_folds,
    evaluate_folds,
    mean_dice,
)

DATA = os.environ.get("LANDMARKFUSION_DATA")


def quiet(fraction, text):
    pass


def test_no_images_are_told(tmp_path):
    with pytest.raises(InputError, match="holds no mrus-27 cases"):
        evaluate_folds(tmp_path, quiet)


@pytest.mark.skipif(not DATA, reason="LANDMARKFUSION_DATA does not name the real images")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_cross_validation_on_real_pairs(capsys):
    found = evaluate_folds(Path(DATA), quiet, methods=(SIMULATION, FOLD, CLICKED))
    with capsys.disabled():
        print("\n" + describe_folds(found))
    for modality in ("mr", "us"):
        part = [case for case in found if case.modality == modality]
        assert len(part) == 27
        errors = {method: apex_and_neck(part, method)[0] for method in (MEAN, SIMULATION, FOLD, CLICK_MEAN, CLICKED)}
        assert np.isfinite(errors[FOLD]).sum() == 34
        mean = {method: np.nanmean(values) for method, values in errors.items()}
        assert mean[FOLD] < mean[SIMULATION]
        assert mean[FOLD] < mean[MEAN]
        assert mean[CLICKED] <= mean[CLICK_MEAN]
        assert mean_dice(part, FOLD) >= 0.80
