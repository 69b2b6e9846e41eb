"""The job "align": the pose of a CT that explains one or two X-rays."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from LandmarkFusionLogic import NOTICE, __version__, workfolder
from LandmarkFusionLogic.jobs.projection import Projected, projected
from LandmarkFusionLogic.jobs.projectionrecords import AlignRequest, AlignResult
from LandmarkFusionLogic.jobs.records import Report, part
from LandmarkFusionLogic.jobs.xrayviews import Side, XRayView, read_sides
from LandmarkFusionLogic.points import FloatArray

if TYPE_CHECKING:
    from LandmarkFusionLogic.projection.pose import Pose
    from LandmarkFusionLogic.projection.registration import Alignment, View

CURVE, LAST = "similarity.csv", "pose.json"
"""Files in the request's folder that change while the job runs."""


def align(request: AlignRequest, report: Report) -> AlignResult:
    """Read CT and X-rays, find the pose, and write transform, projections, picture and report.

    While it runs, ``similarity.csv`` grows in the request's folder ``out`` and ``pose.json`` holds the best pose so
    far, unless it holds earlier ones already.
    Raises InputError for a CT, X-rays, geometries or settings that cannot be used; then nothing is left on disk.
    """
    from LandmarkFusionLogic.projection import registration

    started = time.perf_counter()
    device = _settled(request)
    ready = projected(request.ct, part(report, 0.0, 0.05))
    report(0.05, "Reading the X-ray")
    sides = [_seen(ready, side) for side in read_sides(request, ready.isocenter)]
    out = Path(request.out)
    with ExitStack() as stack:
        if any((out / name).exists() for name in (CURVE, LAST)):
            folder = stack.enter_context(workfolder.replacing(out))
            watched = [folder / name for name in (CURVE, LAST)]
        else:
            watched = stack.enter_context(workfolder.visible(out, CURVE, LAST))
            folder = stack.enter_context(workfolder.replacing(out))
        watch = _Watch(*watched)
        tries = []
        for number, side in enumerate(sides):
            share = part(report, 0.1 + 0.8 * number / len(sides), 0.1 + 0.8 * (number + 1) / len(sides))
            watch.begin()
            tries.append(
                registration.align(
                    ready.projector.mu,
                    side.views,
                    [side.start],
                    request.method,
                    report=share,
                    watch=watch,
                    model=request.model,
                    device=device,
                )
            )
        best = max(range(len(sides)), key=lambda number: tries[number].similarity_after)
        side, found = sides[best], tries[best]
        views = side.xrays
        report(0.9, "Writing the result")
        _Watch.last(watched[1], found.pose, found.similarity_after)
        result = AlignResult(
            pose=found.pose.parameters.tolist(),
            ct_to_camera=found.ct_to_camera.tolist(),
            start=side.start.parameters.tolist(),
            method=request.method,
            similarity_before=found.similarity_before,
            similarity_after=found.similarity_after,
            curve=[[float(iteration), float(similarity)] for iteration, similarity in found.curve],
            geometry=views[0].geometry.to_json(),
            transform=str(out / "transform.h5"),
            drr=str(out / "drr.nrrd"),
            xray=str(out / "xray.nrrd"),
            overlay=str(out / "overlay.png"),
            report=str(out / "report.json"),
            similarity=str(out / CURVE),
            geometry2=views[1].geometry.to_json() if views[1:] else None,
            ct_to_camera2=(views[1].from_first @ found.ct_to_camera).tolist() if views[1:] else None,
            drr2=str(out / "drr2.nrrd") if views[1:] else None,
            xray2=str(out / "xray2.nrrd") if views[1:] else None,
            warnings=[*side.warnings, *found.warnings],
            seconds=time.perf_counter() - started,
        )
        _write(folder, result, ready, side, found)
    report(1.0, "Done")
    return result


def _settled(request: AlignRequest) -> str:
    """The device for the method of ``request``.

    Raises InputError where there is no such method, its networks are missing, or there is no such device.
    """
    from LandmarkFusionLogic.projection import registration
    from LandmarkFusionLogic.projection.learned.networks import METHODS, check_model

    if request.method not in METHODS:
        registration.check_method(request.method)
        return "cpu"
    from LandmarkFusionLogic.landmarks.device import choose_device

    check_model(request.method, request.model)
    return str(choose_device(request.device))


@dataclass(frozen=True)
class _Seen:
    """One way in which the X-rays may have been taken, as the registration takes it.

    ``bones``: how they were in each file. ``warnings`` are for the case that it is the right way.
    """

    xrays: list[XRayView]
    views: list[View]
    start: Pose
    bones: list[str]
    warnings: list[str]


def _seen(ready: Projected, side: Side) -> _Seen:
    """``side`` with bright bones. Raises InputError where the CT is not in the beam of one of its views."""
    from LandmarkFusionLogic.projection.pose import ct_to_camera
    from LandmarkFusionLogic.projection.projector import check_view
    from LandmarkFusionLogic.projection.registration import View

    first = ct_to_camera(side.start, ready.isocenter, side.views[0].geometry)
    found, bones, warnings = [], [], [] if side.note is None else [side.note]
    for view in side.views:
        matrix = view.from_first @ first
        check_view(ready.small, view.geometry, matrix)
        bright, told = view.bright(ready.projector.project(view.geometry, matrix))
        found.append(View(bright.image, view.geometry, view.from_first, bright.mask))
        bones.append(bright.bones)
        warnings += [*view.warnings, *told]
    return _Seen(side.views, found, side.start, bones, warnings)


class _Watch:
    """Writes the curve and the best pose so far into ``curve`` and ``pose``, for those who look on."""

    def __init__(self, curve: Path, pose: Path) -> None:
        self._curve, self._pose = curve, pose
        self._best = -np.inf
        self._done, self._offset = -1, 0
        curve.write_text("iteration,similarity\n", encoding="utf-8")

    def begin(self) -> None:
        """One more alignment: its iterations are counted on from those of the last."""
        self._offset = self._done + 1

    def __call__(self, iteration: int, similarity: float, pose: Pose) -> None:
        """Note one more iteration."""
        self._done = self._offset + iteration
        with self._curve.open("a", encoding="utf-8") as stream:
            stream.write(f"{self._done},{similarity:.6f}\n")
        if similarity > self._best:
            self._best = similarity
            self.last(self._pose, pose, similarity)

    @staticmethod
    def last(file: Path, pose: Pose, similarity: float) -> None:
        """Write ``pose`` in one step, so that nobody reads half of it."""
        fresh = file.with_suffix(".new")
        data = {"pose": pose.parameters.tolist(), "similarity": float(similarity)}
        fresh.write_text(json.dumps(data) + "\n", encoding="utf-8")
        os.replace(fresh, file)


def _write(
    folder: Path,
    result: AlignResult,
    ready: Projected,
    side: _Seen,
    found: Alignment,
) -> None:
    """Write the files of ``result`` into ``folder``. The report names none: names may be a patient's."""
    from LandmarkFusionLogic.projection.drrfile import write_drr
    from LandmarkFusionLogic.projection.overlay import Shown, draw_overlay
    from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera
    from LandmarkFusionLogic.transformfile import write_transform

    start = ct_to_camera(Pose.of(result.start), ready.isocenter, side.xrays[0].geometry)
    shown, told = [], []
    for number, (view, seen, bones) in enumerate(zip(side.xrays, side.views, side.bones, strict=True), start=1):
        ending = "" if number == 1 else str(number)
        before, after = (
            ready.projector.project(view.geometry, view.from_first @ matrix) for matrix in (start, found.ct_to_camera)
        )
        write_drr(folder / f"drr{ending}.nrrd", after, view.geometry)
        write_drr(folder / f"xray{ending}.nrrd", seen.image, view.geometry)
        shown.append(Shown(view.name[0].upper() + view.name[1:], seen.image, before, after, seen.mask))
        told.append(
            {
                "geometry": view.geometry.to_json(),
                "angles": view.arm.angles,
                "from_first": view.from_first.tolist(),
                "ct_to_camera": (view.from_first @ found.ct_to_camera).tolist(),
                "bones": bones,
                "valid": 1.0 if seen.mask is None else float(seen.mask.mean()),
            }
        )
    turn, shift = _moved(start, found.ct_to_camera, ready.isocenter)
    caption = (
        f"Method {result.method}, similarity {result.similarity_before:.3f} → {result.similarity_after:.3f}; turned "
        f"by {turn:.1f}° and moved by {shift:.1f} mm from the start."
    )
    draw_overlay(folder / "overlay.png", shown, caption)
    write_transform(folder / "transform.h5", found.ct_to_camera)
    data: dict[str, Any] = {
        "notice": NOTICE,
        "version": __version__,
        "transform": "CT to X-ray camera, RAS mm to camera mm",
        "method": result.method,
        "pose": result.pose,
        "ct_to_camera": result.ct_to_camera,
        "start": result.start,
        "isocenter": ready.isocenter.tolist(),
        "turned_degrees": turn,
        "moved_mm": shift,
        "similarity_before": result.similarity_before,
        "similarity_after": result.similarity_after,
        "iterations": len(result.curve),
        "seconds": result.seconds,
        "views": told,
        "warnings": result.warnings,
    }
    text = json.dumps(data, indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")


def _moved(before: FloatArray, after: FloatArray, center: FloatArray) -> tuple[float, float]:
    """Angle in degrees and way of the CT's ``center`` in mm between two matrices CT to camera."""
    turn = after[:3, :3] @ before[:3, :3].T
    angle = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    way = (after[:3, :3] - before[:3, :3]) @ center + after[:3, 3] - before[:3, 3]
    return angle, float(np.linalg.norm(way))
