"""Where a marked box lies among the vertebrae of its series, and whether its level is the one that is found there."""

from __future__ import annotations

import numpy as np

from spinefx.cases.lesion import Box, Lesion
from spinefx.imaging.volume import Slices
from spinefx.learning.box_check import BoxPlace
from spinefx.localisation.spine import Convention, LocatedSpine, LocatedVertebra

__all__ = ["box_caution", "place_of_box", "vertebra_at"]

# A box's centre lies on a vertebra within this share of the way to the next one; beyond it, between the two.
ON_VERTEBRA = 0.36
# At the ends of the spine, and for a single vertebra: share of the side of its square.
WITHIN_SQUARE = 0.5
SURE = 0.9
# A step longer than this share of the usual one may hide a vertebra that was not found, so a box there is not judged.
LONGEST_STEP = 1.4


def vertebra_at(spine: LocatedSpine, box: Box, grid: Slices) -> LocatedVertebra | None:
    """Return the vertebra that a box is drawn on.

    Parameters
    ----------
    spine : LocatedSpine
    box : Box
    grid : Slices
        The series that both lie in; only the distance within its slices counts.

    Returns
    -------
    LocatedVertebra or None
        None where the centre of the box lies between two vertebrae or beside the spine.
    """
    if not spine.vertebrae:
        return None
    apart = _apart(spine, box, grid)
    nearest = int(np.argmin(apart))
    centres = [np.array(vertebra.centre_mm) for vertebra in spine.vertebrae]
    plane = grid.directions[:, 1:].T
    steps = [
        float(np.linalg.norm(plane @ (centres[nearest] - centres[other])))
        for other in (nearest - 1, nearest + 1)
        if 0 <= other < len(centres)
    ]
    reach = ON_VERTEBRA * min(steps) if steps else WITHIN_SQUARE * spine.vertebrae[nearest].box_side_mm
    return spine.vertebrae[nearest] if apart[nearest] <= reach else None


def box_caution(spine: LocatedSpine, lesion: Lesion, grid: Slices) -> str:
    """Return what a person should check about a marked box.

    Parameters
    ----------
    spine : LocatedSpine
        Found in the series that the box was marked on.
    lesion : Lesion
    grid : Slices
        That series.

    Returns
    -------
    str
        One or two sentences: the box lies on no vertebra, or its level is another than the one found there. Empty where
        nothing speaks against the box, and where no vertebra was found.
    """
    if not spine.vertebrae:
        return ""
    found = vertebra_at(spine, lesion.box, grid)
    if found is None:
        between = _between(spine, lesion.box, grid) is not None
        advice = "Look at the picture and mark one of them." if between else "Look at the picture."
        return f"{_missing(spine, lesion.box, grid)} {advice}"
    if not lesion.level or found.level is None or found.level == lesion.level:
        return ""
    sure = "" if found.confidence >= SURE else f" (confidence {found.confidence:.0%})"
    counted = "" if spine.convention is Convention.UNNAMED else f" {spine.convention.sentence}"
    return f"The level given is {lesion.level}, but the box lies on {found.level}{sure}.{counted} Check the level."


def place_of_box(spine: LocatedSpine, box: Box, grid: Slices) -> BoxPlace | None:
    """Return whether a box lies on a vertebra, where the vertebrae that were found can tell.

    Parameters
    ----------
    spine : LocatedSpine
        Found in the series that the box was marked on.
    box : Box
    grid : Slices
        That series.

    Returns
    -------
    BoxPlace or None
        None where no vertebra was found, and where one may have been missed: beyond the first and the last one, and
        beside a step that is much longer than the others.
    """
    found = vertebra_at(spine, box, grid)
    if found is not None:
        name = f"{found.level} " if found.level else ""
        return BoxPlace(True, f"The box was accepted because the localiser found a vertebra {name}under its centre")
    if len(spine.vertebrae) < 2 or not _is_beside_whole_spine(spine, box, grid):
        return None
    return BoxPlace(False, _missing(spine, box, grid))


def _is_beside_whole_spine(spine: LocatedSpine, box: Box, grid: Slices) -> bool:
    """Return whether the vertebrae next to a box were found: it lies beyond no end, and beside no long step."""
    plane = grid.directions[:, 1:].T
    centres = np.array([plane @ np.array(vertebra.centre_mm) for vertebra in spine.vertebrae])
    place, steps = plane @ np.array(box.centre_mm), np.diff(centres, axis=0)
    if (place - centres[0]) @ steps[0] < 0 or (place - centres[-1]) @ steps[-1] > 0:
        return False
    lengths = np.linalg.norm(steps, axis=1)
    nearest = int(np.argmin(np.linalg.norm(centres - place, axis=1)))
    return bool((lengths[max(nearest - 1, 0) : nearest + 1] <= LONGEST_STEP * np.median(lengths)).all())


def _missing(spine: LocatedSpine, box: Box, grid: Slices) -> str:
    """Say where a box lies that is on no vertebra."""
    first = _between(spine, box, grid)
    if first is not None:
        names = " and ".join(_name(spine, number) for number in (first, first + 1))
        return f"The box seems to lie between two vertebrae, {names}."
    apart = _apart(spine, box, grid)
    nearest = int(np.argmin(apart))
    return (
        f"The box's centre lies {apart[nearest]:.0f} mm from the nearest vertebra that was found, "
        f"{_name(spine, nearest)}."
    )


def _between(spine: LocatedSpine, box: Box, grid: Slices) -> int | None:
    """Return the upper one of the two vertebrae that a box lies between, if it does."""
    apart = _apart(spine, box, grid)
    first, second = sorted(int(number) for number in np.argsort(apart)[:2]) if len(apart) > 1 else (0, 0)
    return first if second == first + 1 and _is_between(spine, box, grid, first) else None


def _apart(spine: LocatedSpine, box: Box, grid: Slices) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    centres = np.array([vertebra.centre_mm for vertebra in spine.vertebrae])
    return np.asarray(np.linalg.norm((centres - np.array(box.centre_mm)) @ grid.directions[:, 1:], axis=1))


def _is_between(spine: LocatedSpine, box: Box, grid: Slices, first: int) -> bool:
    """Return whether the centre lies beside the line that joins two neighbours, not beyond it or far from it."""
    plane = grid.directions[:, 1:].T
    start, end = (plane @ np.array(spine.vertebrae[number].centre_mm) for number in (first, first + 1))
    way, place = end - start, plane @ np.array(box.centre_mm) - start
    share = float(place @ way / (way @ way))
    aside = float(np.linalg.norm(place - share * way))
    return 0.2 < share < 0.8 and aside < 0.5 * float(np.linalg.norm(way))


def _name(spine: LocatedSpine, number: int) -> str:
    return spine.vertebrae[number].level or f"vertebra {number + 1} from the top"
