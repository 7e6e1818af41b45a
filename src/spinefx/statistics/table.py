"""Result tables that people read and programs parse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate, ShownP
from spinefx.statistics.latex import latex_table
from spinefx.statistics.typesetting import printable

if TYPE_CHECKING:
    import pandas

__all__ = ["ResultTable"]


@dataclass(frozen=True)
class ResultTable:
    """A table of results, for display and for export.

    Parameters
    ----------
    name : str
        File name without its extension.
    title : str
    columns : tuple of str
    rows : tuple of tuple
        Cells: str, int, float, Estimate or None.
    note : str
        What the reader must know to interpret the table.
    page_columns : tuple of str
        Columns to show on a page if not all of them fit.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    note: str = ""
    page_columns: tuple[str, ...] = ()

    def for_page(self, max_rows: int | None = None) -> ResultTable:
        """Return the table cut to what a page can show.

        Parameters
        ----------
        max_rows : int, optional
            The note says how many more rows the file holds.

        Returns
        -------
        ResultTable
        """
        kept = [self.columns.index(name) for name in self.page_columns or self.columns]
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows[:max_rows])
        more = len(self.rows) - len(rows)
        note = f"{self.note} {more} more rows are in {self.name}.tsv.".strip() if more else self.note
        return replace(self, columns=tuple(self.columns[i] for i in kept), rows=rows, note=note, page_columns=())

    def to_tsv(self) -> str:
        """Return the table as TSV; an estimate becomes three columns (value, ``_low``, ``_high``), p is not rounded.

        Returns
        -------
        str
        """
        split = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        header = [
            name
            for column, parts in zip(map(printable, self.columns), split, strict=True)
            for name in ([column, f"{column}_low", f"{column}_high"] if parts else [column])
        ]
        lines = ["\t".join(header)]
        for row in self.rows:
            cells = [c for cell, parts in zip(row, split, strict=True) for c in _tsv_cells(cell, parts)]
            lines.append("\t".join(cells))
        return "\n".join(lines) + "\n"

    def to_columns(self) -> dict[str, list[Any]]:
        """Return the cells as numbers, by column.

        Returns
        -------
        dict of str to list
            An estimate becomes the columns ``NAME``, ``NAME_low`` and ``NAME_high``, and also ``NAME_k`` and
            ``NAME_n`` if it is a proportion; a p-value becomes its unrounded number. Empty cells are None.
        """
        columns: dict[str, list[Any]] = {}
        for place, name in enumerate(self.columns):
            cells = [row[place] for row in self.rows]
            if not any(isinstance(cell, Estimate) for cell in cells):
                columns[name] = _numbers(cells)
                continue
            counted = any(isinstance(cell, Estimate) and cell.n is not None for cell in cells)
            for part in ("value", "low", "high", *(("k", "n") if counted else ())):
                # A bare number in a column of estimates is a value without limits.
                values = [getattr(cell, part, None if part != "value" else cell) for cell in cells]
                columns[name if part == "value" else f"{name}_{part}"] = _numbers(values)
        return columns

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a pandas DataFrame of numbers.

        For polars use ``polars.DataFrame(table.to_columns())``.

        Returns
        -------
        pandas.DataFrame
            The columns of :meth:`to_columns`; ``attrs`` holds title and note.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            remedy = "Install pandas, or use to_columns(), which needs no other package."
            raise InputError("pandas is not installed", where=self.name, remedy=remedy) from error
        frame = pandas.DataFrame(self.to_columns())
        frame.attrs.update(title=self.title, note=self.note)
        return frame

    def to_latex(self) -> str:
        """Return the table as LaTeX; see :func:`spinefx.statistics.latex.latex_table`.

        Returns
        -------
        str
        """
        return latex_table(self.name, self.title, self.columns, self.to_text(), self.note)

    def to_text(self) -> list[list[str]]:
        """Return the cells formatted for display.

        Returns
        -------
        list of list of str
        """
        return [[_shown(cell) for cell in row] for row in self.rows]


def _numbers(cells: list[Any]) -> list[Any]:
    """Return cells of one type: p-values as numbers, NaN as None, integers as floats if any cell is a float."""
    plain = [cell.p if isinstance(cell, ShownP) else cell for cell in cells]
    plain = [None if cell == "" or (isinstance(cell, float) and np.isnan(cell)) else cell for cell in plain]
    plain = [cell.item() if isinstance(cell, np.generic) else cell for cell in plain]
    whole = all(cell is None or isinstance(cell, int | float) for cell in plain)
    mixed = whole and any(isinstance(cell, float) for cell in plain)
    return [None if cell is None else float(cell) if mixed else str(cell) if not whole else cell for cell in plain]


def _tsv_cells(cell: object, parts: bool) -> list[str]:
    if not parts:
        return [_exact(cell)]
    if isinstance(cell, Estimate):
        return [_exact(cell.value), _exact(cell.low), _exact(cell.high)]
    return [_exact(cell), "n/a", "n/a"]


def _exact(cell: object) -> str:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return "n/a"
    if isinstance(cell, ShownP):
        return "n/a" if np.isnan(cell.p) else repr(cell.p)
    return f"{cell:.6g}" if isinstance(cell, float) else printable(str(cell)) or "n/a"


def _shown(cell: object) -> str:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return "–"
    return f"{cell:.3f}" if isinstance(cell, float) else printable(str(cell))
