"""Results appear in one step: they are written to a fresh folder that takes the place of the wanted one at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from LandmarkFusionLogic.errors import InputError

_open: set[Path] = set()
_visible: dict[Path, list[Path]] = {}


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A fresh folder whose files are moved into ``out`` when the block ends well, and deleted when it does not.

    It lies on the same disk, so that moving is renaming: beside an ``out`` that has to be made, inside one that
    exists, whose parent may be another disk or not be writable. An ``out`` that exists keeps its other files; files
    of the same name are replaced.
    Raises InputError if ``out`` is a file or no folder can be made there.
    """
    target = Path(os.path.realpath(out))
    made: list[Path] = []
    try:
        if target.exists() and not target.is_dir():
            raise InputError(f"“{out.name}” is a file; choose a folder for the results.")
        parent = target if target.exists() else target.parent
        made = _missing(parent)
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".landmarkfusion-", dir=parent))
    except OSError as error:
        _remove_empty(made)
        raise InputError(f"The folder “{out.name}” cannot be made; choose a folder that can be written.") from error
    _open.add(folder)
    try:
        yield folder
        _publish(folder, target)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_empty(made)
        if isinstance(error, OSError):
            raise InputError(f"The results cannot be written to “{out.name}” ({error.strerror}).") from error
        raise
    finally:
        _open.discard(folder)


@contextmanager
def visible(out: Path, *names: str) -> Iterator[list[Path]]:
    """The files ``names`` in ``out``, which is made for them, to be written and read by others during a job.

    They are deleted, and folders made for them, when the block ends badly, and stay when it ends well.
    Raises InputError if ``out`` is a file or cannot be made.
    """
    target = Path(os.path.realpath(out))
    if target.exists() and not target.is_dir():
        raise InputError(f"“{out.name}” is a file; choose a folder for the results.")
    made = _missing(target)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(made)
        raise InputError(f"The folder “{out.name}” cannot be made; choose a folder that can be written.") from error
    files = [target / name for name in names]
    _visible.update(dict.fromkeys(files, made))
    try:
        yield files
    except BaseException:
        _remove_visible(files)
        raise
    finally:
        for file in files:
            _visible.pop(file, None)


def remove_open() -> None:
    """Delete the folders that are still being filled; for a process that is about to end in the middle of a job."""
    for folder in list(_open):
        shutil.rmtree(folder, ignore_errors=True)
    _remove_visible(list(_visible))


def _remove_visible(files: list[Path]) -> None:
    for file in files:
        with suppress(OSError):
            file.unlink(missing_ok=True)
            _remove_empty(_visible.get(file, []))


def _publish(folder: Path, out: Path) -> None:
    if not out.exists():
        folder.chmod(0o777 & ~_umask())  # mkdtemp's folders are for their owner alone.
        folder.rename(out)
        return
    for file in sorted(folder.iterdir()):
        os.replace(file, out / file.name)
    folder.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _missing(folder: Path) -> list[Path]:
    """The folders that have to be made for ``folder`` to exist, innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        if not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()
