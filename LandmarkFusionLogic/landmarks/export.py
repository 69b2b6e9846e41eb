"""From a training run to a folder that detection can use: weights, metadata, in the layout of a MONAI bundle.

    python -m LandmarkFusionLogic.landmarks.export --run runs/mr --model models/mr-landmarks --version 0.1.0

A network for the second stage goes into the folder ``fine`` of the first one's. The model card (``docs/README.md``) is
written by hand and left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.augmentation import CROP
from LandmarkFusionLogic.landmarks.bundle import load_bundle
from LandmarkFusionLogic.landmarks.training import BEST, CHECKPOINT
from LandmarkFusionLogic.landmarks.trainingdata import CROP_GRID, GRIDS
from LandmarkFusionLogic.points import LANDMARK_NAMES

TITLES = {
    "simulation": "Simulation only",
    "research": "Research: simulation + {count} real cases",
    "own": "Own: {count} kept cases",
}
CAUTIONS = {
    "simulation": "The {modality} network has learned from simulated images only: check its landmarks.",
    "research": "Research weights: the {modality} network has learned from simulated images and {count} published "
    "research cases; check its landmarks.",
    "own": "The {modality} network has been fine-tuned on {count} cases kept here: check its landmarks.",
}
DATA = {
    "simulation": "simulated cases only; no image of a patient",
    "research": "simulated cases and {count} images of mrus-27 (patients of µ-RegPro, research only)",
    "own": "simulated cases and {count} images kept by the user",
}
LICENCES = {
    "simulation": "Apache-2.0",
    "research": "Apache-2.0 for the weights; the patients' images were published for research only: research use only",
    "own": "the user's own",
}


def export_run(
    run: Path,
    model: Path,
    version: str,
    history: str = "",
    half: bool = False,
    checkpoint: str = CHECKPOINT,
    share: float = 1.0,
) -> dict[str, Any]:
    """Write the averaged weights of ``run`` into the folder ``model``; returns the metadata written.

    ``history`` says in a sentence what the checkpoint cannot know, such as a change of the simulator during the run;
    ``half`` stores the weights in float16, at half of the size; ``checkpoint`` is the file in ``run``, the last
    one by default. With a ``share`` below 1 the weights are ``share`` × those of the run and the rest those that it
    began with, which keeps more of what the network could do before (Wortsman 2022, robust fine-tuning).

    Raises InputError when the run has no whole checkpoint.
    """
    try:
        state = torch.load(run / checkpoint, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(
            f"“{run}” holds no finished training; give the folder that training was told to use."
        ) from error
    weights = io.BytesIO()
    averaged = state["averaged"] if share == 1.0 else _blended(state, share)
    torch.save({name: value.half() for name, value in averaged.items()} if half else averaged, weights)
    metadata = _metadata(state, model.name, version, hashlib.sha256(weights.getvalue()).hexdigest())
    if share != 1.0:
        metadata["training"]["share"] = share
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
    modality, stage = config["modality"], config["stage"]
    grid = config["grid"] or asdict(CROP_GRID if stage == CROP else GRIDS[modality])
    new = state["steps"] * config["batch"]
    kind = _kind(config)
    return {
        "name": name,
        "version": version,
        "title": TITLES[kind].format(count=len(state["cases"])),
        "modality": modality,
        "kind": kind,
        "stage": stage,
        "caution": CAUTIONS[kind].format(modality=modality.upper(), count=len(state["cases"])),
        "network": config["network"],
        "grid": {"spacing_mm": grid["spacing_mm"], "shape": list(grid["shape"])},
        "preprocessing": {**config["preprocessing"], "percentiles": list(config["preprocessing"]["percentiles"])},
        "landmarks": list(LANDMARK_NAMES),
        "training": {
            "data": DATA[kind].format(count=len(state["cases"])),
            "real_cases": state["cases"],
            "seeds": [config["first_seed"], config["first_seed"] + max(new - 1, 0)],
            "cases": new,
            "steps": state["steps"],
            "start": Path(config["start"]).name if config["start"] else None,
            "loss": config["loss"],
            "learning_rate": config["learning_rate"],
            "augmentation": config["augmentation"],
            "conditions": config["conditions"],
            "cooldown": [config["cooldown_start"], config["cooldown_steps"]],
            "mixed_precision": config["mixed_precision"],
            "command": "landmarkfusion train landmarks --config training.json --out RUN",
        },
        "evaluation": {"commands": ["landmarkfusion evaluate simulated", "landmarkfusion evaluate cases"]},
        "licence": LICENCES[kind],
        "sha256": checksum,
    }


def _blended(state: dict[str, Any], share: float) -> dict[str, Any]:
    start = state["config"]["start"]
    if start is None or not 0 < share < 1:
        raise InputError("Only fine-tuned weights can be blended with those they began with, by a share of 0 to 1.")
    before = load_bundle(start).network.state_dict()
    return {name: share * value + (1 - share) * before[name] for name, value in state["averaged"].items()}


def _kind(config: dict[str, Any]) -> str:
    if config["cases"] is None:
        return "simulation"
    return "research" if (Path(config["cases"]) / "mrus-27").is_dir() else "own"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Turn a training run into a model folder.")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--best", action="store_true", help="the smallest validation error instead of the last step")
    parser.add_argument("--half", action="store_true", help="store the weights in float16")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the run's weights; the rest is what it began with"
    )
    parser.add_argument("--history", default="", help="a sentence on how the run came about")
    options = parser.parse_args(arguments)
    checkpoint = BEST if options.best else CHECKPOINT
    metadata = export_run(
        options.run, options.model, options.version, options.history, options.half, checkpoint, options.share
    )
    print(f"{options.model}: {metadata['training']['steps']} steps, sha256 {metadata['sha256'][:12]}…")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
