"""What one field of a recipe means, and which values it accepts."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass
from typing import Any

from spinefx.vocabulary import MARKED, SEQUENCES

__all__ = ["Field"]

LIST = tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """The meaning of one field of a recipe, and the values that it accepts beside its type.

    Parameters
    ----------
    meaning : str
        One sentence.
    low, high : float
        Range of a number, both ends included.
    allowed : str
        What is accepted, in words; by default it follows from type and range.
    """

    meaning: str
    low: float = 0
    high: float = 0
    allowed: str = ""

    def plain(self, value: object, kind: Any) -> object:
        """Return a value in the one form that recipes hold, so that equal recipes have equal digests.

        Parameters
        ----------
        value : object
        kind : type
            Of the field.

        Returns
        -------
        object
            A whole number as a float where the field is one; a list, as TOML and JSON write it, as a tuple of plain
            strings; anything else unchanged.
        """
        if kind is float and type(value) is int:
            return float(value)
        if kind == LIST and isinstance(value, list | tuple):
            return tuple(str(name) if isinstance(name, str) else name for name in value)
        return value

    def accepts(self, value: object, kind: Any) -> bool:
        """Return whether a value is of this type, exactly, and in range; nothing is converted.

        Parameters
        ----------
        value : object
            As :meth:`plain` returns it.
        kind : type
            Of the field.

        Returns
        -------
        bool
        """
        if kind == LIST:
            return _is_sequences(value)
        choices = typing.get_args(kind)
        if choices:
            return isinstance(value, str) and value in choices
        if kind is str:
            return isinstance(value, str) and re.fullmatch("[a-z0-9_-]{1,40}", value) is not None
        if kind is bool:
            return isinstance(value, bool)
        # A boolean is an int to Python, but not to a user; a comparison with NaN is false.
        is_number = isinstance(value, int if kind is int else float) and not isinstance(value, bool)
        return is_number and self.low <= float(typing.cast("float", value)) <= self.high

    def described(self, kind: Any) -> str:
        """Return in words what is accepted.

        Parameters
        ----------
        kind : type
            Of the field.

        Returns
        -------
        str
        """
        choices = typing.get_args(kind)
        if self.allowed:
            return self.allowed
        if choices:
            return ", ".join(f"'{choice}'" for choice in choices)
        if kind is bool:
            return "true, false"
        if kind is str:
            return "1 to 40 of a-z, 0-9, - and _"
        if kind is int:
            return f"whole numbers from {self.low} to {self.high}"
        return f"numbers from {self.low:g} to {self.high:g}"


def _is_sequences(value: object) -> bool:
    if not isinstance(value, tuple) or not all(isinstance(name, str) and name in SEQUENCES for name in value):
        return False
    return len(set(value)) == len(value) and MARKED in value
