"""A design file is complete and checked; the case order follows from it alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from spinefx.errors import DesignError
from spinefx.reader_study.design import DesignKind, StudyDesign
from spinefx.reader_study.order import arms_of, perturbed_cases, reading_order
from spinefx.vocabulary import Arm

READERS = 10_000
CASES = ("a", "b", "c", "d", "e", "f", "g", "h")
WHOLE = """
name = "pilot"
design = "second_read"
readers = ["R1", "R2"]
cases = "all"
practice = ["case00"]
experiment = "quick"
signs = false
perturbed_share = 0.1
seed = 7
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "design.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_design_survives_writing_and_reading(tmp_path: Path) -> None:
    design = StudyDesign.load(written(tmp_path, WHOLE))
    assert design.design is DesignKind.SECOND_READ
    assert design.cases == ()
    assert (design.washout_days, design.box, design.signs) == (28, True, False)
    assert StudyDesign.from_mapping(design.to_mapping()) == design


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('reader = ["R1"]', "unknown key 'reader'; did you mean 'readers'? Expected: name, design"),
        ('design = "tripple"', "design = 'tripple'. Expected: unaided, second_read, crossover"),
        ("washout_days = -1", "washout_days = -1"),
        ("washout_days = true", "washout_days = True"),
        ("perturbed_share = 0.6", "perturbed_share = 0.6"),
        ('name = "../x"', "name = '../x'"),
        ('readers = ["R 1"]', "readers"),
        ('readers = ["R1", "R1"]', "each once"),
        ("readers = []", "at least one"),
        ('cases = ["=1+1"]', "cases"),
        ('cases = ["case00"]', "'case00' is both a case and a practice case"),
        ('experiment = ""', "no experiment in a design of kind 'second_read'"),
        ('design = "unaided"', "experiment = 'quick' in a design of kind 'unaided'"),
        ("signs = 1", "signs = 1. Expected: true, false"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    key = line.split(" = ")[0]
    kept = "\n".join(one for one in WHOLE.splitlines() if not one.startswith(f"{key} ="))
    with pytest.raises(DesignError, match=re.escape(complaint)):
        StudyDesign.load(written(tmp_path, f"{kept}\n{line}\n"))


def test_missing_file_broken_toml_and_missing_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(DesignError, match="cannot be read"):
        StudyDesign.load(tmp_path / "none.toml")
    with pytest.raises(DesignError, match="broken TOML"):
        StudyDesign.load(written(tmp_path, "name = "))
    with pytest.raises(DesignError, match="missing keys: name"):
        StudyDesign.load(written(tmp_path, 'design = "unaided"\nreaders = ["R1"]'))
    with pytest.raises(DesignError, match="perturbed_share"):
        StudyDesign(name="p", design=DesignKind.UNAIDED, readers=("R1",), perturbed_share=0.2)


def p_value(counts: np.ndarray) -> float:
    """Return the p-value of a table against equal cells; each reader adds one count per row, so margins are fixed."""
    rows, columns = counts.shape
    statistic = ((counts - READERS / columns) ** 2 / (READERS / columns)).sum() * (columns - 1) / columns
    return float(stats.chi2.sf(statistic, (rows - 1) * (columns - 1)))


def test_ten_thousand_readers_read_each_case_in_each_position_and_arm_equally_often() -> None:
    places, arms, arm_places = np.zeros((8, 8)), np.zeros((8, 2)), np.zeros((8, 2))
    same = 0
    for number in range(READERS):
        reader = f"R{number}"
        first, second = (reading_order(11, reader, session, [CASES]) for session in (1, 2))
        given = arms_of(DesignKind.CROSSOVER, 11, reader, [CASES])
        same += first == second
        for place, case in enumerate(first):
            aided = int(given[case][0] is Arm.AIDED)
            places[CASES.index(case), place] += 1
            arms[CASES.index(case), aided] += 1
            arm_places[place, aided] += 1
        assert sorted(arm for pair in given.values() for arm in pair[:1]).count(Arm.AIDED) == 4
        assert all(set(pair) == {Arm.UNAIDED, Arm.AIDED} for pair in given.values())
    assert same == 0 or same / READERS < 1e-3
    assert 0.001 < p_value(places) < 0.9999
    # Four of eight cases are in each arm: the halves are fixed, so the spread is that of a draw without replacement.
    for table in (arms, arm_places):
        statistic = ((table[:, 0] - READERS / 2) ** 2).sum() / (READERS / 4) * 7 / 8
        assert 0.001 < stats.chi2.sf(statistic, 7) < 0.9999


def test_an_order_depends_only_on_seed_reader_and_session() -> None:
    order = reading_order(11, "R1", 1, [CASES])
    assert order == reading_order(11, "R1", 1, [CASES[::-1]])
    others = {reading_order(*words, [CASES]) for words in ((12, "R1", 1), (11, "R2", 1), (11, "R1", 2))}
    assert len(others | {order}) == 4


def test_an_added_case_moves_no_other() -> None:
    generations = [CASES, ("x", "y"), ("z",)]
    for reader in ("R1", "R2", "R3"):
        before, after = reading_order(3, reader, 1, [CASES]), reading_order(3, reader, 1, generations)
        assert after[:8] == before
        assert set(after[8:10]) == {"x", "y"}
        assert after[10] == "z"
        arms = arms_of(DesignKind.CROSSOVER, 3, reader, generations)
        assert {case: arms[case] for case in CASES} == arms_of(DesignKind.CROSSOVER, 3, reader, [CASES])
        turned = perturbed_cases(3, reader, generations, 0.25)
        assert {case for case in turned if case in CASES} == perturbed_cases(3, reader, [CASES], 0.25)


def test_other_designs_have_one_arm_and_the_perturbed_share_is_exact() -> None:
    assert set(arms_of(DesignKind.UNAIDED, 1, "R1", [CASES]).values()) == {(Arm.UNAIDED,)}
    assert set(arms_of(DesignKind.SECOND_READ, 1, "R1", [CASES]).values()) == {(Arm.AIDED,)}
    counts = np.zeros(8)
    for number in range(2000):
        turned = perturbed_cases(5, f"R{number}", [CASES], 0.25)
        assert len(turned) == 2
        counts += [case in turned for case in CASES]
    assert perturbed_cases(5, "R1", [CASES], 0.0) == frozenset()
    assert stats.chisquare(counts).pvalue > 0.001
