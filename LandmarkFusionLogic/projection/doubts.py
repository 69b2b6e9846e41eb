"""When a result should not be trusted, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from LandmarkFusionLogic.projection.alignment import FloatArray
from LandmarkFusionLogic.projection.leastsquares import Level
from LandmarkFusionLogic.projection.multistart import Found, apart, within_reach
from LandmarkFusionLogic.projection.pose import step_matrix

LOW = 0.3
"""A correlation of edges below this is no match."""
NEAR_BOUND = 0.9
CLOSE = 0.03
"""Another pose whose similarity comes as close as this could be the right one."""
FLAT = 0.002
"""What 3 degrees or mm in the image plane, or 15 mm of depth, have to cost at least."""
_SIZES = np.diag([*np.deg2rad([3.0] * 3), 3.0, 3.0, 15.0])
_STEPS = {"rotation": _SIZES[:3], "position in the image": _SIZES[3:5], "depth": _SIZES[5:]}


def of_pose(level: Level, matrix: FloatArray, starts: Sequence[FloatArray], isocenter: FloatArray) -> list[str]:
    """Sentences about the result ``matrix``: a poor match, a flat similarity, a pose at a bound."""
    similarity = level.similarity(matrix)
    if similarity < LOW:
        text = f"CT and X-ray hardly agree (similarity {similarity:.2f}): the pose is doubtful; check the overlay, "
        return [text + "start nearer, or mark corresponding points."]
    told = []
    if not any(within_reach(matrix, start, isocenter, NEAR_BOUND) for start in starts):
        told.append("The pose lies at the bound of the search around the start: start nearer to it and align again.")
    center = matrix[:3, :3] @ isocenter + matrix[:3, 3]
    for name, steps in _STEPS.items():
        costs = [
            similarity - level.similarity(step_matrix(sign * step, center) @ matrix)
            for step in steps
            for sign in (1, -1)
        ]
        if min(costs) < FLAT:
            told.append(f"The similarity is flat: the {name} of the CT is uncertain; a second view would settle it.")
    return told


def disagreement(last: Sequence[Found], isocenter: FloatArray) -> list[str]:
    """A sentence where, of the poses that came ``last``, best first, a second one is about as similar."""
    for other in last[1:]:
        if last[0].similarity - other.similarity < CLOSE:
            angle, shift = apart(last[0].matrix, other.matrix, isocenter)
            text = (
                f"Different starts ended in poses {angle:.0f}° and {float(np.linalg.norm(shift)):.0f} mm apart that "
            )
            return [text + "fit about as well: check the overlay."]
    return []
