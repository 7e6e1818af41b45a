"""What a row of ``hostile.py`` is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One kind of hostile input.

    Parameters
    ----------
    id : str
    count : int or function
        Inputs tried, or how many there are, given the folder.
    short : int
        Inputs of the short form, spread over all.
    prepare : function
        Writes what all tries share to a folder, once; raises :class:`SkippedRow` where something is missing.
    attempt : function
        Given the folder and a number, tries one input and returns ``refused``, ``equal`` or ``changed``; whatever it
        raises but a named error has escaped.
    may_change : bool
        Whether reading something else than the original is right, for the input says something else.
    sample : int
        Inputs of the ordinary form.
    alone : bool
        Whether each try has a process of its own, so that its memory is measured apart.
    others : mapping of str to function
        The same as ``attempt`` for other programs, by their names.
    """

    id: str
    count: int | Callable[[Path], int]
    short: int
    prepare: Callable[[Path], None]
    attempt: Callable[[Path, int], str]
    may_change: bool = False
    sample: int = 400
    alone: bool = False
    others: dict[str, Callable[[Path, int], str]] = field(default_factory=dict)


class SkippedRow(Exception):
    """A row that cannot be tried here; its text says why."""
