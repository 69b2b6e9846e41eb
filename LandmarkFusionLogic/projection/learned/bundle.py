"""A trained network of SOPI as data: a folder in the layout of a MONAI bundle, checked before it is used.

``configs/metadata.json`` says what the network is and how it was trained, ``models/model.pt`` holds its weights (a
state dict in half precision, read with ``weights_only=True``), whose SHA-256 stands in the metadata.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection.learned.config import DEEP_REG, FINE, RTPI, ProjectionConfig
from LandmarkFusionLogic.projection.learned.encoders import FineNetwork
from LandmarkFusionLogic.projection.learned.networks import KIND, METADATA, WEIGHTS
from LandmarkFusionLogic.projection.learned.rtpi import RtpiNetwork
from LandmarkFusionLogic.projection.learned.training import CHECKPOINT, SCORES, make_network, read_checkpoint

TITLES = {
    RTPI: "Pose of a CT before the C-arm (RTPI)",
    FINE: "Fine registration of CT and X-ray (composite encoders)",
    DEEP_REG: "Fine registration of CT and X-ray (Deep-reg, plain encoders)",
}
CAUTION = "The network has learned from simulated spines only, for a short time: check the overlay."


@dataclass(frozen=True, eq=False)
class ProjectionBundle:
    """A network ready to run, and the settings that it was trained with."""

    name: str
    version: str
    config: ProjectionConfig
    network: RtpiNetwork | FineNetwork
    metadata: dict[str, Any]

    @property
    def title(self) -> str:
        """Name and version, for reports."""
        return f"{self.name} {self.version}"

    @property
    def caution(self) -> str:
        """What its maker wants said with every result; empty for none."""
        return str(self.metadata.get("caution", ""))


def export_run(run: Path, model: Path, version: str = "1.0.0", history: str = "") -> dict[str, Any]:
    """Write the best weights of the training in folder ``run`` into the folder ``model``; returns the metadata.

    ``history`` says in a sentence what the checkpoint cannot know. The model card is left alone.
    Raises InputError where ``run`` holds no training.
    """
    state = read_checkpoint(run / CHECKPOINT)
    config = state["config"]
    weights = io.BytesIO()
    network = state["best"] or state["network"]
    torch.save({name: _halved(value) for name, value in network.items()}, weights)
    metadata = {
        "name": model.name,
        "version": version,
        "title": TITLES[config["stage"]],
        "kind": KIND,
        "stage": config["stage"],
        "caution": CAUTION,
        "config": config,
        "training": {
            "data": "simulated spines only; no image of a patient",
            "steps": state["steps"],
            "planned_steps": config["steps"],
            "best_steps": state["best_steps"] if state["best"] else state["steps"],
            "cases": state["steps"] * config["batch"],
            "seconds_of_one_core": round(state["seconds"]),
            "validation": _scores(run),
            "command": command_of(config),
            **({"history": history} if history else {}),
        },
        "evaluation": {"commands": ["landmarkfusion evaluate projection"]},
        "licence": "Apache-2.0",
        "sha256": hashlib.sha256(weights.getvalue()).hexdigest(),
    }
    text = json.dumps(metadata, indent=2) + "\n"
    for part, content in ((WEIGHTS, weights.getvalue()), (METADATA, text.encode())):
        target = model / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return metadata


def command_of(config: dict[str, Any]) -> str:
    """The command that trains such a network anew."""
    return (
        f"landmarkfusion train projection --stage {config['stage']} --preset {config['preset']} "
        f"--steps {config['steps']} --out RUN"
    )


def _scores(run: Path) -> dict[str, Any]:
    """The scores of the best step: cases of simulated spines that were not trained on."""
    try:
        lines = [json.loads(line) for line in (run / SCORES).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return {}
    return min(lines, key=lambda line: float(line["score"])) if lines else {}


def _halved(value: Tensor) -> Tensor:
    # The counter of batches is an integer.
    return value.half() if value.is_floating_point() else value


def load_bundle(folder: Path, device: str = "cpu") -> ProjectionBundle:
    """The network in ``folder`` on ``device``, loaded once for as long as its files stay the same.

    Raises InputError where it is incomplete, damaged, another kind of network, or not what its metadata says.
    """
    try:
        stamps = tuple((folder / part).stat().st_mtime_ns for part in (METADATA, WEIGHTS))
    except OSError as error:
        raise InputError(
            f"The network “{folder.name}” is not complete (metadata or weights are missing); install it again."
        ) from error
    return _load(folder, device, stamps)


@lru_cache(maxsize=8)
def _load(folder: Path, device: str, stamps: tuple[int, ...]) -> ProjectionBundle:
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        if metadata["kind"] != KIND:
            raise ValueError("a network for something else")
        data = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(data).hexdigest() != metadata["sha256"]:
            raise ValueError("the weights are not those that the metadata describes")
        config = read_config(metadata["config"])
        network = make_network(config)
        network.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
        return ProjectionBundle(
            name=str(metadata["name"]),
            version=str(metadata["version"]),
            config=config,
            network=network.eval().requires_grad_(False).to(device),
            metadata=metadata,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"The network “{folder.name}” is damaged or made for another version; install it again."
        ) from error


def read_config(data: dict[str, Any]) -> ProjectionConfig:
    """The settings that a file holds: lists are tuples again. Raises TypeError, ValueError or InputError."""
    known = {field.name for field in fields(ProjectionConfig)}
    if data.keys() != known:
        raise ValueError("settings of another version")
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
    config = ProjectionConfig(**values)
    config.check()
    return config
