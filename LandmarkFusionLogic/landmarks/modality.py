"""Does a volume look like an MR or like an ultrasound? Only to warn when the two may have been swapped.

A few numbers about the middle of the volume (grey values, their roughness, how much is black and where) go through a
small two-layer network, evaluated with numpy: the answer is there without torch. Trained on simulated images:

    python -m LandmarkFusionLogic.landmarks.modality --model models/modality
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.landmarks.preprocessing import InputGrid, Preprocessing, resample
from LandmarkFusionLogic.volume import Volume

FloatArray = npt.NDArray[np.float64]

GRID = InputGrid(3.0, (20, 20, 20))
"""60 mm around the middle: nearly every image covers it, so that the size of a volume gives nothing away."""
SURE = 0.95
"""How sure the classifier must be before anyone is warned."""
NAMES = {"mr": "MR", "us": "ultrasound"}
_BLOCKS = 4


@dataclass(frozen=True)
class ModalityClassifier:
    """A standardization of the features and two layers; weights as numpy arrays."""

    mean: FloatArray
    scale: FloatArray
    hidden: FloatArray
    hidden_bias: FloatArray
    output: FloatArray
    output_bias: float

    def probability_us(self, features: FloatArray) -> FloatArray:
        """(N,) probability of ultrasound for features (N, F)."""
        standard = np.clip((features - self.mean) / self.scale, -4, 4)
        activation = np.maximum(standard @ self.hidden + self.hidden_bias, 0)
        return np.asarray(1 / (1 + np.exp(-(activation @ self.output + self.output_bias))))


def probability_us(volume: Volume) -> float:
    """How likely ``volume`` is an ultrasound rather than an MR, 0..1.

    Raises InputError when the volume's middle shows nothing or the classifier is not installed whole.
    """
    classifier = load_classifier(assets.path("models", "modality"))
    return float(classifier.probability_us(features(volume)[None])[0])


def swap_warning(volume: Volume, modality: str) -> str | None:
    """A plain warning when the volume given as ``modality`` (mr, us) surely looks like the other one, else None."""
    probability = probability_us(volume)
    if (modality == "mr" and probability > SURE) or (modality == "us" and probability < 1 - SURE):
        other = "us" if modality == "mr" else "mr"
        return (
            f"The volume given as {NAMES[modality]} looks like {NAMES[other]}; "
            "check that MR and ultrasound are not swapped."
        )
    return None


def features(volume: Volume) -> FloatArray:
    """(F,) what the classifier looks at; the same for a volume mirrored left to right.

    Raises InputError when the middle of the volume is constant or holds no numbers.
    """
    affine = GRID.ijk_to_ras(volume.centre)
    values, inside = resample(volume, affine, GRID.shape, Preprocessing().lowpass_sigma_mm)
    seen = values[inside]
    if not np.isfinite(seen).all() or np.ptp(seen) <= 1e-5 * max(float(np.abs(seen).max()), 1e-30):
        raise InputError("The middle of the volume shows nothing but one grey value; choose another volume.")
    low, high = np.percentile(seen, (0.5, 99.5))
    grey = np.where(inside, np.clip((values - low) / (high - low), 0, 1), 0)
    spread = np.percentile(grey[inside], (5, 10, 25, 50, 75, 90, 95))
    black = float(np.mean(grey[inside] < 0.03))
    slopes = [float(np.abs(np.diff(grey, axis=axis)).mean()) for axis in range(3)]
    symmetric = 0.5 * (grey + grey[:, :, ::-1])
    uneven = float(np.abs(grey - grey[:, :, ::-1]).mean())
    side = GRID.shape[0] // _BLOCKS
    blocks = symmetric.reshape(_BLOCKS, side, _BLOCKS, side, _BLOCKS, side)
    means = blocks.mean(axis=(1, 3, 5))[:, :, : _BLOCKS // 2]
    roughness = blocks.std(axis=(1, 3, 5))[:, :, : _BLOCKS // 2]
    return np.concatenate([spread, [black, uneven], slopes, means.ravel(), roughness.ravel()]).astype(np.float64)


@lru_cache(maxsize=2)
def load_classifier(folder: Path) -> ModalityClassifier:
    """The classifier in ``folder`` (``models/model.json``).

    Raises InputError when it is missing or damaged.
    """
    try:
        stored = json.loads((folder / "models" / "model.json").read_text(encoding="utf-8"))
        parts = {name: np.array(stored[name], dtype=np.float64) for name in ("mean", "scale", "hidden", "hidden_bias")}
        return ModalityClassifier(
            **parts, output=np.array(stored["output"], dtype=np.float64), output_bias=float(stored["output_bias"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("The modality classifier is damaged; install LandmarkFusion again.") from error


def train_classifier(cases: int, first_seed: int) -> ModalityClassifier:
    """Learn from ``cases`` simulated MR and as many ultrasounds, each also seen upside down and back to front."""
    import torch

    table, labels = _simulated_features(cases, first_seed)
    mean, scale = table.mean(axis=0), table.std(axis=0) + 1e-3
    torch.manual_seed(0)
    x = torch.from_numpy(np.clip((table - mean) / scale, -4, 4)).float()
    y = torch.from_numpy(labels).float()
    layers = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(layers.parameters(), lr=3e-3, weight_decay=0.05)
    for _ in range(600):
        chosen = torch.randint(0, len(x), (256,))
        noisy = x[chosen] + 0.3 * torch.randn(256, x.shape[1])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(layers(noisy)[:, 0], y[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    weights = [p.detach().double().numpy() for p in layers.parameters()]
    return ModalityClassifier(mean, scale, weights[0].T, weights[1], weights[2][0], float(weights[3][0]))


def _simulated_features(cases: int, first_seed: int) -> tuple[FloatArray, FloatArray]:
    from LandmarkFusionLogic.simulation.case import simulate_image

    rows, labels = [], []
    for seed in range(first_seed, first_seed + cases):
        for label, modality in enumerate(("mr", "us")):
            for posed in _poses(simulate_image(seed, modality, 2.5).image):
                rows.append(features(posed))
                labels.append(float(label))
    return np.stack(rows), np.array(labels)


def _poses(volume: Volume) -> Iterator[Volume]:
    """As it is, upside down, back to front, both: the orientation of an ultrasound cannot be trusted."""
    for vertical in (1.0, -1.0):
        for sagittal in (1.0, -1.0):
            flip = np.diag([1.0, sagittal, vertical, 1.0])
            yield Volume(volume.array, flip @ volume.ijk_to_ras)


def save_classifier(classifier: ModalityClassifier, folder: Path, metadata: dict[str, Any]) -> None:
    """Write weights and metadata to ``folder``."""
    for part, content in (("models/model.json", _rounded(classifier)), ("configs/metadata.json", metadata)):
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content, indent=None if "model.json" in part else 2) + "\n", encoding="utf-8")


def _rounded(classifier: ModalityClassifier) -> dict[str, Any]:
    return {
        name: np.round(getattr(classifier, name), 5).tolist()
        for name in ("mean", "scale", "hidden", "hidden_bias", "output", "output_bias")
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure on unseen simulated cases, and write."""
    from LandmarkFusionLogic.simulation.seeds import TEST, TRAINING

    parser = argparse.ArgumentParser(description="Train the classifier that tells MR from ultrasound.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=500)
    options = parser.parse_args(arguments)
    first = TRAINING.start + 500_000_000
    classifier = train_classifier(options.cases, first)
    table, labels = _simulated_features(100, TEST.start)
    right = (classifier.probability_us(table) > 0.5) == (labels > 0.5)
    metadata = {
        "name": "modality",
        "version": "0.1.0",
        "training": {"data": "simulated cases only", "seeds": [first, first + options.cases - 1]},
        "evaluation": {
            "command": f"python -m LandmarkFusionLogic.landmarks.modality --model MODEL --cases {options.cases}",
            "right of unseen simulated images": f"{int(right.sum())} of {right.size}",
        },
        "licence": "Apache-2.0",
    }
    save_classifier(classifier, options.model, metadata)
    print(f"right on unseen simulated images: {right.sum()} of {right.size}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
