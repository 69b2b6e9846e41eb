"""Tiny trainings of the networks that align CT and X-ray, for tests."""

from __future__ import annotations

from dataclasses import replace

from LandmarkFusionLogic.projection.learned.config import DEEP_REG, FINE, PRESETS, RTPI, ProjectionConfig

_TINY = {"pixels": 32, "volume": 32, "stem": 4, "phantom_side": 24, "pool": 2, "batch": 2, "steps": 4, "cycle": 4}
TINY: dict[str, ProjectionConfig] = {
    RTPI: replace(PRESETS["small"][RTPI], **_TINY, widths=(4, 4, 8, 8)),
    FINE: replace(PRESETS["small"][FINE], **_TINY, widths=(4, 8, 8)),
    DEEP_REG: replace(PRESETS["small"][DEEP_REG], **_TINY, widths=(4, 8, 8)),
}


def quiet(text: str) -> None:
    """Log nothing."""
