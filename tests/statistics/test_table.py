"""Result tables: numbers for programs, text for people."""

from __future__ import annotations

import pickle
import sys

import pytest

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate, bare_p
from spinefx.statistics.paired.mcnemar import comparison_table
from spinefx.statistics.performance import performance_table
from spinefx.statistics.table import ResultTable
from spinefx.vocabulary import Diagnosis

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN
SPECIAL = (
    "~ ^ \\ & % $ # _ { } < > | ` \" ' [1] * -- ± − ≤ κ Σ é ß ł 王 Þ \u2028 \x00\x0b\ud800\ufffe <w:p/> ]]> \\input{x}"
)
READINGS = [
    {"case_id": case, "reader_id": reader, "diagnosis": "malignant" if case == "a" else "benign"}
    for reader in ("R1", "model")
    for case in "abc"
]

TRUTH = {"a": M, "b": B, "c": B}


def test_columns_hold_unrounded_numbers() -> None:
    p = 0.04996123
    rows = (("R1", Estimate(1 / 3, 0.1, 0.6, 1, 3), bare_p(p), 5), ("R2", None, bare_p(float("nan")), 2.5))
    table = ResultTable("t", "T", ("reader", "share", "p", "cases"), rows)
    assert table.to_columns() == {
        "reader": ["R1", "R2"],
        "share": [1 / 3, None],
        "share_low": [0.1, None],
        "share_high": [0.6, None],
        "share_k": [1, None],
        "share_n": [3, None],
        "p": [p, None],
        "cases": [5.0, 2.5],
    }
    assert table.to_text()[0][2] == "0.04996"
    assert pickle.loads(pickle.dumps(bare_p(p))).p == p  # noqa: S301


def test_a_missing_pandas_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pandas is not installed"):
        performance_table(TRUTH, READINGS).to_pandas()


def test_a_pandas_frame_holds_numbers() -> None:
    pytest.importorskip("pandas")
    frame = comparison_table(TRUTH, READINGS).to_pandas()
    assert frame["p exact"].dtype == frame["first_low"].dtype == float
    assert frame.attrs["title"] == "Readers compared, case by case"


def test_tsv_has_one_line_per_row_whatever_the_cells_hold() -> None:
    rows = ((f"[{SPECIAL}", f"*{SPECIAL}\n\n{SPECIAL}", Estimate(0.5, 0.2, 0.8, 1, 2)), ("b" * 90, "", None))
    text = ResultTable("t", f"A {SPECIAL}", ("reader", f"c {SPECIAL}", "sensitivity"), rows).to_tsv()
    assert [line.count("\t") for line in text[:-1].split("\n")] == [4, 4, 4]
    assert "\x00" not in text


def test_a_page_shows_some_rows_and_columns_and_counts_the_others() -> None:
    table = ResultTable("t", "T", ("a", "b"), tuple((number, 0) for number in range(7)), "Note.", page_columns=("b",))
    shown = table.for_page(5)
    assert (shown.columns, len(shown.rows), shown.note) == (("b",), 5, "Note. 2 more rows are in t.tsv.")
    assert table.for_page().note == "Note."
