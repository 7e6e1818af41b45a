"""Rows of a table whose cells are read as what they must be; every error names the file, the row and the column.

An error never repeats a cell, which may hold a patient's name.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spinefx.errors import SpinefxError, TableError
from spinefx.tables.records import Records, clean_cell, read_records

__all__ = ["Row", "Table", "read_columns", "read_table", "stream_rows", "yes_or_no"]

SIZE_LIMIT_BYTES = 64 * 2**20
# Of a table that is held in memory: fifty readers of two thousand cases under two conditions each.
MOST_ROWS = 200_000
LONGEST_NUMBER = 40
POINT_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
COMMA_NUMBER = re.compile(r"[+-]?([0-9]+,[0-9]*|,[0-9]+)([eE][+-]?[0-9]{1,3})?")
# 1,234 may be a thousand or a bit more than one; 0,234 and 1,2345 are no thousands.
GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}(?P<mark>[.,])[0-9]{3}")
SAFE_TEXT = re.compile(r"[^\W_][\w .,/()+-]{0,79}")
# As spreadsheets in several languages write a Boolean value, and as people write one.
YES = {
    "1",
    "1.0",
    "1,0",
    "y",
    "yes",
    "true",
    "t",
    "wahr",
    "ja",
    "j",
    "vrai",
    "oui",
    "o",
    "verdadero",
    "si",
    "s\u00ed",
    "vero",
}
NO = {"0", "0.0", "0,0", "n", "no", "false", "f", "falsch", "nein", "faux", "non", "falso"}
Value = TypeVar("Value")


@dataclass(frozen=True)
class Row:
    """One row, which knows its place in the file.

    Parameters
    ----------
    table : str
        File name, for messages.
    number : int
        Line in the file, the first line being 1.
    values : mapping of str to str
        Stripped cells by column; cells that stand for nothing, such as ``n/a`` and ``-``, are empty.
    decimal_comma : bool
        Whether the table writes numbers with a decimal comma.
    """

    table: str
    number: int
    values: Mapping[str, str]
    decimal_comma: bool = False

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.table}, row {self.number}"

    def text(self, column: str) -> str:
        """Return a cell; empty where the column is absent.

        Parameters
        ----------
        column : str

        Returns
        -------
        str
        """
        return self.values.get(column, "")

    def required(self, column: str) -> str:
        """Return a cell that must not be empty.

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
            raise TableError(f"{column} is empty", where=self.where, remedy="Fill the cell, or delete the row.")
        return value

    def number_in(self, column: str, low: float, high: float) -> float | None:
        """Return a number within limits; None for an empty cell.

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
            For another text, a number out of range, and one whose comma or point may separate thousands.
        """
        text = self.text(column)
        if not text:
            return None
        value = self._number(column, text)
        if not low <= value <= high:
            found = "is not a number" if math.isnan(value) else "is out of range"
            raise TableError(f"{column} {found}", where=self.where, allowed=f"a number from {low:g} to {high:g}")
        return value

    def integer_in(self, column: str, low: int, high: int) -> int | None:
        """Return a whole number within limits; None for an empty cell. A spreadsheet's ``7.0`` is 7.

        Parameters
        ----------
        column : str
        low, high : int
            Both allowed.

        Returns
        -------
        int or None

        Raises
        ------
        TableError
        """
        value = self.number_in(column, low, high)
        if value is not None and not value.is_integer():
            raise TableError(
                f"{column} is not a whole number", where=self.where, allowed=f"a whole number from {low} to {high}"
            )
        return None if value is None else int(value)

    def percent(self, column: str) -> float | None:
        """Return a percentage, 0 to 100; None for an empty cell.

        Parameters
        ----------
        column : str

        Returns
        -------
        float or None

        Raises
        ------
        TableError
            For a value between 0 and 1 too, which is taken for a fraction.
        """
        text = self.text(column).removesuffix("%").strip()
        value = Row(self.table, self.number, {column: text}, self.decimal_comma).number_in(column, 0, 100)
        if value is not None and 0 < value < 1 and not self.text(column).endswith("%"):
            raise TableError(
                f"{column} is below 1 percent, and looks like a fraction of 1",
                where=self.where,
                allowed="percent, 0 to 100",
                remedy="Multiply fractions by 100; round percentages below 1 to 0 or 1.",
            )
        return value

    def choice(self, column: str, kind: Callable[[str], Value], allowed: Iterable[str]) -> Value:
        """Return a cell as one of a closed set of words; case, spaces and hyphens do not matter.

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
        words = [str(one) for one in allowed]
        try:
            return kind(word)
        except ValueError:
            near = difflib.get_close_matches(word, words, 1, cutoff=0.7)
            remedy = f"Did you mean {near[0]}?" if near else ""
            raise TableError(
                f"{column} is not one of the allowed words", where=self.where, allowed=", ".join(words), remedy=remedy
            ) from None

    def plain(self, column: str) -> str:
        """Return a short free text that is safe in any spreadsheet, path or page.

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
                f"{column} holds characters that are not allowed",
                where=self.where,
                allowed="up to 80 letters, digits, spaces and . , / ( ) + - _, beginning with a letter or digit",
            )
        return value

    def checked(self, make: Callable[[], Value]) -> Value:
        """Run a conversion and add this row's place to the error that it raises.

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

    def _number(self, column: str, text: str) -> float:
        """Read a number; NaN where the text is none."""
        grouped = GROUPED.fullmatch(text)
        if grouped and (grouped["mark"] == ",") != self.decimal_comma:
            raise TableError(
                f"{column} may be in thousands or have a decimal {'comma' if grouped['mark'] == ',' else 'point'}",
                where=self.where,
                allowed="numbers without separators of thousands",
                remedy="Format the column as a plain number, then save the table again.",
            )
        if len(text) > LONGEST_NUMBER or not (POINT_NUMBER.fullmatch(text) or COMMA_NUMBER.fullmatch(text)):
            return math.nan
        return float(text.replace(",", "."))


@dataclass(frozen=True)
class Table:
    """A table as it was read.

    Parameters
    ----------
    name : str
    rows : tuple of Row
    extra_columns : tuple of str
        Columns that were not asked for; their cells were not kept.
    """

    name: str
    rows: tuple[Row, ...]
    extra_columns: tuple[str, ...] = ()

    def refuse_duplicates(self, *columns: str) -> None:
        """Refuse two rows with the same cells in all the columns.

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
                    f"{' and '.join(columns)} as in row {first[key].number}",
                    where=row.where,
                    allowed="each combination once",
                    remedy="Delete one of the two rows.",
                )
            first[key] = row


def read_table(path: Path, *, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Read a table.

    Parameters
    ----------
    path : Path
        CSV, TSV or XLSX, as :func:`spinefx.tables.records.read_records` takes it.
    required, optional : sequence of str
        Columns to keep, in lower case; all others are left out and listed.

    Returns
    -------
    Table

    Raises
    ------
    TableError
        For a file that is missing, damaged or too long, a missing column, or a row with too many cells.
    """
    if path.is_file() and path.stat().st_size > SIZE_LIMIT_BYTES:
        raise TableError("a table of more than 64 MiB", where=path.name, allowed="a table of patients")
    records = read_records(path, required)
    header = _header(path, records, required, optional)
    kept = {*required, *optional}
    rows = [(number, _kept(header, cells, kept)) for number, cells in itertools.islice(records.rows, MOST_ROWS + 1)]
    if len(rows) > MOST_ROWS:
        raise TableError(f"a table of more than {MOST_ROWS} rows", where=path.name, allowed="a table of patients")
    comma = _writes_commas(records, (cell for _, cells in rows for cell in cells.values()))
    made = tuple(Row(path.name, number, cells, comma) for number, cells in rows)
    return Table(path.name, made, tuple(sorted({name for name in header if name} - kept)))


def stream_rows(path: Path, *, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """Read a table row by row, so that it may be larger than memory. Numbers are written with a decimal point.

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
    records = read_records(path, required)
    header = _header(path, records, required, optional)
    for number, cells in records.rows:
        yield Row(path.name, number, _kept(header, cells, {*required, *optional}))


def read_columns(path: Path) -> dict[str, list[str]]:
    """Read every column of a table.

    Parameters
    ----------
    path : Path
        As for :func:`read_table`.

    Returns
    -------
    dict of str to list of str
        Clean cells by the column's name as written; those that stand for nothing are empty.

    Raises
    ------
    TableError
        As for :func:`read_table`.
    """
    records = read_records(path)
    _refuse_doubled(path, records.header, "each column once")
    columns: dict[str, list[str]] = {name: [] for name in records.header}
    for _, cells in records.rows:
        for name, cell in zip(records.header, cells, strict=True):
            columns[name].append(clean_cell(cell))
    return columns


def yes_or_no(word: str) -> bool | None:
    """Read a Boolean value as a spreadsheet or a person writes it.

    Parameters
    ----------
    word : str
        ``1``, ``1.0``, ``TRUE``, ``yes`` and the like, in the languages of common spreadsheets.

    Returns
    -------
    bool or None
        None for any other word.
    """
    plain = word.strip().lower()
    return True if plain in YES else False if plain in NO else None


def _header(path: Path, records: Records, required: Sequence[str], optional: Sequence[str]) -> tuple[str, ...]:
    header = tuple(name.lower() for name in records.header)
    allowed = f"the columns {', '.join(required)}" + (f"; optional: {', '.join(optional)}" if optional else "")
    _refuse_doubled(path, header, allowed)
    missing = [name for name in required if name not in header]
    if missing:
        raise TableError(f"no column {', '.join(missing)}", where=path.name, allowed=allowed)
    return header


def _refuse_doubled(path: Path, header: Sequence[str], allowed: str) -> None:
    doubled = [place for place, name in enumerate(header, start=1) if name and name in header[: place - 1]]
    if doubled:
        # A table without a header has a patient's cells in its place, so that no name of a column is repeated.
        first = header.index(header[doubled[0] - 1]) + 1
        raise TableError(f"column {doubled[0]} has the name of column {first}", where=path.name, allowed=allowed)


def _kept(header: Sequence[str], cells: Sequence[str], kept: set[str]) -> dict[str, str]:
    return {name: clean_cell(cell) for name, cell in zip(header, cells, strict=True) if name in kept}


def _writes_commas(records: Records, cells: Iterable[str]) -> bool:
    """Tell whether a table has decimal commas.

    A number whose comma or point cannot separate thousands decides; where there is none, semicolons between cells do.
    """
    commas, points = set(), set()
    for cell in cells:
        if len(cell) <= LONGEST_NUMBER and ("." in cell or "," in cell):
            is_plain = GROUPED.fullmatch(cell) is None
            if POINT_NUMBER.fullmatch(cell):
                points.add(is_plain)
            elif COMMA_NUMBER.fullmatch(cell):
                commas.add(is_plain)
    if True in points:
        return False
    return True in commas or (records.separator == ";" and bool(commas) and not points)
