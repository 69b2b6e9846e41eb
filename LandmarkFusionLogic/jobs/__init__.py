"""One typed request and result per user action; what the panel, the command line and cohort runs all call.

Requests and results hold paths, numbers and text only, so that each turns into JSON and back (`to_json`, `from_json`).
Nothing heavy is imported here: each job imports what it needs when it starts. A job that is new has a module of its
own here and a line in `JOBS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from LandmarkFusionLogic.jobs.alignment import align
from LandmarkFusionLogic.jobs.deformable import DeformRequest, DeformResult, TargetError, deform
from LandmarkFusionLogic.jobs.detection import DetectRequest, DetectResult, detect
from LandmarkFusionLogic.jobs.fusion import FITS, FuseRequest, FuseResult, TargetRecord, fuse
from LandmarkFusionLogic.jobs.learning import (
    FineTuneRequest,
    FineTuneResult,
    KeepRequest,
    KeepResult,
    fine_tune,
    keep,
)
from LandmarkFusionLogic.jobs.matching import MatchRequest, MatchResult, PointPair, match
from LandmarkFusionLogic.jobs.projection import drr, xray
from LandmarkFusionLogic.jobs.projectionrecords import (
    AlignRequest,
    AlignResult,
    DrrRequest,
    DrrResult,
    ReadXRayRequest,
    ReadXRayResult,
    XRaySource,
)
from LandmarkFusionLogic.jobs.reading import load
from LandmarkFusionLogic.jobs.records import (
    MODALITIES,
    GlandRecord,
    LandmarkRecord,
    Matrix,
    Report,
    VolumeSource,
    gland_record,
    landmark,
    landmarks,
    part,
    record,
)
from LandmarkFusionLogic.jobs.refining import RefineRequest, RefineResult, refine
from LandmarkFusionLogic.jobs.simulation import SimulateRequest, SimulateResult, simulate
from LandmarkFusionLogic.jsondata import from_json, to_json

__all__ = [
    "FITS",
    "JOBS",
    "MODALITIES",
    "AlignRequest",
    "AlignResult",
    "DeformRequest",
    "DeformResult",
    "DetectRequest",
    "DetectResult",
    "DrrRequest",
    "DrrResult",
    "FineTuneRequest",
    "FineTuneResult",
    "FuseRequest",
    "FuseResult",
    "GlandRecord",
    "KeepRequest",
    "KeepResult",
    "LandmarkRecord",
    "MatchRequest",
    "MatchResult",
    "Matrix",
    "PointPair",
    "ReadXRayRequest",
    "ReadXRayResult",
    "RefineRequest",
    "RefineResult",
    "Report",
    "SimulateRequest",
    "SimulateResult",
    "TargetError",
    "TargetRecord",
    "VolumeSource",
    "XRaySource",
    "align",
    "deform",
    "detect",
    "drr",
    "fine_tune",
    "from_json",
    "fuse",
    "gland_record",
    "keep",
    "landmark",
    "landmarks",
    "load",
    "match",
    "part",
    "record",
    "refine",
    "simulate",
    "to_json",
    "xray",
]

JOBS: dict[str, tuple[type[Any], Callable[[Any, Report], Any]]] = {
    "detect": (DetectRequest, detect),
    "fuse": (FuseRequest, fuse),
    "simulate": (SimulateRequest, simulate),
    "deform": (DeformRequest, deform),
    "keep": (KeepRequest, keep),
    "fine-tune": (FineTuneRequest, fine_tune),
    "match": (MatchRequest, match),
    "refine": (RefineRequest, refine),
    "drr": (DrrRequest, drr),
    "xray": (ReadXRayRequest, xray),
    "align": (AlignRequest, align),
}
"""What a worker can be asked for: the request's type and the function."""
