"""What went wrong in elastix, in plain words and with what to do."""

from __future__ import annotations

import errno
import os
import signal

from LandmarkFusionLogic.errors import InputError

OUT_OF_MEMORY = (
    "There is not enough memory for the registration; close other programs, or register a region of interest only."
)
DISK_FULL = "The disk is full; free some space or choose a folder on another disk."

_DRIFTED = (
    "The volumes drifted apart in the registration: most points of the fixed volume fall outside the moving one. "
    "Start from an initial transform that lays them on each other, or give masks of what both of them show."
)
_MASKS = (
    "Too little of the volumes lies inside their masks where both overlap; give larger masks, or an initial transform "
    "that lays the masked parts on each other."
)
_SMALL = "The fixed volume, or the region in it, has too few voxels for the registration; choose more of it."
_POINTS = "elastix could not pair the points; give as many points in the fixed as in the moving volume."
_INCOMPLETE = "elastix is installed incompletely: one of its libraries is missing; install it again."
_NUMBERS = (
    "The registration ran into numbers that are none: the volumes may show too little in common; start from an "
    "initial transform, or mask what both of them show."
)
_KNOWN = (
    (("too many samples map outside",), _DRIFTED),
    (("could not find enough image samples", "no valid voxels", "mask is empty"), _MASKS),
    (("number of pixels along dimension", "minimum of four pixels"), _SMALL),
    (("number of points", "fixed and moving pointsets"), _POINTS),
    (("no space left", "disk full", "file too large", "quota exceeded"), DISK_FULL),
    (("bad_alloc", "failed to allocate", "out of memory", "cannot allocate memory"), OUT_OF_MEMORY),
    (("error while loading shared libraries", "library not loaded", "no module named", "importerror"), _INCOMPLETE),
    (("singular", "not invertible"), _NUMBERS),
)
"""What elastix writes, in lower case, and what it means."""


class ElastixError(InputError):
    """elastix ended without a result. ``log`` is what it had written, for people who want to look closer."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


def explain(log: str, code: int) -> str:
    """One sentence on why elastix ended with exit ``code`` (negative: a signal) after it had written ``log``."""
    errors = _error_lines(log).lower()
    for signs, sentence in _KNOWN:
        if any(sign in errors for sign in signs):
            return sentence
    if code < 0 and -code == getattr(signal, "SIGKILL", 9):
        return f"elastix was ended from outside. If nobody did so: {OUT_OF_MEMORY[0].lower()}{OUT_OF_MEMORY[1:]}"
    if code < 0 or code in (139, 134, 0xC0000005, 3221225477):
        return (
            "elastix crashed. Try again with fewer landmarks or without masks; another version of elastix "
            "(SlicerElastix, itk-elastix) may help. Its log tells how far it came."
        )
    if code == 0:
        return "elastix ended without writing a transform; its log tells why."
    return f"elastix ended with an error ({code}); its log tells why."


def of_system(error: OSError) -> str:
    """One sentence on why elastix could not be started or its files not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DISK_FULL
    if error.errno == errno.ENOMEM:
        return OUT_OF_MEMORY
    return f"elastix cannot be started ({os.strerror(error.errno or 0)}); install it again or set another one."


def _error_lines(log: str) -> str:
    """The lines around errors: warnings and iterations hold words that would be taken for one."""
    lines = log.splitlines()
    marks = [
        index
        for index, line in enumerate(lines)
        if any(word in line.lower() for word in ("exception", "error", "description", "bad_alloc", "failed"))
    ]
    near = {other for index in marks for other in range(index, min(index + 6, len(lines)))}
    return "\n".join(lines[index] for index in sorted(near) if not lines[index].startswith("WARNING"))
