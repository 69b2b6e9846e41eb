"""Landmark Fusion: a prostate MR laid over a 3D ultrasound by three landmarks. The module's entry points."""

import os
import sys

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


def _addPackagePath() -> None:
    """Put the package LandmarkFusionLogic in reach where the module runs from a clone and is not installed."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.isdir(os.path.join(root, "LandmarkFusionLogic")) and root not in sys.path:
        sys.path.append(root)


_addPackagePath()


class LandmarkFusion(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Landmark Fusion")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        self.parent.dependencies = []
        self.parent.contributors = ["The Landmark Fusion contributors"]
        self.parent.helpText = _(
            "Lays a prostate MR over a 3D ultrasound: finds three landmarks in both images and keeps a rigid "
            "transform equal to their least-squares fit while you correct them.<br>"
            "<b>Apex</b>: the most inferior point of the gland, where the urethra leaves it. "
            "<b>Bladder neck</b>: the center of the internal urethral orifice at the base of the gland (a median lobe "
            "rises above it). <b>Posterior median</b>: the midsagittal point of "
            "the posterior surface of the gland, halfway along the line from apex to bladder neck.<br>"
            '<img src="{picture}" width="360"><br>'
            "<b>CT and X-ray</b>: finds how a CT lay before a C-arm when an X-ray was taken. Choose both, say where "
            "source and detector stood (a preset, the tags of a DICOM file, or by hand) and bring the DRR, which is "
            "the X-ray that the CT would give, near the X-ray: with the six sliders, by points of equal names in both "
            "images, or by a network. Then press Align. The result is a transform from the CT to the camera of the "
            "X-ray: the source is the origin, z runs to the detector, x along the columns, y along the rows. "
            "The depth is uncertain in one X-ray; a second one makes it certain. Read the warnings.<br>"
            "For research use; not a medical device."
        ).format(picture=self.resourcePath("landmarks.png"))
        self.parent.acknowledgementText = _(
            "The method follows Fang et al. 2023 (landmark detection with a differentiable spatial to numerical "
            "transform), Arun et al. 1987 (least-squares rigid fit) and Chen et al. 2023 (CT and X-ray)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer a simulated case, made on demand, in the module Sample Data; MRUSProstate is there already."""
    from LandmarkFusionLib import samples

    samples.register()


class LandmarkFusionWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: puts the parts together and follows the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.controller = None
        self.ui = None
        self._guiTag = None
        self._annotations = None

    def setup(self) -> None:
        """Build the panel; needs neither a main window nor torch."""
        from LandmarkFusionLib import shell
        from LandmarkFusionLib.annotations import Annotations
        from LandmarkFusionLib.controller import Controller

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = LandmarkFusionLogic()
        self.controller = Controller()
        self.ui = shell.build(self, self.controller)
        self._annotations = Annotations(self.controller)
        scene = slicer.mrmlScene
        for event in (scene.StartCloseEvent, scene.StartImportEvent):
            self.addObserver(scene, event, self.onSceneStart)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.onSceneEnd)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodeRemoved)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """End the worker and let go of the scene."""
        self.removeObservers()
        if self._annotations is not None:
            self._annotations.remove()
        if self.controller is not None:
            self.setParameterNode(None)
            self.controller.stop()

    def enter(self) -> None:
        """Be ready when the user comes to the module; choose the volumes where their names tell them apart."""
        self.initializeParameterNode()
        self.controller.chooseByName()

    def exit(self) -> None:
        """Leave the mode of placing points when the user goes to another module."""
        if self.controller is not None:
            self.controller.stopPlacing()

    def onReload(self) -> None:
        """Load all of the module's files anew, not only this one (developer mode)."""
        for name in list(sys.modules):
            if name.partition(".")[0] in ("LandmarkFusionLib", "LandmarkFusionLogic"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStart(self, caller, event) -> None:
        """Let go before a scene is closed or loaded: a bound widget would write its own choice over the loaded one."""
        self.setParameterNode(None)

    def onSceneEnd(self, caller, event) -> None:
        """Take up what the scene holds now."""
        self.initializeParameterNode()

    def onNodeRemoved(self, caller, event) -> None:
        """Follow the removal of a volume, a landmark list or the transform."""
        if self.controller.parameters is not None:
            self.controller.refreshSoon()

    def initializeParameterNode(self) -> None:
        """Bind the panel to the scene's parameter node."""
        if not slicer.mrmlScene.IsClosing() and not slicer.mrmlScene.IsImporting():
            self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameters) -> None:
        """Bind the panel to a parameter node, or with None to none."""
        current = self.controller.parameters
        if current is not None and parameters is not None and current.parameterNode is parameters.parameterNode:
            return
        if current is not None:
            current.disconnectGui(self._guiTag)
        # Not connectGui: in Slicer it forgets to return the tag, and the panel would stay bound (Slicer issue 7547).
        self._guiTag = parameters.connectParametersToGui(self.ui.bound) if parameters is not None else None
        self.controller.setParameters(parameters)


class LandmarkFusionLogic(ScriptedLoadableModuleLogic):
    """Gives scripts and other modules the parameter node; what is computed lies in the package LandmarkFusionLogic."""

    def getParameterNode(self):
        """The scene's parameter node, wrapped."""
        from LandmarkFusionLib.parameters import Parameters

        return Parameters(super().getParameterNode())


class LandmarkFusionTest(ScriptedLoadableModuleTest):
    """Self test for the application: six landmarks by hand, the fit, and the scene saved and loaded."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run the tests."""
        self.setUp()
        self.test_LandmarksByHand()

    def test_LandmarksByHand(self) -> None:
        """Place landmarks in two volumes, compare the transform with the truth, save, clear, load, compare again."""
        from LandmarkFusionLib import selftest

        self.delayDisplay(_("Aligning two volumes by landmarks"))
        selftest.run()
        self.delayDisplay(_("Test passed"))
