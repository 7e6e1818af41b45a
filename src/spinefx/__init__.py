"""spinefx: benign or malignant vertebral fracture on spine MRI, for research."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Each name is imported from its room when it is first used, so that importing spinefx costs nothing.
_HOMES = {
    "Box": "spinefx.cases.lesion",
    "Evaluation": "spinefx.statistics.evaluation",
    "Lesion": "spinefx.cases.lesion",
    "Network": "spinefx.learning.networks",
    "PhantomSettings": "spinefx.phantom.settings",
    "ReaderStudy": "spinefx.statistics.mrmc.scores",
    "Recipe": "spinefx.learning.recipe",
    "SpinefxError": "spinefx.errors",
    "Weighting": "spinefx.vocabulary",
    "Workspace": "spinefx.workspace.layout",
    "ai_vs_readers": "spinefx.statistics.mrmc.panel",
    "audit": "spinefx.statistics.audit.recompute",
    "choose_series": "spinefx.imaging.selection",
    "cross_validate": "spinefx.learning.crossvalidation",
    "ingest": "spinefx.commands.ingest",
    "load_models": "spinefx.learning.scoring",
    "locate": "spinefx.commands.locate",
    "mcnemar_sample_size": "spinefx.statistics.paired.sample_size",
    "mrmc": "spinefx.statistics.mrmc.anova",
    "mrmc_power": "spinefx.statistics.mrmc.power",
    "mrmc_sample_size": "spinefx.statistics.mrmc.power",
    "non_inferiority_sample_size": "spinefx.statistics.paired.sample_size",
    "open_study": "spinefx.imaging.study",
    "panel_power": "spinefx.statistics.mrmc.power",
    "panel_sample_size": "spinefx.statistics.mrmc.power",
    "patch": "spinefx.commands.patch",
    "predict": "spinefx.commands.predict",
    "readings_from": "spinefx.statistics.inputs",
    "score": "spinefx.second_opinion.scoring",
    "signs_from": "spinefx.statistics.inputs",
    "train": "spinefx.commands.train",
    "train_localiser": "spinefx.commands.train_localiser",
    "truth_from": "spinefx.statistics.inputs",
    "write_cohort": "spinefx.phantom.cohort",
    "write_report": "spinefx.commands.report",
}

if TYPE_CHECKING:
    from spinefx.cases.lesion import Box, Lesion
    from spinefx.commands.ingest import ingest
    from spinefx.commands.locate import locate
    from spinefx.commands.patch import patch
    from spinefx.commands.predict import predict
    from spinefx.commands.report import write_report
    from spinefx.commands.train import train
    from spinefx.commands.train_localiser import train_localiser
    from spinefx.errors import SpinefxError
    from spinefx.imaging.selection import choose_series
    from spinefx.imaging.study import open_study
    from spinefx.learning.crossvalidation import cross_validate
    from spinefx.learning.networks import Network
    from spinefx.learning.recipe import Recipe
    from spinefx.learning.scoring import load_models
    from spinefx.phantom.cohort import write_cohort
    from spinefx.phantom.settings import PhantomSettings
    from spinefx.second_opinion.scoring import score
    from spinefx.statistics.audit.recompute import audit
    from spinefx.statistics.evaluation import Evaluation
    from spinefx.statistics.inputs import readings_from, signs_from, truth_from
    from spinefx.statistics.mrmc.anova import mrmc
    from spinefx.statistics.mrmc.panel import ai_vs_readers
    from spinefx.statistics.mrmc.power import mrmc_power, mrmc_sample_size, panel_power, panel_sample_size
    from spinefx.statistics.mrmc.scores import ReaderStudy
    from spinefx.statistics.paired.sample_size import mcnemar_sample_size, non_inferiority_sample_size
    from spinefx.vocabulary import Weighting
    from spinefx.workspace.layout import Workspace

__all__ = [
    "Box",
    "Evaluation",
    "Lesion",
    "Network",
    "PhantomSettings",
    "ReaderStudy",
    "Recipe",
    "SpinefxError",
    "Weighting",
    "Workspace",
    "ai_vs_readers",
    "audit",
    "choose_series",
    "cross_validate",
    "ingest",
    "load_models",
    "locate",
    "mcnemar_sample_size",
    "mrmc",
    "mrmc_power",
    "mrmc_sample_size",
    "non_inferiority_sample_size",
    "open_study",
    "panel_power",
    "panel_sample_size",
    "patch",
    "predict",
    "readings_from",
    "score",
    "signs_from",
    "train",
    "train_localiser",
    "truth_from",
    "write_cohort",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spinefx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
