"""A trained DCNN-Match as data: a folder in the layout of a MONAI bundle, made from a run, checked before it is used.

``configs/metadata.json`` says what the network is and how it was trained, ``models/model.pt`` holds its weights (a
state dict in half precision, read with ``weights_only=True``), whose SHA-256 stands in the metadata. Needs torch.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from LandmarkFusionLogic.deformable.dcnn.config import MatchConfig
from LandmarkFusionLogic.deformable.dcnn.matching import VARIANTS, Variant
from LandmarkFusionLogic.deformable.dcnn.network import MatchNetwork
from LandmarkFusionLogic.deformable.dcnn.training import CHECKPOINT, read_checkpoint
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.simulation.ct import SPACING_MM

METADATA = Path("configs", "metadata.json")
WEIGHTS = Path("models", "model.pt")
KIND = "match"


@dataclass(frozen=True, eq=False)
class MatchBundle:
    """A network ready to run on the CPU; ``size`` (D, H, W) of its patches, ``border`` in voxels."""

    name: str
    version: str
    variant: Variant
    size: tuple[int, int, int]
    border: int
    spacing_mm: float
    network: MatchNetwork
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
    """Write the weights of the training in folder ``run`` into the folder ``model``; returns the metadata written.

    ``history`` says in a sentence what the checkpoint cannot know. The model card is left alone.
    Raises InputError where ``run`` holds no training.
    """
    state = read_checkpoint(run / CHECKPOINT)
    config, network = state["config"], state["network"]
    weights = io.BytesIO()
    torch.save({name: _halved(value) for name, value in network.items()}, weights)
    metadata = {
        "name": model.name,
        "version": version,
        "title": f"DCNN-Match {TITLES[config['variant']]}",
        "kind": KIND,
        "variant": config["variant"],
        "caution": "The network has learned from simulated anatomy only: check its pairs.",
        "network": {"width": config["width"]},
        "spacing_mm": SPACING_MM,
        "patch": list(config["patch"]),
        "border": config["border"],
        "training": {
            "data": "simulated anatomy only; no image of a patient",
            "steps": state["steps"],
            "planned_steps": config["steps"],
            "seconds_of_one_core": round(state["seconds"]),
            "device": "cpu",
            **{key: config[key] for key in ("learning_rate", "weight_decay", "cooldown", "frozen", "mixed_precision")},
            **{key: config[key] for key in ("points", "cell", "pairs_per_anatomy", "first_seed")},
            "command": command_of(config),
            **({"history": history} if history else {}),
        },
        "evaluation": {"commands": ["landmarkfusion evaluate deformable"]},
        "licence": "Apache-2.0",
        "sha256": hashlib.sha256(weights.getvalue()).hexdigest(),
    }
    text = json.dumps(metadata, indent=2) + "\n"
    for part, content in ((WEIGHTS, weights.getvalue()), (METADATA, text.encode())):
        target = model / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return metadata


TITLES = {
    "hinge": "Hinge",
    "ce": "CE",
    "hinge-ce": "Hinge+CE",
    "hinge0.1-ce": "Hinge0.1+CE",
    "hinge0.2-ce": "Hinge0.2+CE",
}
"""The paper's names."""


def command_of(config: dict[str, Any]) -> str:
    """The command that trains such a network anew."""
    patch = "x".join(str(n) for n in config["patch"])
    return (
        f"landmarkfusion train match --variant {config['variant']} --width {config['width']} --patch {patch} "
        f"--steps {config['steps']} --out RUN"
    )


def _halved(value: Tensor) -> Tensor:
    # The counter of batches is an integer.
    return value.half() if value.is_floating_point() else value


def load_bundle(folder: Path) -> MatchBundle:
    """The network in ``folder``, loaded once for as long as its files stay the same.

    Raises InputError where it is incomplete, damaged, another kind of network, or not what its metadata says.
    """
    try:
        stamps = tuple((folder / part).stat().st_mtime_ns for part in (METADATA, WEIGHTS))
    except OSError as error:
        raise InputError(
            f"The network “{folder.name}” is not complete (metadata or weights are missing); install it again."
        ) from error
    return _load(folder, stamps)


@lru_cache(maxsize=8)
def _load(folder: Path, stamps: tuple[int, ...]) -> MatchBundle:
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        if metadata["kind"] != KIND:
            raise ValueError("a network for something else")
        data = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(data).hexdigest() != metadata["sha256"]:
            raise ValueError("the weights are not those that the metadata describes")
        variant = VARIANTS[metadata["variant"]]
        i, j, k = (int(n) for n in metadata["patch"])
        MatchConfig(metadata["variant"], patch=(i, j, k), border=int(metadata["border"])).check()
        network = MatchNetwork(**metadata["network"], cross_entropy=variant.cross_entropy)
        network.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
        return MatchBundle(
            name=str(metadata["name"]),
            version=str(metadata["version"]),
            variant=variant,
            size=(k, j, i),
            border=int(metadata["border"]),
            spacing_mm=float(metadata["spacing_mm"]),
            network=network.eval().requires_grad_(False),
            metadata=metadata,
        )
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"The network “{folder.name}” is damaged or made for another version; install it again."
        ) from error
