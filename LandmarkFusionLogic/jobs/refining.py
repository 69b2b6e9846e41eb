"""The job "refine": the deformable refinement of an MR on a US after the rigid fit, and whether to use it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from LandmarkFusionLogic import NOTICE, __version__
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs.deformable import DeformResult, TargetError
from LandmarkFusionLogic.jobs.matching import PointPair, initial_matrix
from LandmarkFusionLogic.jobs.reading import load, mask_of
from LandmarkFusionLogic.jobs.records import LandmarkRecord, Matrix, Report, VolumeSource, landmarks, part

if TYPE_CHECKING:
    from LandmarkFusionLogic.deformable.refinement.check import Comparison
    from LandmarkFusionLogic.deformable.refinement.refine import Pair, Refinement

TRANSFORM, DOUBTFUL = "transform.h5", "doubtful.h5"


@dataclass(frozen=True)
class RefineRequest:
    """Refine how ``moving`` lies on ``fixed`` by ``initial`` (4x4, moving to fixed, RAS mm); results go to ``out``.

    The masks are of the gland; ``drawn`` says that a person drew or checked both of them. Landmarks of equal names
    guide; ``targets`` guide nothing, their distances are told. ``use_doubtful``: take the refinement even where
    something speaks against it.
    """

    fixed: VolumeSource
    moving: VolumeSource
    initial: Matrix
    out: str
    fixed_mask: VolumeSource | None = None
    moving_mask: VolumeSource | None = None
    drawn: bool = True
    fixed_landmarks: list[LandmarkRecord] = field(default_factory=list)
    moving_landmarks: list[LandmarkRecord] = field(default_factory=list)
    targets: list[PointPair] = field(default_factory=list)
    use_doubtful: bool = False


@dataclass(frozen=True)
class RefineResult:
    """What was written: ``deformation`` holds the transform to be used, refined where ``refined``, else the start.

    ``doubts`` say what speaks against the refinement, [] where nothing does. ``comparison`` holds the figures before
    and after (`Comparison`); None where one cannot be known. ``doubtful`` is the path of a refinement that is not to
    be used, None where there is none.
    """

    deformation: DeformResult
    refined: bool
    doubts: list[str]
    comparison: dict[str, float | None]
    doubtful: str | None = None


def refine(request: RefineRequest, report: Report) -> RefineResult:
    """Refine, compare with the start, and write what is to be used: all of it or nothing.

    Raises InputError for volumes, masks, landmarks or a start that cannot be used, and where nothing guides.
    """
    from LandmarkFusionLogic.deformable.refinement.refine import refine as run
    from LandmarkFusionLogic.workfolder import replacing

    started = time.perf_counter()
    pair, names = _pair(request, part(report, 0.0, 0.1))
    found = run(pair, part(report, 0.1, 0.85))
    used = found.recommended or request.use_doubtful
    out = Path(request.out)
    report(0.85, "Writing the result")
    with replacing(out) as folder:
        deformed = _write(folder, out, request, pair, names, found, used, started)
        result = RefineResult(
            deformed,
            used,
            list(found.doubts),
            {name: _known(value) for name, value in asdict(found.comparison).items()},
            None if used else str(out / DOUBTFUL),
        )
        _write_report(folder / "report.json", result, found.comparison)
    report(1.0, "Done")
    return result


def advice(doubts: list[str], used: bool) -> str:
    """What the check says of a refinement, as one sentence for the user; "" where nothing speaks against it."""
    if not doubts:
        return ""
    said = "; ".join(doubts)
    kept = "used all the same, as you asked" if used else "not used, the rigid alignment is kept"
    return f"The refinement is doubtful and {kept}: {said}."


def _pair(request: RefineRequest, report: Report) -> tuple[Pair, list[str]]:
    from LandmarkFusionLogic.deformable.refinement.landmarks import paired
    from LandmarkFusionLogic.deformable.refinement.refine import Pair

    initial = initial_matrix(request.initial)
    if initial is None:
        raise InputError("The refinement starts from the rigid alignment; give its transform.")
    report(0.0, "Reading the volumes")
    fixed, moving = load(request.fixed, "fixed volume"), load(request.moving, "moving volume")
    glands = [
        mask_of(source, f"gland mask of the {what} volume", np.eye(4))
        for source, what in ((request.fixed_mask, "fixed"), (request.moving_mask, "moving"))
    ]
    marks, covariances, names = paired(
        landmarks(request.fixed_landmarks), landmarks(request.moving_landmarks), initial
    )
    return Pair(fixed, moving, initial, glands[0], glands[1], marks, covariances, request.drawn), names


def _write(
    folder: Path,
    out: Path,
    request: RefineRequest,
    pair: Pair,
    names: list[str],
    found: Refinement,
    used: bool,
    started: float,
) -> DeformResult:
    """Write transforms, volumes and the matches into ``folder``, which becomes ``out``."""
    from LandmarkFusionLogic.deformable.quality import target_errors
    from LandmarkFusionLogic.imageio import write_volume
    from LandmarkFusionLogic.markupsfile import write_points

    chosen = found.deformation if used else found.start
    chosen.write(folder / TRANSFORM)
    if not used:
        found.deformation.write(folder / DOUBTFUL)
    warped, jacobian = chosen.warp(pair.moving, pair.fixed), chosen.jacobian(pair.fixed)
    write_volume(folder / "warped.nrrd", warped)
    write_volume(folder / "jacobian.nrrd", jacobian)
    matched = [
        PointPair(a, b, confidence)
        for a, b, confidence in zip(
            found.matches.fixed.tolist(),
            found.matches.moving.tolist(),
            found.matches.confidence.tolist(),
            strict=True,
        )
    ]
    if matched:
        for side in ("fixed", "moving"):
            rows = [(f"M{n}", np.array(getattr(each, side)), "") for n, each in enumerate(matched, start=1)]
            write_points(folder / f"{side}-points.mrk.json", rows)
    places = [np.array([getattr(t, side) for t in request.targets]).reshape(-1, 3) for side in ("fixed", "moving")]
    before, after = (target_errors(transform, *places) for transform in (found.start, chosen))
    targets = [
        TargetError(target.name, float(a), float(b))
        for target, a, b in zip(request.targets, before, after, strict=True)
    ]
    compared = found.comparison
    told = advice(list(found.doubts), used)
    return DeformResult(
        transform=str(out / TRANSFORM),
        warped=str(out / "warped.nrrd"),
        jacobian=str(out / "jacobian.nrrd"),
        report=str(out / "report.json"),
        log="",
        pairs=matched,
        jacobian_min=compared.jacobian_min if used else 1.0,
        jacobian_max=compared.jacobian_max if used else 1.0,
        folded=compared.folded if used else 0.0,
        similarity_before=_alike(compared.difference_before),
        similarity_after=_alike(compared.difference_after if used else compared.difference_before),
        targets=targets,
        warnings=[told] if told else [],
        seconds=time.perf_counter() - started,
    )


def _write_report(path: Path, result: RefineResult, compared: Comparison) -> None:
    """The report names no file: names may be a patient's."""
    told = {
        "notice": NOTICE,
        "version": __version__,
        "used": "refined" if result.refined else "rigid",
        "doubts": result.doubts,
        "comparison": result.comparison,
        "mind_change": _known(compared.change),
        "matches": len(result.deformation.pairs),
        "targets": [asdict(target) for target in result.deformation.targets],
        "seconds": result.deformation.seconds,
    }
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _alike(difference: float) -> float:
    """A similarity, larger is better, from the difference of the MIND descriptors; 0 where it is not known."""
    return 1.0 - difference if np.isfinite(difference) else 0.0


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
