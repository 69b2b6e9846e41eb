"""``report.json``: what was found, how well it fits and what to be careful about. No patient, no path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic import NOTICE, __version__, orientation
from LandmarkFusionLogic.points import Landmark, spread
from LandmarkFusionLogic.rigid.fit import apply
from LandmarkFusionLogic.rigid.metrics import dice

if TYPE_CHECKING:
    from LandmarkFusionLogic.fusion import Fusion, Side
    from LandmarkFusionLogic.targets import CarriedTarget

DIRECTION = (
    "mr_to_us maps points of the MR to points of the US, world RAS mm. The file mr-to-us.h5 holds it as ITK and "
    "Slicer expect it: LPS, from points of the fixed image (US) to points of the moving image (MR)."
)
EXPECTED_NOTE = (
    "Expected errors are root mean squares of the target registration error in mm, from the uncertainty of the "
    "landmarks and the fit; they are as good as these."
)
FRE_NOTE = (
    "FRE, the fiducial registration error, says how well the landmarks agree after the fit, not how accurate the "
    "alignment of the prostate is."
)


def write_report(path: Path, fusion: Fusion, seconds: float) -> None:
    """Write the report of ``fusion``; ``seconds`` is the time the work took."""
    path.write_text(json.dumps(report_data(fusion, seconds), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def report_data(fusion: Fusion, seconds: float) -> dict[str, Any]:
    """The report as what ``json.dumps`` takes."""
    matrix = fusion.fit.mr_to_us
    return {
        "software": f"LandmarkFusion {__version__}",
        "notice": NOTICE,
        "direction": DIRECTION,
        "mr_to_us": matrix.tolist(),
        "fit": fusion.fit.method,
        "rotation_degrees": float(np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude())),
        "gland_shift_mm": _gland_shift(fusion),
        "fre_mm": fusion.fit.errors,
        "fre_rms_mm": fusion.fit.rms,
        "fre_note": FRE_NOTE,
        "expected_error_mm": expected_errors(fusion),
        "expected_note": EXPECTED_NOTE,
        "check_first": [{"image": modality.upper(), "landmark": name} for modality, name in fusion.ask_first],
        "glands": _glands(fusion),
        "targets": [_target(target) for target in fusion.targets],
        "not_matched": list(fusion.fit.unmatched),
        "warnings": list(fusion.warnings),
        "landmarks": {"mr": _points(fusion.mr), "us": _points(fusion.us)},
        "images": {
            "mr": _image(fusion.mr),
            "us": {
                **_image(fusion.us),
                "flips_applied": [orientation.FLIP_NAMES[name] for name in fusion.us_flips],
                "left_right_confirmed": fusion.us_confirmed,
            },
        },
        "models": {"mr": fusion.mr.model, "us": fusion.us.model},
        "model_kinds": {"mr": fusion.mr.kind, "us": fusion.us.kind},
        "devices": {"mr": fusion.mr.device, "us": fusion.us.device},
        "seconds": round(seconds, 2),
    }


def _gland_shift(fusion: Fusion) -> float:
    """How far the middle of the fitted MR landmarks moves, mm; the translation alone depends on the origin."""
    middle = np.mean([point.position for point in fusion.mr.landmarks if point.name in fusion.fit.errors], axis=0)
    moved = fusion.fit.mr_to_us[:3, :3] @ middle + fusion.fit.mr_to_us[:3, 3]
    return float(np.linalg.norm(moved - middle))


def expected_errors(fusion: Fusion) -> dict[str, float]:
    """The expected error of the fit at each landmark of the MR, and in the middle of its gland."""
    names = [point.name for point in fusion.mr.landmarks if point.name in fusion.fit.errors]
    places = [point.position for point in fusion.mr.landmarks if point.name in fusion.fit.errors]
    if fusion.mr.gland is not None:
        names, places = [*names, "middle of the gland"], [*places, fusion.mr.gland.centroid]
    values = fusion.fit.expected_error(np.array(places))
    return {name: round(float(value), 2) for name, value in zip(names, values, strict=True)}


def _glands(fusion: Fusion) -> dict[str, Any] | None:
    """Volumes of the glands, and how well they lie on each other after the fit; None where neither is known."""
    mr, us = fusion.mr.gland, fusion.us.gland
    known: dict[str, Any] = {
        name: {
            "centroid_ras_mm": np.round(gland.centroid, 2).tolist(),
            "millilitres": round(gland.millilitres, 1),
        }
        for name, gland in (("mr", mr), ("us", us))
        if gland is not None
    }
    if mr is not None and us is not None:
        moved = apply(fusion.fit.mr_to_us, mr.centroid)
        known["dice_after_fit"] = round(dice(mr.mask(), us.mask(), fusion.fit.mr_to_us), 3)
        known["distance_of_centroids_after_fit_mm"] = round(float(np.linalg.norm(moved - us.centroid)), 2)
    return known or None


def _target(target: CarriedTarget) -> dict[str, Any]:
    return {
        "name": target.name,
        "centre_in_us_ras_mm": np.round(target.centre, 2).tolist(),
        "expected_error_mm": round(float(target.expected_error), 2),
    }


def _points(side: Side) -> list[dict[str, Any]]:
    return [
        {
            "name": point.name,
            "position_ras_mm": [round(float(value), 3) for value in point.position],
            "state": point.state,
            "spread_mm": None if point.covariance is None else round(spread(point.covariance), 2),
            "covariance_mm2": None if point.covariance is None else np.round(point.covariance, 3).tolist(),
            "check": point.name in side.ask_first,
            **_second(side, point),
        }
        for point in side.landmarks
    ]


def _second(side: Side, point: Landmark) -> dict[str, float]:
    """How far off a second network puts the point, where there is one."""
    if point.name not in side.disagreement_mm:
        return {}
    return {"second_network_off_by_mm": round(side.disagreement_mm[point.name], 2)}


def _image(side: Side) -> dict[str, Any]:
    volume = side.volume
    return {
        "size_ijk": list(volume.shape_ijk),
        "spacing_mm": [round(float(value), 4) for value in volume.spacing],
        "axes_point_to": orientation.axis_marks(volume.ijk_to_ras),
        "share_of_gland_shown": None if side.coverage is None else round(side.coverage, 3),
    }
