"""What detection needs beyond Slicer, asked for when it is first needed and never before."""

import importlib.util
from pathlib import Path

from slicer.i18n import tr as _

from LandmarkFusionLogic.errors import InputError

TORCH = ">=2.4"
REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"


def ensureRequirements() -> None:
    """Have the packages of requirements.txt installed after asking; at once if they are there, as in Slicer they are.

    Raises InputError where that fails or the user declines.
    """
    from slicer import packaging

    try:
        packaging.pip_ensure(packaging.load_requirements(REQUIREMENTS), requester="LandmarkFusion")
    except Exception as error:  # pip, a proxy, a full disk, or no: one sentence whatever it was.
        raise InputError(
            _("Packages that finding landmarks needs were not installed ({reason}).").format(reason=error)
        ) from error


def torchInstalled() -> bool:
    """Whether PyTorch is there. It is looked for, not imported: that takes seconds and is the worker's business."""
    return importlib.util.find_spec("torch") is not None


def ensureTorch(need: str = "", otherwise: str = "") -> None:
    """Have PyTorch installed by the PyTorch extension, after asking; at once if it is there.

    ``need`` is what cannot be done without it, ``otherwise`` what else can be done. Raises InputError where the user
    declines, or the extension is missing, and says both.
    """
    if torchInstalled():
        return
    need = need or _("Finding landmarks")
    otherwise = otherwise or _("place the landmarks by hand")
    try:
        import PyTorchUtils
    except ImportError:
        raise InputError(
            _(
                "{need} needs PyTorch: install the extension “PyTorch” in the Extensions Manager, or {otherwise}."
            ).format(need=need, otherwise=otherwise)
        ) from None
    try:
        installed = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=TORCH)
    except Exception as error:  # As above.
        raise InputError(
            _("PyTorch could not be installed ({reason}); see the Python console, or {otherwise}.").format(
                reason=error, otherwise=otherwise
            )
        ) from error
    if installed is None:
        raise InputError(
            _("PyTorch was not installed. {need} needs it: install it later, or {otherwise}.").format(
                need=need, otherwise=otherwise
            )
        )


def elastixFolder() -> str:
    """The folder of the executables that the extension SlicerElastix brings, or "" where it is not installed."""
    try:
        from Elastix import ElastixLogic

        return str(ElastixLogic().getElastixBinDir() or "")
    except Exception:  # Not installed, or another version of it: there are other ways to elastix.
        return ""
