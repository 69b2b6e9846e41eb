"""Coarse to fine: the gland in the whole volume, then the landmarks in a crop around it. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import MIN_GLAND_ML, Gland
from LandmarkFusionLogic.landmarks.bundle import Bundle
from LandmarkFusionLogic.landmarks.looking import (
    Looker,
    View,
    between,
    heat,
    mean_gland,
    median_positions,
    self_consistency,
    thinned,
)
from LandmarkFusionLogic.landmarks.poses import JITTERS, degrees_between, jitter, starts, upright_turn
from LandmarkFusionLogic.volume import FloatArray, Volume

CLICK_REACH_MM = 15.0
"""Where the first stage sees the gland farther than this from the user's click, the click is right."""
RECENTRE_MM = 4.0
"""Where the gland seen in the crop lies farther than this from the crop's middle, the crop is moved there, once."""

TURNS = 4
"""How often at most a volume is turned upright by what was found in it."""
SETTLED_DEGREES = 4.0
TURNED_DEGREES = 20.0
"""A volume is set upright where it is turned by more than this: prostates differ nearly as much among themselves."""
CLEARER = 0.85
"""… and where its landmarks then scatter by so much less: errors in the landmarks look like turns, too."""


@dataclass(frozen=True)
class Search:
    """``views`` of the last stage about ``centre`` (3,) RAS mm, seen on ``bundle``'s grid, and those before.

    ``coarse`` is empty where there was one stage only.
    """

    bundle: Bundle = field(compare=False)
    views: tuple[View, ...]
    coarse: tuple[View, ...]
    centre: FloatArray = field(compare=False)

    def positions(self) -> FloatArray:
        """(L, 3) RAS mm: the median over the poses; of two stages the mean, since their errors are partly their own.

        On the folds of mrus-27 the mean of both was as close as the better stage or closer, in MR and in US
        (`landmarkfusion evaluate looks`).
        """
        last = median_positions(self.views)
        return (last + median_positions(self.coarse)) / 2 if self.coarse else last

    def spreads(self) -> tuple[FloatArray, FloatArray]:
        """(L, 3, 3) mm² twice: within the heatmaps and between the poses; of two stages the mean."""
        stages = [views for views in (self.views, self.coarse) if views]
        within, across = [heat(views) for views in stages], [between(views) for views in stages]
        return np.asarray(np.mean(within, axis=0)), np.asarray(np.mean(across, axis=0))

    def gland(self) -> Volume:
        """The gland's probability, aligned with the patient."""
        return mean_gland(self.views, self.bundle.grid, self.centre)


def search(
    volume: Volume,
    bundle: Bundle,
    device: torch.device,
    report: Callable[[float, str], None],
    centre: FloatArray | None = None,
    fixed: bool = False,
) -> Search:
    """Look for the landmarks of ``volume`` with ``bundle`` and, where it has one, its network for the second stage.

    ``centre`` (3,) RAS mm is a place in the gland that the user has given: the second stage looks there, and the first
    one counts only if it sees the gland there too; ``fixed`` says that it is the gland's very middle.
    """
    threads = torch.get_num_threads()
    try:
        # So small a network gains little from threads, and loses much where they wait for a core that is busy.
        torch.set_num_threads(1)
        return _search(volume, bundle, device, report, centre, fixed)
    finally:
        torch.set_num_threads(threads)


def _search(
    volume: Volume,
    bundle: Bundle,
    device: torch.device,
    report: Callable[[float, str], None],
    centre: FloatArray | None,
    fixed: bool,
) -> Search:
    thin = thinned(volume)
    first = Looker(thin, bundle, device)
    about = volume.centre if centre is None else centre
    if bundle.fine is None:
        views, start = _upright(first, about)
        views += _jittered(first, about, start, 1, JITTERS, _part(report, 0.2, 1.0))
        return Search(bundle, tuple(views), (), about)
    coarse, start = _upright(first, about)
    coarse += _jittered(first, about, start, 1, JITTERS, _part(report, 0.2, 0.5))
    middle = gland_middle(coarse, bundle, about)
    if centre is None:
        about = inside(volume, middle)
    elif np.linalg.norm(middle - centre) > CLICK_REACH_MM:
        coarse = []
    second = Looker(thin, bundle.fine, device)
    try:
        views = second.looks(about, jitter(0, start))
        seen = gland_middle(views, bundle.fine, about)
        if not fixed and np.linalg.norm(seen - about) > RECENTRE_MM:
            about = inside(volume, seen)
            views = second.looks(about, jitter(0, start))
        views += _jittered(second, about, start, 1, JITTERS, _part(report, 0.5, 1.0))
    except InputError:
        if not coarse:
            raise
        # The crop shows nothing: what the first stage took for a gland is none, and its landmarks will say so.
        return Search(bundle, tuple(coarse), (), volume.centre if centre is None else centre)
    return Search(bundle.fine, tuple(views), tuple(coarse), about)


def _upright(looker: Looker, centre: FloatArray) -> tuple[list[View], FloatArray]:
    """The first views and the start rotation (3, 3) they were seen in.

    A patient who lies turned in the volume is set upright by the landmarks themselves. Other starts are tried only
    where the volume shows no gland: on the real development cases, trying them wherever the first look scattered took
    the mean error in MR from 6.9 to 8.3 mm, since a wrong pose that agrees with itself is easily found.
    """
    best, start = looker.looks(centre, jitter(0, np.eye(3))), np.eye(3)
    if not _enough(best):
        for other in starts():
            views = looker.looks(centre, jitter(0, other))
            if _enough(views) >= _enough(best) and self_consistency(views) < self_consistency(best):
                best, start = views, other
    return _set_upright(looker, centre, best, start)


def _set_upright(
    looker: Looker, centre: FloatArray, views: list[View], start: FloatArray
) -> tuple[list[View], FloatArray]:
    """``views`` seen from ``start``, or those of the volume turned so that its landmarks lie as in an upright patient.

    Networks pull what they see of turned glands towards upright ones; each turn leaves less to pull.
    """
    turned, turn = views, start
    for _ in range(TURNS):
        before, turn = turn, upright_turn(looker.bundle.landmarks, median_positions(turned))
        if degrees_between(before, turn) < SETTLED_DEGREES:
            turn = before
            break
        turned = looker.looks(centre, jitter(0, turn))
    clearer = self_consistency(turned) < CLEARER * self_consistency(views) and _enough(turned) >= _enough(views)
    return (turned, turn) if clearer and degrees_between(turn, start) > TURNED_DEGREES else (views, start)


def _enough(views: list[View]) -> bool:
    return float(np.median([view.millilitres for view in views])) >= MIN_GLAND_ML


def _jittered(
    looker: Looker, centre: FloatArray, start: FloatArray, first: int, end: int, report: Callable[[float, str], None]
) -> list[View]:
    views: list[View] = []
    for number in range(first, end):
        views += looker.looks(centre, jitter(number, start))
        report((number - first + 1) / (end - first), "Looking for the landmarks")
    return views


def gland_middle(views: list[View], bundle: Bundle, centre: FloatArray) -> FloatArray:
    """(3,) RAS mm: the middle of the gland that ``views`` see, or of the landmarks where they see none."""
    gland = Gland(mean_gland(views, bundle.grid, centre))
    if gland.millilitres < MIN_GLAND_ML:
        return np.asarray(median_positions(views).mean(axis=0))
    return gland.centroid


def inside(volume: Volume, place: FloatArray) -> FloatArray:
    """``place`` (3,) RAS mm, moved into ``volume`` where it lies outside."""
    index = np.linalg.inv(volume.ijk_to_ras) @ np.append(place, 1.0)
    index[:3] = np.clip(index[:3], 0, np.array(volume.shape_ijk) - 1)
    return np.asarray((volume.ijk_to_ras @ index)[:3])


def _part(report: Callable[[float, str], None], start: float, end: float) -> Callable[[float, str], None]:
    return lambda fraction, text: report(start + fraction * (end - start), text)
