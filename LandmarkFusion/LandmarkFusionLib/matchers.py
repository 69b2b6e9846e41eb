"""What can find landmarks for the deformable registration: nothing, the user, the classical method, networks."""

import contextlib
import json
from dataclasses import dataclass

from slicer.i18n import tr as _

from LandmarkFusionLogic import assets
from LandmarkFusionLogic.errors import InputError

NONE, POINTS, CLASSICAL = "none", "points", "mind"


@dataclass(frozen=True)
class Source:
    """One source of landmarks: its name in a job, and what the combo box says."""

    name: str
    title: str

    @property
    def finds(self) -> bool:
        """Whether it finds landmarks by itself."""
        return self.name not in (NONE, POINTS)

    @property
    def needsTorch(self) -> bool:
        """Whether it is a network."""
        return self.finds and self.name != CLASSICAL


def available() -> list[Source]:
    """Everything that can be chosen on this computer, the default first."""
    return [
        Source(CLASSICAL, _("Found automatically, no network (MIND)")),
        *(Source(name, _("Found by {title}").format(title=title)) for name, title in _networks()),
        Source(POINTS, _("My own pairs of points")),
        Source(NONE, _("None: by the images alone")),
    ]


def _networks() -> list[tuple[str, str]]:
    """Name and title of the networks that are installed; a folder that cannot be read is passed over."""
    try:
        files = sorted(assets.path("models").glob("dcnn-*/configs/metadata.json"))
    except InputError:
        return []
    found = []
    for file in files:
        name = file.parents[1].name
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found.append((name, str(json.loads(file.read_text(encoding="utf-8")).get("title") or name)))
    return found
