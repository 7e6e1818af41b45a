"""Reader studies from columns and readings, and their designs."""

from __future__ import annotations

import numpy as np
import pytest

from spinefx.cases.reading import Reading
from spinefx.errors import InputError, TableError
from spinefx.statistics.mrmc.roe_metz import RoeMetz
from spinefx.statistics.mrmc.scores import Design, ReaderStudy
from spinefx.vocabulary import Arm, Diagnosis

COLUMNS = {
    "reader": ["r2", "r2", "r1", "r1", "r2", "r2", "r1"],
    "modality": ["new", "new", "new", "new", "old", "old", "old"],
    "case": [7, 9, 7, 9, 7, 9, 7],
    "malignant": [True, False, True, False, True, False, True],
    "score": [3, 1, 2, np.nan, 4, 2, 5],
}


def test_columns_become_an_array_in_order_of_appearance() -> None:
    study = ReaderStudy.from_columns(**COLUMNS)  # type: ignore[arg-type]
    assert (study.modalities, study.readers, study.cases) == (("new", "old"), ("r2", "r1"), ("7", "9"))
    wanted = [[[3, 1], [2, np.nan]], [[4, 2], [5, np.nan]]]
    np.testing.assert_array_equal(study.scores, wanted)
    assert list(study.malignant) == [True, False]
    counts = study.counts
    assert (counts.malignant, counts.benign, counts.readings, counts.missing) == (1, 1, 6, 2)
    assert str(counts) == "2 readers, 1 malignant and 1 benign cases"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"case": [7, 9, 7, 9, 7, 7, 7], "malignant": [1, 0, 1, 0, 1, 1, 1]},
            "rows 5 and 6, counted from 1: a reading that occurs",
        ),
        ({"malignant": [1, 0, 1, 0, 1, 1, 1]}, "rows [0-9] and [0-9], counted from 1: a case with two truths"),
        ({"score": [3, 1, 2, 1, 4, 2]}, "unequal length"),
        ({"malignant": ["1", "0", "1", "0", "1", "0", "1"]}, "truth that is not binary"),
        ({"malignant": [2, 0, 2, 0, 2, 0, 2]}, "truth that is not binary"),
        ({"score": [3, 1, 2, "high", 4, 2, 5]}, "not a number"),
        ({"score": [3, 1, 2, np.inf, 4, 2, 5]}, "an infinite score"),
        ({"score": [3, np.nan, 2, np.nan, 4, np.nan, 5]}, "case 2 of 2, .*: a case without a reading"),
    ],
)
def test_invalid_columns_are_refused(change: dict[str, list[float]], message: str) -> None:
    with pytest.raises(TableError, match=message):
        ReaderStudy.from_columns(**(COLUMNS | change))  # type: ignore[arg-type]


NAMES = ["DOE^JANE", "ROE^RICHARD", "Dr Miller"]


@pytest.mark.parametrize(
    "change",
    [
        {"reader": [NAMES[2]] * 4, "case": [NAMES[0], NAMES[1], NAMES[0], NAMES[1]], "score": [1, 2, 3, 4]},
        {"reader": [NAMES[2]] * 2 + ["r"] * 2, "malignant": [1, 0, 0, 0]},
        {"reader": [NAMES[2]] * 2 + ["r"] * 2, "score": [np.nan, 2, np.nan, 4]},
        {"reader": [NAMES[2]] * 2 + ["r"] * 2, "score": [1, 2, np.nan, np.nan]},
    ],
)
def test_an_error_never_repeats_the_name_of_a_reader_or_case(change: dict[str, list[object]]) -> None:
    columns: dict[str, list[object]] = {
        "case": [NAMES[0], NAMES[1]] * 2,
        "malignant": [1, 0, 1, 0],
        "score": [1, 2, 3, 4],
    }
    with pytest.raises(TableError) as refused:
        ReaderStudy.from_columns(**(columns | change))  # type: ignore[arg-type]
    assert not any(name in f"{refused.value} {refused.value.remedy}" for name in NAMES)


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(TableError, match="modality without a reading"):
        ReaderStudy.from_columns(reader=[], case=[], malignant=[], score=[], modality=[])


def test_arms_of_readings_become_modalities() -> None:
    truth = {"a": Diagnosis.MALIGNANT, "b": Diagnosis.BENIGN}
    readings = [
        Reading(case, "r", arm, Diagnosis.MALIGNANT if case == "a" else Diagnosis.BENIGN, confidence)
        for arm in (Arm.UNAIDED, Arm.AIDED)
        for case, confidence in (("a", 80.0), ("b", None), ("stranger", 10.0))
    ]
    scored = ReaderStudy.from_readings(readings, truth, "diagnosis")
    assert scored.modalities == ("unaided", "aided")
    np.testing.assert_array_equal(scored.scores[0], [[1, 0]])
    with pytest.raises(TableError, match=r"case 2 of 2, .*: a case without a reading"):
        ReaderStudy.from_readings(readings, truth)


def test_designs_are_recognised_from_the_data() -> None:
    study = RoeMetz((1.0, 1.5)).draw(np.random.default_rng(1), readers=4, malignant=8, benign=8)

    def seen(keep: np.ndarray) -> Design:
        scores = np.where(keep, study.scores, np.nan)
        return ReaderStudy(scores, study.malignant, study.modalities, study.readers, study.cases).design

    modality, reader, case = np.ogrid[:2, :4, :16]
    everything = (modality + reader + case) >= 0
    assert seen(everything) == Design.FACTORIAL
    assert seen(everything & (case != 3) | (reader == 0)) == Design.FACTORIAL
    assert seen((case % 4 == reader) | (modality < 0)) == Design.CASES_IN_READERS
    assert seen((case % 2 == modality) | (reader < 0)) == Design.CASES_IN_MODALITIES
    assert seen((case % 2 == reader % 2) | (modality < 0)) == Design.SPLIT_PLOT
    assert seen((reader % 2 == modality) | (case < 0)) == Design.READERS_IN_MODALITIES
    assert seen(((reader > 0) | (modality == 0)) & (case >= 0)) == Design.ARBITRARY


def test_a_subset_keeps_the_order_given_and_drops_unread_cases() -> None:
    study = ReaderStudy.from_columns(**COLUMNS)  # type: ignore[arg-type]
    part = study.only(readers=["r1"], modalities=["old", "new"])
    assert (part.modalities, part.readers, part.cases) == (("old", "new"), ("r1",), ("7",))
    with pytest.raises(InputError, match="no readings of 'r3'"):
        study.only(readers=["r3"])
