"""elastix's command line around the Python package itk-elastix.

``python -m LandmarkFusionLogic.deformable.elastixchild`` takes the arguments of the elastix executable (``-f -m -fMask
-mMask -fp -mp -t0 -p … -out -threads``) and writes what it writes, for machines that have the package and not the
executable. Always a process of its own: the package takes no notice of a wish to stop, crashes in multi-threaded runs
with several metrics unless its threads come from a pool, and must not meet another ITK in one process. Images are
MetaImage files (``.mha``).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Register as told; 0, or 1 after elastix's own error message."""
    options = _options(arguments)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(signal, "SIGPIPE"):
        # Python ignores it. elastix keeps Python's other threads waiting, and ends by its next line of output so.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.environ["ITK_GLOBAL_DEFAULT_THREADER"] = "Pool"  # Before the import; the default one (TBB) crashes.
    try:
        _register(options)
    except RuntimeError as error:
        print(f"itk::ExceptionObject\nDescription: {error}", flush=True)
        return 1
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="elastixchild", allow_abbrev=False)
    for name in ("-f", "-m", "-out"):
        parser.add_argument(name, required=True)
    for name in ("-fMask", "-mMask", "-fp", "-mp", "-t0"):
        parser.add_argument(name)
    parser.add_argument("-p", action="append", required=True)
    parser.add_argument("-threads", type=int)
    return parser.parse_args(arguments)


def _end_with_parent() -> None:
    # The parent holds the other end of standard input: its end is the parent's end, on every platform. Read without
    # Python's stream, whose lock would keep the interpreter from ending.
    while os.read(0, 1):
        pass
    os._exit(1)


def _register(options: argparse.Namespace) -> None:
    # The modules that are needed and not the package as a whole, whose lazy loading takes 11 CPU-seconds.
    from itk.elxParameterObjectPython import elastixParameterObject
    from itk.itkElastixRegistrationMethodPython import itkElastixRegistrationMethodIF3IF3
    from itk.itkImageFileReaderPython import itkImageFileReaderIF3, itkImageFileReaderIUC3

    method = itkElastixRegistrationMethodIF3IF3.New()
    method.SetFixedImage(_read(itkImageFileReaderIF3, options.f))
    method.SetMovingImage(_read(itkImageFileReaderIF3, options.m))
    if options.fMask:
        method.SetFixedMask(_read(itkImageFileReaderIUC3, options.fMask))
    if options.mMask:
        method.SetMovingMask(_read(itkImageFileReaderIUC3, options.mMask))
    if options.fp:
        method.SetFixedPointSetFileName(options.fp)
    if options.mp:
        method.SetMovingPointSetFileName(options.mp)
    if options.t0:
        method.SetInitialTransformParameterFileName(options.t0)
    parameters = elastixParameterObject.New()
    for file in options.p:
        parameters.AddParameterFile(file)
    method.SetParameterObject(parameters)
    method.SetOutputDirectory(options.out)
    method.SetLogToConsole(True)
    if options.threads:
        method.SetNumberOfThreads(options.threads)
    method.UpdateLargestPossibleRegion()


def _read(reader_type: Any, path: str) -> Any:
    from itk.itkMetaImageIOPython import itkMetaImageIO

    reader = reader_type.New()
    reader.SetImageIO(itkMetaImageIO.New())
    reader.SetFileName(path)
    reader.Update()
    return reader.GetOutput()


if __name__ == "__main__":
    sys.exit(main())
