"""The pose of a CT in one or two X-rays, by any of the methods."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection import classical, doubts, multistart
from LandmarkFusionLogic.projection.alignment import Alignment, FloatArray, Report, View, Watch, check_views
from LandmarkFusionLogic.projection.edges import EdgeScale
from LandmarkFusionLogic.projection.leastsquares import Level
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera, pose_from_matrix
from LandmarkFusionLogic.projection.progress import Progress
from LandmarkFusionLogic.projection.projector import check_view
from LandmarkFusionLogic.volume import Volume

__all__ = ["OURS", "Alignment", "View", "align", "check_method", "methods"]

OURS = "ours"
MEASURED_SIDE = multistart.MEASURED_SIDE
MEASURED = EdgeScale(blur=1.0, window=0.0)
"""The similarity that is plotted and told: correlation of the edges of images of `MEASURED_SIDE` pixels."""


def methods() -> list[str]:
    """The names of all methods."""
    from LandmarkFusionLogic.projection.learned.networks import METHODS

    return [OURS, *classical.METHODS, *METHODS]


def check_method(method: str) -> None:
    """Raise InputError for a method that there is not."""
    if method not in methods():
        raise InputError(f"There is no method “{method}”; choose from {', '.join(methods())}.")


def align(
    mu: Volume,
    views: Sequence[View],
    starts: Sequence[Pose],
    method: str = OURS,
    report: Report | None = None,
    watch: Watch | None = None,
    model: str | None = None,
    device: str = "cpu",
    mask: Volume | None = None,
) -> Alignment:
    """The pose of ``mu`` (attenuation, mm⁻¹) in the first of ``views``, by ``method``, one of `methods`.

    ``starts`` are poses in the first view; of several, as different as two sides of the patient, the best is found.
    ``report`` is told the share that is done and what is going on; where it raises, the work ends. ``watch`` is told
    iteration, similarity and pose whenever there is a better one: the last is what a cancelled run can keep.
    ``model``, ``device`` and ``mask`` are for the learned methods, see `learned.inference.align`.
    Raises InputError for views, starts or methods that cannot be used.
    """
    check_method(method)
    check_views(views)
    if not starts:
        raise InputError("There is no pose to start from; give one.")
    matrices = [ct_to_camera(start, mu.centre, views[0].geometry) for start in starts]
    for matrix in matrices:
        for view in views:
            check_view(mu, view.geometry, view.from_first @ matrix)
    if method != OURS and method not in classical.METHODS:
        from LandmarkFusionLogic.projection.learned import inference

        return inference.align(mu, views, starts, method, report, watch, model, device, mask)
    return _align(mu, views, matrices, method, report, watch)


def _align(
    mu: Volume,
    views: Sequence[View],
    starts: list[FloatArray],
    method: str,
    report: Report | None,
    watch: Watch | None,
) -> Alignment:
    began = time.perf_counter()
    level = Level(mu, views, MEASURED_SIDE, MEASURED)

    def to_pose(matrix: FloatArray) -> Pose:
        return pose_from_matrix(matrix, mu.centre, views[0].geometry)

    progress = Progress(level.similarity, to_pose, report, watch)
    ranked = sorted(starts, key=level.similarity, reverse=True)
    progress.step(None, ranked[0], 0.0)
    if method == OURS:
        found = multistart.align(mu, views, ranked, progress, level)
        matrix, level = found.matrix, found.level
        warnings = doubts.disagreement(found.last, mu.centre)
    else:
        pose = classical.align(mu, views, to_pose(ranked[0]), method, progress)
        matrix, warnings = ct_to_camera(pose, mu.centre, views[0].geometry), []
    before, after = level.similarity(ranked[0]), level.similarity(matrix)
    warnings += doubts.of_pose(level, matrix, starts, mu.centre)
    progress.curve.append((len(progress.curve), after))
    progress.report(1.0, "Done")
    return Alignment(
        to_pose(matrix), np.asarray(matrix), before, after, progress.curve, warnings, time.perf_counter() - began
    )
