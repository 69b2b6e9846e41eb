"""Corrected cases kept for training, and networks that learn from them: the panel's side of two jobs of the worker."""

import contextlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from LandmarkFusionLib import choices, packages
from LandmarkFusionLib.detection import NAMES
from LandmarkFusionLib.engine import CANCELLED
from LandmarkFusionLib.status import DONE, ERROR, INFO
from LandmarkFusionLib.volumefile import VolumeFile
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.jobs import FineTuneResult, from_json, record, to_json
from LandmarkFusionLogic.mrml import glands, landmarks
from LandmarkFusionLogic.mrml.volumes import volume_from_node
from LandmarkFusionLogic.points import LANDMARK_NAMES
from LandmarkFusionLogic.volume import Volume

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller

NETWORKS = "networks"
"""The folder beside the kept cases that new networks go to."""


class Learning:
    """One run at a time: keeping a case, or training on those that are kept."""

    def __init__(self, controller: "Controller"):
        self.fraction = 0.0
        self.text = ""
        self.outcome: list[FineTuneResult] = []
        """What the last training came to, one result an image."""
        self.problems: list[str] = []
        """Why an image could not be trained for, for instance too few cases."""
        self.steps: int | None = None
        """How long each training is; None leaves it to the job."""
        self._controller = controller
        self._files: dict[str, VolumeFile] = {}
        self._waiting: list[Callable[[], None]] = []
        self._then: Callable[[], None] = lambda: None
        self._running = False

    def isBusy(self) -> bool:
        """Whether a run is under way."""
        return self._running

    def stop(self) -> None:
        """End the run without telling anybody."""
        self._finish()

    def cancel(self) -> None:
        """End a run that still hands over its volumes; the engine ends one that has begun."""
        if self._running:
            self._onFailure(CANCELLED, _("Cancelled; nothing was changed."))

    def missing(self) -> str:
        """What is missing before the case can be kept, or ""."""
        sides = self._sides()
        if not sides:
            return _("Place or detect the landmarks of the MR, the ultrasound, or both first.")
        waiting = self._controller.editing.toCheck()
        if waiting:
            modality, row = waiting[0]
            return _("Check the doubtful landmarks first: {name} in the {image}.").format(
                name=row.name, image=NAMES[modality]
            )
        return ""

    def keep(self, folder: str) -> None:
        """Keep images, landmarks and masks of the chosen pair in ``folder``."""
        controller = self._controller
        with controller.sayingErrors():
            if controller.isBusy():
                return
            missing = self.missing() or ("" if folder else _("Choose a folder for the training cases first."))
            if missing:
                raise InputError(missing)
            request: dict[str, Any] = {"folder": folder}
            for modality in self._sides():
                node = controller.volume(modality)
                self._add(modality, volume_from_node(node, f"{NAMES[modality]} volume"))
                marks = landmarks.read(controller.landmarkList(modality))
                request[f"{modality}_landmarks"] = [
                    to_json(record(mark)) for mark in marks if mark.name in LANDMARK_NAMES
                ]
                gland = self._drawnGland(modality)
                if gland is not None:
                    self._addMask(f"{modality}_gland", gland)
            self._begin(_("Handing over the case"))
            self._waiting = [file.start for file in self._files.values()]
            self._then = lambda: self._runKeep(request)
            self._next()

    def train(self, folder: str) -> None:
        """Train on the cases kept in ``folder``, the network of each image in turn."""
        controller = self._controller
        with controller.sayingErrors():
            if controller.isBusy():
                return
            if not folder:
                raise InputError(_("Choose the folder of the training cases first."))
            packages.ensureRequirements()
            packages.ensureTorch()
            out = os.path.join(folder, NETWORKS, time.strftime("%Y-%m-%d-%H%M%S"))
            self.outcome, self.problems = [], []
            self._begin(_("Reading the cases"))
            self._trainNext(folder, out, list(landmarks.MODALITIES))

    def _sides(self) -> list[str]:
        """The images that have landmarks worth keeping."""
        controller = self._controller
        return [
            each
            for each in landmarks.MODALITIES
            if controller.volume(each) is not None
            and any(mark.name in LANDMARK_NAMES for mark in landmarks.read(controller.landmarkList(each)))
        ]

    def _drawnGland(self, modality: str) -> Volume | None:
        """The gland as somebody corrected or drew it: by one that a network drew it would later be judged too well."""
        controller = self._controller
        node, own = controller.overlays.gland(modality), controller.mask(modality)
        with contextlib.suppress(InputError):  # Emptied by hand: there is no mask to keep.
            if node is not None and glands.edited(node):
                return glands.read(node)
            if own is not None:
                return glands.mask_for(own, controller.volume(modality))
        return None

    def _addMask(self, name: str, mask: Volume) -> None:
        # A rim of zeros, or a mask that fills its box would look like no mask at all.
        affine = mask.ijk_to_ras.copy()
        affine[:3, 3] -= affine[:3, :3] @ np.ones(3)
        self._add(name, Volume(np.pad(mask.array, 1), affine))

    def _add(self, name: str, volume: Volume) -> None:
        self._files[name] = VolumeFile(volume, self._next, lambda message: self._onFailure("input", message))

    def _next(self) -> None:
        if self._waiting:
            self._waiting.pop(0)()
        else:
            self._then()

    def _runKeep(self, request: dict[str, Any]) -> None:
        request.update({name: file.source() for name, file in self._files.items()})
        self._controller.engine.run("keep", request, self._onProgress, self._onKept, self._onFailure)

    def _onKept(self, result: dict[str, Any]) -> None:
        self._finish()
        text = _("Kept as “{name}” without names or dates; {count} cases in the folder.")
        self._controller.say(DONE, text.format(name=result["name"], count=result["cases"]))

    def _trainNext(self, folder: str, out: str, modalities: list[str]) -> None:
        modality, rest = modalities[0], modalities[1:]
        request = {
            "folder": folder,
            "modality": modality,
            "out": os.path.join(out, f"{modality}-landmarks"),
            "base": self._controller.detection.models[modality],
        }
        if self.steps is not None:
            request["steps"] = self.steps
        count = len(landmarks.MODALITIES)
        done = count - len(modalities)

        def progress(fraction: float, text: str) -> None:
            text = _("{image}: {text}").format(image=NAMES[modality], text=text)
            self._onProgress((done + fraction) / count, text)

        def goOn() -> None:
            if rest:
                self._trainNext(folder, out, rest)
            else:
                self._onTrained(out)

        def result(data: dict[str, Any]) -> None:
            self.outcome.append(from_json(FineTuneResult, data))
            goOn()

        def failure(kind: str, message: str) -> None:
            if kind != "input":
                self._onFailure(kind, message)
                return
            self.problems.append(message)  # The cases of the other image may do.
            goOn()

        self._controller.engine.run("fine-tune", request, progress, result, failure)

    def _onTrained(self, out: str) -> None:
        self._finish()
        controller = self._controller
        with controller.sayingErrors():
            if not self.outcome:
                raise InputError(" ".join(dict.fromkeys(self.problems)))
            better = [NAMES[each.modality] for each in self.outcome if each.out is not None]
            if not better:
                controller.say(INFO, _("The new networks are not better than the old ones; nothing was changed."))
                return
            choices.add(out)
            controller.networks.refresh()
            text = _("The new network of the {images} is better and can be chosen under “Network”.")
            controller.say(DONE, text.format(images=_(" and the ").join(better)))

    def _begin(self, text: str) -> None:
        self._running = True
        self._onProgress(0.0, text)

    def _onProgress(self, fraction: float, text: str) -> None:
        self.fraction, self.text = fraction, text
        self._controller.tell()

    def _onFailure(self, kind: str, message: str) -> None:
        self._finish()
        self._controller.say(INFO if kind == CANCELLED else ERROR, message)

    def _finish(self) -> None:
        self._running = False
        self._waiting = []
        for file in self._files.values():
            file.remove()
        self._files = {}
        self.fraction, self.text = 0.0, ""
