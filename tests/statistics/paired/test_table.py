"""Paired tables of two readers, and their comparison."""

from __future__ import annotations

import pytest

from spinefx.errors import InputError
from spinefx.statistics.paired.mcnemar import (
    comparison_table,
)
from spinefx.statistics.paired.table import PairedTable
from spinefx.vocabulary import Diagnosis

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN


def test_readers_are_compared_on_cases_that_both_have_read() -> None:
    truth = {f"m{i}": M for i in range(6)} | {f"b{i}": B for i in range(6)}
    one = dict.fromkeys(truth, M)
    other = truth | {"m0": B}
    half = {case: diagnosis for case, diagnosis in other.items() if case not in {"m1", "b1"}}
    table = PairedTable.of(one, half, truth, M)
    assert table == PairedTable(4, 1, 0, 0, left_out=1)
    assert PairedTable.of(one, half, truth).n == 10
    shown = comparison_table(truth, {"one": one, "half": half, "other": other})
    assert len(shown.rows) == 6
    row = dict(zip(shown.columns, shown.rows[1], strict=True))
    assert (row["measure"], row["both wrong"], row["only second right"], row["read by one only"]) == (
        "specificity",
        0,
        5,
        1,
    )
    assert row["p exact"] == "0.062"
    assert "nothing to compare" in comparison_table(truth, {"one": one}).note
    benign_only = {case: diagnosis for case, diagnosis in truth.items() if diagnosis == B}
    rows = comparison_table(benign_only, {"a": benign_only, "b": benign_only}).rows
    assert rows[0][3] == 0
    with pytest.raises(InputError, match="without a truth"):
        PairedTable.of({"x": M}, {}, truth)
