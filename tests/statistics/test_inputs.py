"""Readings, truth and sign scores from columns, rows, files and data frames."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinefx.cases.reading import Reading
from spinefx.errors import InputError, TableError
from spinefx.statistics.audit.claims import CLAIM_FIELDS
from spinefx.statistics.audit.recompute import audit, example_claims
from spinefx.statistics.evaluation import Evaluation
from spinefx.statistics.inputs import columns_of, readings_from, rows_of, signs_from, truth_from
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.statistics.paired.mcnemar import comparison_table
from spinefx.statistics.performance import agreement_table, measure_table, performance_table
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score

M, B = Diagnosis.MALIGNANT, Diagnosis.BENIGN

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python-api.md"
COLUMNS: dict[str, list[Any]] = {
    "case_id": ["a", "b", "c", "a", "b", "c"],
    "reader_id": ["R1", "R1", "R1", "model", "model", "model"],
    "diagnosis": ["malignant", "benign", "benign", "malignant", "malignant", "benign"],
    "confidence": [80.0, None, 20.0, 95.5, 60.0, 1.0],
    "remark": ["", "not needed", "", "", "", ""],
}
TRUTH = {"a": M, "b": B, "c": B}
ROWS = [dict(zip(COLUMNS, cells, strict=True)) for cells in zip(*COLUMNS.values(), strict=True)]


class Frame:
    """The interface that pandas and polars share: columns by name."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns, self.kept = list(columns), columns

    def __getitem__(self, name: str) -> np.ndarray:
        return np.array([np.nan if cell is None else cell for cell in self.kept[name]])


def pandas_frame(columns: dict[str, list[Any]]) -> Any:
    return pytest.importorskip("pandas").DataFrame(columns)


def polars_frame(columns: dict[str, list[Any]]) -> Any:
    return pytest.importorskip("polars").DataFrame(columns)


def arrow_like(columns: dict[str, list[Any]]) -> Any:
    return type("Table", (), {"to_pydict": lambda self: columns})()


def as_rows(columns: dict[str, list[Any]]) -> Any:
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


SHAPES: tuple[Callable[[dict[str, list[Any]]], Any], ...] = (
    *(dict, as_rows, lambda columns: iter(as_rows(columns)), Frame, arrow_like, pandas_frame, polars_frame),
)
SHAPE_NAMES = ("columns", "rows", "iterator", "frame", "arrow", "pandas", "polars")


@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_NAMES)
def test_readings_are_the_same_from_any_kind_of_table(shape: Callable[[dict[str, list[Any]]], Any]) -> None:
    readings = readings_from(shape(COLUMNS))
    assert readings == readings_from(ROWS)
    assert readings[1] == Reading("b", "R1", Arm.UNAIDED, B, None)
    assert readings[3].confidence == 95.5
    assert truth_from(shape({"case_id": list(TRUTH), "diagnosis": [True, False, False]})) == TRUTH
    scores = {name: [True, None] for name in SIGN_IDENTIFIERS}
    signs = signs_from(shape({"case_id": [1, 2], "reader_id": ["R", "R"], **scores}))
    assert [(one.case_id, one.scores["dark_patch"]) for one in signs] == [("1", Score.YES), ("2", Score.NOT_ASSESSABLE)]


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
def test_files_are_read_with_any_delimiter(delimiter: str, tmp_path: Path) -> None:
    lines = [list(COLUMNS), *([("n/a" if cell is None else str(cell)) for cell in row.values()] for row in ROWS)]
    path = tmp_path / "readings.tsv"
    path.write_text("\ufeff" + "".join(delimiter.join(line) + "\r\n" for line in lines), encoding="utf-8")
    assert readings_from(path) == readings_from(str(path)) == readings_from(ROWS)


def test_functions_give_the_same_result_from_tables_and_from_mappings() -> None:
    readings, truth = readings_from(ROWS), truth_from({"case_id": list(TRUTH), "diagnosis": list(TRUTH.values())})
    diagnoses = {"R1": {"a": M, "b": B, "c": B}, "model": {"a": M, "b": M, "c": B}}
    frame = Frame(COLUMNS)
    assert performance_table(truth, frame) == performance_table(TRUTH, readings, [])
    assert measure_table(truth, frame) == measure_table(TRUTH, diagnoses)
    assert agreement_table(frame) == agreement_table(diagnoses)
    assert comparison_table(truth, frame).to_tsv() == comparison_table(TRUTH, diagnoses).to_tsv()
    by_name = ReaderStudy.from_table(
        {"who": COLUMNS["reader_id"], "what": COLUMNS["case_id"], "seen": COLUMNS["confidence"], "sick": [1, 0, 0] * 2},
        reader="who",
        case="what",
        score="seen",
        malignant="sick",
    )
    same = ReaderStudy.from_readings(frame, truth)
    np.testing.assert_array_equal(by_name.scores, same.scores)
    claims = {name: [getattr(one, name) for one in example_claims()] for name in CLAIM_FIELDS}
    assert audit(claims) == audit(example_claims())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diagnosis": None}, "no column diagnosis"),
        ({"case_id": ["a", "b"]}, "unequal length"),
        ({"case_id": ["a", "b", None, "a", "b", "c"]}, "readings, row 3: no case_id"),
        ({"case_id": ["a", "b", "b", "a", "b", "c"]}, "row 3: case_id, reader_id and arm as in row 2"),
        (
            {"diagnosis": ["malign"] * 6},
            "row 1, diagnosis: is not one of the allowed words",
        ),
        ({"confidence": ["sure"] * 6}, "row 1, confidence: is not a number. Expected: a number"),
        ({"confidence": [float("inf")] * 6}, "row 1, confidence: is out of range. Expected: a finite number"),
        ({"confidence": [101] * 6}, "row 1, confidence: is out of range"),
        ({"arm": ["helped"] * 6}, "row 1, arm: is not one of the allowed words. Expected: unaided, aided"),
    ],
)
def test_invalid_readings_are_refused_with_their_place(change: dict[str, Any], message: str) -> None:
    columns = {name: cells for name, cells in (COLUMNS | change).items() if cells is not None}
    with pytest.raises(InputError, match=message):
        readings_from(columns)


@pytest.mark.parametrize("thing", [7, None, "no such file.tsv", {"case_id": 3}, [1, 2], {"case_id": "abc"}])
def test_objects_that_are_not_tables_are_refused(thing: object) -> None:
    with pytest.raises(TableError):
        rows_of(thing, required=("case_id",))


@pytest.mark.parametrize("text", ["a\ta\n1\t2\n", "a\tb\n1", "a\tb\n1\t2\t3\n", ""])
def test_a_broken_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(TableError):
        columns_of(tmp_path / "t.tsv", required=("a",))


def test_duplicate_columns_and_cases_are_refused() -> None:
    frame = Frame(COLUMNS)
    frame.columns = [*frame.columns, "case_id"]
    with pytest.raises(TableError, match="has the name of column 1"):
        columns_of(frame)
    with pytest.raises(TableError, match="truth, row 2: case_id as in row 1"):
        truth_from({"case_id": ["a", "a"], "diagnosis": ["benign", "malignant"]})
    with pytest.raises(InputError, match="none of 6 readings is of one of the 1 cases with a truth"):
        Evaluation.of(ROWS, {"z": M})


def test_the_examples_of_the_documentation_run(tmp_path: Path) -> None:
    """The part on pandas and polars is included only if both are installed."""
    text = PAGE.read_text(encoding="utf-8")
    try:
        import pandas  # noqa: F401
        import polars  # noqa: F401
    except ImportError:
        text = text.partition("## With pandas and polars")[0]
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 12
    assert result.failed == 0
