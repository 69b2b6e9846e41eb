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
    CASE_GRID,
    GRID,
    PREPROCESSING,
    TRAINING_CASES,
    VALIDATION_CASES,
    CaseArrays,
    on_grid,
)
from LandmarkFusionLogic.landmarks.comparison.methods import (
    HEATMAP_SIGMA_MM,
    Method,
    method_of,
    new_network,
    positions,
)
from LandmarkFusionLogic.landmarks.comparison.training import ALL, checkpoint_of
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing, network_input
from LandmarkFusionLogic.points import LANDMARK_NAMES
from LandmarkFusionLogic.simulation.seeds import TRAINING, VALIDATION
from LandmarkFusionLogic.volume import Volume

VERSION = "1.0.0"
LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class ComparisonBundle:
    """One of the ten networks, ready to run on the CPU, with what its metadata says about it.

    A volume is first brought to the grid ``source``, as the training's cases were, then to ``grid``.
    """

    name: str
    modality: str
    landmarks: tuple[str, ...]
    method: Method
    grid: InputGrid
    source: InputGrid
    preprocessing: Preprocessing
    network: nn.Module
    metadata: dict[str, Any]


def predict(
    volume: Volume, bundle: ComparisonBundle, centre: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Where ``bundle`` sees the landmarks of ``volume``: (L, 3) RAS mm, in the order of ``bundle.landmarks``.

    One look at what lies around ``centre`` (3,), RAS mm, by default the volume's, as the paper does.
    Raises InputError for a volume that shows nothing there.
    """
    around = volume.centre if centre is None else np.asarray(centre, dtype=np.float64)
    finer = network_input(volume, bundle.source, bundle.preprocessing, around).array[None]
    nothing = np.zeros((1, len(bundle.landmarks), 3), dtype=np.float32)
    seen = on_grid(CaseArrays(finer, nothing, nothing[..., 0]), bundle.grid.shape).images
    with torch.inference_mode():
        output = bundle.network(torch.from_numpy(seen)[:, None])
        kji = positions(bundle.method, output)[0].double().numpy()
    to_ras = bundle.grid.ijk_to_ras(around)
    found: npt.NDArray[np.float64] = kji[:, ::-1] @ to_ras[:3, :3].T + to_ras[:3, 3]
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
        grid, source, described = _grid(metadata["grid"]), _grid(metadata["source_grid"]), metadata["network"]
        network = new_network(described["method"], grid.shape, described["widths"], described["normalize"])
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network.load_state_dict({name: value.float() for name, value in state.items()})
        return ComparisonBundle(
            name=str(metadata["name"]),
            modality=str(metadata["modality"]),
            landmarks=tuple(metadata["landmarks"]),
            method=method_of(described["method"]),
            grid=grid,
            source=source,
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


def _grid(described: dict[str, Any]) -> InputGrid:
    k, j, i = described["shape"]
    return InputGrid(float(described["spacing_mm"]), (int(k), int(j), int(i)))


def export(run: Path, name: str, folder: Path) -> dict[str, Any]:
    """Write the best network that the training ``name`` (such as "mr-distance") in ``run`` has seen to ``folder``.

    Weights are stored in float16. Returns the metadata written. Raises InputError where there is no such training.
    """
    state = _state(run, name)
    half = {key: value.half() for key, value in state["best"]["network"].items()}
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


def _state(run: Path, name: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(checkpoint_of(run, name), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"“{run.name}” holds no training of {name}; give the folder that training used.") from error
    return state


def export_all(run: Path, models: Path) -> None:
    """`export` of each of the ten to a folder of its name in ``models``.

    Raises InputError where one is missing or they have not had equally many steps.
    """
    names = [f"{modality}-{key}" for modality, key in ALL]
    if len({_state(run, name)["steps"] for name in names}) > 1:
        raise InputError(f"The networks in “{run.name}” have had different budgets; let the training come to its end.")
    for name in names:
        export(run, name, models / name)


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
        "source_grid": {"spacing_mm": CASE_GRID.spacing_mm, "shape": list(CASE_GRID.shape)},
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
