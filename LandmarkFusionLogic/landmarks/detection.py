"""The landmarks of a volume, how sure they are, and what to check: all of one detection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import MIN_GLAND_ML, Gland
from LandmarkFusionLogic.landmarks.confidence import Evidence, ask_first, covariances
from LandmarkFusionLogic.landmarks.coverage import Coverage, coverage
from LandmarkFusionLogic.landmarks.device import choose_device, describe_device
from LandmarkFusionLogic.landmarks.networks import network_folder
from LandmarkFusionLogic.memory import is_out_of_memory
from LandmarkFusionLogic.orientation import outside
from LandmarkFusionLogic.points import DETECTED, FloatArray, Landmark, spread
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    import torch

    from LandmarkFusionLogic.landmarks.bundle import Bundle
    from LandmarkFusionLogic.landmarks.comparison.bundle import ComparisonBundle
    from LandmarkFusionLogic.landmarks.search import Search

NAMES = {"mr": "MR", "us": "US"}
Report = Callable[[float, str], None]

UNSURE_MM = 10.0
"""The user is warned of landmarks whose expected error is larger than this."""


@dataclass(frozen=True)
class Detection:
    """Landmarks in RAS mm with their covariance, the network and device that found them, and plain warnings.

    ``gland`` is the gland the network sees, or the mask that was given. ``ask_first`` names the doubtful landmarks,
    least certain first; ``disagreement_mm`` how far off a second network puts each, empty where there is none;
    ``coverage`` (0..1) how much of the gland's surroundings the image shows; ``kind`` the network's kind: simulation,
    research or own. ``evidence`` is what the covariance was made of.
    """

    landmarks: tuple[Landmark, ...]
    model: str
    device: str
    warnings: tuple[str, ...]
    gland: Gland | None = field(default=None, compare=False)
    ask_first: tuple[str, ...] = ()
    disagreement_mm: dict[str, float] = field(default_factory=dict)
    coverage: float | None = None
    kind: str = "simulation"
    evidence: Evidence | None = field(default=None, compare=False)


def detect_landmarks(
    volume: Volume,
    modality: str,
    device: str = "auto",
    model: str | Path | None = None,
    report: Report = lambda fraction, text: None,
    click: FloatArray | None = None,
    mask: Gland | None = None,
) -> Detection:
    """Find the landmarks of ``volume``, of any voxel size, orientation, extent and intensity.

    ``modality`` is "mr" or "us"; ``device`` auto, cuda, mps or cpu; ``model`` the folder or name of a network, by
    default the one that ships. ``click`` (3,) RAS mm is a point in the gland, ``mask`` the gland itself: with either,
    the search begins there. Positions are the component-wise median over poses; covariances as in
    `confidence.covariances`. When a GPU's memory runs out, the CPU takes over and says so.
    Raises InputError for a device or network that cannot be used, a click or mask that misses the volume, and where
    PyTorch is missing.
    """
    chosen = choose_device(device)
    from LandmarkFusionLogic.landmarks.bundle import load_bundle
    from LandmarkFusionLogic.landmarks.discrepancy import load_second

    report(0.1, f"Loading the {NAMES[modality]} network")
    bundle = load_bundle(network_folder(modality, model))
    if bundle.modality != modality:
        raise InputError(
            f"The network “{bundle.name}” was made for {NAMES.get(bundle.modality, bundle.modality)} volumes; "
            "choose another."
        )
    return detect_with_bundle(volume, bundle, chosen, report, click, mask, load_second(modality))


def detect_with_bundle(
    volume: Volume,
    bundle: Bundle,
    device: torch.device,
    report: Report,
    click: FloatArray | None = None,
    mask: Gland | None = None,
    second: ComparisonBundle | None = None,
) -> Detection:
    """`detect_landmarks` with networks that have been loaded and a device that has been chosen.

    ``second`` is a network of another making, whose disagreement is a warning.
    """
    name = NAMES.get(bundle.modality, bundle.modality)
    centre = _aim(volume, click, mask, name)
    # What a network's maker wants said with every result of it.
    warnings = [bundle.caution] if bundle.caution else []
    try:
        found, other = _look(volume, bundle, second, device, report, centre, mask is not None)
    except RuntimeError as error:
        if device.type == "cpu":
            raise
        # Too little memory, a build for other cards, an operation that a device lacks: the CPU can always do it, and
        # where the fault is not the device's it comes up there again.
        reason = "The memory of the GPU ran out" if is_out_of_memory(error) else "The GPU could not be used"
        warnings.append(f"{reason}; the CPU did the detection instead.")
        device = choose_device("cpu")
        found, other = _look(volume, bundle, second, device, report, centre, mask is not None)
    return _conclude(volume, bundle, found, other, mask, warnings, describe_device(device))


def _aim(volume: Volume, click: FloatArray | None, mask: Gland | None, name: str) -> FloatArray | None:
    """(3,) RAS mm where the user says that the gland is, or None."""
    if click is None and mask is None:
        return None
    what = "gland mask" if mask is not None else "point"
    centre = mask.centroid if mask is not None else np.asarray(click, dtype=np.float64)
    if centre.shape != (3,) or not np.isfinite(centre).all():
        raise InputError(f"The {what} of the {name} needs three finite coordinates (R, A, S).")
    index = (np.linalg.inv(volume.ijk_to_ras) @ np.append(centre, 1.0))[:3]
    if np.any(index < -0.5) or np.any(index > np.array(volume.shape_ijk) - 0.5):
        raise InputError(f"The {what} given for the {name} lies outside of its volume; give one inside of the gland.")
    return centre


def _look(
    volume: Volume,
    bundle: Bundle,
    second: ComparisonBundle | None,
    device: torch.device,
    report: Report,
    centre: FloatArray | None,
    fixed: bool,
) -> tuple[Search, FloatArray | None]:
    """The search, and what the second network says: (L, 3) RAS mm."""
    from LandmarkFusionLogic.landmarks.discrepancy import second_opinion
    from LandmarkFusionLogic.landmarks.search import search

    found = search(volume, bundle, device, lambda f, text: report(0.15 + 0.7 * f, text), centre, fixed)
    if second is None:
        return found, None
    report(0.87, "Asking a second network")
    return found, second_opinion(volume, second, bundle.landmarks, centre)


def _conclude(
    volume: Volume,
    bundle: Bundle,
    found: Search,
    other: FloatArray | None,
    mask: Gland | None,
    warnings: list[str],
    device: str,
) -> Detection:
    from LandmarkFusionLogic.landmarks.looking import median_positions

    name = NAMES.get(bundle.modality, bundle.modality)
    positions = found.positions()
    gland = seen_gland(found, bundle.calibration.gland_mm) if mask is None else mask
    checks = {}
    if found.coarse:
        # The positions are the mean of both stages, which lie twice as far apart.
        apart = 2 * np.linalg.norm(positions - median_positions(found.coarse), axis=1)
        checks["stages"] = np.full(len(positions), np.sqrt(np.mean(apart**2)))
    if other is not None:
        checks["networks"] = np.linalg.norm(positions - other, axis=1)
    within, across = found.spreads()
    evidence = Evidence(within, across, checks)
    spreads = covariances(evidence, bundle.calibration)
    landmarks = tuple(
        Landmark(name, position, covariance, DETECTED)
        for name, position, covariance in zip(bundle.landmarks, positions, spreads, strict=True)
    )
    shown = coverage(volume, gland, positions, intensity=bundle.modality == "us")
    disagreement = {
        name: float(distance) for name, distance in zip(bundle.landmarks, checks.get("networks", ()), strict=False)
    }
    expected = np.array([spread(covariance) for covariance in spreads])
    # Without a gland nothing that was found is to be believed.
    hidden = bundle.landmarks if shown is None or gland.millilitres < MIN_GLAND_ML else _hidden(bundle, shown)
    ask = ask_first(bundle.landmarks, expected, disagreement, bundle.discrepancy_mm, hidden)
    warnings = [
        *warnings,
        *_doubts(gland, dict(zip(bundle.landmarks, expected, strict=True)), shown, name),
        *_disagreement(disagreement, bundle.discrepancy_mm, name),
        *outside(volume, landmarks, name),
    ]
    return Detection(
        landmarks=landmarks,
        model=bundle.title,
        device=device,
        warnings=tuple(warnings),
        gland=None if gland.empty else gland,
        ask_first=ask,
        disagreement_mm=disagreement,
        coverage=None if shown is None else shown.share,
        kind=bundle.kind,
        evidence=evidence,
    )


def _hidden(bundle: Bundle, shown: Coverage) -> tuple[str, ...]:
    """The landmarks of which the image shows too little."""
    return tuple(name for name, bad in zip(bundle.landmarks, shown.hidden, strict=True) if bad)


def seen_gland(found: Search, error_mm: float) -> Gland:
    """The gland of a search; its centroid's covariance is that over the views plus ``error_mm`` along each axis."""
    from LandmarkFusionLogic.landmarks.looking import gland_centroids

    places = gland_centroids(found.views)
    known = places[np.isfinite(places).all(axis=1)]
    scatter = np.cov(known.T, bias=True) if len(known) > 1 else 25.0 * np.eye(3)
    return Gland(found.gland(), spread=scatter + error_mm**2 * np.eye(3))


def _doubts(gland: Gland, expected: dict[str, float], shown: Coverage | None, name: str) -> list[str]:
    """Plain warnings about a detection that is probably wrong."""
    warnings = []
    if gland.millilitres < MIN_GLAND_ML:
        warnings.append(f"No prostate was recognized in the {name} volume; check the volume and its landmarks.")
    unsure = [landmark for landmark, error in expected.items() if error > UNSURE_MM]
    if unsure:
        warnings.append(f"The network is unsure about {', '.join(unsure)} in the {name}; check them.")
    if shown is not None and shown.partial:
        warnings.append(
            f"Only {shown.share:.0%} of the prostate and its surroundings can be seen in the {name}: part of it may "
            "be cut off or in shadow; check the landmarks."
        )
    return warnings


def _disagreement(disagreement: dict[str, float], limit: float | None, name: str) -> list[str]:
    far = [f"{landmark} ({mm:.0f} mm)" for landmark, mm in disagreement.items() if limit is not None and mm > limit]
    return [f"Two networks disagree in the {name} about {', '.join(far)}; check them."] if far else []
