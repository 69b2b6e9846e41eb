"""Moved to `LandmarkFusionLogic.jobs`."""

from LandmarkFusionLogic.jobs.deformable import *  # noqa: F403
from LandmarkFusionLogic.jobs.matching import *  # noqa: F403
