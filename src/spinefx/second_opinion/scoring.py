"""Score one marked vertebra, with the localiser's view of where its box lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from spinefx.cases.alignment import AlignedSeries
from spinefx.cases.lesion import Lesion
from spinefx.errors import LevelError
from spinefx.imaging.volume import Slices
from spinefx.learning import scoring
from spinefx.learning.box_check import BoxPlace
from spinefx.learning.guards import Guards
from spinefx.learning.model import TrainedModel
from spinefx.learning.scoring import Scored
from spinefx.localisation.box_place import place_of_box
from spinefx.localisation.searching import shipped_localiser
from spinefx.localisation.spine import LocatedSpine
from spinefx.vocabulary import MARKED, Weighting

__all__ = ["score"]


def score(
    models: tuple[TrainedModel, ...],
    lesion: Lesion,
    series: Mapping[Weighting, Slices],
    *,
    aligned: Callable[[], Sequence[AlignedSeries]] | None = None,
    measures: Mapping[str, float] | None = None,
    guards: Guards | None = None,
    find_spine: Callable[[], LocatedSpine] | None = None,
) -> Scored:
    """Align, cut and score one lesion, or refuse it: where its box misses, and where the training cases differed.

    Parameters
    ----------
    models : tuple of TrainedModel
        Of one recipe.
    lesion : Lesion
        Marked on the T2W series.
    series : mapping of Weighting to Slices
        At least those that the recipe names.
    aligned, measures, guards
        See :func:`spinefx.learning.scoring.score`.
    find_spine : callable, optional
        Returns the vertebrae of the T2W series; by default the localiser looks for them.

    Returns
    -------
    Scored

    Raises
    ------
    BoxError, RegistrationError, PatchError, ModelError
    UnlikeTrainingError
        Where the images or the content of the box are far from every training case.
    MissedVertebraError
        Where the box lies on none of the vertebrae that were found, or, where none was, does not seem to hold one.
    """

    def find_place() -> BoxPlace | None:
        marked = series[MARKED]
        try:
            spine = find_spine() if find_spine else shipped_localiser()(marked.whole())[0]
        except LevelError:  # what was found cannot be a spine
            return None
        return place_of_box(spine, lesion.box, marked)

    return scoring.score(
        models, lesion, series, aligned=aligned, measures=measures, guards=guards, find_place=find_place
    )
