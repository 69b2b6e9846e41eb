"""The ten networks as folders, in the same layout as the others: written from a training, loaded, asked for positions.

``predict(volume, load_bundle(folder))`` gives the landmarks of a volume in RAS mm; it also serves as the second
opinion wherever two models are compared on one image.
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

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.bundle import METADATA, WEIGHTS
from LandmarkFusionLogic.landmarks.comparison.data import (
    GRID,
    PREPROCESSING,
    TRAINING_CASES,
    VALIDATION_CASES,
)
from LandmarkFusionLogic.landmarks.comparison.methods import (
    HEATMAP_SIGMA_MM,
    Method,
    method_of,
    new_network,
    positions,
)
from LandmarkFusionLogic.landmarks.comparison.training import checkpoint_of
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing, network_input
from LandmarkFusionLogic.points import LANDMARK_NAMES
from LandmarkFusionLogic.simulation.seeds import TRAINING, VALIDATION
from LandmarkFusionLogic.volume import Volume

VERSION = "1.0.0"
LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class ComparisonBundle:
    """One of the ten networks, ready to run on the CPU, with what its metadata says about it."""

    name: str
    modality: str
    method: Method
    grid: InputGrid
    preprocessing: Preprocessing
    network: nn.Module
    metadata: dict[str, Any]


def predict(volume: Volume, bundle: ComparisonBundle) -> npt.NDArray[np.float64]:
    """Where ``bundle`` sees the landmarks of ``volume``: (L, 3) RAS mm, in the order of `LANDMARK_NAMES`.

    One look at the volume around its centre, as the paper does. Raises InputError for a volume that shows nothing.
    """
    seen = network_input(volume, bundle.grid, bundle.preprocessing)
    with torch.inference_mode():
        output = bundle.network(torch.from_numpy(seen.array)[None, None])
        kji = positions(bundle.method, output)[0].double().numpy()
    found: npt.NDArray[np.float64] = kji[:, ::-1] @ seen.ijk_to_ras[:3, :3].T + seen.ijk_to_ras[:3, 3]
    return found


def load_bundle(folder: str | Path) -> ComparisonBundle:
    """The network in ``folder``, in evaluation mode; loaded once per process.

    Raises InputError if files are missing, damaged, or not those the metadata was written for.
    """
    folder = Path(folder)
    try:
        stamps = tuple((folder / part).stat().st_mtime_ns for part in (METADATA, WEIGHTS))
    except OSError as error:
        raise InputError(
            f"The network “{folder.name}” is not complete (metadata or weights are missing); install it again."
        ) from error
    return _load(folder.resolve(), stamps)


@lru_cache(maxsize=16)
def _load(folder: Path, stamps: tuple[int, ...]) -> ComparisonBundle:
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        content = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(content).hexdigest() != metadata["sha256"]:
            raise ValueError("the weights are not those that the metadata describes")
        preprocessing = dict(metadata["preprocessing"])
        preprocessing["percentiles"] = tuple(preprocessing["percentiles"])
        grid, described = metadata["grid"], metadata["network"]
        shape = (int(grid["shape"][0]), int(grid["shape"][1]), int(grid["shape"][2]))
        network = new_network(described["method"], shape, described["widths"], described["normalize"])
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network.load_state_dict({name: value.float() for name, value in state.items()})
        return ComparisonBundle(
            name=str(metadata["name"]),
            modality=str(metadata["modality"]),
            method=method_of(described["method"]),
            grid=InputGrid(float(grid["spacing_mm"]), shape),
            preprocessing=Preprocessing(**preprocessing),
            network=network.eval().requires_grad_(False),
            metadata=metadata,
        )
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        RuntimeError,
        EOFError,
        InputError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(
            f"The network “{folder.name}” is damaged or made for another version; install it again."
        ) from error


def export(run: Path, name: str, folder: Path) -> dict[str, Any]:
    """Write the best network that the training ``name`` (such as "mr-distance") in ``run`` has seen to ``folder``.

    Weights are stored in float16. Returns the metadata written. Raises InputError where there is no such training.
    """
    try:
        state = torch.load(checkpoint_of(run, name), map_location="cpu", weights_only=True)
        best = state["best"]
        half = {key: value.half() for key, value in best["network"].items()}
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"“{run.name}” holds no training of {name}; give the folder that training used.") from error
    if not half:
        raise InputError(f"The training of {name} has not come to its first check; let it go on.")
    weights = io.BytesIO()
    torch.save(half, weights)
    metadata = _metadata(name, state, hashlib.sha256(weights.getvalue()).hexdigest())
    text = json.dumps(metadata, indent=2) + "\n"
    for part, content in ((WEIGHTS, weights.getvalue()), (METADATA, text.encode())):
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return metadata


def _metadata(name: str, state: dict[str, Any], checksum: str) -> dict[str, Any]:
    modality, key = name.split("-")
    budget, best, method = state["budget"], state["best"], method_of(key)
    loss: dict[str, Any] = {"unit of coordinates": "mm"}
    if key == "heatmap":
        loss["heatmap_sigma_mm"] = HEATMAP_SIGMA_MM
    else:
        loss["lambda_1"] = 1.0
    if modality in method.weight:
        loss["lambda_2"] = method.weight[modality]
    return {
        "name": name,
        "version": VERSION,
        "title": f"{method.title} ({modality.upper()}), for comparison",
        "modality": modality,
        "kind": "simulation",
        "stage": "whole",
        "caution": "Trained on a small budget to compare methods with each other, not to find landmarks in patients.",
        "network": {"method": key, "widths": list(budget["widths"]), "normalize": budget["normalize"]},
        "grid": {"spacing_mm": GRID.spacing_mm, "shape": list(GRID.shape)},
        "preprocessing": {
            "lowpass_sigma_mm": PREPROCESSING.lowpass_sigma_mm,
            "percentiles": list(PREPROCESSING.percentiles),
            "background_fraction": PREPROCESSING.background_fraction,
        },
        "landmarks": list(LANDMARK_NAMES),
        "training": {
            "data": "simulated cases only; no image of a patient",
            "cases": TRAINING_CASES,
            "seeds": [TRAINING.start, TRAINING.start + TRAINING_CASES - 1],
            "augmentation": "mirrored left-right or not, shifted by up to two voxels",
            "loss": loss,
            "optimizer": "Adam",
            "learning_rate": budget["learning_rate"],
            "batch": budget["batch"],
            "steps": state["steps"],
            "core_minutes": round(state["seconds"] / 60, 2),
            "command": "landmarkfusion train comparison --out RUN",
        },
        "evaluation": {
            "validation_cases": VALIDATION_CASES,
            "validation_seeds": [VALIDATION.start, VALIDATION.start + VALIDATION_CASES - 1],
            "best_step": best["steps"],
            "validation_mre_mm": round(best["mre"], 3),
            "commands": ["landmarkfusion evaluate landmarks"],
        },
        "licence": LICENCE,
        "sha256": checksum,
    }
