"""The learned methods as registrations: a pose from a CT and an X-ray, by RTPI, Deep-reg, SOPI and its ablations.

`align` is what `registration.align` calls for the methods of `networks.METHODS`. Needs torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.projection import doubts, registration
from LandmarkFusionLogic.projection.alignment import Alignment, FloatArray, Report, View, Watch
from LandmarkFusionLogic.projection.learned.bundle import ProjectionBundle, load_bundle
from LandmarkFusionLogic.projection.learned.cases import mask_projector
from LandmarkFusionLogic.projection.learned.config import DEEP_REG, FINE, RTPI
from LandmarkFusionLogic.projection.learned.encoders import FineNetwork
from LandmarkFusionLogic.projection.learned.inputs import frustum, prepare
from LandmarkFusionLogic.projection.learned.iteration import refine
from LandmarkFusionLogic.projection.learned.networks import METHODS, check_model, network_folder
from LandmarkFusionLogic.projection.learned.preparation import Scene, make_scene, moved, nominal
from LandmarkFusionLogic.projection.learned.rtpi import RtpiNetwork
from LandmarkFusionLogic.projection.learned.steps import stack, to_pose
from LandmarkFusionLogic.projection.leastsquares import Level
from LandmarkFusionLogic.projection.pose import Pose, ct_to_camera, pose_from_matrix
from LandmarkFusionLogic.volume import Volume

TOLD_EVERY = 5
"""Iterations of the fine registration between two points of the curve."""
LATERAL = "The networks have learned frontal views only; check the overlay of this one."
ONE_VIEW = "The learned methods use the first X-ray only."
NOT_CONVERGED = "The fine registration ended before it had converged; check the overlay."
BOUND = "The first pose lies at the limit of what the network can answer; check the overlay."


@dataclass
class _Run:
    """One alignment on its way: where it stands, what it was like, and what is to be said of it.

    ``level`` measures the similarity that is told: the one of all methods, whatever the networks go by.
    """

    scene: Scene
    level: Level
    matrix: FloatArray
    report: Report
    watch: Watch
    to_pose: Callable[[FloatArray], Pose]
    curve: list[tuple[int, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def align(
    mu: Volume,
    views: Sequence[View],
    starts: Sequence[Pose],
    method: str = "sopi",
    report: Report | None = None,
    watch: Watch | None = None,
    model: str | None = None,
    device: str = "cpu",
    mask: Volume | None = None,
) -> Alignment:
    """The pose of ``mu`` (attenuation) in the first of ``views`` by the learned ``method``.

    ``starts``: RTPI answers without one, unless it is turned away from the front; the other methods begin at the one
    that looks most like the X-ray. ``model``: folder of a network, or of several (`networks.network_folder`); by
    default those that ship. ``mask``: the spine in the grid of ``mu`` (EL); by default all that is as dense as bone.
    ``report`` is told the share that is done and what is going on, ``watch`` iteration, similarity and pose.
    Raises InputError for missing or damaged networks and for a CT that is too small for them.
    """
    if method not in METHODS:
        raise InputError(f"There is no learned method “{method}”; choose from {', '.join(METHODS)}.")
    if not starts:
        raise InputError("Give a pose to start from.")
    began = time.perf_counter()
    check_model(method, model)
    device = _device(device)
    networks = {stage: load_bundle(network_folder(stage, model), device) for stage in METHODS[method]}
    view = views[0]
    scene = make_scene(mu, view.image, view.mask, view.geometry)
    if mask is not None:
        scene = Scene(scene.mu, mask_projector(mask), scene.xray, scene.geometry)
    level = Level(mu, views[:1], registration.MEASURED_SIDE, registration.MEASURED)
    places = [ct_to_camera(start, mu.centre, view.geometry) for start in starts]
    place = max(places, key=level.similarity)
    run = _Run(
        scene,
        level,
        place,
        report or (lambda share, text: None),
        watch or (lambda iteration, similarity, pose: None),
        lambda matrix: pose_from_matrix(matrix, mu.centre, view.geometry),
    )
    if len(views) > 1:
        run.warnings.append(ONE_VIEW)
    if RTPI in networks:
        _first_pose(run, networks[RTPI])
    fine = networks.get(FINE) or networks.get(DEEP_REG)
    if fine is not None:
        _refine(run, fine, _embedded(method))
    run.warnings += list(dict.fromkeys(bundle.caution for bundle in networks.values() if bundle.caution))
    before = level.similarity(place)
    if method.endswith("+opt"):
        return _optimized(mu, views, run, before, began)
    matrix = run.matrix
    after = level.similarity(matrix)
    run.curve.append((run.curve[-1][0] + 1, after))
    run.report(1.0, "Done")
    warnings = run.warnings + doubts.of_pose(level, matrix, [matrix], mu.centre)
    seconds = time.perf_counter() - began
    return Alignment(run.to_pose(matrix), matrix, before, after, run.curve, warnings, seconds)


def _device(name: str) -> str:
    """Of "auto": a GPU of NVIDIA where there is one, else the CPU; the networks are small."""
    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _embedded(method: str) -> bool:
    """Whether the method confines the loss to the projected mask (EL)."""
    return method not in ("deep-reg", "sopi-without-el", "sopi-without-ce-el")


def _first_pose(run: _Run, bundle: ProjectionBundle) -> None:
    """RTPI: put the run where the network says."""
    run.report(0.05, "Finding a first pose")
    network, config = bundle.network, bundle.config
    assert isinstance(network, RtpiNetwork)
    mu = run.scene.mu.mu
    about, frontal = nominal(run.matrix, mu.centre, run.scene.geometry)
    if not frontal:
        run.warnings.append(LATERAL)
    device = next(network.parameters()).device
    volume = stack([frustum(mu, about, config.geometry, config.volume)], device)[:, None]
    with torch.inference_mode():
        answer = network(volume, prepare(stack([run.scene.view(config)], device)))[0]
    if float(answer.abs().max()) > 0.999:
        run.warnings.append(BOUND)
    run.matrix = moved(about, to_pose(answer, config), mu.centre)
    _told(run, 0, run.matrix)


def _refine(run: _Run, bundle: ProjectionBundle, embedded: bool) -> None:
    """The iterative fine registration from where the run stands."""
    network, config = bundle.network, bundle.config
    assert isinstance(network, FineNetwork)
    first = len(run.curve)

    def watch(iteration: int, similarity: float, matrix: FloatArray) -> None:
        run.report(0.1 + 0.8 * min(iteration / 60, 1.0), f"Fine registration, iteration {iteration + 1}")
        if iteration % TOLD_EVERY == 0:
            _told(run, first + iteration, matrix)

    scene = run.scene
    mask = scene.mask if embedded else None
    found = refine(network, config, scene.mu, mask, scene.view(config), run.matrix, watch)
    if not found.converged:
        run.warnings.append(NOT_CONVERGED)
    run.matrix = found.ct_to_camera
    _told(run, first + len(found.curve), run.matrix)


def _told(run: _Run, iteration: int, matrix: FloatArray) -> None:
    similarity = run.level.similarity(matrix)
    run.curve.append((iteration, similarity))
    run.watch(iteration, similarity, run.to_pose(matrix))


def _optimized(mu: Volume, views: Sequence[View], run: _Run, before: float, began: float) -> Alignment:
    """SOPI+opt: Opt-GC from where the networks have led."""
    offset = run.curve[-1][0] + 1

    def watch(iteration: int, similarity: float, pose: Pose) -> None:
        run.watch(offset + iteration, similarity, pose)

    start = run.to_pose(run.matrix)
    found = registration.align(
        mu, views, [start], "opt-gc", report=lambda share, text: run.report(0.5 + 0.5 * share, text), watch=watch
    )
    curve = run.curve + [(offset + iteration, value) for iteration, value in found.curve]
    warnings = list(dict.fromkeys([*run.warnings, *found.warnings]))
    return replace(
        found, similarity_before=before, curve=curve, warnings=warnings, seconds=time.perf_counter() - began
    )
