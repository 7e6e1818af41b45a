"""What the dials of a cohort hold: their kinds of values, and the checks that refuse all others by name."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spinefx.errors import RecipeError
from spinefx.vocabulary import Diagnosis

__all__ = ["DIALS", "ByClass", "Dial", "Range", "check_range", "check_value", "from_plain"]

DIALS = "phantom dials"
"""Where an error about a dial was found."""


@dataclass(frozen=True)
class ByClass:
    """One number for each class.

    Parameters
    ----------
    benign, malignant : float
    """

    benign: float
    malignant: float

    def of(self, diagnosis: Diagnosis) -> float:
        """Return the number of one class."""
        return self.malignant if diagnosis is Diagnosis.MALIGNANT else self.benign


@dataclass(frozen=True)
class Range:
    """A range from which one number is drawn for each patient.

    Parameters
    ----------
    low, high : float
        Both ends, the lower one first.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Dial:
    """What one dial means and which values it accepts.

    Parameters
    ----------
    meaning : str
        One sentence or two.
    low, high : float
        Range of a number, both ends included.
    choices : tuple
        The only values that are accepted; empty where the range decides.
    """

    meaning: str
    low: float = 0
    high: float = 0
    choices: tuple[str | float, ...] = ()

    @property
    def allowed(self) -> str:
        """Return the accepted values in words."""
        return ", ".join(map(str, self.choices)) if self.choices else f"{self.low:g} to {self.high:g}"


def from_plain(name: str, value: Any, kinds: tuple[Any, ...]) -> Any:
    """Convert one value of a TOML file to the type of its dial; what does not fit is refused later, by name.

    Parameters
    ----------
    name : str
        Name of the dial.
    value : object
    kinds : tuple of type
        Types that the dial accepts.

    Returns
    -------
    object

    Raises
    ------
    RecipeError
        Where a pair or a range is expected and the value is neither.
    """
    if value is None:  # of settings recorded by a cohort, where a dial has no value
        return None
    if ByClass in kinds:
        if not isinstance(value, Mapping) or set(value) != {"benign", "malignant"}:
            raise RecipeError(
                f"{name} is not a pair", where=DIALS, allowed=f"{name} = {{ benign = ..., malignant = ... }}"
            )
        return ByClass(*(_as_float(value[kind.value]) for kind in (Diagnosis.BENIGN, Diagnosis.MALIGNANT)))
    if Range in kinds:
        if not isinstance(value, list) or len(value) != 2:
            raise RecipeError(f"{name} is not a range", where=DIALS, allowed=f"{name} = [low, high]")
        return Range(*map(_as_float, value))
    if tuple in kinds and isinstance(value, list):
        return tuple(value)
    return _as_float(value) if kinds == (float,) else value


def _as_float(value: Any) -> Any:
    """Convert a whole number, so that 0 and 0.0 in a file make one cohort with one set of identifiers."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check_value(name: str, value: Any, kinds: tuple[Any, ...], dial: Dial) -> None:
    """Check one value of a dial.

    Parameters
    ----------
    name : str
        Name of the dial.
    value : object
    kinds : tuple of type
        Types that the dial accepts.
    dial : Dial

    Raises
    ------
    RecipeError
        For a value of another type or out of range.
    """
    if value is None and None.__class__ in kinds:
        return
    if isinstance(value, ByClass) and ByClass in kinds:
        for kind in Diagnosis:
            _check_number(f"{name} ({kind.value})", value.of(kind), dial)
    elif isinstance(value, Range) and Range in kinds:
        for end, number in (("low", value.low), ("high", value.high)):
            _check_number(f"{name} ({end})", number, dial)
        if value.low > value.high:
            raise RecipeError(f"{name} = [{value.low:g}, {value.high:g}]", where=DIALS, allowed="[low, high]")
    elif tuple in kinds:
        if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
            raise RecipeError(f"{name} is not a list of names", where=DIALS, allowed=dial.allowed)
        for item in value:
            if item not in dial.choices:
                raise RecipeError(f"{name} names {item!r}", where=DIALS, allowed=dial.allowed)
    elif dial.choices:
        if isinstance(value, bool) or value not in dial.choices:
            raise RecipeError(f"{name} = {value!r}", where=DIALS, allowed=dial.allowed)
    elif kinds == (int,) and not _is_number(value, numbers.Integral):
        raise RecipeError(f"{name} = {value!r}", where=DIALS, allowed=f"a whole number, {dial.allowed}")
    else:
        _check_number(name, value, dial)


def _check_number(name: str, value: Any, dial: Dial) -> None:
    if not _is_number(value, numbers.Real):
        raise RecipeError(f"{name} = {value!r}", where=DIALS, allowed=f"a number, {dial.allowed}")
    check_range(name, value, dial.low, dial.high)


def _is_number(value: Any, kind: Any) -> bool:
    return bool(isinstance(value, kind)) and not isinstance(value, bool)  # to Python, a bool is an integer


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Check that a number lies in a range.

    Parameters
    ----------
    name : str
        What the number is, for the error.
    value, low, high : float
        The number, and both ends of the range.

    Raises
    ------
    RecipeError
        For a number out of range.
    """
    if not low <= value <= high:
        raise RecipeError(f"{name} = {value:g}", where=DIALS, allowed=f"{low:g} to {high:g}")
