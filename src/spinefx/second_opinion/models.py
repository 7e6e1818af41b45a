"""Whatever may answer: the folds of a box model, or a signs model, behind one door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from spinefx.cases.lesion import Lesion
from spinefx.errors import ModelError
from spinefx.imaging.volume import Slices
from spinefx.learning.model import TrainedModel
from spinefx.learning.scoring import Scored, load_models
from spinefx.localisation.spine import LocatedSpine
from spinefx.second_opinion.scoring import score
from spinefx.signs.model import SignPredictor, is_sign_model, is_starter, load_sign_model
from spinefx.signs.scoring import ScoredSigns, score_signs
from spinefx.vocabulary import Weighting

__all__ = ["Models", "absolute", "load_answering", "score_with"]

Models = tuple[TrainedModel, ...] | tuple[SignPredictor]


def load_answering(folder: Path, *, engine: str | None = None, one_study: bool = False) -> Models:
    """Load whatever model a path names.

    Parameters
    ----------
    folder : Path
        As :func:`spinefx.learning.scoring.load_models` takes it, the folder of a signs model, or ``starter``.
    engine, one_study
        As for :func:`spinefx.learning.scoring.load_models`.

    Returns
    -------
    tuple of TrainedModel, or tuple of one SignPredictor

    Raises
    ------
    ModelError, MissingPackage
        When there is none, or it cannot be computed as asked.
    """
    if not is_sign_model(folder):
        return load_models(folder, engine=engine, one_study=one_study)
    if engine == "torch":
        raise ModelError("engine 'torch' for a signs model", allowed="onnxruntime", remedy="Leave out --engine.")
    return (load_sign_model(folder),)


def absolute(folder: Path) -> Path:
    """Return the path of a model as another process can use it; the word ``starter`` stays as it is.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Path
    """
    return folder if is_starter(folder) else folder.resolve()


def score_with(
    models: Models,
    lesion: Lesion,
    series: Mapping[Weighting, Slices],
    *,
    measures: Mapping[str, float] | None = None,
    find_spine: Callable[[], LocatedSpine] | None = None,
) -> Scored | ScoredSigns:
    """Score one lesion with whatever models were loaded.

    Parameters
    ----------
    models : tuple
        As :func:`load_answering` returns them.
    lesion, series, measures, find_spine
        As for :func:`spinefx.second_opinion.scoring.score`.

    Returns
    -------
    Scored or ScoredSigns

    Raises
    ------
    SpinefxError
        As :func:`spinefx.second_opinion.scoring.score` does.
    """
    first = models[0]
    if isinstance(first, SignPredictor):
        return score_signs(first, lesion, series, measures=measures, find_spine=find_spine)
    boxed = tuple(one for one in models if isinstance(one, TrainedModel))
    return score(boxed, lesion, series, measures=measures, find_spine=find_spine)
