"""spinefx: benign or malignant vertebral fracture on spine MRI, for research."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Bound when asked for, so that importing spinefx costs nothing.
_HOMES = {
    "Evaluation": "spinefx.statistics.evaluation",
    "ReaderStudy": "spinefx.statistics.mrmc.scores",
    "ai_vs_readers": "spinefx.statistics.mrmc.panel",
    "audit": "spinefx.statistics.audit.recompute",
    "mrmc": "spinefx.statistics.mrmc.anova",
    "panel_power": "spinefx.statistics.mrmc.power",
    "panel_sample_size": "spinefx.statistics.mrmc.power",
    "mcnemar_sample_size": "spinefx.statistics.paired.sample_size",
    "non_inferiority_sample_size": "spinefx.statistics.paired.sample_size",
    "mrmc_power": "spinefx.statistics.mrmc.power",
    "mrmc_sample_size": "spinefx.statistics.mrmc.power",
    "readings_from": "spinefx.statistics.inputs",
    "signs_from": "spinefx.statistics.inputs",
    "truth_from": "spinefx.statistics.inputs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spinefx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
