"""Column widths and printable text of tables, shared by the Word and LaTeX writers."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["LONGEST_WORD", "column_widths", "fits", "is_numeric", "printable"]

# A longer word may break anywhere; a cell no longer than an estimate with its interval does not break at all.
LONGEST_WORD, LONGEST_UNBROKEN = 16, 22
NUMBER = re.compile(r"[-+−<>≤≥ ]*(\d|inf\b).{0,29}|[–-]?|n/a")
# Characters that XML 1.0 excludes and no program prints: controls, lone surrogates, non-characters.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
BREAKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")


def printable(text: str) -> str:
    """Return text from data as one printable line.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Tabs and line breaks become spaces, unprintable characters the replacement character.
    """
    return UNPRINTABLE.sub("\ufffd", BREAKS.sub(" ", text))


def is_numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Return whether a column holds numbers and should be right-aligned.

    Parameters
    ----------
    rows : sequence of sequence of str
        Body rows, without the header.
    column : int
        Index of the column.

    Returns
    -------
    bool
        Always False for the first column, which names the row.
    """
    cells = [row[column] for row in rows]
    return column > 0 and any(cells) and all(NUMBER.fullmatch(cell) for cell in cells)


def fits(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Return whether a table fits the line width without breaking words or estimates.

    Parameters
    ----------
    rows : sequence of sequence of str
        Rows including the header.
    width : int
        Characters per line.

    Returns
    -------
    bool
    """
    return sum(max(word, min(cell, LONGEST_UNBROKEN)) for word, cell in _extents(rows)) <= width


def column_widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Divide the line width among the columns.

    Short columns get the width they need and long ones share the rest, but none is narrower than its longest word.

    Parameters
    ----------
    rows : sequence of sequence of str
        Rows including the header.
    width : int
        Characters per line.

    Returns
    -------
    list of int
        Characters per column; together no more than the line width, unless the longest words alone need more.
    """
    extents = _extents(rows)
    level = max(1, width)
    while True:
        widths = [min(cell, max(word, level)) for word, cell in extents]
        if sum(widths) <= width or level == 1:
            return widths
        level -= 1


def _extents(rows: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Return the longest word and cell of each column, plus one for wide capitals and the gap between columns."""
    extents = []
    for column in zip(*rows, strict=True):
        word = max((len(word) for cell in column for word in cell.split()), default=1)
        extents.append((min(word, LONGEST_WORD) + 1, max(map(len, column)) + 1))
    return extents
