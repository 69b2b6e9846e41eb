"""Memory that ran out, recognised in the words of every library that may say so."""

from __future__ import annotations

OUT_OF_MEMORY = "There is not enough memory for this job; close other programs or crop the volume to the prostate."
_SIGNS = ("out of memory", "can't allocate memory", "failed to allocate memory", "bad_alloc", "unable to allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, as Python, numpy, torch or ITK put it."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _SIGNS)
