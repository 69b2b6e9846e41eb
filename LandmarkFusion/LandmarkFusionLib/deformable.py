"""The deformable registration: what is chosen, the jobs of the worker that do it, their results in the scene, undo."""

from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from LandmarkFusionLib import asking, matchers, outcome, packages, refining
from LandmarkFusionLib.comparing import Comparing
from LandmarkFusionLib.engine import CANCELLED
from LandmarkFusionLib.handover import Handover
from LandmarkFusionLib.livemetric import LiveMetric
from LandmarkFusionLib.offers import Offers
from LandmarkFusionLib.pairs import Pairs
from LandmarkFusionLib.status import DONE, ERROR, INFO
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs import from_json, to_json
from LandmarkFusionLogic.jobs.deformable import DeformResult
from LandmarkFusionLogic.jobs.matching import MatchResult
from LandmarkFusionLogic.jobs.refining import RefineResult
from LandmarkFusionLogic.mrml import correspondences, deformable, deforminputs, views, volumes
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller


class Deformable:
    """One job at a time, finding landmarks or registering; the scene changes once it has succeeded, in one step."""

    def __init__(self, controller: "Controller"):
        self.sources = matchers.available()
        self.pairs = Pairs(self)
        self.metric = LiveMetric()
        self.log = ""
        """elastix's log of the last registration, a failed one too."""
        self.elastix = ""
        """Folder or executable that the user has set, or ""."""
        self._controller = controller
        self._run: Handover | None = None
        self._stamps: tuple[Any, Any] | None = None
        self._offers = Offers(self, controller)
        self._comparing = Comparing(self, controller)

    # Choices

    def parameters(self) -> Any:
        """The parameter node, or None."""
        return self._controller.parameters

    def node(self, name: str) -> Any:
        """What is chosen, by the parameter's name after ``deform``, or None."""
        parameters = self._controller.parameters
        node = getattr(parameters, f"deform{name}") if parameters is not None else None
        return node if node is not None and node.GetScene() is not None else None

    def source(self) -> matchers.Source | None:
        """The chosen source of landmarks; None where the scene names one that is not here."""
        parameters = self._controller.parameters
        name = parameters.deformLandmarks if parameters is not None else matchers.CLASSICAL
        return next((each for each in self.sources if each.name == name), None)

    def missing(self, finding: bool = False) -> str:
        """What is missing before the volumes can be registered, or before landmarks can be found, or ""."""
        fixed, moving = self.node("Fixed"), self.node("Moving")
        if fixed is None:
            return _("Choose the fixed volume first.")
        if moving is None:
            return _("Choose the moving volume first.")
        if fixed is moving:
            return _("Fixed and moving are the same volume; choose two different ones.")
        initial = self.node("Initial")
        problem = deforminputs.parent_problem(fixed, "fixed volume") or deforminputs.parent_problem(
            moving, "moving volume", initial
        )
        if problem:
            return problem
        if refining.isChosen(self) and not finding:
            return refining.missing(self)
        source = self.source()
        if source is None:
            return _("The chosen source of landmarks is not on this computer; choose another one.")
        if finding and not source.finds:
            return _("Choose a source that finds landmarks.")
        if source.name == matchers.POINTS and (self.node("FixedPoints") is None or self.node("MovingPoints") is None):
            return _("Choose your point lists in the fixed and in the moving volume.")
        return ""

    def result(self) -> Any:
        """The transform node of the last registration of the chosen pair, or None."""
        fixed, moving = self.node("Fixed"), self.node("Moving")
        for node in (self.node("Result"), moving.GetParentTransformNode() if moving is not None else None):
            if deformable.is_ours(node) and deformable.ends(node) == (fixed, moving):
                return node
        return None

    def undoable(self) -> str:
        """What `undo` would take back, or ""."""
        if self.result() is not None:
            return _("Take back the registration: everything moves back, its results are removed.")
        return _("Remove the landmarks that were found.") if self.pairs.lists is not None else ""

    # The jobs

    def isBusy(self) -> bool:
        """Whether a job is under way."""
        return self._run is not None

    @property
    def fraction(self) -> float:
        """How far the job is, 0..1."""
        return self._run.fraction if self._run is not None else 0.0

    @property
    def text(self) -> str:
        """What the job is at, and about how long it still takes."""
        if self._run is None:
            return ""
        left = self._run.secondsLeft()
        if left is None or _("left") in self._run.text:  # elastix's log tells it better.
            return self._run.text
        return _("{text}, about {seconds:.0f} s left").format(text=self._run.text, seconds=max(left, 1.0))

    def findLandmarks(self) -> None:
        """Find pairs of points in the worker; they replace those that were found before."""
        with self._controller.sayingErrors():
            if self._ready(finding=True):
                request, inputs = asking.common(self)
                request |= {"method": self.source().name, "device": self._controller.parameters.device}
                self._begin("match", request, inputs, self._onMatched)

    def register(self) -> None:
        """Register in the worker, guided by the pairs that are there, or by what the job finds by itself."""
        with self._controller.sayingErrors():
            if self._ready() and refining.isChosen(self):
                request, inputs = refining.request(self)
                self.log = ""
                self.metric.remove()
                self._begin("refine", request, inputs, self._onRefined)
            elif self._ready():
                parameters, source = self._controller.parameters, self.source()
                request, inputs = asking.common(self)
                pairs = asking.guides(self)
                request |= {
                    "out": "",
                    "landmarks": matchers.POINTS if pairs else source.name,
                    "pairs": [to_json(pair) for pair in pairs],
                    "targets": [to_json(pair) for pair in asking.targets(self)],
                    "preset": parameters.deformPreset.value,
                    "choose_weights": parameters.deformWeights,
                    "elastix": self.elastix or packages.elastixFolder() or None,
                    "device": parameters.device,
                }
                self.log = ""
                self._begin("deform", request, inputs, self._onDeformed)
                self.metric.start()

    def cancel(self) -> None:
        """End the job, whatever it is at."""
        if self._run is not None:
            self._run.cancel()

    def stop(self) -> None:
        """End the job without telling anybody, and let go of the scene."""
        if self._run is not None:
            self._run.stop()
            self._run = None
        self.pairs.stop()
        self.metric.remove()
        self._offers.forget()
        self._comparing.forget()

    def _ready(self, finding: bool = False) -> bool:
        if self._controller.isBusy():
            return False
        missing = self.missing(finding)
        if missing:
            raise InputError(missing)
        packages.ensureRequirements()
        if (finding or not refining.isChosen(self)) and self.source().needsTorch:
            packages.ensureTorch()
        return True

    def hasFound(self) -> bool:
        """Whether there are pairs of the chosen source between the chosen volumes."""
        source, lists = self.source(), self.pairs.lists
        return lists is not None and source is not None and correspondences.method(lists[0]) == source.name

    def _begin(self, job: str, request: dict[str, Any], inputs: dict[str, Volume], done: Any) -> None:
        self._stamps = self._stamp()
        self._run = Handover(self._controller.engine, job, request, inputs, self._onProgress, done, self._onFailure)
        self._controller.say(INFO, self._run.text)
        self._run.start()

    def _stamp(self) -> Any:
        nodes = self.node("Fixed"), self.node("Moving")
        return [(node, volumes.stamp(node)) for node in nodes if node is not None]

    def _onProgress(self) -> None:
        if self._run is not None and self._run.job == "deform":
            self.metric.follow(self._run.out())
        self._controller.tell()

    def _onFailure(self, kind: str, message: str) -> None:
        run, self._run = self._run, None
        if run is not None and run.job == "deform":
            self.log = self.metric.log(run.out())
        self.metric.remove()
        self._controller.say(INFO if kind == CANCELLED else ERROR, message)

    def _unchanged(self) -> None:
        if self._stamp() != self._stamps:
            raise InputError(_("A volume was changed, removed or chosen anew while the job ran; start it again."))

    # Results

    def _onMatched(self, data: dict[str, Any]) -> None:
        self._run = None
        with self._controller.sayingErrors():
            result = from_json(MatchResult, data)
            self._unchanged()
            if not result.pairs:
                raise InputError(" ".join([_("No landmarks were found."), *result.warnings]))
            fixed, moving = self.node("Fixed"), self.node("Moving")
            former, self.pairs.lists = self.pairs.lists, None
            for node in former or ():
                deformable.remove(node)
            correspondences.create(fixed, moving, result.pairs, result.method)
            self._controller.refresh()
            text = _("Found {count} pairs in {seconds:.0f} s; {removed} were inconsistent and left out.")
            text = text.format(count=len(result.pairs), seconds=result.seconds, removed=result.removed)
            self._controller.say(DONE, " ".join([text, *result.warnings]))

    def _onDeformed(self, data: dict[str, Any]) -> None:
        run, self._run = self._run, None
        self.metric.follow(run.out())
        self.log = self.metric.log(run.out())
        with self._controller.sayingErrors():
            try:
                result = from_json(DeformResult, data)
                self._unchanged()
                loaded = deformable.load(result)
            except InputError:
                self.metric.remove()
                raise
            source = self.source()
            self._show(loaded, source.name if source is not None else "")

    def _onRefined(self, data: dict[str, Any]) -> None:
        self._run = None
        with self._controller.sayingErrors():
            result = from_json(RefineResult, data)
            self._unchanged()
            if result.refined:
                self._show(deformable.load(result.deformation), matchers.CLASSICAL)
            else:
                self._controller.say(INFO, refining.verdict(result))

    def _show(self, loaded: deformable.Loaded, method: str) -> None:
        """Put a result into the scene; ``method`` is the source of its landmarks."""
        result, points = loaded.result, self.node("MovingPoints")
        noted = outcome.note(result, method, self._controller.parameters.deformPreset.label())
        node = deformable.show(
            self.node("Fixed"), self.node("Moving"), loaded, noted, [points] if points is not None else []
        )
        self._comparing.again()
        self._controller.parameters.deformResult = node
        self._controller.refresh()
        text = _("Registered in {seconds:.0f} s.").format(seconds=result.seconds)
        if self.warnings():
            text += " " + _("Read the warnings in the panel.")
        self._controller.say(DONE, text)

    def noted(self) -> dict[str, Any]:
        """What is known of the result that is there, or {}."""
        return deformable.noted(self.result())

    def warnings(self) -> list[str]:
        """What to be careful about in the result that is there."""
        return outcome.warnings(self.noted())

    def undo(self) -> None:
        """Take back the last registration of the chosen pair, or remove the landmarks that were found."""
        node = self.result()
        if self.isBusy() or self._controller.parameters is None:
            return
        if node is not None:
            deformable.undo(node)
            self.metric.remove()
            self.log = ""
            moving = self.node("Moving")
            parent = moving.GetParentTransformNode() if moving is not None else None
            self._controller.parameters.deformResult = parent if deformable.is_ours(parent) else None
            views.show(slicer.mrmlScene, self.node("Fixed"), moving, 0.5)
            self._controller.say(INFO, _("The registration was taken back."))
        elif self.pairs.lists is not None:
            lists = self.pairs.lists
            self.pairs.stop()
            for each in lists:
                deformable.remove(each)
        self._controller.refresh()

    # Following the scene

    def tell(self) -> None:
        """Have the panels show what there is now."""
        self._controller.tell()

    def update(self) -> None:
        """Bring suggestions, pairs and views in line with what is chosen."""
        self._offers.update()
        lists = correspondences.find(self.node("Fixed"), self.node("Moving"))
        self.pairs.watch(lists, self._controller.parameters.deformConfidence)
        self._comparing.update()
