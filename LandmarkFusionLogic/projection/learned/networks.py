"""Which networks a learned method needs, and the folders that hold them. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.learned.config import DEEP_REG, FINE, RTPI

METADATA = Path("configs", "metadata.json")
WEIGHTS = Path("models", "model.pt")
KIND = "projection"
PREFIX = "projection-"
"""Folders of these networks are called so, and by their stage."""

METHODS: dict[str, tuple[str, ...]] = {
    "rtpi": (RTPI,),
    "deep-reg": (DEEP_REG,),
    "sopi": (RTPI, FINE),
    "sopi+opt": (RTPI, FINE),
    "sopi-without-rtpi": (FINE,),
    "sopi-without-ce": (RTPI, DEEP_REG),
    "sopi-without-el": (RTPI, FINE),
    "sopi-without-ce-el": (RTPI, DEEP_REG),
}
"""The learned methods and the networks that each of them uses; the last four are the rows of the ablation."""


def network_folder(stage: str, model: str | None = None) -> Path:
    """The folder of the network for ``stage``.

    ``model`` is the folder of one network, or one that holds several, each in a folder called ``projection-STAGE`` or
    ``STAGE``; a network that is not found there is the one that ships. Raises InputError where there is none.
    """
    if model is not None:
        folder = Path(model)
        if not folder.is_dir():
            raise InputError(f"There is no folder “{folder.name}” with networks; give the folder of a trained one.")
        if _stage_of(folder) == stage:
            return folder
        for name in (PREFIX + stage, stage):
            if (folder / name).is_dir():
                return folder / name
    try:
        return assets.path("models", PREFIX + stage)
    except InputError as error:
        raise InputError(
            f"The network “{PREFIX}{stage}” is not installed; train it (landmarkfusion train projection --stage "
            f"{stage} --out RUN --export DIR) and give its folder as model, or choose a method that needs no network."
        ) from error


def check_model(method: str, model: str | None) -> None:
    """Raise InputError where ``model`` is given and holds no network that ``method`` uses, or one is missing."""
    folders = [network_folder(stage, model) for stage in METHODS[method]]
    if model is not None and not any(folder == Path(model) or folder.parent == Path(model) for folder in folders):
        raise InputError(
            f"“{Path(model).name}” holds no network that the method “{method}” uses ({', '.join(METHODS[method])})."
        )


def _stage_of(folder: Path) -> str | None:
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        return str(metadata["stage"]) if metadata["kind"] == KIND else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
