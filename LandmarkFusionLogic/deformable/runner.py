"""Runs elastix: its command line, its output followed line by line, its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from LandmarkFusionLogic import children
from LandmarkFusionLogic.deformable.executables import Elastix
from LandmarkFusionLogic.deformable.failures import ElastixError, explain, of_system
from LandmarkFusionLogic.deformable.log import LogReader
from LandmarkFusionLogic.deformable.parameters import Parameters
from LandmarkFusionLogic.errors import InputError

Report = Callable[[float, str], None]

METRIC_HEADER = "stage,resolution,iteration,metric,seconds"


@dataclass(frozen=True)
class Watch:
    """Who watches a run: ``report`` (0..1, text), and files that grow as it goes: elastix's log, the metric's values.

    ``metric`` has the columns of `METRIC_HEADER`; stage is affine or deformable, the others count from 0.
    """

    report: Report
    log: Path
    metric: Path | None = None


def run(elastix: Elastix, folder: Path, stages: Sequence[Parameters], arguments: Sequence[str], watch: Watch) -> Path:
    """Run the ``stages`` in ``folder``, which holds the files of ``arguments``, and return the transform's file.

    That is an ITK composite transform, points of the fixed image to points of the moving one, LPS mm.
    Raises ElastixError, an InputError, where elastix ends without it, and InputError where it cannot be started. The
    program ends with this call, whatever ends it.
    """
    files = [f"stage{number}.txt" for number in range(len(stages))]
    try:
        for name, stage in zip(files, stages, strict=True):
            stage.write(folder / name)
        words = [*elastix.command, *arguments, *(word for name in files for word in ("-p", name)), "-out", "."]
        with children.running(words, folder, elastix.environment) as process:
            assert process.stdout is not None
            _follow(process.stdout, folder, LogReader(stages), watch)
            code = process.wait()
    except OSError as error:
        raise InputError(of_system(error)) from error
    children.wait_if_ending()
    result = folder / f"TransformParameters.{len(stages) - 1}-Composite.h5"
    if code != 0 or not result.exists():
        text = watch.log.read_text(encoding="utf-8", errors="replace")
        raise ElastixError(explain(text, code), text)
    return result


def _follow(lines: Iterable[str], folder: Path, reader: LogReader, watch: Watch) -> None:
    """Copy the output to the log, the metric's values to their file, and report on the way."""
    started = time.perf_counter()
    shown = 0.0
    metric = watch.metric.open("a", encoding="ascii") if watch.metric else None
    try:
        if metric and metric.tell() == 0:
            metric.write(METRIC_HEADER + "\n")
        with watch.log.open("a", encoding="utf-8") as log:
            for line in lines:
                # Folders may be named after a patient.
                log.write(line.replace(str(folder), "."))
                found = reader.read(line)
                seconds = time.perf_counter() - started
                if found is not None and metric:
                    metric.write(
                        f"{found.stage},{found.resolution},{found.iteration},{found.metric:.6f},{seconds:.3f}\n"
                    )
                if seconds - shown > 0.2:
                    shown = seconds
                    log.flush()
                    if metric:
                        metric.flush()
                    watch.report(reader.fraction, _text(reader, found.metric if found else None, seconds))
    finally:
        if metric:
            metric.close()


def _text(reader: LogReader, metric: float | None, seconds: float) -> str:
    text = reader.describe()
    if metric is not None:
        text += f", metric {metric:.3f}"
    if reader.fraction > 0.05:
        text += f", about {seconds * (1 / reader.fraction - 1):.0f} s left"
    return text
