"""From a training run to a folder that detection can use: weights, metadata, in the layout of a MONAI bundle.

    python -m LandmarkFusionLogic.landmarks.export --run runs/mr --model models/mr-landmarks --version 0.1.0

The model card (``docs/README.md``) is written by hand and left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.training import CHECKPOINT
from LandmarkFusionLogic.landmarks.trainingdata import GRIDS
from LandmarkFusionLogic.points import LANDMARK_NAMES

LICENCE = "Apache-2.0"


def export_run(run: Path, model: Path, version: str, history: str = "") -> dict[str, Any]:
    """Write the averaged weights of ``run`` into the folder ``model``; returns the metadata written.

    ``history`` says in a sentence what the checkpoint cannot know, such as a change of the simulator during the run.

    Raises InputError when the run has no whole checkpoint.
    """
    checkpoint = run / CHECKPOINT
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(
            f"“{run}” holds no finished training; give the folder that training was told to use."
        ) from error
    weights = io.BytesIO()
    torch.save(state["averaged"], weights)
    metadata = _metadata(state, model.name, version, hashlib.sha256(weights.getvalue()).hexdigest())
    if history:
        metadata["training"]["history"] = history
    text = json.dumps(metadata, indent=2) + "\n"
    for part, content in (("models/model.pt", weights.getvalue()), ("configs/metadata.json", text.encode())):
        target = model / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return metadata


def _metadata(state: dict[str, Any], name: str, version: str, checksum: str) -> dict[str, Any]:
    config = state["config"]
    modality = config["modality"]
    grid = config["grid"] or {"spacing_mm": GRIDS[modality].spacing_mm, "shape": GRIDS[modality].shape}
    new = state["steps"] * config["batch"]
    return {
        "name": name,
        "version": version,
        "modality": modality,
        "caution": f"The {modality.upper()} network has learned from simulated images only: check its landmarks.",
        "network": config["network"],
        "grid": {"spacing_mm": grid["spacing_mm"], "shape": list(grid["shape"])},
        "preprocessing": {**config["preprocessing"], "percentiles": list(config["preprocessing"]["percentiles"])},
        "landmarks": list(LANDMARK_NAMES),
        "training": {
            "data": "simulated cases only; no image of a patient",
            "seeds": [config["first_seed"], config["first_seed"] + new - 1],
            "cases": new,
            "steps": state["steps"],
            "loss": config["loss"],
            "learning_rate": config["learning_rate"],
            "cooldown": [config.get("cooldown_start"), config.get("cooldown_steps")],
            "mixed_precision": config["mixed_precision"],
            "command": f"python -m LandmarkFusionLogic.landmarks.training --modality {modality} --out RUN",
        },
        "evaluation": {"commands": ["landmarkfusion evaluate simulated", "landmarkfusion evaluate cases"]},
        "licence": LICENCE,
        "sha256": checksum,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Turn a training run into a model folder.")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--history", default="", help="a sentence on how the run came about")
    options = parser.parse_args(arguments)
    metadata = export_run(options.run, options.model, options.version, options.history)
    print(f"{options.model}: {metadata['training']['steps']} steps, sha256 {metadata['sha256'][:12]}…")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
