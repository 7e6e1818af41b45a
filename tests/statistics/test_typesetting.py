"""Column widths and alignment of tables."""

from __future__ import annotations

from spinefx.statistics.typesetting import column_widths, is_numeric


def test_columns_share_the_line_width() -> None:
    rows = [["name", "n", "remark"], ["a", "10", "word " * 40], ["b", "9", ""]]
    assert column_widths(rows, 60) == [5, 3, 52]
    assert column_widths(rows, 9) == [5, 3, 7]
    assert column_widths([["a", "b"], ["1", "2"]], 60) == [2, 2]
    assert [is_numeric([["1", "94% (47/50) [84, 98]", "12 of L1"], ["2", "–", "none"]], n) for n in range(3)] == [
        False,
        True,
        False,
    ]
