"""Tables are read strictly: every complaint names the file, the row and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import TableError
from spinefx.workspace.tables import read_table, write_tsv


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_spreadsheets_write_is_read(tmp_path: Path, delimiter: str, mark: str, line_end: str) -> None:
    rows = [["Patient", " age ", "secret"], ["A 1", "66", "x"], ["B", "n/a", "y"]]
    table = read_table(
        write(tmp_path, mark + line_end.join(delimiter.join(row) for row in rows) + line_end),
        required=("patient",),
        optional=("age", "sex"),
    )
    assert [row.text("patient") for row in table.rows] == ["A 1", "B"]
    assert [row.number_in("age", 0, 120) for row in table.rows] == [66.0, None]
    assert [row.number for row in table.rows] == [2, 3]
    assert table.extra_columns == ("secret",)
    assert "x" not in str(table.rows[0].values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty table"),
        ("patient\n1\n", "no column age"),
        ("patient,age,age\n1,2,3\n", "column age twice"),
        ("patient,age\n1,2,3\n", r"row 2: 3 cells; allowed: 2"),
        (b"patient,age\n\xff,2\n", "not UTF-8"),
        (b"patient,age\n\x00,2\n", "binary"),
        ('patient,age\n"a,2\n', "cells|not a table"),
    ],
)
def test_broken_tables_are_refused_by_name(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_table(write(tmp_path, text), required=("patient", "age"))
    with pytest.raises(TableError, match="cannot be read"):
        read_table(tmp_path / "absent.csv", required=("patient",))


def test_cells_out_of_range_name_their_row(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "patient,age\nA,200\nB,old\nA,\n=cmd(),1\n"), required=("patient", "age"))
    for row in table.rows[:2]:
        with pytest.raises(TableError, match=rf"table.csv, row {row.number}: age is .* allowed: a number, 0 to 120"):
            row.number_in("age", 0, 120)
    with pytest.raises(TableError, match="row 4: no age"):
        table.rows[2].required("age")
    with pytest.raises(TableError, match="row 5: patient holds signs"):
        table.rows[3].plain("patient")
    with pytest.raises(TableError, match="row 4: the same patient as row 2"):
        table.refuse_duplicates("patient")


CELL = st.one_of(st.none(), st.integers(), st.floats(-1e6, 1e6), st.text("abcXYZ 0123._-", min_size=1).map(str.strip))


@given(st.lists(st.tuples(CELL, CELL), max_size=8))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]
) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.tsv"
    write_tsv(path, ("a", "b"), rows)
    table = read_table(path, required=("a", "b"))
    assert len(table.rows) == len(rows)
    for row, (a, b) in zip(table.rows, rows, strict=True):
        for column, cell in (("a", a), ("b", b)):
            if isinstance(cell, float):
                assert row.number_in(column, -1e7, 1e7) == pytest.approx(cell, abs=1e-6)
            else:
                assert row.text(column) == ("" if cell is None else str(cell))
