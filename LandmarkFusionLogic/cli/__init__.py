"""``landmarkfusion …``: the jobs on a command line.

Exit code 0, 2 for bad input, 130 for Ctrl-C, 1 for anything else. A command has a module of its own here, whose
``add`` makes its parser, and a place in `COMMANDS`; what it runs imports what is heavy.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from LandmarkFusionLogic import NOTICE, __version__
from LandmarkFusionLogic.cli import align, deform, detect, drr, evaluate, fuse, match, refine, simulate, train
from LandmarkFusionLogic.errors import InputError

COMMANDS = (fuse, detect, match, refine, deform, drr, align, simulate, evaluate, train)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # A name that the terminal cannot show is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _stop)
    try:
        options.run(options)
        return 0
    except InputError as error:
        print(f"landmarkfusion: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        written = "" if getattr(options, "keeps", False) else "; nothing was written"
        print(f"\nlandmarkfusion: stopped{written}.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        print(f"landmarkfusion: {_unexpected(error)}", file=sys.stderr)
        return 1


def _stop(*_: object) -> None:
    # As with Ctrl-C, the results begun are removed on the way out.
    raise SystemExit(143)


def _unexpected(error: Exception) -> str:
    from LandmarkFusionLogic.memory import OUT_OF_MEMORY, is_out_of_memory

    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    return f"something unexpected went wrong ({type(error).__name__}); run it again with --traceback for the details."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="landmarkfusion",
        description="Align a prostate MR with a 3D ultrasound by three landmarks: apex, bladder neck and posterior "
        "median.",
        epilog=f"Start with: landmarkfusion fuse --mr MR.nrrd --us US.nrrd --out results. {NOTICE}",
    )
    parser.add_argument("--version", action="version", version=f"landmarkfusion {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where an unexpected error happened")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands, common)
    return parser
