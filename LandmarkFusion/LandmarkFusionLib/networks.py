"""The networks that can be chosen, and the one that is."""

from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from LandmarkFusionLib import choices
from LandmarkFusionLib.status import DONE
from LandmarkFusionLogic.landmarks.choices import NetworkChoice
from LandmarkFusionLogic.mrml import landmarks

if TYPE_CHECKING:
    from LandmarkFusionLib.controller import Controller


class Networks:
    """Those that ship and those of the user; detection uses the one that the scene names."""

    def __init__(self, controller: "Controller"):
        self.available: list[NetworkChoice] = choices.available()
        self._controller = controller
        self._used = ""

    def choice(self) -> NetworkChoice | None:
        """The chosen network, or None where the scene names one that is not here."""
        parameters = self._controller.parameters
        key = parameters.network if parameters is not None else ""
        return next((each for each in self.available if each.key == key or not key), None)

    def choose(self, key: str) -> None:
        """Choose a network by its key; what has been found stays."""
        parameters = self._controller.parameters
        if parameters is not None and any(each.key == key for each in self.available):
            parameters.network = key

    def refresh(self) -> None:
        """See which networks there are now."""
        self.available = choices.available()
        self._controller.tell()

    def add(self, folder: str) -> None:
        """Offer the networks in a folder of the user's, and choose them."""
        with self._controller.sayingErrors():
            choice = choices.add(folder)
            self.refresh()
            self.choose(choice.key)
            self._controller.say(DONE, _("“{title}” can be chosen now.").format(title=choice.title))

    def use(self) -> None:
        """Have detection use the chosen network; nothing happens while the choice stays the same."""
        key = self._controller.parameters.network
        if key != self._used:
            self._used = key
            choice = self.choice()
            folders = choice.folders if choice is not None and key else {}
            self._controller.detection.models = {
                each: str(folders[each]) if each in folders else None for each in landmarks.MODALITIES
            }
