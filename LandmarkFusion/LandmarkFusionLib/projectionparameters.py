"""What is chosen for CT and X-ray, apart from the nodes: geometry, pose, method, display."""

import enum
from typing import Annotated

from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterPack

POSE = ("rx", "ry", "rz", "tx", "ty", "tz")
"""Rotations in degrees and shifts in mm, in the order of the jobs."""
DEGREES, MILLIMETERS, DEPTH = 180.0, 300.0, 500.0
"""How far the sliders of the pose reach."""


class Bones(enum.Enum):
    """How bone looks in the X-ray; the values are those of the jobs."""

    AUTO = "auto"
    BRIGHT = "bright"
    DARK = "dark"

    def label(self) -> str:
        """What the combo box says."""
        return {
            Bones.AUTO: _("Bone: auto"),
            Bones.BRIGHT: _("Bone is bright"),
            Bones.DARK: _("Bone is dark"),
        }[self]


class ProjectionMethod(enum.Enum):
    """How the CT is aligned with the X-ray; the values are those of the job ``align``."""

    OURS = "ours"
    RTPI = "rtpi"
    SOPI = "sopi"
    SOPI_OPT = "sopi+opt"
    DEEP_REG = "deep-reg"
    OPT_NCCL = "opt-nccl"
    OPT_NGI = "opt-ngi"
    OPT_GC = "opt-gc"

    def label(self) -> str:
        """What the combo box says."""
        return {
            ProjectionMethod.OURS: _("Ours: several starts, coarse to fine"),
            ProjectionMethod.RTPI: _("RTPI: network, one look (Chen 2023)"),
            ProjectionMethod.SOPI: _("SOPI: networks (Chen 2023)"),
            ProjectionMethod.SOPI_OPT: _("SOPI, then optimization"),
            ProjectionMethod.DEEP_REG: _("Deep-reg: learned similarity (ProST)"),
            ProjectionMethod.OPT_NCCL: _("Opt-NCCL: local cross-correlation"),
            ProjectionMethod.OPT_NGI: _("Opt-NGI: gradient information"),
            ProjectionMethod.OPT_GC: _("Opt-GC: gradient correlation"),
        }[self]


class ProjectionComparison(enum.Enum):
    """What the third view shows of X-ray and DRR."""

    BLEND = "blend"
    CHECKERBOARD = "checkerboard"
    EDGES = "edges"

    def label(self) -> str:
        """What the combo box says."""
        return {
            ProjectionComparison.BLEND: _("DRR over X-ray"),
            ProjectionComparison.CHECKERBOARD: _("Checkerboard"),
            ProjectionComparison.EDGES: _("Edges of the DRR"),
        }[self]


@parameterPack
class ProjectionParameters:
    """The numbers of the section "CT and X-ray".

    Geometry: mm, spacing of the detector's pixels (row, column), principal point in pixels, which counts where
    ``centered`` is off; ``isocenter`` is the distance from the source, 0 the usual share of ``sdd``. ``given`` is
    the geometry as a preset or a DICOM file gave it (JSON), ``source`` what gave it: "preset", "dicom" or "".
    Pose: degrees and mm, as the jobs take it. ``primary`` and ``secondary`` are the C-arm's angles in degrees for the
    X-ray, the ones with a 2 for the second X-ray. ``shown``: whether the views show X-ray and DRR.
    """

    sdd: Annotated[float, WithinRange(200.0, 5000.0)] = 1000.0
    rows: Annotated[int, WithinRange(2, 8192)] = 256
    columns: Annotated[int, WithinRange(2, 8192)] = 256
    rowSpacing: Annotated[float, WithinRange(0.01, 20.0)] = 1.0
    columnSpacing: Annotated[float, WithinRange(0.01, 20.0)] = 1.0
    centered: bool = True
    principalRow: Annotated[float, WithinRange(-10000.0, 20000.0)] = 127.5
    principalColumn: Annotated[float, WithinRange(-10000.0, 20000.0)] = 127.5
    isocenter: Annotated[float, WithinRange(0.0, 5000.0)] = 0.0
    mirrored: bool = False
    given: str = ""
    source: str = ""
    title: str = ""
    rx: Annotated[float, WithinRange(-DEGREES, DEGREES)] = 0.0
    ry: Annotated[float, WithinRange(-DEGREES, DEGREES)] = 0.0
    rz: Annotated[float, WithinRange(-DEGREES, DEGREES)] = 0.0
    tx: Annotated[float, WithinRange(-MILLIMETERS, MILLIMETERS)] = 0.0
    ty: Annotated[float, WithinRange(-MILLIMETERS, MILLIMETERS)] = 0.0
    tz: Annotated[float, WithinRange(-DEPTH, DEPTH)] = 0.0
    primary: Annotated[float, WithinRange(-DEGREES, DEGREES)] = 0.0
    secondary: Annotated[float, WithinRange(-DEGREES, DEGREES)] = 0.0
    primary2: Annotated[float, WithinRange(-DEGREES, DEGREES)] = 90.0
    secondary2: Annotated[float, WithinRange(-DEGREES, DEGREES)] = 0.0
    bones: Bones = Bones.AUTO
    method: ProjectionMethod = ProjectionMethod.OURS
    show: ProjectionComparison = ProjectionComparison.BLEND
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    shown: bool = False
