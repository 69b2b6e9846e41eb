"""``report.json``: what was found, how well it fits and what to be careful about. No patient, no path."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from LandmarkFusionLogic import NOTICE, __version__, orientation
from LandmarkFusionLogic.points import Landmark, spread
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLogic.fusion import Fusion

DIRECTION = (
    "mr_to_us maps points of the MR to points of the US, world RAS mm. The file mr-to-us.h5 holds it as ITK and "
    "Slicer expect it: LPS, from points of the fixed image (US) to points of the moving image (MR)."
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
        "rotation_degrees": float(np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude())),
        "gland_shift_mm": _gland_shift(fusion),
        "fre_mm": fusion.fit.errors,
        "fre_rms_mm": fusion.fit.rms,
        "fre_note": FRE_NOTE,
        "not_matched": list(fusion.fit.unmatched),
        "warnings": list(fusion.warnings),
        "landmarks": {"mr": _points(fusion.mr.landmarks), "us": _points(fusion.us.landmarks)},
        "images": {
            "mr": _image(fusion.mr.volume),
            "us": {
                **_image(fusion.us.volume),
                "flips_applied": [orientation.FLIP_NAMES[name] for name in fusion.us_flips],
                "left_right_confirmed": fusion.us_confirmed,
            },
        },
        "models": {"mr": fusion.mr.model, "us": fusion.us.model},
        "devices": {"mr": fusion.mr.device, "us": fusion.us.device},
        "seconds": round(seconds, 2),
    }


def _gland_shift(fusion: Fusion) -> float:
    """How far the middle of the fitted MR landmarks moves, mm; the translation alone depends on the origin."""
    middle = np.mean([point.position for point in fusion.mr.landmarks if point.name in fusion.fit.errors], axis=0)
    moved = fusion.fit.mr_to_us[:3, :3] @ middle + fusion.fit.mr_to_us[:3, 3]
    return float(np.linalg.norm(moved - middle))


def _points(landmarks: Iterable[Landmark]) -> list[dict[str, Any]]:
    return [
        {
            "name": point.name,
            "position_ras_mm": [round(float(value), 3) for value in point.position],
            "state": point.state,
            "spread_mm": None if point.covariance is None else round(spread(point.covariance), 2),
            "covariance_mm2": None if point.covariance is None else np.round(point.covariance, 3).tolist(),
        }
        for point in landmarks
    ]


def _image(volume: Volume) -> dict[str, Any]:
    return {
        "size_ijk": list(volume.shape_ijk),
        "spacing_mm": [round(float(value), 4) for value in volume.spacing],
        "axes_point_to": orientation.axis_marks(volume.ijk_to_ras),
    }
