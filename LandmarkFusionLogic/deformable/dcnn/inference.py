"""Correspondences by DCNN-Match: patches at the same place in both images, half of each shared with the next.

Grewal 2023, section 2.1.3. The moving volume is looked at through the initial transform on the fixed volume's grid of
2 mm. Memory: both volumes on that grid and one pair of patches with its features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from LandmarkFusionLogic.deformable.correspondences import Correspondences
from LandmarkFusionLogic.deformable.dcnn.bundle import MatchBundle, load_bundle
from LandmarkFusionLogic.deformable.dcnn.matching import mutual_matches
from LandmarkFusionLogic.deformable.dcnn.networks import PREFIX, network_folder
from LandmarkFusionLogic.deformable.dcnn.preprocessing import body_of, gray_levels
from LandmarkFusionLogic.deformable.dcnn.sampling import cell_maxima, descriptors
from LandmarkFusionLogic.deformable.dcnn.training import CELL, THRESHOLD, run_network
from LandmarkFusionLogic.deformable.lattice import Lattice, make_lattice, sample, smoothed
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import FloatArray
from LandmarkFusionLogic.volume import Volume

Report = Callable[[float, str], None]

POINTS = 2000
"""Landmarks of a patch at most, the likeliest: the time of comparing them goes with their square."""
LEAST_BODY = 0.02
"""Patches with a smaller share of body in either image are skipped."""


def find(
    fixed: Volume,
    moving: Volume,
    fixed_mask: Volume | None = None,
    moving_mask: Volume | None = None,
    initial: FloatArray | None = None,
    region: Sequence[float] | None = None,
    report: Report | None = None,
    model: str = PREFIX,
    device: str = "cpu",
) -> Correspondences:
    """Pairs of points that show the same anatomy, RAS mm, each in its own volume's world.

    ``initial``, masks, ``region`` and ``report`` as for `classical.find`; what ``initial`` leaves must be well below
    half a patch. ``model`` is the name or folder of a network, ``device`` torch's name of one. ``confidence`` (0..1)
    is that of the less sure head. Wrong pairs are not removed here: see `consistency`.
    Raises InputError where the volumes do not overlap, a mask holds nothing, nothing is found, or the network is not
    usable.
    """
    tell = report or (lambda fraction, text: None)
    tell(0.0, "Preparing the volumes")
    bundle = load_bundle(network_folder(model))
    to_fixed = np.eye(4) if initial is None else np.asarray(initial, dtype=np.float64)
    lattice = _lattice(fixed, region, bundle.spacing_mm)
    back = np.asarray(np.linalg.inv(to_fixed), dtype=np.float64)
    images = [_Image(fixed, np.eye(4), lattice), _Image(moving, back, lattice)]
    if not bool((images[0].body & images[1].body).any()):
        raise InputError(
            "The volumes do not overlap; align them first (give an initial transform), or check their positions."
        )
    levels = torch.stack([image.levels for image in images])
    allowed = torch.stack(
        [
            images[0].body & _mask(fixed_mask, np.eye(4), lattice, "fixed") & _region(region, lattice),
            images[1].body & _mask(moving_mask, back, lattice, "moving"),
        ]
    )
    found, scores = _match_patches(bundle, levels, allowed, device, tell)
    if not len(found):
        raise InputError(
            "No corresponding points were found; check that both volumes show the same anatomy, and align them first."
        )
    points = lattice.to_ras(found[:, :3]), lattice.to_ras(found[:, 3:]) @ back[:3, :3].T + back[:3, 3]
    return Correspondences(points[0], points[1], scores)


def _lattice(fixed: Volume, region: Sequence[float] | None, spacing: float) -> Lattice:
    """The grid of `make_lattice` with voxels of exactly ``spacing`` mm, as the network knows them."""
    found = make_lattice(fixed, region)
    ratio = spacing / found.spacing
    shape = tuple(max(1, int(np.ceil(n / ratio - 1e-6))) for n in found.shape)
    affine = found.ijk_to_ras.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, 0.5 * ratio - 0.5)
    affine[:3, :3] *= ratio
    return Lattice(shape, spacing, affine)  # type: ignore[arg-type]


class _Image:
    """A volume on ``lattice``, seen through ``matrix``, which maps points of the fixed volume to its own."""

    def __init__(self, volume: Volume, matrix: FloatArray, lattice: Lattice) -> None:
        to_array = np.linalg.inv(volume.ijk_to_ras) @ matrix @ lattice.ijk_to_ras
        values, inside = sample(smoothed(volume, lattice.spacing), to_array, lattice.shape)
        seen = torch.from_numpy(inside)
        image = torch.from_numpy(values)
        image[~seen] = float(np.min(volume.array))
        self.body: Tensor = body_of(image) & seen
        self.levels: Tensor = gray_levels(image, self.body)


def _mask(mask: Volume | None, matrix: FloatArray, lattice: Lattice, what: str) -> Tensor:
    """(K, J, I) bool. Raises InputError where the mask holds nothing on the lattice."""
    if mask is None:
        return torch.ones(lattice.shape, dtype=torch.bool)
    to_array = np.linalg.inv(mask.ijk_to_ras) @ matrix @ lattice.ijk_to_ras
    values, inside = sample((np.asarray(mask.array) > 0).astype(np.float32), to_array, lattice.shape)
    found = torch.from_numpy(inside & (values >= 0.5))
    if not bool(found.any()):
        raise InputError(f"The mask of the {what} volume holds nothing where points are looked for; draw it anew.")
    return found


def _region(region: Sequence[float] | None, lattice: Lattice) -> Tensor:
    """(K, J, I) bool: the region itself; the lattice goes on to a multiple of voxels, and may be oblique."""
    if region is None:
        return torch.ones(lattice.shape, dtype=torch.bool)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in lattice.shape), indexing="ij"), axis=-1)
    points = lattice.to_ras(places.reshape(-1, 3).astype(np.float64))
    bounds = np.asarray(region, dtype=np.float64)
    inside = np.all((points >= bounds[::2]) & (points <= bounds[1::2]), axis=1)
    return torch.from_numpy(inside.reshape(lattice.shape))


def _starts(count: int, size: int) -> list[int]:
    """First voxels of patches of ``size`` that cover ``count`` voxels, each sharing half of itself with the next."""
    last = max(count - size, 0)
    return [*range(0, last, size // 2), last]


def _match_patches(
    bundle: MatchBundle, levels: Tensor, allowed: Tensor, device: str, tell: Report
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(N, 6) places k, j, i in the fixed and the moving image on the lattice, and (N,) scores."""
    size, shape = bundle.size, tuple(levels.shape[1:])
    padding = [max(0, s - n) for s, n in zip(size, shape, strict=True)]
    around = (0, padding[2], 0, padding[1], 0, padding[0])
    levels, allowed = torch.nn.functional.pad(levels, around), torch.nn.functional.pad(allowed, around)
    corners = list(product(*(_starts(n, s) for n, s in zip(shape, size, strict=True))))
    best: dict[tuple[int, int, int], tuple[float, list[float]]] = {}
    runner = _Runner(bundle, device)
    for number, corner in enumerate(corners):
        tell(0.1 + 0.9 * number / len(corners), f"Matching, patch {number + 1} of {len(corners)}{runner.remark}")
        here = (slice(None), *(slice(c, c + s) for c, s in zip(corner, size, strict=True)))
        inner = _inner(corner, shape, size, bundle.border)
        there = allowed[here] & inner
        if bool((allowed[here].float().mean(dim=(1, 2, 3)) < LEAST_BODY).any()):
            continue
        points, score = runner.matches(levels[here], there)
        for row, value in zip((points + torch.tensor(corner).repeat(2)).tolist(), score.tolist(), strict=True):
            # The same place seen in several patches: the surest partner stands.
            key = (int(row[0]), int(row[1]), int(row[2]))
            if key not in best or best[key][0] < value:
                best[key] = value, row
    tell(1.0, "Done")
    rows = np.array([row for _, row in best.values()], dtype=np.float64).reshape(-1, 6)
    return rows, np.array([value for value, _ in best.values()], dtype=np.float64)


def _inner(corner: Sequence[int], shape: Sequence[int], size: tuple[int, int, int], border: int) -> Tensor:
    """(D, H, W) bool: away from the patch's faces, except where they are the volume's."""
    inner = torch.ones(size, dtype=torch.bool)
    for axis, (first, count, length) in enumerate(zip(corner, shape, size, strict=True)):
        if first > 0:
            inner.narrow(axis, 0, border).fill_(False)
        if first + length < count:
            inner.narrow(axis, length - border, border).fill_(False)
    return inner


class _Runner:
    """Runs the network on a device; on the CPU for the rest, once the device's memory is full."""

    def __init__(self, bundle: MatchBundle, device: str) -> None:
        self._bundle = bundle
        self._use(torch.device(device))
        self.remark = ""

    def _use(self, device: torch.device) -> None:
        self._device = device
        network = self._bundle.network if device.type == "cpu" else copy.deepcopy(self._bundle.network)
        self._network = network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def matches(self, levels: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 6) places in both patches (2, D, H, W), k, j, i each, and (N,) scores."""
        try:
            return self._matches(levels, allowed)
        except torch.OutOfMemoryError:
            if self._device.type == "cpu":
                raise
        self._use(torch.device("cpu"))
        self.remark = " (on the CPU: the memory of the other device is full)"
        return self._matches(levels, allowed)

    @torch.inference_mode()
    def _matches(self, levels: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        size = self._bundle.size
        features = run_network(self._network, levels[:, None].to(self._device), mixed_precision=False)
        points, found = [], []
        for image in range(2):
            probability = features.logits[image, 0].sigmoid()
            at = cell_maxima(probability, allowed[image].to(self._device), CELL, POINTS, THRESHOLD)
            points.append(at)
            found.append(descriptors([level[image] for level in features.levels], at, size))
        matches = mutual_matches(self._bundle.variant, self._network.matching, *found)
        places = torch.cat((points[0][matches.fixed], points[1][matches.moving]), dim=1)
        return places.cpu(), matches.score.cpu()
