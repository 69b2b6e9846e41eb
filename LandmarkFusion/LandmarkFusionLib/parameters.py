"""The whole state of the panel, kept in the scene by one parameter node."""

from typing import Annotated

from slicer import vtkMRMLLinearTransformNode, vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from LandmarkFusionLogic.points import APEX

DEVICES = ["auto", "cuda", "mps", "cpu"]


@parameterNodeWrapper
class Parameters:
    """What is chosen. Widgets are bound to these names by their property SlicerParameterName.

    The landmark lists and the transform follow from the two volumes (each volume has its own list, each pair its own
    transform); they are kept here so that scripts and other modules find them.
    """

    mr: vtkMRMLScalarVolumeNode
    us: vtkMRMLScalarVolumeNode
    mrLandmarks: vtkMRMLMarkupsFiducialNode
    usLandmarks: vtkMRMLMarkupsFiducialNode
    mrToUs: vtkMRMLLinearTransformNode
    device: Annotated[str, Choice(DEVICES)] = "auto"
    applied: bool = True
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    mrPoint: str = APEX
    usPoint: str = APEX
