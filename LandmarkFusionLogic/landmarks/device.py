"""Where a network runs: chosen by name, checked, said in words; and whether torch is there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from LandmarkFusionLogic.errors import InputError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cuda", "mps", "cpu")


def choose_device(name: str) -> torch.device:
    """The device called ``name`` (auto, cuda, mps or cpu); auto takes a GPU where there is one.

    Raises InputError for an unknown or absent device, and where PyTorch is not installed.
    """
    check_name(name)
    require_torch()
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in present.items() if there))
    if not present[name]:
        raise InputError(f"This computer offers PyTorch no {name.upper()} device; choose auto or cpu.")
    return torch.device(name)


def check_name(name: str) -> None:
    """Raise InputError for a name that is no device's. Needs no torch."""
    if name not in DEVICES:
        raise InputError(f"There is no device “{name}”; choose from {', '.join(DEVICES)}.")


def require_torch() -> None:
    """Raise InputError where PyTorch is not installed or cannot be loaded."""
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        raise InputError(
            "Automatic detection needs PyTorch, which is not installed or cannot be loaded; install it (in Slicer: "
            "the PyTorch extension), or place the landmarks by hand."
        ) from error


def describe_device(device: torch.device) -> str:
    """The device in words, for reports."""
    import torch

    if device.type == "cuda":
        return f"CUDA ({torch.cuda.get_device_name(device)})"
    return device.type.upper()
