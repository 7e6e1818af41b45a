"""From the bytes of a table to rows of cells: encodings, separators and workbooks, within limits."""

from __future__ import annotations

import codecs
import csv
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from spinefx.errors import TableError
from spinefx.tables.workbook import is_workbook, workbook_rows

__all__ = ["FORMULA", "MISSING", "Records", "clean_cell", "read_records"]

MISSING = "n/a"
# What people and programs write into a cell that holds nothing.
EMPTY_CELLS = {"", "n/a", "na", "nan", "<na>", "#n/a", "null", "-", "--", "\N{EN DASH}", "\N{EM DASH}"}
# What makes a spreadsheet compute a cell; an apostrophe before it is removed when the table is read.
FORMULA = ("=", "+", "-", "@")
# How people keep the leading zeros of an identifier: ="0012".
FORMULA_TEXT = re.compile(r'="([^"]*)"')
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
QUOTED = re.compile(r'"[^"]*"')
LONGEST_ROW = 2**20  # characters
CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Records:
    """The rows of a table as text.

    Parameters
    ----------
    header : tuple of str
        Column names, stripped; empty for columns without a name.
    rows : iterator of (int, tuple of str)
        Line in the file, the first line being 1, and as many cells as the header has. Rows of empty cells are left out.
    separator : str
        What separates cells; empty in a workbook.
    """

    header: tuple[str, ...]
    rows: Iterator[tuple[int, tuple[str, ...]]]
    separator: str


def read_records(path: Path, wanted: Sequence[str] = ()) -> Records:
    """Read a table row by row, whatever spreadsheet saved it.

    CSV and TSV may be UTF-8, UTF-16 or Windows-1252, with or without a byte order mark; comma, semicolon and tab are
    told apart by a ``sep=`` line or by the header. Of an XLSX workbook the first sheet is read, or the only one whose
    header has the wanted columns.

    Parameters
    ----------
    path : Path
    wanted : sequence of str
        Columns that tell the sheets of a workbook apart.

    Returns
    -------
    Records

    Raises
    ------
    TableError
        For a file that is missing, no table, or damaged; where the rows are damaged, when the row is reached.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise TableError("not a regular file", where=path.name, allowed="a CSV, TSV or XLSX table")
        with path.open("rb") as file:
            start = file.read(8)
            file.seek(max(0, path.stat().st_size - 4))
            end = file.read(4)
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", where=path.name) from error
    is_cut = False
    if is_workbook(path, start):
        rows = workbook_rows(path, wanted)
        separator = ""
    else:
        is_cut = not end.rstrip(b"\0").endswith((b"\n", b"\r"))
        encoding = _encoding(path, start)
        separator, skipped = _separator(path, encoding)
        rows = _text_rows(path, encoding, separator, skipped)
    first = next(rows, None)
    if first is None:
        raise TableError("the table is empty", where=path.name, allowed="a header and at least one row")
    header = [cell.strip().lstrip("\ufeff") for cell in first[1]]
    while header and not header[-1]:
        header.pop()
    return Records(tuple(header), _even(path, len(header), rows, is_cut), separator)


def clean_cell(text: str) -> str:
    """Return a cell without white space and spreadsheet marks round it; empty where it stands for nothing.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    stripped = text.strip().strip("\ufeff\u200b")
    if as_text := FORMULA_TEXT.fullmatch(stripped):
        return as_text[1].strip()
    if stripped.startswith("'") and stripped[1:2] in FORMULA:
        return stripped[1:]
    return "" if stripped.lower() in EMPTY_CELLS else stripped


def _encoding(path: Path, start: bytes) -> str:
    """Find the encoding: by byte order mark, else UTF-8 where the whole file is, else Windows-1252."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding
    if len(start) > 3 and start[1] == start[3] == 0 and start[0] and start[2]:
        return "utf-16-le"
    if len(start) > 3 and start[0] == start[2] == 0 and start[1] and start[3]:
        return "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _separator(path: Path, encoding: str) -> tuple[str, int]:
    """Return the character between cells, and how many lines to skip before the header."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            line = file.readline(CHUNK_BYTES)
            stated = SEPARATOR_LINE.fullmatch(line.strip("\ufeff"))
            if stated:
                return stated[1], 1
    except UnicodeError as error:
        raise _not_text(path) from error
    outside = QUOTED.sub("", line)
    return max("\t;,", key=outside.count), 0


def _text_rows(path: Path, encoding: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        with path.open(encoding=encoding, newline="") as file:
            lines = _Lines(file, path.name, skipped)
            reader = csv.reader(lines, delimiter=separator)
            for cells in reader:
                lines.taken = 0
                number = reader.line_num + skipped
                if any(cell.strip() for cell in cells):
                    yield number, cells
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", where=path.name) from error
    except UnicodeError as error:
        raise _not_text(path) from error
    except csv.Error as error:
        raise TableError(f"not a table ({error})", where=f"{path.name}, row {number + 1}") from error


class _Lines(Iterator[str]):
    """The lines of a file, of which no row may take more than a million characters: csv would hold them all."""

    def __init__(self, file: TextIO, name: str, skipped: int) -> None:
        self._file, self._name = file, name
        self.taken = 0
        for _ in range(skipped):
            self._next()
        self.taken = 0

    def __next__(self) -> str:
        line = self._next()
        if not line:
            raise StopIteration
        return line

    def _next(self) -> str:
        line = self._file.readline(LONGEST_ROW + 1)
        self.taken += len(line)
        if self.taken > LONGEST_ROW:
            raise TableError(
                f"a row of more than {LONGEST_ROW} characters", where=self._name, allowed="CSV, TSV or XLSX"
            )
        if "\0" in line:
            raise TableError("binary content", where=self._name, allowed="CSV, TSV or XLSX")
        return line


def _even(
    path: Path, width: int, rows: Iterator[tuple[int, list[str]]], is_cut: bool
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Give every row as many cells as the header has: spreadsheets drop empty cells at the end, and add some."""
    number, cells = 0, [""] * width
    for number, cells in rows:
        if any(cell.strip() for cell in cells[width:]):
            raise TableError(
                f"{len(cells)} cells in a row",
                where=f"{path.name}, row {number}",
                allowed=f"{width} cells, as in the header",
                remedy="Put cells that hold the separator into quotation marks.",
            )
        yield number, (*cells[:width], *[""] * (width - len(cells)))
    if is_cut and len(cells) < width:
        raise TableError(
            "the file ends within a row",
            where=f"{path.name}, row {number}",
            remedy="It may have been cut off. Save or copy it again.",
        )


def _not_text(path: Path) -> TableError:
    return TableError(
        "text in an unknown encoding",
        where=path.name,
        allowed="UTF-8, UTF-16 or Windows-1252",
        remedy="Save the table as CSV UTF-8.",
    )
