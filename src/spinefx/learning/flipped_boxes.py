"""Boxes whose signs may be wrong: RAS millimetres, as some viewers show them, where LPS is expected.

A box with left and posterior negated often lies on the image too. Which of the two places fits better is judged by what
T2W shows there: by a model's typical training case, or at ingest by the other boxes of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.alignment import AlignedSeries
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import PatchSettings
from spinefx.errors import BoxError, PatchError
from spinefx.imaging.volume import Slices
from spinefx.learning.box_check import box_view
from spinefx.learning.guards import Guards, view_likeness
from spinefx.vocabulary import MARKED

__all__ = ["BoxPlaces", "doubtful_boxes", "fits_flipped"]

# Fewer boxes cannot be compared with one another.
FEWEST_BOXES = 3


@dataclass(frozen=True, eq=False)
class BoxPlaces:
    """What T2W shows in a box and at its sign-flipped place.

    Parameters
    ----------
    given : ndarray of float64, shape (features,)
    flipped : ndarray of float64, shape (features,), or None
        None where that place is the same vertebra, or off the image.
    """

    given: NDArray[np.float64]
    flipped: NDArray[np.float64] | None

    @classmethod
    def of(cls, lesion: Lesion, other: Lesion | None, marked: Slices) -> BoxPlaces | None:
        """Look at both places of a lesion.

        Parameters
        ----------
        lesion : Lesion
        other : Lesion or None
            At the sign-flipped place, see :meth:`spinefx.cases.lesion.Lesion.flipped`.
        marked : Slices

        Returns
        -------
        BoxPlaces or None
            None where the box shows nothing.
        """
        given = _view(lesion, marked, PatchSettings())
        if given is None:
            return None
        return cls(given, None if other is None else _view(other, marked, PatchSettings()))


def fits_flipped(lesion: Lesion, marked: Slices, settings: PatchSettings, guards: Guards) -> bool:
    """Return whether a box fits T2W as well or better with left and posterior negated.

    Parameters
    ----------
    lesion : Lesion
    marked : Slices
        T2W.
    settings : PatchSettings
        Of the model.
    guards : Guards
        Of the model. Without a typical case, the other place fits better only if the given one is off the image.

    Returns
    -------
    bool
    """
    other = lesion.flipped(marked)
    flipped = None if other is None else _view(other, marked, settings)
    if flipped is None:
        return False
    given = _view(lesion, marked, settings)
    if given is None:
        return True
    typical = guards.typical_marked(settings)
    return typical is not None and view_likeness(flipped, typical) >= view_likeness(given, typical)


def doubtful_boxes(places: Sequence[BoxPlaces]) -> list[bool]:
    """Return for each box of a table whether it fits as well or better with left and posterior negated.

    Parameters
    ----------
    places : sequence of BoxPlaces

    Returns
    -------
    list of bool
        Boxes on vertebrae look alike. Where the flipped places look more alike than the given ones, all of them are
        doubtful; otherwise those whose flipped place looks more like the other boxes than their own place does. With
        fewer than three boxes, every box whose flipped place lies on the image is doubtful.
    """
    can_flip = [one.flipped is not None for one in places]
    if len(places) < FEWEST_BOXES:
        return can_flip
    given = [one.given for one in places]
    flipped = [one.flipped for one in places if one.flipped is not None]
    if len(flipped) >= max(FEWEST_BOXES, len(places) / 2):
        alike = [
            np.mean([_likeness_to_others(views, place) for place in range(len(views))]) for views in (given, flipped)
        ]
        if alike[1] >= alike[0]:
            return can_flip
    return [
        one.flipped is not None
        and view_likeness(one.flipped, _mean_without(given, place)) >= _likeness_to_others(given, place)
        for place, one in enumerate(places)
    ]


def _mean_without(views: Sequence[NDArray[np.float64]], place: int) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = (np.sum(views, axis=0) - views[place]) / (len(views) - 1)
    return mean


def _likeness_to_others(views: Sequence[NDArray[np.float64]], place: int) -> float:
    return view_likeness(views[place], _mean_without(views, place))


def _view(lesion: Lesion, marked: Slices, settings: PatchSettings) -> NDArray[np.float64] | None:
    """Return the view of T2W alone; None where the box lies off the image or shows nothing."""
    alone = replace(settings, sequences=(MARKED,))
    series = (AlignedSeries(MARKED, marked),)
    try:
        return box_view(cut_patches(lesion, series, case_id="case", participant_id="case", settings=alone))
    except (BoxError, PatchError):
        return None
