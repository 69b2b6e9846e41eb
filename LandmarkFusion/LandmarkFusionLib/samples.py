"""A simulated case for the module Sample Data, made on demand by the worker."""

import logging
import os
import shutil
import tempfile
import time
from typing import Any

import slicer

from LandmarkFusionLib import packages
from LandmarkFusionLib.engine import Engine

SEED = 2023
NODE_NAMES = ["SimulatedMR", "SimulatedUS"]


def register() -> None:
    """Offer the simulated case under this module's name."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Landmark Fusion",
        sampleName="SimulatedProstate",
        uris=[],
        fileNames=[],
        nodeNames=[],
        loadFiles=[],
        checksums=[],
        loadFileType=[],
        customDownloader=lambda source: make(),
    )


def make(seed: int = SEED) -> list[Any]:
    """Simulate an MR and an ultrasound of one prostate and load them; waits while the application goes on.

    Raises RuntimeError with one sentence where it cannot be done.
    """
    packages.ensureRequirements()
    packages.ensureTorch()
    folder = tempfile.mkdtemp(prefix="landmarkfusion-")
    engine = Engine()
    outcome: list[Any] = []
    try:
        engine.run(
            "simulate",
            {"seed": seed, "out": os.path.join(folder, "case")},
            lambda fraction, text: slicer.util.showStatusMessage(text),
            lambda result: outcome.append(result),
            lambda kind, message: outcome.append(RuntimeError(message)),
        )
        while not outcome:
            slicer.app.processEvents()
            time.sleep(0.01)
        if isinstance(outcome[0], Exception):
            logging.error(engine.log())
            raise outcome[0]
        case = outcome[0]["out"]
        return [
            slicer.util.loadVolume(os.path.join(case, file), {"name": name})
            for file, name in zip(("mr.nrrd", "us.nrrd"), NODE_NAMES, strict=True)
        ]
    finally:
        engine.stop()
        shutil.rmtree(folder, ignore_errors=True)
