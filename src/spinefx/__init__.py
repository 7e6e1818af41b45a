"""spinefx: benign or malignant vertebral fracture on spine MRI. Research use only, not a medical device."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Bound when asked for, so that importing spinefx costs nothing.
_HOMES = {
    "Evaluation": "spinefx.evidence.evaluation",
    "ReaderStudy": "spinefx.evidence.reader_study",
    "ai_vs_readers": "spinefx.evidence.mrmc_panel",
    "audit": "spinefx.evidence.audit",
    "mrmc": "spinefx.evidence.mrmc",
    "panel_power": "spinefx.evidence.mrmc_power",
    "panel_sample_size": "spinefx.evidence.mrmc_power",
    "mcnemar_sample_size": "spinefx.evidence.samplesize",
    "non_inferiority_sample_size": "spinefx.evidence.samplesize",
    "mrmc_power": "spinefx.evidence.mrmc_power",
    "mrmc_sample_size": "spinefx.evidence.mrmc_power",
    "readings_from": "spinefx.evidence.frames",
    "signs_from": "spinefx.evidence.frames",
    "truth_from": "spinefx.evidence.frames",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spinefx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
