"""Readings, truth and sign scores from any table: a data frame, columns, rows or a file.

An error names the table, the row and the column, and never repeats a cell, which may hold a patient's name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from spinefx.cases.reading import Reading, SignScores
from spinefx.errors import TableError
from spinefx.tables.rows import read_columns
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score

__all__ = ["columns_of", "readings_from", "rows_of", "signs_from", "truth_from"]

# pandas' two markers, recognised by name so that pandas need not be imported.
MISSING_TYPES = {"NAType", "NaTType"}
MISSING_TEXTS = {"", "n/a", "na", "nan"}
KINDS = "a pandas, polars or Arrow table, a mapping of columns, a sequence of mappings, or the path of a CSV or TSV"
READING_COLUMNS = ("case_id", "reader_id", "diagnosis")
READING_OPTIONS = ("arm", "confidence", "seconds")
Word = TypeVar("Word", bound=StrEnum)


def columns_of(
    table: object,
    *,
    required: Sequence[str] = (),
    optional: Sequence[str] | None = None,
    key: Sequence[str] = (),
    where: str = "table",
) -> dict[str, list[Any]]:
    """Return the columns of a table of any kind.

    Parameters
    ----------
    table : DataFrame, mapping, sequence of mapping, str or Path
        A pandas or polars DataFrame, an Arrow table, columns by name, one mapping per row, or the path of a CSV or TSV.
    required : sequence of str
        Columns that must be present, without missing cells.
    optional : sequence of str, optional
        Columns that may be present and may have missing cells; by default all others.
    key : sequence of str
        Columns whose combined values identify a row and must be unique.
    where : str
        Name of the table in error messages.

    Returns
    -------
    dict of str to list
        Plain Python values; None for missing ones (None, NaN, pandas' NA, ``n/a`` or an empty text).

    Raises
    ------
    TableError
        If the object is not a table, a column is missing, duplicated or of another length, a required cell is missing,
        or a key occurs twice.
    """
    columns = {name: [_plain(cell) for cell in cells] for name, cells in _raw_columns(table, where).items()}
    absent = [name for name in required if name not in columns]
    if absent:
        raise TableError(
            f"no column {', '.join(absent)} among the {len(columns)} given",
            where=where,
            allowed=f"the columns {', '.join(required)}",
        )
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) > 1:
        raise TableError("columns of unequal length", where=where, allowed="one cell per row in every column")
    for name in required:
        if None in columns[name]:
            raise TableError(f"no {name}", where=f"{where}, row {columns[name].index(None) + 1}", allowed="a value")
    _refuse_repeated_rows(list(zip(*(columns[name] for name in key), strict=True)) if key else [], key, where)
    return columns if optional is None else {name: columns[name] for name in (*required, *optional) if name in columns}


def rows_of(
    table: object, *, required: Sequence[str] = (), optional: Sequence[str] | None = None, where: str = "table"
) -> list[dict[str, Any]]:
    """Return the rows of a table of any kind.

    Parameters
    ----------
    table : DataFrame, mapping, sequence of mapping, str or Path
    required, optional : sequence of str
    where : str
        All as for :func:`columns_of`.

    Returns
    -------
    list of dict
        Cells by column.

    Raises
    ------
    TableError
        As for :func:`columns_of`.
    """
    columns = columns_of(table, required=required, optional=optional, where=where)
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def truth_from(table: object) -> dict[str, Diagnosis]:
    """Return the true diagnosis of each case.

    Parameters
    ----------
    table : DataFrame or other table, or mapping of case to diagnosis
        Columns ``case_id`` and ``diagnosis``, which holds ``benign`` and ``malignant``, or True and 1 for malignant.

    Returns
    -------
    dict of str to Diagnosis
        By case.

    Raises
    ------
    TableError
        As for :func:`columns_of`; or if a diagnosis is not one of the two, or a case occurs twice.
    """
    if isinstance(table, Mapping) and not {"case_id", "diagnosis"} & set(table):
        table = {"case_id": list(table), "diagnosis": list(table.values())}
    columns = columns_of(table, required=("case_id", "diagnosis"), key=("case_id",), where="truth")
    cases = enumerate(zip(columns["case_id"], columns["diagnosis"], strict=True), start=1)
    return {_name(case): _diagnosis(value, f"truth, row {number}, diagnosis") for number, (case, value) in cases}


def readings_from(table: object) -> tuple[Reading, ...]:
    """Return the readings of any number of readers and models.

    Parameters
    ----------
    table : DataFrame or other table, or iterable of Reading
        Columns ``case_id``, ``reader_id`` and ``diagnosis``; if known also ``arm`` (``unaided`` by default),
        ``confidence`` (0 to 100, higher meaning more likely malignant) and ``seconds``.

    Returns
    -------
    tuple of Reading

    Raises
    ------
    TableError
        As for :func:`columns_of`; or if a word or number is not valid or out of range, a reader read a case twice in
        one arm, or a reader's confidences seem to be fractions of 1.
    """
    table = _reusable(table)
    readings = _instances(table, Reading)
    if readings is None:
        rows = rows_of(table, required=READING_COLUMNS, optional=READING_OPTIONS, where="readings")
        readings = tuple(_reading(row, f"readings, row {number}") for number, row in enumerate(rows, start=1))
        _refuse_fractions(readings)
    keys = [(one.case_id, one.reader_id, one.arm) for one in readings]
    _refuse_repeated_rows(keys, ("case_id", "reader_id", "arm"), "readings")
    return readings


def signs_from(table: object) -> tuple[SignScores, ...]:
    """Return sign scores.

    Parameters
    ----------
    table : DataFrame or other table, or iterable of SignScores
        Columns ``case_id``, ``reader_id`` and the fifteen signs, each ``y``, ``n`` or ``u`` (not assessable), or True
        and False, or 1 and 0; a missing cell counts as not assessable.

    Returns
    -------
    tuple of SignScores

    Raises
    ------
    TableError
        As for :func:`columns_of`; or if a score is not one of these.
    """
    table = _reusable(table)
    given = _instances(table, SignScores)
    if given is not None:
        return given
    columns = columns_of(table, required=("case_id", "reader_id"), key=("case_id", "reader_id"), where="signs")
    absent = [name for name in SIGN_IDENTIFIERS if name not in columns]
    if absent:
        raise TableError(f"no column {', '.join(absent)}", where="signs", allowed="all fifteen signs")
    scores = []
    for number, (case, reader) in enumerate(zip(columns["case_id"], columns["reader_id"], strict=True)):
        own = {name: _score(columns[name][number], f"signs, row {number + 1}, {name}") for name in SIGN_IDENTIFIERS}
        scores.append(SignScores(_name(case), _name(reader), own))
    return tuple(scores)


def _raw_columns(table: object, where: str) -> dict[str, list[object]]:
    if isinstance(table, str | Path):
        return {name: list(cells) for name, cells in read_columns(Path(table)).items()}
    to_columns: Callable[[], Mapping[str, Iterable[object]]] | None = getattr(table, "to_pydict", None)
    if to_columns is not None:
        table = to_columns()
    if isinstance(table, Mapping):
        if not all(isinstance(cells, Iterable) and not isinstance(cells, str) for cells in table.values()):
            raise TableError("a mapping whose values are not columns", where=where, allowed=KINDS)
        return {str(name): list(cells) for name, cells in table.items()}
    if hasattr(table, "columns") and hasattr(table, "__getitem__"):
        names = list(table.columns)
        _refuse_repeated(list(map(str, names)), where)
        return {str(name): list(table[name]) for name in names}
    rows = list(table) if isinstance(table, Iterable) else [None]
    mappings = [row for row in rows if isinstance(row, Mapping)]
    if len(mappings) < len(rows):
        raise TableError(f"an object of type {type(table).__name__}", where=where, allowed=KINDS)
    names = list(dict.fromkeys(name for row in mappings for name in row))
    return {str(name): [row.get(name) for row in mappings] for name in names}


def _refuse_repeated(names: Sequence[str], where: str) -> None:
    repeated = [place for place, name in enumerate(names, start=1) if name in names[: place - 1]]
    if repeated:
        first = names.index(names[repeated[0] - 1]) + 1
        raise TableError(
            f"column {repeated[0]} has the name of column {first}", where=where, allowed="each column once"
        )


def _refuse_repeated_rows(keys: Sequence[tuple[object, ...]], names: Sequence[str], where: str) -> None:
    first: dict[tuple[object, ...], int] = {}
    for number, key in enumerate(keys, start=1):
        if key in first:
            raise TableError(
                f"{_and(names)} as in row {first[key]}",
                where=f"{where}, row {number}",
                allowed="each combination once",
            )
        first[key] = number


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _refuse_fractions(readings: Sequence[Reading]) -> None:
    """Refuse confidences that seem to be fractions of 1.

    A model's percentages may be below 1, a person's are whole numbers: a reader is refused whose confidences never
    exceed 1, or whose only broken numbers lie between 0 and 1. The only reading of a reader may be of one percent.
    """
    given: dict[tuple[str, Arm], list[tuple[float, int]]] = {}
    for number, one in enumerate(readings, start=1):
        if one.confidence is not None:
            given.setdefault((one.reader_id, one.arm), []).append((one.confidence, number))
    for values in given.values():
        broken = [(value, number) for value, number in values if not value.is_integer()]
        highest, row = max(values)
        if (highest == 1 and len(values) > 1) or (broken and all(0 < value < 1 for value, _ in broken)):
            raise TableError(
                "confidence looks like a fraction of 1",
                where=f"readings, row {broken[0][1] if broken else row}",
                allowed="percent, 0 to 100",
                remedy="Multiply fractions by 100.",
            )


def _reusable(table: object) -> object:
    """Return an iterator, which can be gone through only once, as a list."""
    return list(table) if isinstance(table, Iterator) else table


def _instances(table: object, kind: type[Any]) -> tuple[Any, ...] | None:
    """Return the elements if all are of the wanted class, which holds for an empty sequence too; None otherwise."""
    if isinstance(table, Mapping | str) or hasattr(table, "columns") or not isinstance(table, Iterable):
        return None
    return tuple(table) if all(isinstance(one, kind) for one in table) else None


def _plain(cell: object) -> object:
    """Return a cell as a plain Python value; None if it is missing."""
    if cell is None or type(cell).__name__ in MISSING_TYPES:
        return None
    if isinstance(cell, str):
        return None if cell.strip().lower() in MISSING_TEXTS else cell
    value = cell.item() if hasattr(cell, "item") and not isinstance(cell, bool) else cell
    return None if isinstance(value, float) and value != value else value


def _reading(row: Mapping[str, Any], where: str) -> Reading:
    arm = row.get("arm")
    return Reading(
        case_id=_name(row["case_id"]),
        reader_id=_name(row["reader_id"]),
        arm=Arm.UNAIDED if arm is None else _word(arm, Arm, f"{where}, arm"),
        diagnosis=_diagnosis(row["diagnosis"], f"{where}, diagnosis"),
        confidence=_number(row.get("confidence"), f"{where}, confidence", 100),
        seconds=_number(row.get("seconds"), f"{where}, seconds", sys.float_info.max),
    )


def _name(value: object) -> str:
    """Return a name as text; pandas turns 7 into 7.0 if the column has a missing cell."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _diagnosis(value: object, where: str) -> Diagnosis:
    positive = _boolean(value)
    if positive is None:
        return _word(value, Diagnosis, where)
    return Diagnosis.MALIGNANT if positive else Diagnosis.BENIGN


def _score(value: object, where: str) -> Score:
    if value is None:
        return Score.NOT_ASSESSABLE
    positive = _boolean(value)
    if positive is None:
        return _word(value, Score, where)
    return Score.YES if positive else Score.NO


def _boolean(value: object) -> bool | None:
    """Return True and False, or 1 and 0, as Python or a file writes them; None for anything else."""
    words = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
    return words.get(_name(value).strip().lower())


def _word(value: object, words: type[Word], where: str) -> Word:
    try:
        return words(str(value).strip().lower())
    except ValueError as error:
        allowed = ", ".join(one.value for one in words)
        raise TableError("is not one of the allowed words", where=where, allowed=allowed) from error


def _number(value: object, where: str, most: float) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise TableError("is not a number", where=where, allowed="a number, or an empty cell") from error
    if not 0 <= number <= most:
        allowed = "0 or more" if most == sys.float_info.max else f"0 to {most:g}"
        raise TableError("is out of range", where=where, allowed=f"a finite number, {allowed}, or an empty cell")
    return number
