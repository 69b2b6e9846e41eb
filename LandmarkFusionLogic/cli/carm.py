"""What ``drr`` and ``align`` share: the options of poses, C-arms and X-ray files."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from LandmarkFusionLogic.errors import InputError

if TYPE_CHECKING:
    from LandmarkFusionLogic.jobs import XRaySource

XRAY_HELP = "DICOM (XA, RF, DX, CR), NRRD, NIfTI, MHA, PNG or TIFF file of one 2D image"
GEOMETRY_HELP = (
    "JSON file with sdd, rows, columns, spacing [row, column] (mm, at the detector), optional principal_point [row, "
    "column], source_to_isocenter, mirrored, primary_angle, secondary_angle; or the name of a C-arm that comes along, "
    "such as perlove-plx118f"
)
POSE = "RX,RY,RZ,TX,TY,TZ"


def add_pose(command: argparse.ArgumentParser, option: str, text: str) -> None:
    """An option that takes a pose, whose first number may be negative."""
    # argparse takes “-3,0,…” for an option unless it looks like a negative number to it.
    command._negative_number_matcher = re.compile(r"^-[\d.]")
    command.add_argument(option, metavar=POSE, help=text)


def add_intensity(command: argparse.ArgumentParser) -> None:
    """The options --bones and --intensity: what gray values of X-ray files mean."""
    command.add_argument(
        "--bones",
        default="auto",
        metavar="auto|bright|dark",
        help="how bones look in the X-ray's gray values (default: as the DICOM tags or the image tell)",
    )
    command.add_argument(
        "--intensity",
        default="auto",
        metavar="auto|linear|log",
        help="linear: gray values are proportional to the beam, so that their logarithm is taken (default: as the "
        "DICOM tags tell, otherwise log)",
    )


def pose(text: str | None, option: str = "--pose") -> list[float] | None:
    """The six numbers of ``text``. Raises InputError where it holds anything else."""
    if text is None:
        return None
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    try:
        values = [float(part) for part in parts]
    except ValueError as error:
        raise InputError(f"{option} “{text}” is no list of six numbers: {POSE}, degrees and mm.") from error
    if len(values) != 6:
        raise InputError(f"{option} has {len(values)} numbers; it needs six: {POSE}, degrees and mm.")
    return values


def geometry(file: str | None) -> dict[str, Any] | None:
    """What the geometry file, the preset of that name or the tags of the DICOM file say; None: nothing was given.

    Raises InputError where it cannot be read.
    """
    if file is None:
        return None
    if _is_dicom(Path(file)):
        return tagged(file, None)
    from LandmarkFusionLogic.projection.carm import read_geometry_data

    return read_geometry_data(file)


def tagged(file: str, frame: int | None) -> dict[str, Any]:
    """The geometry that the tags of a DICOM X-ray tell. Raises InputError where they do not."""
    from LandmarkFusionLogic.projection.dicomgeometry import needed_geometry
    from LandmarkFusionLogic.projection.xrayfile import read_xray

    xray = read_xray(file, "X-ray", frame)
    rows, columns = xray.values.shape
    return needed_geometry(xray.tags, rows, columns, "X-ray")


def xray(file: str, options: argparse.Namespace, frame: int | None) -> XRaySource:
    """The X-ray of ``file`` with the options of `add_intensity`."""
    from LandmarkFusionLogic.jobs import XRaySource

    return XRaySource(file, bones=options.bones, intensity=options.intensity, frame=frame)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False
