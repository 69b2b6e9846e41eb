"""What the jobs of CT and X-ray are asked, and what they need to be there."""

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from LandmarkFusionLib import packages, projectiongeometry
from LandmarkFusionLib.projectionparameters import POSE, ProjectionMethod
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.mrml import correspondences, deforminputs, projectionplane
from LandmarkFusionLogic.projection import carm
from LandmarkFusionLogic.projection.carm import CArm
from LandmarkFusionLogic.projection.pose import ct_to_camera
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLib.projection import Projection

BONES, INTENSITY = "LandmarkFusion.bones", "LandmarkFusion.intensity"
"""Attributes of an X-ray node that was read by the job: how bone looks in it, and that it is a logarithm already."""
_LEARNED = (
    ProjectionMethod.RTPI,
    ProjectionMethod.SOPI,
    ProjectionMethod.SOPI_OPT,
    ProjectionMethod.DEEP_REG,
)


def canProject() -> bool:
    """Whether there is something to make DRRs with; it is looked for, not imported."""
    return importlib.util.find_spec("numba") is not None or packages.torchInstalled()


def ensure(method: ProjectionMethod | None = None) -> None:
    """Have installed, after asking, what DRRs and ``method`` need. Raises InputError where that is declined."""
    packages.ensureRequirements()
    if method in _LEARNED or not canProject():
        packages.ensureTorch(_("Aligning CT and X-ray"), _("choose a method that needs no network"))


def requireProjector() -> None:
    """Raise InputError, one sentence, where there is nothing to make DRRs with."""
    if not canProject():
        raise InputError(_("Live DRRs need PyTorch, or numba: press “Align”, which asks to install it."))


def nominalPose(parameters: Any) -> list[float]:
    """The pose of a patient on the back whose CT lies in the isocenter, with the C-arm at the angles of the form."""
    return carm.starts(projectiongeometry.readArm(parameters))[0].parameters.tolist()


def alignment(own: "Projection", method: ProjectionMethod) -> tuple[dict[str, Any], dict[str, Volume]]:
    """What the job ``align`` is told, and the images that are handed over. Raises InputError for unusable ones."""
    ct, xray, second = own.node("Ct"), own.node("Xray"), own.node("Xray2")
    parameters = own.parameters
    arm = projectiongeometry.readArm(parameters)
    # Where angles are known there are two poses to begin with; the job looks at both unless a pose was set.
    untouched = arm.angles is not None and np.allclose(own.pose(), nominalPose(parameters), atol=1e-6)
    request: dict[str, Any] = {
        "geometry": carm.to_json(arm),
        "pose": None if untouched else own.pose(),
        "method": method.value,
        "device": parameters.device,
        "out": "",
        "xray": _source(own, xray),
    }
    inputs = {"ct": deforminputs.read_volume_node(ct, "CT"), "xray": projectionplane.read_xray(xray)}
    if second is not None:
        inputs["xray2"] = projectionplane.read_xray(second, "second X-ray")
        arm2 = secondArm(own)
        request |= {
            "xray2": _source(own, second),
            "geometry2": carm.to_json(arm2),
            "from_first": carm.between(CArm(arm.geometry, arm.angles or (0.0, 0.0)), arm2).tolist(),
        }
    return request, inputs


def secondArm(own: "Projection") -> CArm:
    """The C-arm of the second X-ray: as its file says, else as the first, read out with the second one's pixels."""
    p, second = own.parameters.projection, own.node("Xray2")
    angles = (p.primary2, p.secondary2)
    found = projectiongeometry.ofNode(second)
    if found is not None:
        return CArm(found.geometry, angles)
    return CArm(projectiongeometry.read(own.parameters).resized(*projectionplane.size(second)), angles)


def poseOfPoints(own: "Projection") -> tuple[list[float], int, float]:
    """The pose that brings named points of the CT onto those of the X-ray, how many there are, and what is left.

    What is left is the mean distance on the detector, mm.

    Raises InputError where the lists cannot be used or the points leave the pose open.
    """
    from LandmarkFusionLogic.projection import pnp

    ct, xray = own.node("Ct"), own.node("Xray")
    lists = own.node("XrayPoints"), own.node("CtPoints")
    if None in lists:
        raise InputError(_("Choose your point lists in the CT and in the X-ray."))
    pairs = correspondences.read(lists[0], xray, lists[1], ct)
    volume = deforminputs.read_volume_node(ct, "CT")
    pixels = projectionplane.to_pixels(xray, [pair.fixed for pair in pairs])
    points = np.array([pair.moving for pair in pairs])
    geometry = projectiongeometry.read(own.parameters)
    found = pnp.solve(points, pixels, geometry, volume.centre)
    matrix = ct_to_camera(found, volume.centre, geometry)
    left = pnp.distances(points, pixels, geometry, matrix)
    return found.parameters.tolist(), len(pairs), float(left.mean())


def poseOf(parameters: Any) -> list[float]:
    """The pose of the sliders: degrees and mm."""
    return [float(getattr(parameters.projection, name)) for name in POSE]


def _source(own: "Projection", node: Any) -> dict[str, Any]:
    """How the pixels of an X-ray node are to be read."""
    bones = own.parameters.projection.bones.value
    known = node.GetAttribute(BONES)
    return {
        "bones": known if known and bones == "auto" else bones,
        "intensity": node.GetAttribute(INTENSITY) or "auto",
    }
