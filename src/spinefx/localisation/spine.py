"""The vertebrae of one series: where each lies, what it is called, and what the names rest on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

from spinefx.cases.lesion import Box, Lesion
from spinefx.errors import LevelError
from spinefx.vocabulary import LEVELS, is_anomalous_level

if TYPE_CHECKING:
    from spinefx.imaging.volume import Slices

__all__ = [
    "Anomaly",
    "Convention",
    "LocatedSpine",
    "LocatedVertebra",
    "consecutive_levels",
    "numbering_anomalies",
    "rename",
]

# Centres of neighbouring bodies are 14 mm apart or more in an adult; two centres closer than this are one vertebra.
CLOSEST_MM = 5.0
USUAL = tuple(level for level in LEVELS if not is_anomalous_level(level))
BELOW_SUPERNUMERARY = {"T13": "L1", "L6": "S1"}


class Convention(StrEnum):
    """What the names of a spine's vertebrae were counted from."""

    SACRUM = "counted_from_sacrum"
    C2 = "counted_from_c2"
    PERSON = "named_by_a_person"
    UNNAMED = "not_named"

    @property
    def sentence(self) -> str:
        """The convention in words."""
        return {
            Convention.SACRUM: "Levels are counted upwards from the sacrum: the last vertebra above S1 is L5.",
            Convention.C2: "Levels are counted downwards from C2, with seven cervical and twelve thoracic vertebrae.",
            Convention.PERSON: "Levels are counted from the vertebra that a person named.",
            Convention.UNNAMED: "The vertebrae have no names: neither the sacrum nor C2 was recognised in the field.",
        }[self]


class Anomaly(StrEnum):
    """A numbering variant of a spine."""

    FOUR_LUMBAR = "four_lumbar"
    SIX_LUMBAR = "six_lumbar"
    THIRTEEN_THORACIC = "thirteen_thoracic"
    TRANSITIONAL = "transitional"


@dataclass(frozen=True)
class LocatedVertebra:
    """One vertebra that was found in a series.

    Parameters
    ----------
    level : str or None
        One of :data:`spinefx.vocabulary.LEVELS`; None where the vertebra has no name.
    named : bool
        Whether it has a name.
    confidence : float
        Probability that the name is right, 0 to 1; of an unnamed vertebra, that there is one.
    centre_mm : tuple of float, length 3
        Centre of the body, LPS, millimetres, in the series' patient frame.
    box_side_mm : float
        Side of the square around the body in the plane of the slices, millimetres; 8 to 120.
    first_slice, last_slice : int
        Slices that show the body, ordered by position and counted from 0, both included.

    Raises
    ------
    LevelError
        For an unknown level, a name without a level or a level without a name, and a confidence outside 0 to 1.
    BoxError
        When a coordinate or the side is out of range, or the slices are no ascending range.
    """

    level: str | None
    named: bool
    confidence: float
    centre_mm: tuple[float, float, float]
    box_side_mm: float
    first_slice: int
    last_slice: int

    def __post_init__(self) -> None:
        if self.level is not None and self.level not in LEVELS:
            raise LevelError("a vertebra with an unknown level", allowed="C1 to C7, T1 to T13, L1 to L6, S1 to S5")
        if self.named != (self.level is not None):
            raise LevelError(f"level {self.level} with named={self.named}", allowed="a level exactly where named")
        if not 0 <= self.confidence <= 1:
            raise LevelError(f"a confidence of {self.confidence:.4g}", allowed="0 to 1")
        _ = self.lesion  # the box and the slices refuse impossible values themselves

    @property
    def box(self) -> Box:
        """The square around the body."""
        return Box(self.centre_mm, self.box_side_mm)

    @property
    def lesion(self) -> Lesion:
        """The vertebra as a user would mark it: box, slices and level."""
        return Lesion(self.box, self.first_slice, self.last_slice, self.level or "")

    def marked_on(self, grid: Slices) -> Lesion:
        """Return the vertebra as the paper's reader marks a lesion: box, level, and the slices about its middle.

        Parameters
        ----------
        grid : Slices
            The series that it was found in.

        Returns
        -------
        Lesion
            On the slice nearest to the centre and one on either side, as far as they show the body.
        """
        middle = min(max(round(float(grid.to_index(self.centre_mm)[0])), self.first_slice), self.last_slice)
        first, last = max(middle - 1, self.first_slice), min(middle + 1, self.last_slice)
        return Lesion(self.box, first, last, self.level or "")


@dataclass(frozen=True)
class LocatedSpine:
    """The vertebrae of one series.

    Parameters
    ----------
    vertebrae : tuple of LocatedVertebra
        Cranial to caudal, consecutive; all named or none. Empty where the series shows no sagittal spine.
    convention : Convention
        What the names were counted from.
    anomalies : tuple of Anomaly, optional
        Numbering variants, each once; those that the levels show must be among them.
    notes : tuple of str, optional
        What a reader should know, in whole sentences without identifiers.

    Raises
    ------
    LevelError
        When vertebrae coincide or run upwards, levels are not consecutive, some have names and others none, names and
        convention contradict each other, or a numbering variant is not flagged.
    """

    vertebrae: tuple[LocatedVertebra, ...]
    convention: Convention
    anomalies: tuple[Anomaly, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_places()
        named = {vertebra.named for vertebra in self.vertebrae}
        if len(named) > 1:
            raise LevelError("some vertebrae with a name and some without", allowed="names for all, or for none")
        if (True in named) != (self.convention is not Convention.UNNAMED):
            raise LevelError(f"convention {self.convention} does not fit", allowed="not_named exactly without names")
        if not consecutive_levels(self.levels):
            raise LevelError(f"levels {', '.join(self.levels)}", allowed="consecutive levels, cranial to caudal")
        if len(set(self.anomalies)) != len(self.anomalies):
            raise LevelError("an anomaly that occurs twice", allowed="each at most once")
        unflagged = set(numbering_anomalies(self.levels)) - set(self.anomalies)
        if unflagged:
            raise LevelError(
                f"levels {', '.join(self.levels)} without a flag", allowed=f"anomalies {', '.join(sorted(unflagged))}"
            )

    def _check_places(self) -> None:
        for above, below in pairwise(self.vertebrae):
            if math.dist(above.centre_mm, below.centre_mm) < CLOSEST_MM:
                raise LevelError("two vertebrae at the same place", allowed=f"centres at least {CLOSEST_MM:g} mm apart")
        # A slip or a horizontal sacrum may lift one centre above the last one; the whole spine still runs down.
        if len(self.vertebrae) > 1 and self.vertebrae[0].centre_mm[2] <= self.vertebrae[-1].centre_mm[2]:
            raise LevelError("the first vertebra lies below the last one", allowed="vertebrae from cranial to caudal")

    @property
    def levels(self) -> tuple[str, ...]:
        """The names, cranial to caudal; empty where there are none."""
        return tuple(vertebra.level for vertebra in self.vertebrae if vertebra.level is not None)

    def at_level(self, level: str) -> LocatedVertebra:
        """Return the vertebra of a name.

        Parameters
        ----------
        level : str
            One of :data:`spinefx.vocabulary.LEVELS`.

        Returns
        -------
        LocatedVertebra

        Raises
        ------
        LevelError
            For an unknown level, and for one that the series does not show or that could not be named.
        """
        if level not in LEVELS:
            raise LevelError("an unknown vertebral level", allowed="C1 to C7, T1 to T13, L1 to L6, S1 to S5")
        for vertebra in self.vertebrae:
            if vertebra.level == level:
                return vertebra
        if not self.vertebrae:
            raise LevelError(f"{level} was not found: the series shows no sagittal spine", remedy="Mark a box by hand.")
        if not self.levels:
            raise LevelError(
                f"{level} cannot be chosen by name. {self.convention.sentence}", remedy="Mark a box by hand."
            )
        raise LevelError(
            f"{level} lies outside the field",
            allowed=f"{self.levels[0]} to {self.levels[-1]}",
            remedy="Mark a box by hand.",
        )


def consecutive_levels(levels: Iterable[str]) -> bool:
    """Return whether levels follow each other from cranial to caudal.

    Parameters
    ----------
    levels : iterable of str
        Values of :data:`spinefx.vocabulary.LEVELS`.

    Returns
    -------
    bool
        True also for a thirteenth thoracic, a sixth lumbar, and a spine that ends with L4.
    """
    return all(below in _followers(above) for above, below in pairwise(levels))


def numbering_anomalies(levels: Iterable[str]) -> tuple[Anomaly, ...]:
    """Return the numbering variants that the names of a spine show by themselves.

    Parameters
    ----------
    levels : iterable of str
        Cranial to caudal.

    Returns
    -------
    tuple of Anomaly
        T13, L6 and a sacrum that follows L4; a transitional vertebra does not show in names.
    """
    names = tuple(levels)
    shown = {
        Anomaly.FOUR_LUMBAR: ("L4", "S1") in set(pairwise(names)),
        Anomaly.SIX_LUMBAR: "L6" in names,
        Anomaly.THIRTEEN_THORACIC: "T13" in names,
    }
    return tuple(anomaly for anomaly, found in shown.items() if found)


def rename(spine: LocatedSpine, position: int, level: str, *, sacrum_stays: bool = False) -> LocatedSpine:
    """Rename all vertebrae from the name that a person gives to one of them.

    Parameters
    ----------
    spine : LocatedSpine
    position : int
        Which vertebra the person named, counted from 0 at the cranial end.
    level : str
        Its right name. L6 and T13 are numbering variants that the person asserts.
    sacrum_stays : bool, optional
        What a correction above the sacrum means. By default every name moves with it, the sacrum's included. With True
        the person also says that S1 is where the spine has it: a vertebra more or less between the two is then a
        sixth or a missing fifth lumbar one.

    Returns
    -------
    LocatedSpine
        With ``Convention.PERSON`` and a confidence of 1, since a person vouches for the names. A name that was right
        keeps all names, numbering variants included.

    Raises
    ------
    LevelError
        For a position outside the spine, an unknown level, a level that leaves vertebrae above or below without a name,
        and, with a sacrum that stays, a level that lies more than one vertebra away from it or a spine without S1.
    """
    if not 0 <= position < len(spine.vertebrae):
        raise LevelError(f"vertebra {position}", allowed=f"0 to {len(spine.vertebrae) - 1}, from the cranial end")
    if level not in LEVELS:
        raise LevelError("an unknown vertebral level", allowed="C1 to C7, T1 to T13, L1 to L6, S1 to S5")
    if spine.vertebrae[position].level == level:
        levels = spine.levels
    elif sacrum_stays:
        levels = _between(spine, position, level)
    else:
        below = len(spine.vertebrae) - 1 - position
        levels = (*_upwards(level, position), level, *_downwards(level, below))
    vertebrae = tuple(
        replace(vertebra, level=name, named=True, confidence=1.0)
        for vertebra, name in zip(spine.vertebrae, levels, strict=True)
    )
    found = numbering_anomalies(levels)
    kept = tuple(one for one in spine.anomalies if one is Anomaly.TRANSITIONAL)
    return replace(spine, vertebrae=vertebrae, convention=Convention.PERSON, anomalies=(*found, *kept))


def _followers(level: str) -> set[str]:
    usual = {above: {below} for above, below in pairwise(USUAL)}
    variants = {"T12": {"T13"}, "T13": {"L1"}, "L4": {"S1"}, "L5": {"L6"}, "L6": {"S1"}}
    return usual.get(level, set()) | variants.get(level, set())


def _at(level: str) -> int:
    """Return the place of a level in the usual spine; of a supernumerary level, that of the level below it."""
    return USUAL.index(BELOW_SUPERNUMERARY.get(level, level))


def _after(level: str) -> int:
    """Return the place in the usual spine of the level below a level."""
    return _at(level) if level in BELOW_SUPERNUMERARY else _at(level) + 1


def _upwards(level: str, count: int) -> tuple[str, ...]:
    """Return the usual names of the vertebrae above a level, cranial to caudal."""
    if count > _at(level):
        raise LevelError(f"{level} leaves {count - _at(level)} vertebrae above C1", allowed="a more caudal level")
    return USUAL[_at(level) - count : _at(level)]


def _downwards(level: str, count: int) -> tuple[str, ...]:
    """Return the usual names of the vertebrae below a level, cranial to caudal."""
    beyond = _after(level) + count - len(USUAL)
    if beyond > 0:
        raise LevelError(f"{level} leaves {beyond} vertebrae below S5", allowed="a more cranial level")
    return USUAL[_after(level) : _after(level) + count]


def _between(spine: LocatedSpine, position: int, level: str) -> tuple[str, ...]:
    """Return the names of a spine whose S1 stays and one of whose vertebrae above it a person named."""
    sacrum = spine.levels.index("S1") if "S1" in spine.levels else -1
    if sacrum <= position or level.startswith("S"):
        raise LevelError("a sacrum that stays needs an S1 below the named vertebra", allowed="a level above S1")
    usual = USUAL[_after(level) : USUAL.index("S1")]
    choices = [usual]
    if level != "L6":
        choices += [(*usual, "L6"), *([usual[:-1]] if usual else [])]
    count = sacrum - position - 1
    fitting = [names for names in choices if len(names) == count]
    if not fitting:
        raise LevelError(f"{level} with {count} vertebrae between it and S1", allowed="four, five or six lumbar ones")
    sacral = ("S1", *_downwards("S1", len(spine.vertebrae) - 1 - sacrum))
    return (*_upwards(level, position), level, *fitting[0], *sacral)
