"""Tables as people write them: CSV and TSV, read strictly, with the file and the row in every complaint."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spinefx.errors import SpinefxError, TableError
from spinefx.files import write_text

__all__ = ["MISSING", "Row", "Table", "read_table", "write_tsv"]

MISSING = "n/a"
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
    lines = list(_records(path))
    if not lines:
        raise TableError("an empty table", where=path.name, allowed=f"a header with {', '.join(required)}")
    header = [name.strip().lower() for name in lines[0][1]]
    doubled = [name for name, times in Counter(header).items() if times > 1 and name]
    missing = [name for name in required if name not in header]
    if doubled or missing:
        problem = f"column {doubled[0]} twice" if doubled else f"no column {', '.join(missing)}"
        raise TableError(problem, where=path.name, allowed=f"columns {', '.join((*required, *optional))}, each once")
    kept = {name for name in (*required, *optional) if name in header}
    rows = []
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise TableError(
                f"{len(cells)} cells", where=f"{path.name}, row {number}", allowed=f"{len(header)}, as in the header"
            )
        values = {name: _cell(cell) for name, cell in zip(header, cells, strict=True) if name in kept}
        rows.append(Row(path.name, number, values))
    return Table(path.name, tuple(rows), tuple(sorted(name for name in header if name and name not in kept)))


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a TSV as BIDS wants it: tabs, ``n/a`` for what is missing, Unix line ends.

    Parameters
    ----------
    path : Path
    columns : sequence of str
    rows : iterable of sequence
        Cells in the order of the columns; None is missing.
    """
    lines = ["\t".join(columns)]
    for row in rows:
        if len(row) != len(columns):
            raise TableError(f"a row of {len(row)} cells for {len(columns)} columns", where=path.name)
        lines.append("\t".join(_written(cell) for cell in row))
    write_text(path, "\n".join(lines) + "\n")


def _records(path: Path) -> Iterable[tuple[int, list[str]]]:
    try:
        if path.stat().st_size > SIZE_LIMIT_BYTES:
            raise TableError("a table of more than 64 MiB", where=path.name, allowed="a table of patients")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", where=path.name) from error
    except UnicodeDecodeError as error:
        raise TableError("text that is not UTF-8", where=path.name, remedy="Save the table as CSV UTF-8.") from error
    if "\0" in text:
        raise TableError("binary content", where=path.name, allowed="CSV or TSV text")
    first = text.split("\n", 1)[0]
    delimiter = max("\t;,", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise TableError(f"not a table ({error})", where=f"{path.name}, row {reader.line_num}") from error


def _cell(text: str) -> str:
    stripped = text.strip()
    return "" if stripped.lower() in {MISSING, "na", "nan"} else stripped


def _written(cell: object) -> str:
    if cell is None or cell == "":
        return MISSING
    if isinstance(cell, float):
        return MISSING if cell != cell else repr(round(cell, 6))
    return str(cell).replace("\t", " ").replace("\n", " ")
