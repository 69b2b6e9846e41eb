"""The whole state of the panel, kept in the scene by one parameter node."""

import enum
from typing import Annotated

from slicer import (
    vtkMRMLLinearTransformNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLMarkupsROINode,
    vtkMRMLNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLTransformNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from LandmarkFusionLib.projectionparameters import ProjectionParameters
from LandmarkFusionLogic.points import APEX

DEVICES = ["auto", "cuda", "mps", "cpu"]


class FitMethod(enum.Enum):
    """How the landmarks become a rigid transform; the values are those of ``fit_landmarks``."""

    BEST = "best"
    SVD = "svd"

    def label(self) -> str:
        """What the combo box says."""
        return {
            FitMethod.BEST: _("Best: certain landmarks count more"),
            FitMethod.SVD: _("Plain: all landmarks count alike (SVD)"),
        }[self]


class Preset(enum.Enum):
    """The settings of the deformable registration; the values are those of the job ``deform``, "mr-us" is `refine`."""

    FAST = "fast"
    PAPER = "paper"
    REFINE = "mr-us"

    def label(self) -> str:
        """What the combo box says."""
        return {
            Preset.FAST: _("Fast"),
            Preset.PAPER: _("As published (Grewal 2023), slower"),
            Preset.REFINE: _("MR–US: refine the prostate after the rigid fit"),
        }[self]


class Comparison(enum.Enum):
    """How fixed and deformed volume are shown."""

    OVERLAY = "overlay"
    CHECKERBOARD = "checkerboard"
    DIFFERENCE = "difference"
    JACOBIAN = "jacobian"

    def label(self) -> str:
        """What the combo box says."""
        return {
            Comparison.OVERLAY: _("Deformed over fixed"),
            Comparison.CHECKERBOARD: _("Checkerboard"),
            Comparison.DIFFERENCE: _("Difference"),
            Comparison.JACOBIAN: _("Jacobian map"),
        }[self]


@parameterNodeWrapper
class Parameters:
    """What is chosen. Widgets are bound to these names by their property SlicerParameterName.

    The landmark lists and the transform follow from the two volumes (each volume has its own list, each pair its own
    transform); they are kept here so that scripts and other modules find them. ``network`` is the key of a network
    choice, "" the default. ``targets`` is what is carried over from the MR, ``targetsInUs`` where it arrives.

    What begins with ``deform`` belongs to the deformable registration: its volumes, masks and points, the transform
    MR to US or another to start from (it maps moving to fixed), the source of landmarks (none, points, mind, or a
    network's name), and the transform node of the last result. What begins with ``projection`` belongs to CT and
    X-ray.
    """

    mr: vtkMRMLScalarVolumeNode
    us: vtkMRMLScalarVolumeNode
    mrLandmarks: vtkMRMLMarkupsFiducialNode
    usLandmarks: vtkMRMLMarkupsFiducialNode
    mrToUs: vtkMRMLLinearTransformNode
    device: Annotated[str, Choice(DEVICES)] = "auto"
    applied: bool = True
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    network: str = ""
    fit: FitMethod = FitMethod.BEST
    showGlands: bool = True
    showRegions: bool = True
    showErrorMap: bool = False
    mrMask: vtkMRMLNode
    usMask: vtkMRMLNode
    targets: vtkMRMLNode
    targetsInUs: vtkMRMLMarkupsFiducialNode
    mrPoint: str = APEX
    usPoint: str = APEX
    deformFixed: vtkMRMLScalarVolumeNode
    deformMoving: vtkMRMLScalarVolumeNode
    deformFixedMask: vtkMRMLNode
    deformMovingMask: vtkMRMLNode
    deformInitial: vtkMRMLLinearTransformNode
    deformLandmarks: str = "mind"
    deformFixedPoints: vtkMRMLMarkupsFiducialNode
    deformMovingPoints: vtkMRMLMarkupsFiducialNode
    deformConfidence: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    deformPreset: Preset = Preset.FAST
    deformWeights: bool = False
    deformDoubtful: bool = False
    deformRegion: vtkMRMLMarkupsROINode
    deformShow: Comparison = Comparison.OVERLAY
    deformResult: vtkMRMLTransformNode
    projectionCt: vtkMRMLScalarVolumeNode
    projectionXray: vtkMRMLScalarVolumeNode
    projectionXray2: vtkMRMLScalarVolumeNode
    projectionCtPoints: vtkMRMLMarkupsFiducialNode
    projectionXrayPoints: vtkMRMLMarkupsFiducialNode
    projectionResult: vtkMRMLLinearTransformNode
    projection: ProjectionParameters
