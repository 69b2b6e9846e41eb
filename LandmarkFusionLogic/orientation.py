"""Left is left: orientation marks, flips of a wrongly labelled image, and whether the landmarks make anatomical sense.

All three landmarks lie near the midsagittal plane, so a mirrored ultrasound fits them perfectly. No computation on
them can find it out; only somebody who knows the probe can, which is why an untrusted orientation has to be confirmed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.points import APEX, BLADDER_NECK, POSTERIOR_MEDIAN, FloatArray, Landmark, by_name
from LandmarkFusionLogic.volume import Volume

FLIPS = {"lr": 0, "ap": 1, "si": 2}
"""Names of the flips and the RAS axis each turns round."""
FLIP_NAMES = {"lr": "left-right", "ap": "front-back", "si": "up-down"}

UNCONFIRMED = (
    "Left and right of the ultrasound are not confirmed: the landmarks lie in the midline and fit a mirrored image "
    "just as well, so check the orientation of the probe before relying on the alignment."
)

_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))


def marks(direction: npt.ArrayLike, threshold: float = 0.25) -> str:
    """Letters (R or L, A or P, S or I) of a world direction (3,), RAS, the strongest first, for instance "R" or "SA".

    Components under ``threshold`` of the direction's length are not named.
    """
    d = np.asarray(direction, dtype=np.float64)
    d = d / np.linalg.norm(d)
    strong = [axis for axis in np.argsort(-np.abs(d), kind="stable") if abs(d[axis]) >= threshold]
    return "".join(_LETTERS[axis][0 if d[axis] > 0 else 1] for axis in strong)


def opposite(letters: str) -> str:
    """The marks of the opposite direction."""
    return letters.translate(str.maketrans("RLAPSI", "LRPAIS"))


def axis_marks(ijk_to_ras: npt.ArrayLike) -> list[str]:
    """Where the image's axes i, j, k point in the patient, for instance ["L", "P", "S"]."""
    affine = np.asarray(ijk_to_ras, dtype=np.float64)
    return [marks(affine[:3, axis]) for axis in range(3)]


def flip_matrix(centre: npt.ArrayLike, flips: Iterable[str]) -> FloatArray:
    """(4, 4) reflection of the world about ``centre`` (3,) RAS mm along each of ``flips`` ("lr", "ap", "si").

    Raises InputError for an unknown flip.
    """
    signs = np.ones(3)
    for name in flips:
        if name not in FLIPS:
            raise InputError(f"There is no flip “{name}”; choose from lr, ap and si.")
        signs[FLIPS[name]] *= -1
    matrix = np.diag([*signs, 1.0])
    matrix[:3, 3] = (1 - signs) * np.asarray(centre, dtype=np.float64)
    return matrix


def net_flips(flips: Sequence[str]) -> list[str]:
    """``flips`` without those that undo each other: each name given an odd number of times, once, in their order."""
    return [name for name in dict.fromkeys(flips) if flips.count(name) % 2]


def flipped(volume: Volume, flips: Iterable[str]) -> Volume:
    """``volume`` with its IJK-to-RAS turned round about its centre; voxels are shared, not copied."""
    return Volume(volume.array, flip_matrix(volume.centre, flips) @ volume.ijk_to_ras)


def outside(volume: Volume, landmarks: Iterable[Landmark], image: str) -> list[str]:
    """A plain warning when landmarks of ``image`` ("MR", "US") lie outside of its ``volume``, otherwise nothing."""
    to_index = np.linalg.inv(volume.ijk_to_ras)
    names = []
    for landmark in landmarks:
        index = to_index[:3, :3] @ landmark.position + to_index[:3, 3]
        if np.any(index < -0.5) or np.any(index > np.array(volume.shape_ijk) - 0.5):
            names.append(landmark.name)
    said = (
        f"In the {image} these landmarks lie outside the volume: {', '.join(names)}; the gland is cut off or they "
        "belong to another volume, check them."
    )
    return [said] if names else []


def flip_notice(flips: Iterable[str]) -> list[str]:
    """The warning that belongs to results of a flipped ultrasound; none without a flip."""
    names = ", ".join(FLIP_NAMES[name] for name in flips)
    if not names:
        return []
    text = f"The ultrasound was flipped ({names}): transform and landmarks belong to the flipped ultrasound "
    return [text + "(us-flipped.nrrd, or the volume in the scene), not to the file that was given."]


def implausible(landmarks: Iterable[Landmark], image: str) -> list[str]:
    """Plain warnings when the three landmarks of ``image`` ("MR", "US") lie as in no patient.

    The apex is inferior of the bladder neck, the posterior median is posterior of the line between them.
    """
    points = {name: point.position for name, point in by_name(landmarks).items()}
    if not all(name in points for name in (APEX, BLADDER_NECK, POSTERIOR_MEDIAN)):
        return []
    apex, neck, posterior = points[APEX], points[BLADDER_NECK], points[POSTERIOR_MEDIAN]
    warnings = []
    if apex[2] >= neck[2]:
        warnings.append(f"In the {image} the apex lies above the bladder neck: the image may be upside down.")
    axis = neck - apex
    along = float(np.clip((posterior - apex) @ axis / max(float(axis @ axis), 1e-9), 0.0, 1.0))
    if posterior[1] >= apex[1] + along * axis[1]:
        warnings.append(
            f"In the {image} the posterior median lies in front of the line from apex to bladder neck: "
            "front and back of the image may be swapped."
        )
    return warnings
