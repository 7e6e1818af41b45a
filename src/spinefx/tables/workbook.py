"""Sheets of XLSX workbooks as rows of text cells. The home of openpyxl."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from spinefx.errors import MissingPackage, TableError

__all__ = ["is_workbook", "workbook_rows"]

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
# Far more than any table of patients; a hostile workbook is refused before it is unpacked.
MOST_BYTES, MOST_PARTS, MOST_ROWS, MOST_COLUMNS = 256 * 2**20, 2000, 250_000, 512
# Leading zeros that are shown and not stored, as in the number format 0000000.
PADDED = re.compile(r"0{2,20}")


def is_workbook(path: Path, start: bytes) -> bool:
    """Tell whether a file is an XLSX workbook, by its first bytes.

    Parameters
    ----------
    path : Path
    start : bytes
        At least four.

    Returns
    -------
    bool

    Raises
    ------
    TableError
        For a workbook of another kind.
    """
    if start.startswith(OLE):
        raise TableError(
            "a workbook of Excel 97, or one with a password",
            where=path.name,
            allowed="XLSX, CSV or TSV",
            remedy="Save it as an Excel workbook (.xlsx) without a password, or as CSV UTF-8.",
        )
    return start.startswith(ZIP)


def workbook_rows(path: Path, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Read one sheet of a workbook.

    Parameters
    ----------
    path : Path
    wanted : sequence of str
        Of several sheets, the only one whose header has these columns is read; without such a sheet, the first one.

    Yields
    ------
    tuple of (int, list of str)
        Row number and cells; rows of empty cells are left out.

    Raises
    ------
    MissingPackage
        When openpyxl is not installed.
    TableError
        For a broken or oversized workbook, several sheets with the wanted columns, and formulas without a result.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise MissingPackage(
            "reading an XLSX workbook needs openpyxl",
            where=path.name,
            remedy="Install it with pip install 'spinefx[xlsx]', or save the sheet as CSV UTF-8.",
        ) from error
    try:
        # An open file: of a path openpyxl would judge the name.
        with path.open("rb") as file, path.open("rb") as again:
            _refuse_oversized(path)
            values: Any = openpyxl.load_workbook(file, read_only=True, data_only=True)
            formulas: Any = openpyxl.load_workbook(again, read_only=True, data_only=False)
            name = _sheet_name(path, values, wanted)
            yield from _rows(path, values[name], formulas[name])
    except TableError:
        raise
    except Exception as error:  # openpyxl raises whatever its parsers do; its text may quote cells
        raise TableError(
            f"a workbook that cannot be read ({type(error).__name__})",
            where=path.name,
            remedy="Save the sheet as CSV UTF-8.",
        ) from error


def _refuse_oversized(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_BYTES:
        raise TableError("a workbook that is too large", where=path.name, allowed="256 MiB unpacked")


def _sheet_name(path: Path, book: Any, wanted: Sequence[str]) -> str:
    sheets = book.worksheets
    if not sheets:
        raise TableError("a workbook without a sheet of cells", where=path.name)
    fitting = []
    for sheet in sheets:
        first = next((row for row in islice(_texts(sheet), MOST_ROWS) if any(row)), [])
        if {name.strip().lower() for name in first} >= set(wanted):
            fitting.append(sheet.title)
    if len(sheets) > 1 and wanted and len(fitting) > 1:
        raise TableError(
            f"{len(fitting)} sheets with the columns {', '.join(wanted)}",
            where=path.name,
            allowed="one such sheet",
            remedy="Delete the others, or save the right one as CSV UTF-8.",
        )
    return str(fitting[0] if fitting else sheets[0].title)


def _texts(sheet: Any) -> Iterator[list[str]]:
    sheet.reset_dimensions()  # what a workbook says of its own size may be wrong, and is what rows are filled up to
    for row in sheet.iter_rows():
        yield [_text(cell) for cell in row[:MOST_COLUMNS]]


def _rows(path: Path, sheet: Any, formulas: Any) -> Iterator[tuple[int, list[str]]]:
    formulas.reset_dimensions()
    pairs = zip(sheet.iter_rows(), formulas.iter_rows(), strict=True)
    for number, (row, written) in enumerate(pairs, 1):
        where = f"{path.name}, row {number}"
        if number > MOST_ROWS or len(row) > MOST_COLUMNS:
            raise TableError("a sheet that is too large", where=where, allowed=f"{MOST_ROWS} x {MOST_COLUMNS} cells")
        if any(cell.value is None and source.data_type == "f" for cell, source in zip(row, written, strict=True)):
            raise TableError(
                "a formula without a stored result", where=where, remedy="Open the workbook, save it, and try again."
            )
        cells = [_text(cell) for cell in row]
        if any(cells):
            yield number, cells


def _text(cell: Any) -> str:
    """Return what the sheet shows, as far as its stored value and number format tell."""
    value, form = cell.value, str(getattr(cell, "number_format", "") or "")
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date, time, timedelta)):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, int | float) and form.endswith("%"):
        return f"{100 * value:.10g}%"
    if isinstance(value, int) and PADDED.fullmatch(form):
        return f"{value:0{len(form)}d}"
    return " ".join(str(value).split()) if isinstance(value, str) else repr(value)
