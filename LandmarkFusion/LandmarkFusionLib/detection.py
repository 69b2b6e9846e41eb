"""Finds landmarks in the worker and hands over what was found: all of what was asked for, or nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from LandmarkFusionLib.engine import CANCELLED, Engine
from LandmarkFusionLib.volumefile import VolumeFile
from LandmarkFusionLogic.errors import InputError
from LandmarkFusionLogic.gland import Gland
from LandmarkFusionLogic.jobs import DetectResult, from_json
from LandmarkFusionLogic.mrml.volumes import stamp, volume_from_node
from LandmarkFusionLogic.volume import Volume

NAMES = {"mr": "MR", "us": "US"}


@dataclass
class Hint:
    """Where the user says that the gland is: a click (3) in it, RAS mm of the volume, or a mask of it."""

    click: list[float] | None = None
    mask: Volume | None = None


@dataclass
class Found:
    """What a job found in one volume."""

    result: DetectResult
    gland: Gland | None


@dataclass
class Input:
    """A volume node as it was when the job began."""

    modality: str
    node: Any
    volume: Volume
    stamp: Any
    hint: Hint

    @classmethod
    def take(cls, modality: str, node: Any, hint: Hint) -> "Input":
        """Check the node and keep what it holds. Raises InputError for a volume that cannot be used."""
        return cls(modality, node, volume_from_node(node, f"{NAMES[modality]} volume"), stamp(node), hint)

    def isUnchanged(self) -> bool:
        """Whether the node is still in the scene with the same image in the same place."""
        return self.node.GetScene() is not None and self.stamp == stamp(self.node)


class Detection:
    """One run at a time, over one or both volumes.

    ``changed`` is told of progress and of the end; ``found`` gets results and volume nodes by modality.
    """

    def __init__(
        self,
        engine: Engine,
        changed: Callable[[], None],
        found: Callable[[dict[str, Found], dict[str, Any]], None],
        failed: Callable[[str], None],
        cancelled: Callable[[str], None],
    ):
        self.fraction = 0.0
        self.text = ""
        self.models: dict[str, str | None] = {"mr": None, "us": None}
        """Folders of the networks to be used; None takes the default one."""
        self._engine = engine
        self._changed, self._found, self._failed, self._cancelled = changed, found, failed, cancelled
        self._inputs: list[Input] = []
        self._results: dict[str, Found] = {}
        self._device = "auto"
        self._file: VolumeFile | None = None
        self._maskFile: VolumeFile | None = None

    def isBusy(self) -> bool:
        """Whether a run is under way or being ended."""
        return bool(self._inputs) or self._engine.isBusy()

    def start(self, inputs: Sequence[tuple[str, Any]], device: str, hints: dict[str, Hint] | None = None) -> None:
        """Find the landmarks of the volumes, given as ("mr" or "us", node); returns at once.

        Raises InputError for a volume that cannot be used; nothing has been started then.
        """
        taken = [Input.take(modality, node, (hints or {}).get(modality, Hint())) for modality, node in inputs]
        self._inputs, self._results, self._device = taken, {}, device
        self._next()

    def cancel(self) -> None:
        """End the run at whatever it is."""
        if self._engine.isBusy():
            self._engine.cancel()
        elif self._inputs:
            self._onFailure(CANCELLED, _("Cancelled; nothing was changed."))

    def stop(self) -> None:
        """End the run without telling anybody."""
        self._finish()

    def _next(self) -> None:
        current = self._inputs[len(self._results)]
        self._progress(0.0, _("Handing over the volume"))
        self._file = VolumeFile(current.volume, self._writeMask, self._onFileFailure)
        self._file.start()

    def _writeMask(self) -> None:
        mask = self._inputs[len(self._results)].hint.mask
        if mask is None:
            self._run()
            return
        self._maskFile = VolumeFile(mask, self._run, self._onFileFailure)
        self._maskFile.start()

    def _run(self) -> None:
        current = self._inputs[len(self._results)]
        request = {
            "volume": self._file.source(),
            "modality": current.modality,
            "device": self._device,
            "model": self.models[current.modality],
            "click": current.hint.click,
            "gland_mask": self._maskFile.source() if self._maskFile is not None else None,
            "out": self._file.folder(),
        }
        self._engine.run("detect", request, self._progress, self._onResult, self._onFailure)

    def _progress(self, fraction: float, text: str) -> None:
        self.fraction = (len(self._results) + fraction) / len(self._inputs)
        self.text = _("{image}: {text}").format(image=NAMES[self._inputs[len(self._results)].modality], text=text)
        self._changed()

    def _onResult(self, result: dict[str, Any]) -> None:
        try:
            found = from_json(DetectResult, result)
            gland = _gland(found)
        except InputError as error:
            self._onFailure("internal", str(error))
            return
        self._removeFiles()
        self._results[found.modality] = Found(found, gland)
        if len(self._results) < len(self._inputs):
            self._next()
            return
        inputs, results = self._finish()
        if all(each.isUnchanged() for each in inputs):
            self._found(results, {each.modality: each.node for each in inputs})
        else:
            self._failed(_("A volume was changed or removed while its landmarks were being found; detect again."))
        self._changed()

    def _onFileFailure(self, message: str) -> None:
        self._onFailure("input", message)

    def _onFailure(self, kind: str, message: str) -> None:
        self._finish()
        (self._cancelled if kind == CANCELLED else self._failed)(message)
        self._changed()

    def _finish(self) -> tuple[list[Input], dict[str, Found]]:
        inputs, results = self._inputs, self._results
        self._inputs, self._results = [], {}
        self._removeFiles()
        self.fraction, self.text = 0.0, ""
        return inputs, results

    def _removeFiles(self) -> None:
        for file in filter(None, (self._file, self._maskFile)):
            file.remove()
        self._file = self._maskFile = None


def _gland(result: DetectResult) -> Gland | None:
    """The gland that was found, read before its file goes."""
    record = result.gland
    if record is None or record.path is None:
        return None
    try:
        probability = np.load(record.path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(_("The gland that was found cannot be read; detect again.")) from error
    return Gland(Volume(probability, np.array(record.ijk_to_ras)))
