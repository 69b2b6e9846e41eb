"""A simulated patient: an MR, an ultrasound, and the truth about both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from LandmarkFusionLogic.points import LANDMARK_NAMES, Landmark
from LandmarkFusionLogic.simulation import mr, ultrasound
from LandmarkFusionLogic.simulation.anatomy import Anatomy, sample_anatomy
from LandmarkFusionLogic.simulation.conditions import make_condition
from LandmarkFusionLogic.simulation.draw import Draw
from LandmarkFusionLogic.simulation.organs import sample_bladder
from LandmarkFusionLogic.simulation.pose import (
    FloatArray,
    Grid,
    Placement,
    patient_rotation,
    rigid,
    rotation_between_scans,
    slant,
)
from LandmarkFusionLogic.volume import Volume

MR_SPACING_MM = 0.6
US_SPACING_MM = 0.7
MODALITIES = ("mr", "us")


@dataclass(frozen=True)
class SimulatedImage:
    """One image with its truth: ``image``, ``gland`` (0/1) and the three ``landmarks``, RAS mm."""

    image: Volume
    gland: Volume
    landmarks: tuple[Landmark, ...]


@dataclass(frozen=True)
class Motion:
    """All of the motion between the scans: where each point of the MR lies in the ultrasound, deformation included.

    ``room`` (4, 4) is rigid, from the frame of the ``us`` placement to the RAS of the ultrasound, mm.
    """

    mr: Placement
    us: Placement
    room: FloatArray

    def to_us(self, points: FloatArray) -> FloatArray:
        """(N, 3) RAS mm points of the MR as points of the ultrasound."""
        anatomy = self.mr.to_anatomy(torch.from_numpy(np.asarray(points, dtype=np.float64).T.copy())).numpy()
        return np.asarray((self.room[:3, :3] @ self.us.from_anatomy(anatomy)).T + self.room[:3, 3])


@dataclass(frozen=True)
class SimulatedCase:
    """A pair of images of one man.

    ``mr_to_us`` (4, 4) is the rigid part of the motion between the scans (MR RAS to US RAS, mm); the ultrasound is
    also deformed by its probe, so the landmarks differ from it by millimetres. ``motion`` is all of it.
    """

    seed: int
    mr: Volume
    us: Volume
    mr_gland: Volume
    us_gland: Volume
    mr_landmarks: tuple[Landmark, ...]
    us_landmarks: tuple[Landmark, ...]
    mr_to_us: FloatArray
    motion: Motion = field(compare=False, repr=False)


def simulate_case(
    seed: int,
    device: torch.device | str = "cpu",
    mr_spacing_mm: float = MR_SPACING_MM,
    us_spacing_mm: float = US_SPACING_MM,
    condition: str | None = None,
) -> SimulatedCase:
    """The case of ``seed`` at clinical resolution; the same for the same seed, torch version and number of threads.

    ``condition``, one of `conditions.CONDITIONS`, is shown by the images whose modality knows it. Raises InputError
    for another name.
    """
    anatomy = sample_anatomy(Draw(seed, "anatomy"))
    mr_image, mr_placement = _simulate_mr(seed, anatomy, mr_spacing_mm, device, condition, widest=210.0)
    us_image, us_placement, turn = _simulate_us(seed, anatomy, us_spacing_mm, device, condition)
    mr_pose, us_pose = mr_placement.pose, turn @ us_placement.pose
    # Between the scanners' rooms lies any translation; the gland is moved by at most 40 mm along each axis.
    draw = Draw(seed, "rooms")
    moved = np.array([draw.uniform(-40, 40) for _ in range(3)])
    room = rigid(np.eye(3), mr_pose[:3, 3] + moved - us_pose[:3, 3])
    us_image = _moved(us_image, room)
    return SimulatedCase(
        seed,
        mr_image.image,
        us_image.image,
        mr_image.gland,
        us_image.gland,
        mr_image.landmarks,
        us_image.landmarks,
        room @ us_pose @ np.linalg.inv(mr_pose),
        Motion(mr_placement, us_placement, room @ turn),
    )


def simulate_image(
    seed: int,
    modality: str,
    spacing_mm: float = 2.0,
    device: torch.device | str = "cpu",
    condition: str | None = None,
) -> SimulatedImage:
    """One image of the case of ``seed``, ``spacing_mm`` in the slice, cut to what a network can see: for training.

    ``condition`` as in `simulate_case`; None, the usual case, is what the seed gives by itself.
    """
    anatomy = sample_anatomy(Draw(seed, "anatomy"))
    if modality == "mr":
        return _simulate_mr(seed, anatomy, spacing_mm, device, condition, widest=128.0)[0]
    return _simulate_us(seed, anatomy, spacing_mm, device, condition)[0]


def _simulate_mr(
    seed: int, anatomy: Anatomy, spacing_mm: float, device: torch.device | str, name: str | None, widest: float
) -> tuple[SimulatedImage, Placement]:
    condition = make_condition(name, seed, "mr")
    draw = Draw(seed, "mr")
    anatomy = condition.anatomy(anatomy, "mr")
    acquisition = condition.mr_acquisition(mr.sample_acquisition(draw))
    grid, placement = mr.place(draw, anatomy, acquisition, _patient(seed), spacing_mm, widest)
    placement = condition.deform(placement, anatomy)
    image, gland = mr.render(draw, anatomy, acquisition, grid, placement, device, condition)
    return _image(image, gland, anatomy.landmarks, grid, placement), placement


def _simulate_us(
    seed: int, anatomy: Anatomy, spacing_mm: float, device: torch.device | str, name: str | None
) -> tuple[SimulatedImage, Placement, FloatArray]:
    """The image, the placement in its frame, and (4, 4) from that frame to the image's RAS."""
    condition = make_condition(name, seed, "us")
    draw = Draw(seed, "us")
    # Men empty their bladder before the examination.
    anatomy = replace(anatomy, bladder=sample_bladder(draw, anatomy.gland, fullest=0.4))
    anatomy = condition.anatomy(anatomy, "us")
    acquisition = condition.us_acquisition(ultrasound.sample_acquisition(draw))
    between = Draw(seed, "between")
    to_probe = slant(between)
    # Half of the systems store the volume in the probe's frame, the others in a frame of the room: the fan lies
    # aslant.
    aligned = condition.stored_with_probe(between.chance(0.5))
    turn = np.eye(3) if aligned else rotation_between_scans(between) @ _patient(seed) @ to_probe.T
    grid, placement = ultrasound.place(draw, anatomy, acquisition, to_probe, spacing_mm)
    grid = condition.grid(grid, acquisition.probe, anatomy, placement)
    image, gland = ultrasound.render(draw, anatomy, acquisition, grid, placement, device, condition)
    room = rigid(turn, np.zeros(3))
    return _moved(_image(image, gland, anatomy.landmarks, grid, placement), room), placement, room


def _patient(seed: int) -> FloatArray:
    return patient_rotation(Draw(seed, "patient"))


def _image(
    image: torch.Tensor, gland: torch.Tensor, landmarks: Mapping[str, FloatArray], grid: Grid, placement: Placement
) -> SimulatedImage:
    affine = grid.ijk_to_frame
    return SimulatedImage(
        Volume(image.cpu().numpy(), affine),
        Volume(gland.cpu().numpy().astype(np.uint8), affine),
        tuple(Landmark(name, placement.from_anatomy(landmarks[name])) for name in LANDMARK_NAMES),
    )


def _moved(simulated: SimulatedImage, matrix: FloatArray) -> SimulatedImage:
    """The same image elsewhere: ``matrix`` (4, 4) is rigid, RAS mm."""
    return SimulatedImage(
        Volume(simulated.image.array, matrix @ simulated.image.ijk_to_ras),
        Volume(simulated.gland.array, matrix @ simulated.gland.ijk_to_ras),
        tuple(Landmark(p.name, matrix[:3, :3] @ p.position + matrix[:3, 3]) for p in simulated.landmarks),
    )
