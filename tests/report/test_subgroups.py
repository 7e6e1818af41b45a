"""Performance in subgroups."""

from __future__ import annotations

from spinefx.report.subgroups import subgroup_table
from spinefx.vocabulary import Diagnosis

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN


def test_subgroups_are_counted_and_small_ones_marked() -> None:
    truth = {f"{i:02d}": M if i % 2 else B for i in range(48)}
    diagnoses = truth | {"01": B, "02": M}
    groups = {case: "F" if int(case) < 40 else "M" for case in truth if case != "47"}
    table = subgroup_table(truth, diagnoses, groups, name="sex", scores={case: float(int(case) % 2) for case in truth})
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == ["F", "M", "not recorded", "all"]
    assert (rows["F"][1], rows["F"][2], str(rows["F"][3])) == (20, 20, "95% (19/20) [76, 99]")
    assert rows["F"][7] == ""
    assert rows["M"][7] == "fewer than 10 of a class"
    assert rows["not recorded"][6] is None
    assert str(rows["not recorded"][4]) == "n/a"
    assert rows["all"][1] + rows["all"][2] == 48
    assert "n/a" in table.to_tsv()
