"""Tables are read as spreadsheets save them; every error names the file, the row and the column, never the cell."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinefx.errors import MissingPackage, SpinefxError, TableError
from spinefx.tables.rows import read_columns, read_table, stream_rows, yes_or_no
from spinefx.tables.writing import csv_text, write_tsv

SECRET = "Mustermann"


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("stated", ["", "sep={}\n", '"sep={}"\n'])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_spreadsheets_save_is_read(
    tmp_path: Path, encoding: str, stated: str, separator: str, line_end: str
) -> None:
    rows = [["Patient", " age ", "secret"], ["Ä 1", "66", "x"], ["B", "n/a", "y"]]
    lines = stated.format(separator) + "\n".join(separator.join(row) for row in rows) + "\n"
    path = write(tmp_path, lines.replace("\n", line_end).encode(encoding))
    table = read_table(path, required=("patient",), optional=("age", "sex"))
    assert [row.text("patient") for row in table.rows] == ["Ä 1", "B"]
    assert [row.number_in("age", 0, 120) for row in table.rows] == [66.0, None]
    first = 3 if stated else 2
    assert [row.number for row in table.rows] == [first, first + 1]
    assert table.extra_columns == ("secret",)
    assert "x" not in str(table.rows[0].values)
    assert [row.values for row in stream_rows(path, required=("patient",), optional=("age",))] == [
        row.values for row in table.rows
    ]
    assert read_columns(path)["Patient"] == ["Ä 1", "B"]


def test_empty_cells_at_the_end_may_be_dropped_or_added(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a,b,c,,\n1\n2,3,4,,,,\n"), required=("a", "b", "c"))
    assert [tuple(row.values.values()) for row in table.rows] == [("1", "", ""), ("2", "3", "4")]


@pytest.mark.parametrize(
    "cell", ["", " ", "n/a", "N/A", "NaN", "-", "\u2013", "\u2014", "#N/A", "NULL", "<NA>", "\xa0"]
)
def test_what_stands_for_nothing_is_empty(tmp_path: Path, cell: str) -> None:
    table = read_table(write(tmp_path, f"patient,age\nA,{cell}\n"), required=("patient", "age"))
    assert table.rows[0].number_in("age", 0, 120) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("patient\n1\n", "no column age"),
        ("patient,age,age\n1,2,3\n", "column 3 has the name of column 2"),
        ("patient,age\n1,2\n3", "row 3: the file ends within a row"),
        ("patient,age\n1,2,3\n", r"row 2: 3 cells in a row\. Expected: 2 cells"),
        (b"patient,age\n\x81,2\n", "unknown encoding"),
        (b"patient,age\nA\x00,2\n", "binary"),
        ('patient,age\n"a,2\n', "no column|age is empty|not a table"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel 97"),
    ],
)
def test_broken_tables_are_refused_by_name(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(TableError, match=message):
        read_table(path, required=("patient", "age")).rows[0].required("age")
    with pytest.raises(TableError, match="cannot be read"):
        read_table(tmp_path / "absent.csv", required=("patient",))


def test_errors_name_row_and_column_and_repeat_no_cell(tmp_path: Path) -> None:
    text = f"patient,age,sex,score\nA,200,F,0.93\nB,{SECRET},{SECRET},{SECRET}\nA,,M,1\n=cmd(),1,,2\n"
    table = read_table(write(tmp_path, text), required=("patient", "age", "sex", "score"))
    rows = table.rows
    failing: list[tuple[Any, str]] = [
        (lambda: rows[0].number_in("age", 0, 120), "row 2: age is out of range. Expected: a number from 0 to 120"),
        (lambda: rows[1].number_in("age", 0, 120), "row 3: age is not a number"),
        (lambda: rows[1].integer_in("age", 0, 120), "row 3: age is not a number"),
        (lambda: rows[1].choice("sex", _letter, ("f", "m")), "row 3: sex is not one of"),
        (lambda: rows[1].percent("score"), "row 3: score is not a number"),
        (lambda: rows[0].percent("score"), "row 2: score is below 1 percent"),
        (lambda: rows[2].required("age"), "row 4: age is empty"),
        (lambda: rows[3].plain("patient"), "row 5: patient holds characters"),
        (lambda: table.refuse_duplicates("patient"), "row 4: patient as in row 2"),
    ]
    for call, message in failing:
        with pytest.raises(TableError) as caught:
            call()
        assert message in str(caught.value)
        assert SECRET not in str(caught.value)


def attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except SpinefxError as error:
        return error


def _letter(word: str) -> str:
    if word not in ("f", "m"):
        raise ValueError
    return word


NUMBERS = st.floats(-4999, 4999).map(lambda value: round(value, 3))
WRITERS = {
    "point": lambda value: f"{value:.3f}",
    "comma": lambda value: f"{value:.3f}".replace(".", ","),
    "short comma": lambda value: f"{value:g}".replace(".", ","),
}


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.sampled_from(";\t,"), st.sampled_from(list(WRITERS)))
def test_a_number_is_read_rightly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], separator: str, writer: str
) -> None:
    """Whatever the decimal mark and the separator, no number is read as another one."""
    cells = [WRITERS[writer](value) for value in values]
    lines = ["patient" + separator + "x", *(f'"A"{separator}"{cell}"' for cell in cells)]
    path = write(tmp_path_factory.mktemp("numbers"), "\n".join(lines) + "\n")
    rows = read_table(path, required=("patient", "x")).rows
    for row, cell, value in zip(rows, cells, values, strict=True):
        found = attempt(row.number_in, "x", -1e9, 1e9)
        if isinstance(found, SpinefxError):
            assert "thousands" in str(found)
            assert separator != ";" or writer == "point"
            continue
        assert found == pytest.approx(float(cell.replace(",", ".")), abs=1e-12)
        assert math.isclose(value, found or 0, abs_tol=0.006 if "short" in writer else 1e-9)


@given(st.text(max_size=50))
def test_any_text_is_a_finite_number_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("text") / "t.tsv"
    write_tsv(path, ("a",), [[text]])
    for row in read_table(path, required=("a",)).rows:
        value = attempt(row.number_in, "a", -math.inf, math.inf)
        if isinstance(value, SpinefxError):
            assert len(text) < 12 or text not in str(value)
        else:
            assert value is None or math.isfinite(value) or "e" in text.lower()


@pytest.mark.parametrize("text", ["7", "7.0", "7,0"])
def test_whole_numbers_survive_a_spreadsheet(tmp_path: Path, text: str) -> None:
    row = read_table(write(tmp_path, f"n;x\n{text};1\n"), required=("n",)).rows[0]
    assert row.integer_in("n", 0, 10) == 7


@pytest.mark.parametrize("text", ["7.5", "9" * 5000, "1_0", "٧", "inf", "1e9", "0x7"])
def test_what_is_no_whole_number_is_refused(tmp_path: Path, text: str) -> None:
    row = read_table(write(tmp_path, f"n,x\n{text},1\n"), required=("n",)).rows[0]
    with pytest.raises(TableError, match="row 2: n is"):
        row.integer_in("n", 0, 10)


def test_percentages_and_booleans(tmp_path: Path) -> None:
    rows = read_table(write(tmp_path, "c;x\n93;1\n93%;1\n0,5%;1\n0;1\n1;1\n"), required=("c",)).rows
    assert [row.percent("c") for row in rows] == [93, 93, 0.5, 0, 1]
    assert [yes_or_no(word) for word in ("1.0", "TRUE", "Yes", "WAHR", "0", "0,0", "no", "FALSCH", "u", "")] == [
        *([True] * 4),
        *([False] * 4),
        None,
        None,
    ]


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


@pytest.mark.parametrize("cell", ["=cmd()", "+1+1", "-a", "@x", "=1"])
def test_no_cell_of_a_csv_is_computed(tmp_path: Path, cell: str) -> None:
    text = csv_text(("a",), [[cell], ["-5"]])
    assert text == f"a\n'{cell}\n-5\n"
    assert read_columns(write(tmp_path, text))["a"] == [cell, "-5"]


def test_an_identifier_written_as_a_formula_keeps_its_zeros(tmp_path: Path) -> None:
    assert read_columns(write(tmp_path, 'patient,b\n="0012",1\n"=""0013""",2\n'))["patient"] == ["0012", "0013"]


class TestWorkbooks:
    """XLSX, read directly."""

    @staticmethod
    def save(
        folder: Path, sheets: dict[str, Sequence[Sequence[object]]], formats: dict[str, str] | None = None
    ) -> Path:
        openpyxl = pytest.importorskip("openpyxl", reason="openpyxl (the extra `xlsx`) is not installed")
        book = openpyxl.Workbook()
        book.remove(book.active)
        for name, rows in sheets.items():
            sheet = book.create_sheet(name)
            for row in rows:
                sheet.append(list(row))
            for place, form in (formats or {}).items():
                sheet[place].number_format = form
        path = folder / "table.csv"  # by content, not by name
        book.save(path)
        return path

    def test_cells_are_read_as_the_sheet_shows_them(self, tmp_path: Path) -> None:
        rows = [
            ("Patient", "age", "score", "sign"),
            (12345, 66.0, 0.93, True),
            ("P\n3", None, 12.5, False),
            (None,) * 4,
        ]
        path = self.save(tmp_path, {"s": rows}, {"A2": "0000000", "C2": "0%"})
        table = read_table(path, required=("patient", "age", "score", "sign"))
        assert [row.text("patient") for row in table.rows] == ["0012345", "P 3"]
        assert [row.integer_in("age", 0, 120) for row in table.rows] == [66, None]
        assert [row.percent("score") for row in table.rows] == [93, 12.5]
        assert [yes_or_no(row.text("sign")) for row in table.rows] == [True, False]
        assert [row.number for row in table.rows] == [2, 3]

    def test_the_sheet_with_the_columns_is_taken(self, tmp_path: Path) -> None:
        sheets = {"notes": [("hello",)], "data": [("patient", "age"), ("A", 1)]}
        assert len(read_table(self.save(tmp_path, sheets), required=("patient",)).rows) == 1
        sheets["copy"] = sheets["data"]
        with pytest.raises(TableError, match="2 sheets with the columns patient"):
            read_table(self.save(tmp_path, sheets), required=("patient",))

    def test_a_formula_without_a_result_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="row 2: a formula without a stored result"):
            read_table(self.save(tmp_path, {"s": [("patient",), ("=A1",)]}), required=("patient",))

    def test_a_broken_workbook_is_refused(self, tmp_path: Path) -> None:
        path = self.save(tmp_path, {"s": [("patient",), (SECRET,)]})
        for cut in (30, 500, 3000):
            path.write_bytes(path.read_bytes()[:cut] + b"\0" * 30)
            with pytest.raises(TableError) as caught:
                read_table(path, required=("patient",))
            assert SECRET not in str(caught.value)

    def test_without_openpyxl_the_remedy_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(tmp_path, b"PK\x03\x04 whatever")
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(MissingPackage, match=r"spinefx\[xlsx\].*CSV UTF-8"):
            read_table(path, required=("patient",))


@pytest.mark.parametrize(
    "content",
    [
        b"patient,diagnosis" + b",x" * 1_000_000 + b"\n",
        b"patient,diagnosis\na,benign\n" + b"a" * (2**20 + 5),
        b"patient,diagnosis\n" + b'"\n",' * 300_000 + b"\n",
    ],
    ids=["columns", "cell", "a row of many lines"],
)
def test_a_row_without_end_is_refused_before_it_is_held(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_bytes(content)
    with pytest.raises(TableError, match="a row of more than 1048576 characters"):
        read_table(tmp_path / "cases.csv", required=("patient", "diagnosis"))


def test_a_table_of_too_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spinefx.tables.rows.MOST_ROWS", 3)
    path = tmp_path / "cases.csv"
    path.write_text("patient\n1\n2\n3\n")
    assert len(read_table(path, required=("patient",)).rows) == 3
    path.write_text("patient\n1\n2\n3\n4\n")
    with pytest.raises(TableError, match="more than 3 rows"):
        read_table(path, required=("patient",))
