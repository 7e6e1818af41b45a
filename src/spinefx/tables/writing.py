"""Tables as text: TSV as BIDS wants it, and CSV for a person's spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from spinefx.errors import TableError
from spinefx.files import write_text
from spinefx.tables.records import FORMULA, MISSING

__all__ = ["csv_text", "tsv_text", "write_tsv"]

NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Line breaks, which would end a row, and control characters, which no reader would take.
LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a TSV as BIDS wants it: tabs, ``n/a`` for what is missing, Unix line ends.

    Parameters
    ----------
    path : Path
    columns : sequence of str
    rows : iterable of sequence
        Cells in the order of the columns; None is missing.
    """
    write_text(path, tsv_text(path.name, columns, rows))


def tsv_text(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the text of a TSV as :func:`write_tsv` writes it.

    Parameters
    ----------
    name : str
        The table's, for messages.
    columns : sequence of str
    rows : iterable of sequence

    Returns
    -------
    str

    Raises
    ------
    TableError
        When a row has more or fewer cells than there are columns.
    """
    lines = ["\t".join(columns)]
    for row in rows:
        if len(row) != len(columns):
            raise TableError(f"a row of {len(row)} cells for {len(columns)} columns", where=name)
        lines.append("\t".join(_tsv_cell(cell) for cell in row))
    return "\n".join(lines) + "\n"


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the text of a CSV in which no cell is computed by a spreadsheet.

    Parameters
    ----------
    columns : sequence of str
    rows : iterable of sequence

    Returns
    -------
    str
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_inert(" ".join(LINE_BREAKS.split(str(cell)))) for cell in row] for row in rows)
    return text.getvalue()


def _tsv_cell(cell: object) -> str:
    if cell is None or cell == "":
        return MISSING
    if isinstance(cell, float):
        return MISSING if cell != cell else repr(round(float(cell), 6))
    text = " ".join(LINE_BREAKS.split(str(cell))).strip()
    if isinstance(cell, str):
        text = _inert(text)
    return '"' + text.replace('"', '""') + '"' if text.startswith('"') else text or MISSING


def _inert(text: str) -> str:
    # A number is a number, even when given as text: a spreadsheet must not get negatives as words.
    return f"'{text}" if text[:1] in FORMULA and not NUMBER.fullmatch(text) else text
