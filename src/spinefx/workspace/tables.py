"""Tables as people write them: CSV and TSV, read strictly, with the file and the row in every complaint."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

from spinefx.errors import SpinefxError, TableError
from spinefx.files import write_text

__all__ = ["MISSING", "Row", "Table", "read_table", "stream_rows", "tsv_text", "write_tsv"]

MISSING = "n/a"
# What makes a spreadsheet compute a cell; an apostrophe before it is taken away again where the table is read.
FORMULA = ("=", "+", "-", "@")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
LINE_BREAKS = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
SIZE_LIMIT_BYTES = 64 * 2**20
SAFE_TEXT = re.compile(r"[^\W_][\w .,/()+-]{0,79}")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Row:
    """One row, which knows where it stands.

    Parameters
    ----------
    table : str
        File name, for messages.
    number : int
        Line in the file, the header being line 1.
    values : mapping of str to str
        Stripped cells by column; ``n/a`` and empty cells are empty.
    """

    table: str
    number: int
    values: Mapping[str, str]

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.table}, row {self.number}"

    def text(self, column: str) -> str:
        """Give a cell; empty where the column is absent.

        Parameters
        ----------
        column : str

        Returns
        -------
        str
        """
        return self.values.get(column, "")

    def required(self, column: str) -> str:
        """Give a cell that must not be empty.

        Parameters
        ----------
        column : str

        Returns
        -------
        str

        Raises
        ------
        TableError
        """
        value = self.text(column)
        if not value:
            raise TableError(f"no {column}", where=self.where, remedy="Fill the cell, or take the row out.")
        return value

    def number_in(self, column: str, low: float, high: float) -> float | None:
        """Give a number within limits; None for an empty cell.

        Parameters
        ----------
        column : str
        low, high : float
            Both allowed.

        Returns
        -------
        float or None

        Raises
        ------
        TableError
        """
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise TableError(f"{column} is {text[:20]!r}", where=self.where, allowed=f"a number, {low:g} to {high:g}")
        return value

    def choice(self, column: str, kind: Callable[[str], Value], allowed: Iterable[str]) -> Value:
        """Give a cell as one of a closed set of words, capitals and spaces forgiven.

        Parameters
        ----------
        column : str
        kind : callable
            Makes the value of a word; raises ValueError for an unknown one.
        allowed : iterable of str
            For the message.

        Returns
        -------
        object

        Raises
        ------
        TableError
        """
        word = self.required(column).lower().replace(" ", "_").replace("-", "_")
        try:
            return kind(word)
        except ValueError:
            raise TableError(
                f"{column} is {self.text(column)[:20]!r}", where=self.where, allowed=", ".join(allowed)
            ) from None

    def plain(self, column: str) -> str:
        """Give a short free text that is safe in any spreadsheet, path or page.

        Parameters
        ----------
        column : str

        Returns
        -------
        str

        Raises
        ------
        TableError
        """
        value = self.text(column)
        if value and not SAFE_TEXT.fullmatch(value):
            raise TableError(
                f"{column} holds signs that are not allowed",
                where=self.where,
                allowed="up to 80 letters, digits, spaces and . , / ( ) + - _, beginning with a letter or digit",
            )
        return value

    def checked(self, make: Callable[[], Value]) -> Value:
        """Run a conversion and put this row's place in front of its complaint.

        Parameters
        ----------
        make : callable

        Returns
        -------
        object

        Raises
        ------
        TableError
        """
        try:
            return make()
        except SpinefxError as error:
            if isinstance(error, TableError):
                raise
            raise TableError(error.found, where=self.where, allowed=error.allowed, remedy=error.remedy) from error


@dataclass(frozen=True)
class Table:
    """A table as it was read.

    Parameters
    ----------
    name : str
    rows : tuple of Row
    extra_columns : tuple of str
        Columns nobody asked for; their cells were not kept.
    """

    name: str
    rows: tuple[Row, ...]
    extra_columns: tuple[str, ...] = ()

    def refuse_duplicates(self, *columns: str) -> None:
        """Refuse two rows that say the same in all the columns.

        Parameters
        ----------
        *columns : str

        Raises
        ------
        TableError
            Naming both rows, not their cells.
        """
        first: dict[tuple[str, ...], Row] = {}
        for row in self.rows:
            key = tuple(row.text(column) for column in columns)
            if key in first:
                raise TableError(
                    f"the same {' and '.join(columns)} as row {first[key].number}",
                    where=row.where,
                    allowed="each once",
                )
            first[key] = row


def read_table(path: Path, *, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Read a CSV or TSV; comma, semicolon and tab are told apart by the header.

    Parameters
    ----------
    path : Path
        UTF-8, with or without a byte-order mark.
    required, optional : sequence of str
        Columns to keep; all others are left out and listed.

    Returns
    -------
    Table

    Raises
    ------
    TableError
        For a missing file or column, a ragged row, or text in another encoding.
    """
    if path.is_file() and path.stat().st_size > SIZE_LIMIT_BYTES:
        raise TableError("a table of more than 64 MiB", where=path.name, allowed="a table of patients")
    records = _records(path)
    header = _header(path, next(records, None), required, optional)
    rows = tuple(_rows(path, header, records, (*required, *optional)))
    return Table(path.name, rows, tuple(sorted({name for name in header if name} - {*required, *optional})))


def stream_rows(path: Path, *, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """Read a table row by row, so that it may be longer than memory.

    Parameters
    ----------
    path : Path
    required, optional : sequence of str
        As for :func:`read_table`.

    Yields
    ------
    Row

    Raises
    ------
    TableError
        As for :func:`read_table`, when the row is reached.
    """
    records = _records(path)
    header = _header(path, next(records, None), required, optional)
    yield from _rows(path, header, records, (*required, *optional))


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
    """Give a TSV as :func:`write_tsv` writes it.

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
        lines.append("\t".join(_written(cell) for cell in row))
    return "\n".join(lines) + "\n"


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(_text_lines(file, path.name), delimiter=max("\t;,", key=first.count))
            for cells in reader:
                number = reader.line_num
                if any(cell.strip() for cell in cells):
                    yield number, cells
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", where=path.name) from error
    except UnicodeDecodeError as error:
        raise TableError("text that is not UTF-8", where=path.name, remedy="Save the table as CSV UTF-8.") from error
    except csv.Error as error:
        raise TableError(f"not a table ({error})", where=f"{path.name}, row {number + 1}") from error


def _text_lines(file: TextIO, name: str) -> Iterator[str]:
    for line in file:
        if "\0" in line:
            raise TableError("binary content", where=name, allowed="CSV or TSV text")
        yield line


def _header(
    path: Path, first: tuple[int, list[str]] | None, required: Sequence[str], optional: Sequence[str]
) -> list[str]:
    if first is None:
        raise TableError("an empty table", where=path.name, allowed=f"a header with {', '.join(required)}")
    header = [name.strip().lower() for name in first[1]]
    doubled = [name for name, times in Counter(header).items() if times > 1 and name]
    missing = [name for name in required if name not in header]
    if doubled or missing:
        problem = f"column {doubled[0]} twice" if doubled else f"no column {', '.join(missing)}"
        raise TableError(problem, where=path.name, allowed=f"columns {', '.join((*required, *optional))}, each once")
    return header


def _rows(
    path: Path, header: list[str], records: Iterator[tuple[int, list[str]]], wanted: Sequence[str]
) -> Iterator[Row]:
    kept = set(wanted)
    for number, cells in records:
        if len(cells) != len(header):
            raise TableError(
                f"{len(cells)} cells", where=f"{path.name}, row {number}", allowed=f"{len(header)}, as in the header"
            )
        values = {name: _cell(cell) for name, cell in zip(header, cells, strict=True) if name in kept}
        yield Row(path.name, number, values)


def _cell(text: str) -> str:
    stripped = text.strip()
    if stripped.startswith("'") and stripped[1:2] in FORMULA:
        return stripped[1:]
    return "" if stripped.lower() in {MISSING, "na", "nan"} else stripped


def _written(cell: object) -> str:
    if cell is None or cell == "":
        return MISSING
    if isinstance(cell, float):
        return MISSING if cell != cell else repr(round(float(cell), 6))
    text = " ".join(LINE_BREAKS.split(str(cell))).strip()
    # A number is a number, whoever wrote it as text: a spreadsheet must not get negatives as words.
    if isinstance(cell, str) and text[:1] in FORMULA and not NUMBER.fullmatch(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if text.startswith('"') else text or MISSING
