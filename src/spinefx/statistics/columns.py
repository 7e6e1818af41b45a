"""How wide the columns of a table must be, whoever sets it: Word and LaTeX share this."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["LONGEST_WORD", "column_widths", "fits", "is_numeric", "printable"]

# A longer word may be broken anywhere; a cell as long as an estimate with its interval is not broken at all.
LONGEST_WORD, LONGEST_UNBROKEN = 16, 22
NUMBER = re.compile(r"[-+−<>≤≥ ]*(\d|inf\b).{0,29}|[–-]?|n/a")
# What XML 1.0 cannot hold and no program prints: controls, halves of a pair, non-characters.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
BREAKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")


def printable(text: str) -> str:
    """Make text of data fit for one line of any document.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Tabs and line ends are spaces; what cannot be printed is the replacement character.
    """
    return UNPRINTABLE.sub("\ufffd", BREAKS.sub(" ", text))


def is_numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Tell whether a column holds numbers, which stand to the right.

    Parameters
    ----------
    rows : sequence of sequence of str
        Without the header.
    column : int

    Returns
    -------
    bool
        Never for the first column, which names its row.
    """
    cells = [row[column] for row in rows]
    return column > 0 and any(cells) and all(NUMBER.fullmatch(cell) for cell in cells)


def fits(rows: Sequence[Sequence[str]], room: int) -> bool:
    """Tell whether a table can be set in a line without breaking words or estimates.

    Parameters
    ----------
    rows : sequence of sequence of str
        With the header.
    room : int
        Characters in a line.

    Returns
    -------
    bool
    """
    return sum(max(word, min(cell, LONGEST_UNBROKEN)) for word, cell in _extents(rows)) <= room


def column_widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Share a line out: short columns get what they want, long ones the rest, none less than its longest word.

    Parameters
    ----------
    rows : sequence of sequence of str
        With the header.
    room : int
        Characters in a line.

    Returns
    -------
    list of int
        Characters of each column; together no more than the room, unless the longest words alone are more.
    """
    extents = _extents(rows)
    level = max(1, room)
    while True:
        widths = [min(cell, max(word, level)) for word, cell in extents]
        if sum(widths) <= room or level == 1:
            return widths
        level -= 1


def _extents(rows: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Longest word and longest cell of each column, and one more each: capitals are wide, and columns stand apart."""
    found = []
    for column in zip(*rows, strict=True):
        word = max((len(word) for cell in column for word in cell.split()), default=1)
        found.append((min(word, LONGEST_WORD) + 1, max(map(len, column)) + 1))
    return found
